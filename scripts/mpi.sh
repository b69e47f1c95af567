#!/usr/bin/env bash
# Work by several processes under Open MPI: the same weights from 1, 2, 3 and 4 ranks, on 1 and 2
# threads, in float32 and bfloat16, from memory and from streamed shards; the same documents of
# evaluations and attacks; a rank that is killed, a signal, and calls that are refused
# (scripts/mpi_check.py). Needs Rust and Python 3; installs
# Open MPI and libclang (on Debian, as root). Where there is no mpirun it prints NOT CHECKED.
set -euo pipefail
cd "$(dirname "$0")/.."
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  packages=(libopenmpi-dev openmpi-bin libclang-dev)
  if ! dpkg -s "${packages[@]}" >/dev/null 2>&1; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
  fi
fi
if ! command -v mpirun >/dev/null || ! command -v mpicc >/dev/null; then
  echo "NOT CHECKED: training by several processes, there is no MPI"
  exit 0
fi
[ -n "${MIYASAWA_BUILT:-}" ] || cargo build --release --features mpi
exec python3 scripts/mpi_check.py "${CARGO_TARGET_DIR:-target}/release/miyasawa"
