#!/usr/bin/env bash
# Requests a second of `miyasawa serve` on loopback at 1, 8 and 64 connections, beside the same work
# without a server. Needs Rust and npm, which installs the load generator autocannon; leave the
# machine alone meanwhile.
#
#   bench/serve.sh [SECONDS]
set -euo pipefail
seconds=${1:-10}
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
image=docs/book/src/figures/frog.jpg
if [ -z "${MIYASAWA_BUILT:-}" ]; then
  cargo build --release -q
  cargo build --release -q -p miyasawa-serve --example in_process
fi
tools=$target/serve-tools
[ -x "$tools/node_modules/.bin/autocannon" ] ||
  npm install --silent --no-save --prefix "$tools" autocannon@8

echo "Without a server:"
"$target/release/examples/in_process" "$image" 1000

log=$(mktemp)
"$target/release/miyasawa" serve --bind 127.0.0.1:0 --queue 256 >"$log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 100); do grep -q http "$log" && break || sleep 0.1; done
url=$(sed -n 's/.* at \(http.*\)\/$/\1/p' "$log")
memory() { awk '/VmRSS/ { printf "%.0f MB", $2 / 1000 }' "/proc/$server/status"; }

printf '\n| path | connections | requests a second | median, ms | 99%%, ms | '
printf '2xx | other | memory |\n'
printf '| --- | --- | --- | --- | --- | --- | --- | --- |\n'
for path in /health '/v1/classify' '/v1/denoise?sigma=0.1&format=png'; do
  for connections in 1 8 64; do
    # As a form: it reads the file of a plain body as text.
    form=(-m POST -F "{\"image\": {\"type\": \"file\", \"path\": \"$image\"}}")
    [ "$path" = /health ] && form=()
    "$tools/node_modules/.bin/autocannon" --json -c "$connections" -d "$seconds" -t 60 \
      "${form[@]}" "$url$path" 2>/dev/null |
      WHERE=$path CONNECTIONS=$connections MEMORY=$(memory) python3 -c '
import json, os, sys
found = json.load(sys.stdin)
other = found["non2xx"] + found["errors"] + found["timeouts"]
time = found["latency"]
print("|", " | ".join(map(str, [
    os.environ["WHERE"], os.environ["CONNECTIONS"], round(found["requests"]["average"]),
    time["p50"], time["p99"], found["2xx"], other, os.environ["MEMORY"]])), "|")'
  done
done
kill -TERM "$server"
wait "$server"
