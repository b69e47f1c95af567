#!/usr/bin/env bash
# The Python package: format and lints of its crate, the wheel, its installation into a fresh
# environment, its tests, and the notebooks. Needs Rust, a C compiler and Python 3.11 or later;
# installs the rest by name from PyPI. PYTHON_LIGHT=1 leaves out what needs PyTorch.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
folder=${CARGO_TARGET_DIR:-target}
folder=$(mkdir -p "$folder" && cd "$folder" && pwd)
manifest=crates/miyasawa-py/Cargo.toml

cargo fmt --manifest-path "$manifest" --check
cargo clippy --release --locked --manifest-path "$manifest" --target-dir "$folder" -- -D warnings

tools=$folder/python-tools
[ -x "$tools/bin/maturin" ] || { python3 -m venv "$tools" && "$tools/bin/pip" install -q maturin; }
wheels=$folder/wheels
rm -rf "$wheels"
CARGO_TARGET_DIR=$folder "$tools/bin/maturin" build --release --locked --manifest-path "$manifest" \
  --out "$wheels"

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
python3 -m venv ${PYTHON_SYSTEM:+--system-site-packages} "$fresh/venv"
more=(pytest pillow scikit-learn)
if [ -z "${PYTHON_LIGHT:-}" ]; then
  more+=(torch safetensors torchattacks deepinv tensorboard nbclient ipykernel matplotlib)
fi
"$fresh/venv/bin/pip" install -q "$wheels"/*.whl "${more[@]}"

# Beside the project's own program, where it was built: the same numbers.
program=$folder/release/miyasawa
if [ -x "$program" ]; then export MIYASAWA_PROGRAM=$program; fi
# From another folder: the installed package is tested, not the sources.
cd "$fresh"
"$fresh/venv/bin/miyasawa" --version
"$fresh/venv/bin/python" -m pytest -q -p no:cacheprovider "$root/crates/miyasawa-py/tests"
if [ -z "${PYTHON_LIGHT:-}" ]; then
  "$fresh/venv/bin/python" "$root/scripts/notebooks.py" "$root"/crates/miyasawa-py/notebooks/*.ipynb
fi
