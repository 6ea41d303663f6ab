#!/usr/bin/env bash
# Installs the real software that tests talk to: Debian's packages, and other
# tools of the field at pinned versions from the Go module proxy.
set -euo pipefail
packages="skopeo docker.io buildah"
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
