#!/usr/bin/env bash
# Builds the book of docs/book into docs/book/book and fails on warnings. mdBook is installed once,
# into a cache folder of its own: MIYASAWA_TOOLS, or ~/.cache/miyasawa-tools. Its build takes some
# minutes, a book a second.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.5.4
tools=${MIYASAWA_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/miyasawa-tools}
mdbook=$tools/bin/mdbook
if [ "$("$mdbook" --version 2>/dev/null)" != "mdbook v$version" ]; then
  # Without what serves and watches a book: 20 crates less. Not into this project's target folder.
  CARGO_TARGET_DIR=$tools/target cargo install mdbook --version "=$version" --locked --quiet \
    --no-default-features --features search --root "$tools"
  rm -rf "$tools/target"
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
rm -rf docs/book/book
"$mdbook" build docs/book 2>&1 | tee "$log"
if grep -qE '(WARN|ERROR)' "$log"; then
  echo "docs/book: expected no warnings of mdBook, found those above" >&2
  exit 1
fi
test -s docs/book/book/index.html
