#!/usr/bin/env bash
# Builds real images and moves them between two registries of its own on free
# loopback ports: each command is printed above what it says. Leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
dray=$PWD/${1:?the dray binary}
work=$(mktemp -d)
export DRAY_CACHE=$work/cache DOCKER_CONFIG=$work/config REGISTRY_AUTH_FILE=""
pids=()
cleanup() {
  for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; wait "$p" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT

serve() { # serve NAME DIR: a registry over a directory; its address in $NAME
  "$dray" serve "$2" --addr 127.0.0.1:0 > "$work/$1" & pids+=($!)
  for _ in $(seq 100); do [ -s "$work/$1" ] && break; sleep 0.05; done
  printf -v "$1" %s "$(cat "$work/$1")"
}
bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\033[1m' plain=$'\033[0m'; fi
show() { # print a command, then run it
  printf '\n%s$ %s%s\n' "$bold" "dray $*" "$plain"
  "$dray" "$@"
}

serve A "$work/a"
serve B "$work/b"
echo "Registry A is at $A, registry B at $B."

printf '\nA Go program for three platforms, Windows too; then again, with nothing changed.'
show build go ./internal/demo/hello --from scratch --platform linux/amd64,linux/arm64,windows/amd64 -t "$A/demo/hello:1.0"
show build go ./internal/demo/hello --from scratch --platform linux/amd64,linux/arm64,windows/amd64 -t "$A/demo/hello:1.0"
show inspect "$A/demo/hello:1.0"
show referrers "$A/demo/hello:1.0"
printf '\nA Dockerfile that runs nothing, on the small base that dray makes.'
mkdir "$work/site" && echo "<h1>hello</h1>" > "$work/site/index.html"
printf 'FROM scratch+certs\nCOPY --from=%s /ko-app/hello /hello\nCOPY index.html /srv/\nCMD ["/hello"]\n' "$A/demo/hello:1.0" > "$work/site/Dockerfile"
show build "$work/site" --platform linux/amd64,linux/arm64 -t "$A/demo/site:1.0"
show copy --dry-run "$A/demo/hello:1.0" "$B/team/hello:1.0"
show copy "$A/demo/hello:1.0" "$B/team/hello:1.0"
printf '\nThe same again: two requests, nothing moves.'
show copy "$A/demo/hello:1.0" "$B/team/hello:1.0"
printf '\nAnother repository of the same registry: every blob is mounted.'
show copy "$B/team/hello:1.0" "$B/prod/hello:1.0"
printf '\nOne platform only: a smaller index, with a digest of its own.'
show copy --platform linux/arm64 "$B/prod/hello:1.0" "$B/prod/hello:arm64"
show catalog "$B"
show ls "$B/prod/hello"
show inspect --platform linux/arm64 "$B/prod/hello:1.0"
show delete "$B/prod/hello:arm64"
show ls "$B/prod/hello"
printf '\nInto a tar that docker load reads, and with another compression to another name.'
show pull --platform linux/amd64 "$B/prod/hello:1.0" "$work/hello.tar"
show copy --compress zstd "$B/prod/hello:1.0" "$B/prod/hello:1.0-zstd"
show validate "$B/prod/hello:1.0-zstd"
printf '\nThe files of it, and what differs.'
show files -R --platform linux/amd64 "$B/prod/hello:1.0-zstd"
show diff --platform linux/amd64 "$B/prod/hello:1.0" "$B/prod/hello:1.0-zstd"
printf '\nA file for all its platforms at once, Windows included, and a label; no layer that was there is read.'
mkdir "$work/motd" && echo "edited without a daemon" > "$work/motd/motd"
show append --base "$B/prod/hello:1.0" --dir "$work/motd:/demo" --label team=demo -t "$B/prod/app:1"
show files -R --platform windows/amd64 "$B/prod/app:1"
printf '\nThe program gets a new version: app moves to it, on every platform.'
show mutate "$B/prod/hello:1.0" --env VERSION=1.1 -t "$B/prod/hello:1.1"
show append --base "$B/prod/hello:1.1" --dir "$work/motd:/security" -t "$B/prod/hello:1.1"
show rebase --dry-run "$B/prod/app:1" --new-base "$B/prod/hello:1.1" -t "$B/prod/app:2"
show rebase "$B/prod/app:1" --new-base "$B/prod/hello:1.1" -t "$B/prod/app:2"
