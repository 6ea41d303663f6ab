#!/usr/bin/env bash
# Installs the real software that tests talk to: Debian's packages, and other
# tools of the field at pinned versions from the Go module proxy and from npm.
set -euo pipefail
packages="skopeo docker.io buildah"
[ "$(uname -m)" != x86_64 ] || packages="$packages libc6-arm64-cross"
command -v rustc >/dev/null || packages="$packages rustc gcc libc6-dev" # 55 MB
command -v jlink >/dev/null || packages="$packages openjdk-17-jdk-headless" # 120 MB
missing=""
for p in $packages; do dpkg -s "$p" >/dev/null 2>&1 || missing="$missing $p"; done
if [ -n "$missing" ]; then
  sudo=""; [ "$(id -u)" = 0 ] || sudo=sudo
  for try in 1 2 3; do $sudo apt-get update -qq && break; sleep 5; done
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
bin=$(go env GOPATH)/bin
install() { # install NAME MODULE@VERSION
  if [ -x "$bin/$1" ] && go version -m "$bin/$1" | grep -q "[[:space:]]${2##*@}[[:space:]]"; then return; fi
  echo "go install $2"
  (cd / && GOFLAGS=-mod=mod go install "$2")
}
install registry github.com/distribution/distribution/v3/cmd/registry@v3.1.2
install crane github.com/google/go-containerregistry/cmd/crane@v0.22.1
install regctl github.com/regclient/regclient/cmd/regctl@v0.11.7
install ko github.com/google/ko@v0.19.1
# Bun for this machine, and the one that it puts into programs for arm64: about 50 MB each. Where npm cannot, its test is skipped.
[ "$(uname -m)" = x86_64 ] && command -v npm >/dev/null || exit 0
bun=1.4.5; home=$(go env GOPATH)/lib/bun-$bun
if [ ! -x "$home/node_modules/@oven/bun-linux-aarch64/bin/bun" ]; then
  echo "npm install bun $bun"
  mkdir -p "$home"
  npm install --prefix "$home" --no-save --no-audit --no-fund --ignore-scripts --force --loglevel=error \
    "@oven/bun-linux-x64@$bun" "@oven/bun-linux-aarch64@$bun" >/dev/null || exit 0
fi
ln -sf "$home/node_modules/@oven/bun-linux-x64/bin/bun" "$bin/bun"
ln -sf "$home/node_modules/@oven/bun-linux-aarch64/bin/bun" "$bin/bun-linux-arm64"
