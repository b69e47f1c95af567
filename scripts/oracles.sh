#!/usr/bin/env bash
# Makes the oracles that the tests and `verify` read, with the project's PyTorch reference.
#
#   scripts/oracles.sh [REFERENCE.py]
#
# Needs torch, numpy and safetensors (PyPI). Small widths keep the files small; both kinds of
# network and all image shapes are included.
set -euo pipefail
reference=$(realpath "${1:-$(dirname "$0")/../reference/reference.py}")
cd "$(dirname "$0")/.."
out=crates/miyasawa/tests/oracles
mkdir -p "$out"
oracle() { python3 "$reference" oracle "$@"; }
oracle crates/miyasawa/assets/oracle.safetensors --width 8 --blocks 1,1 --image 3x9x11 --classes 4
for image in 1x16x16 3x32x32 3x12x20 1x7x9; do
  oracle "$out/$image-1,2,1.safetensors" --image "$image" --blocks 1,2,1 --seed 1
  oracle "$out/$image-2,2,2,2-blind.safetensors" --image "$image" --blocks 2,2,2,2 --width 4 \
    --blind --seed 2
done
oracle "$out/3x12x20-2,2,2,2.safetensors" --image 3x12x20 --blocks 2,2,2,2 --width 4 --seed 3
# Other options of the network: another epsilon in the norms, or no norms.
for norm in "group-0.05 --norm-epsilon 0.05" "none --norm none"; do
  read -r name options <<<"$norm"
  # shellcheck disable=SC2086
  oracle "$out/3x12x20-1,2-$name.safetensors" --image 3x12x20 --blocks 1,2 --width 8 \
    --seed 4 $options
done
chmod 644 "$out"/*.safetensors crates/miyasawa/assets/oracle.safetensors
