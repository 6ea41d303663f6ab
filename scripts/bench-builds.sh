#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Times builds against ko and buildah, in turn, through a proxy that counts.
#
#   scripts/bench-builds.sh PROXY [RUNS]
#
# PROXY is HOST:PORT of a counting proxy (GET /__stats, POST /__reset) before a
# registry with the images that docs/benchmarks.md tells of. The Go program is dray
# itself. What `go build` alone takes is measured in the same way and printed, to
# be taken off. ko gets KOCACHE, without which it is slower. ko, buildah, crane,
# dray, jq, curl and GNU time must be on PATH; buildah needs root.
set -euo pipefail
reg=${1:?HOST:PORT of the proxy} runs=${2:-3} here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT && cd "$work"
export DRAY_CACHE=$work/dray KOCACHE=$work/ko GOFLAGS=-mod=mod
platforms=linux/amd64,linux/arm64,linux/s390x base=$reg/lib/busybox:1.35
git -C "$here" archive HEAD | tar -x --one-top-level=src
buildah() { command buildah --root "$work/root" --runroot "$work/run" --storage-driver overlay "$@"; }
export -f buildah; export work reg

# run NAME TOOL COMMAND...: one run; its output is in out.
run() {
  local name=$1 tool=$2; shift 2
  curl -fsS -o /dev/null -X POST "http://$reg/__reset"
  /usr/bin/time -o time -f '%e s, %M KB' "$@" > out 2> err || { cat err; exit 1; }
  printf '%-10s %-9s %s, %s\n' "$name" "$tool" "$(tail -1 time)" "$(curl -fsS "http://$reg/__stats" | jq -r '"\(.total) requests, \(.bytes_in) bytes sent, \(.bytes_out) received"')"
}
change() { printf 'package main\n\nfunc init() { _ = "%s" + func() string { return string(rune(%d)) }() }\n' "$1" "$RANDOM" > src/cmd/dray/changed.go; }

# go build alone, for the three platforms at once, to files that stay.
gobuild() {
  for p in ${platforms//,/ }; do
    (cd src && CGO_ENABLED=0 GOOS=linux GOARCH=${p#linux/} go build -trimpath -o "$work/alone-${p#linux/}" ./cmd/dray) &
  done; wait
}
export -f gobuild; export platforms
ko_build() { (cd src && KO_DOCKER_REPO=$reg/bench/ko KO_DEFAULTBASEIMAGE=$reg/lib/busybox:1.35 ko build --bare --platform "$platforms" --insecure-registry -t "$1" ./cmd/dray); }
dray_go() { (cd src && dray build go --from "$reg/lib/busybox:1.35" --platform "$platforms" -t "$reg/bench/dray-go:$1" ./cmd/dray); }
buildah_bud() {
  buildah bud --isolation chroot --tls-verify=false --platform linux/amd64,linux/arm64 --manifest "m$1" -f "$2" ctx
  buildah manifest push --all --tls-verify=false "m$1" "docker://$reg/bench/bud:$1"
}
export -f ko_build dray_go buildah_bud

n=$(date +%s)
echo "first builds, to fill the caches"; gobuild; ko_build "$n" >/dev/null 2>&1; dray_go "$n" >/dev/null 2>&1
for _ in $(seq "$runs"); do
  run unchanged 'go build' bash -c gobuild
  run unchanged ko bash -c "ko_build $n"
  run unchanged dray bash -c "dray_go $n"
done
for i in $(seq "$runs"); do
  change "a$i"; run changed 'go build' bash -c gobuild
  change "b$i"; run changed ko bash -c "ko_build $n"
  change "c$i"; run changed dray bash -c "dray_go $n"
done
mkdir ctx
# A base whose history says what it is, as those of distributions do.
printf 'FROM scratch\nCOPY --from=%s/lib/busybox:1.35 / /\n' "$reg" > Base
dray build dockerfile -f Base --platform linux/amd64,linux/arm64 -q -t "$reg/bench/base:1" ctx > /dev/null
for i in $(seq "$runs"); do
  for tool in buildah dray; do
    # About 200 MB, a part of it new each time, so that the registry has never seen the layer.
    rm -rf ctx/* && cp -r "$(go env GOROOT)"/{src,pkg,bin} ctx/ && head -c 2000000 /dev/urandom > ctx/random
    printf 'FROM %s/bench/base:1\nENV A=b\nCOPY . /app/\nCMD ["/app/bin/go"]\n' "$reg" > Dockerfile
    case $tool in
    buildah) buildah rmi -af >/dev/null 2>&1 || true; run copy buildah bash -c "buildah_bud $n-$i Dockerfile" ;;
    dray) rm -rf dray; run copy dray dray build dockerfile -f Dockerfile --platform linux/amd64,linux/arm64 -t "$reg/bench/dray-file:$n-$i" ctx ;;
    esac
  done
done
printf '# escape=`\nFROM %s/win/nanoserver:1809\nWORKDIR C:\\app\nCOPY app.exe C:\\app\\\nENTRYPOINT ["C:\\\\app\\\\app.exe"]\n' "$reg" > Windows
rm -rf ctx/*
for i in $(seq "$runs"); do
  head -c 7000000 /dev/urandom > ctx/app.exe; rm -rf dray
  froms=(); for v in 1809 1909 2004 20H2 ltsc2022; do froms+=(--from "$reg/win/nanoserver:$v"); done
  run windows dray dray build dockerfile -f Windows "${froms[@]}" -t "$reg/bench/win-file:$n-$i" ctx
done
