#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Times edits of images against crane, in turn, through a proxy that counts.
#
#   scripts/bench-edits.sh PROXY TAR [RUNS]
#
# PROXY is HOST:PORT of a counting proxy (GET /__stats, POST /__reset) before a
# registry with the images that docs/benchmarks.md tells of; TAR is a plain tar of
# about 1 GiB. Prints wall time, requests and bytes sent of each run. crane, dray,
# jq, curl and GNU time must be on PATH.
set -euo pipefail
reg=${1:?HOST:PORT of the proxy} tar=$(realpath "${2:?a tar of about 1 GiB}") runs=${3:-3}
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT && cd "$work"
versions=(1809 1909 2004 20H2 ltsc2022)
mkdir app && head -c 7000000 /dev/urandom > app/app.exe && tar -cf app.tar -C app .

# run NAME TOOL COMMAND...: one run, with an empty cache.
run() {
  local name=$1 tool=$2; shift 2
  rm -rf cache && mkdir cache && export DRAY_CACHE=$work/cache
  curl -fsS -o /dev/null -X POST "http://$reg/__reset"
  /usr/bin/time -o time -f '%e s, %M KB' "$@" > out 2> err || { cat err; exit 1; }
  printf '%-8s %-6s %s, %s\n' "$name" "$tool" "$(tail -1 time)" "$(curl -fsS "http://$reg/__stats" | jq -r '"\(.total) requests, \(.bytes_in) bytes sent, \(.bytes_out) received"')"
}

# What the script of blog posts does with crane.
windows_crane() {
  local refs=()
  for v in "${versions[@]}"; do
    refs+=(-m "$(crane --insecure append -b "$reg/win/nanoserver:$v" -f app.tar -t "$reg/bench/win-crane$1:$v")")
  done
  crane --insecure index append "${refs[@]}" -t "$reg/bench/win-crane$1:1" --docker-empty-base
}

export -f windows_crane; export reg
for i in $(seq "$runs"); do
  n=$(date +%s)-$i
  head -c 7000000 /dev/urandom > app/app.exe && tar -cf app.tar -C app .
  run windows crane bash -c "versions=(${versions[*]}); windows_crane $n"
  bases=(); for v in "${versions[@]}"; do bases+=(--base "$reg/win/nanoserver:$v"); done
  head -c 7000000 /dev/urandom > app/app.exe && tar -cf app.tar -C app .
  run windows dray dray append "${bases[@]}" --layer app.tar -t "$reg/bench/win-dray$n:1"
  run rebase crane crane --insecure rebase "$reg/lib/python:3.11" --old_base "$reg/lib/debian:12-amd64" --new_base "$reg/lib/jre:17" -t "$reg/lib/python:crane-$n"
  run rebase dray dray rebase "$reg/lib/python:3.11" --old-base "$reg/lib/debian:12-amd64" --new-base "$reg/lib/jre:17" -t "$reg/lib/python:dray-$n"
  run label dray dray mutate "$reg/lib/busybox:1.35" --label "bench=$n" -t "$reg/lib/busybox:label-$n"
  run tar crane crane --insecure append -b "$reg/lib/debian:12-amd64" -f "$tar" -t "$reg/bench/tar-crane$n:1"
  crane --insecure delete "$reg/bench/tar-crane$n:1" 2>/dev/null || true
  run tar dray dray append --base "$reg/lib/debian:12-amd64" --layer "$tar" -t "$reg/bench/tar-dray$n:1"
done
