#!/usr/bin/env bash
# Exports every kind of model, compares the graphs in a Rust runtime (rten) and in ONNX Runtime with
# what the library computes, within 1e-4, at odd sizes and several noise levels. ONNX Runtime is
# installed by name into a folder of its own: MIYASAWA_TOOLS, or ~/.cache/miyasawa-tools.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=${MIYASAWA_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/miyasawa-tools}
python=$tools/onnx/bin/python
needed=(onnx==1.23.2 onnxruntime==1.32.0 safetensors numpy pillow)
if ! "$python" -c 'import onnx, onnxruntime, safetensors, PIL' >/dev/null 2>&1; then
  python3 -m venv "$tools/onnx"
  "$python" -m pip install --quiet "${needed[@]}"
fi

graphs=$(mktemp -d)
trap 'rm -rf "$graphs"' EXIT
cargo run --release --locked --manifest-path tests/onnx/Cargo.toml \
  --target-dir "${CARGO_TARGET_DIR:-target}" -- "$graphs"
"$python" scripts/onnx_check.py "$graphs"

# The snippets of the book, on an image of the book.
cp "$graphs/cifar10-denoise-f32.onnx" "$graphs/denoiser.onnx"
page=$PWD/docs/book/src/onnx.md
figure=$PWD/docs/book/src/figures/frog.jpg
cd "$graphs"
"$python" - "$page" "$figure" <<'PY'
import pathlib, re, sys
from PIL import Image, ImageStat

Image.open(sys.argv[2]).save("noisy.png")
for snippet in re.findall("```python\n(.*?)```", pathlib.Path(sys.argv[1]).read_text(), re.S):
    exec(snippet)
images = (Image.open(name).convert("RGB") for name in ("noisy.png", "clean.png"))
before, after = map(ImageStat.Stat, images)
moved = max(abs(a - b) for a, b in zip(before.mean, after.mean))
assert moved < 8 and sum(after.var) < sum(before.var), (before.mean, after.mean)
assert "frog" in names, names
PY
