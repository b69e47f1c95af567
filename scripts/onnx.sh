#!/usr/bin/env bash
# Exports every kind of model, compares the graphs in a Rust runtime (rten) and in ONNX Runtime with
# what the library computes, within 1e-4, at odd sizes and several noise levels. ONNX Runtime is
# installed by name into a folder of its own: MIYASAWA_TOOLS, or ~/.cache/miyasawa-tools.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=${MIYASAWA_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/miyasawa-tools}
python=$tools/onnx/bin/python
needed=(onnx==1.23.2 onnxruntime==1.32.0 safetensors numpy)
if ! "$python" -c 'import onnx, onnxruntime, safetensors' >/dev/null 2>&1; then
  python3 -m venv "$tools/onnx"
  "$python" -m pip install --quiet "${needed[@]}"
fi

graphs=$(mktemp -d)
trap 'rm -rf "$graphs"' EXIT
cargo run --release --locked --manifest-path tests/onnx/Cargo.toml \
  --target-dir "${CARGO_TARGET_DIR:-target}" -- "$graphs"
"$python" scripts/onnx_check.py "$graphs"
