#!/usr/bin/env bash
# The time of a training step by 1, 2 and 4 ranks of one thread, beside the forecast of `train
# --dry-run --ranks`; as root also with every rank in a network namespace of its own, with limited
# bandwidth (tc's tbf; netem's latency where the kernel has it). Needs Open MPI; leave the machine
# alone meanwhile. With fewer cores than ranks the ranks share them, which no forecast knows.
#
#   bench/ranks.sh [STEPS]
set -euo pipefail
steps=${1:-30}
cd "$(dirname "$0")/.."
[ -n "${MIYASAWA_BUILT:-}" ] || cargo build --release --features mpi -q
exec python3 bench/ranks.py "${CARGO_TARGET_DIR:-target}/release/miyasawa" "$steps"
