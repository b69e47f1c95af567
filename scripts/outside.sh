#!/usr/bin/env bash
# Builds and runs a crate outside the workspace that uses the library as other programs do. Its
# dependencies come from the workspace's target folder where versions and features agree.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo test --release --locked --manifest-path tests/outside/Cargo.toml \
  --target-dir "${CARGO_TARGET_DIR:-target}"
