#!/usr/bin/env bash
# Recomputes the PyTorch oracles on a software Vulkan device: SwiftShader, from Debian's
# chromium-common, with libvulkan1. On hardware set MIYASAWA_VULKAN=discrete (or integrated). The
# program that is built has CUDA too (gpu/): that it compiles is checked on the way.
#
#   scripts/vulkan.sh --cases   also the case table of the operations, which is a build of its own
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${CARGO_TARGET_DIR:-target}/gpu
CUDARC_CUDA_VERSION=13000 cargo build --profile parity --locked --features vulkan \
  --manifest-path gpu/Cargo.toml --target-dir "$folder"
if [ "${MIYASAWA_VULKAN:-software}" = software ]; then
  found=$(dpkg -L chromium-common 2>/dev/null | grep vk_swiftshader_icd.json || true)
  if [ -z "$found" ]; then
    echo "NOT CHECKED: no software Vulkan device (Debian's chromium-common)"
    exit 0
  fi
  export VK_DRIVER_FILES=$found MIYASAWA_VULKAN=software
fi
for oracle in crates/miyasawa/tests/oracles/*.safetensors; do
  "$folder/parity/miyasawa" verify --device vulkan "$oracle" | tail -n 1
done

if [ "${1:-}" = --cases ]; then
  MIYASAWA_TEST_DEVICE=vulkan cargo test --profile parity -p miyasawa --features vulkan --lib ops::
fi
