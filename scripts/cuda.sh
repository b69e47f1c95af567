#!/usr/bin/env bash
# The program with kernels for NVIDIA's GPUs, on a machine without CUDA's toolkit, LLVM or a GPU.
#
#   scripts/cuda.sh           builds target/gpu/release/miyasawa
#   scripts/cuda.sh --check   only checks that it compiles
#   scripts/cuda.sh --record  builds without optimisation, generates the CUDA C++ of the kernels of
#                             steps and predictions, compiles it by NVRTC for sm_90a, and counts
#                             launches and transfers (gpu/recorder.c): no GPU is needed or used
#
# Needs Rust and a C compiler; --record also Python 3, and installs NVRTC from PyPI. Kernels go
# through CUDA C++ and NVRTC, which the program loads where it runs.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
folder=${CARGO_TARGET_DIR:-target}/gpu
folder=$(mkdir -p "$folder" && cd "$folder" && pwd)
export CARGO_TARGET_DIR=$folder
# The driver's interface that is asked for: that of CUDA 13.0 (driver 580 and later).
export CUDARC_CUDA_VERSION=13000

case ${1:-} in
  "")
    cargo build --release --locked --manifest-path gpu/Cargo.toml
    echo "$folder/release/miyasawa"
    exit
    ;;
  --check)
    cargo check --profile parity --locked --manifest-path gpu/Cargo.toml
    exit
    ;;
  --record) ;;
  *)
    echo "cuda.sh: '$1' is not known; expected --check or --record" >&2
    exit 2
    ;;
esac

cargo build --profile parity --locked --manifest-path gpu/Cargo.toml
tools=$folder/nvrtc
if [ ! -x "$tools/bin/pip" ]; then python3 -m venv "$tools"; fi
# NVRTC itself and the headers that kernels include. No later than the driver's interface above.
"$tools/bin/pip" install -q "nvidia-cuda-nvrtc==13.0.*" "nvidia-cuda-runtime==13.0.*" \
  "nvidia-cuda-crt==13.0.*" "nvidia-cuda-cccl==13.0.*"
CUDA_PATH=$("$tools/bin/python" -c 'import nvidia; print(list(nvidia.__path__)[0] + "/cu13")')
export CUDA_PATH
mkdir -p "$folder/recorder"
cc -O2 -shared -fPIC -o "$folder/recorder/libcuda.so" "$root/gpu/recorder.c"
export LD_LIBRARY_PATH=$folder/recorder:$CUDA_PATH/lib
python3 "$root/scripts/cuda_record.py" "$folder/parity/miyasawa" "$folder/record"
