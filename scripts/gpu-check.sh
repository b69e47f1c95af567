#!/usr/bin/env bash
# Checks and times the program on a GPU, beside PyTorch on the same card, within 8 minutes.
#
#   scripts/gpu-check.sh PROGRAM OUT [--device cuda] [--seconds 450] [--small]
#
# PROGRAM is what scripts/cuda.sh built, also packed by `xz`. Needs NVIDIA's driver, NVRTC with
# CUDA's headers (of a toolkit, or of PyPI's nvidia-* packages, which PyTorch brings), Python 3, and
# for the peer PyTorch; no network. Without a GPU: `--device vulkan --small` with a program that was
# built with the feature `vulkan`.
set -euo pipefail
program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
mkdir -p "$2"
out=$(cd "$2" && pwd)
shift 2
cd "$(dirname "$0")/.."
if [ "${program%.xz}" != "$program" ]; then
  xz -dc "$program" >"$out/miyasawa"
  chmod +x "$out/miyasawa"
  program=$out/miyasawa
fi
python=${PYTHON:-python3}

# NVRTC and the headers: a toolkit's, else those of PyPI.
packages=$("$python" -c 'import nvidia; print(list(nvidia.__path__)[0])' 2>/dev/null || true)
if [ -z "${CUDA_PATH:-}" ] && command -v nvcc >/dev/null; then
  CUDA_PATH=$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")
fi
if [ -z "${CUDA_PATH:-}" ] && [ -n "$packages" ] && [ -d "$packages/cu13" ]; then
  CUDA_PATH=$packages/cu13
fi
if [ -n "${CUDA_PATH:-}" ]; then
  export CUDA_PATH
  LD_LIBRARY_PATH=$CUDA_PATH/lib64:$CUDA_PATH/lib:${packages:-.}/cu13/lib:${LD_LIBRARY_PATH:-}
  export LD_LIBRARY_PATH
fi
exec "$python" scripts/gpu_check.py "$program" "$out" "$@"
