#!/usr/bin/env bash
# Recomputes the PyTorch oracles on a software Vulkan device (SwiftShader, from Debian's chromium-common, with
# libvulkan1). Not part of .ci/run yet: see the table of devices in README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
VK_DRIVER_FILES=$(dpkg -L chromium-common | grep vk_swiftshader_icd.json)
export VK_DRIVER_FILES MIYASAWA_VULKAN=software
cargo build --release --features vulkan
for oracle in crates/miyasawa/tests/oracles/*.safetensors; do
  target/release/miyasawa verify --device vulkan "$oracle" | tail -n 1
done
