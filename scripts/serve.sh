#!/usr/bin/env bash
# The page of `miyasawa serve` in headless Chromium: an image is classified, denoised and
# explained, the slider is moved by keyboard, broken files are refused in plain words. Screenshots
# go to the target folder, under `serve`. Needs Rust and Python 3; installs Chromium (on Debian, as
# root) and Playwright. Where there is no Chromium it prints NOT CHECKED.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
if ! command -v chromium >/dev/null; then
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null
  fi
fi
if ! command -v chromium >/dev/null; then
  echo "NOT CHECKED: the page of the server, there is no Chromium"
  exit 0
fi
venv=$target/serve-venv
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c "import playwright" 2>/dev/null ||
  "$venv/bin/pip" install --quiet playwright==1.65.2
[ -n "${MIYASAWA_BUILT:-}" ] || cargo build --release
exec "$venv/bin/python" scripts/serve_page.py "$target/release/miyasawa" "$target/serve"
