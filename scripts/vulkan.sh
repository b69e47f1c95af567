#!/usr/bin/env bash
# Recomputes the PyTorch oracles on a software Vulkan device: SwiftShader, from Debian's
# chromium-common, with libvulkan1. On hardware set MIYASAWA_VULKAN=discrete (or integrated).
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${MIYASAWA_VULKAN:-software}" = software ]; then
  found=$(dpkg -L chromium-common 2>/dev/null | grep vk_swiftshader_icd.json || true)
  if [ -z "$found" ]; then
    echo "NOT CHECKED: no software Vulkan device (Debian's chromium-common)"
    exit 0
  fi
  export VK_DRIVER_FILES=$found MIYASAWA_VULKAN=software
fi
cargo build --profile parity --features vulkan
for oracle in crates/miyasawa/tests/oracles/*.safetensors; do
  "${CARGO_TARGET_DIR:-target}/parity/miyasawa" verify --device vulkan "$oracle" | tail -n 1
done
