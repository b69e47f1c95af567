#!/usr/bin/env bash
# Draws the figures of the book from test images of CIFAR-10 with the bundled model:
#   MIYASAWA_DATA=FOLDER scripts/book_figures.sh [OUT]
# FOLDER holds cifar10/test-a.tar; the program is target/release/miyasawa, or what MIYASAWA names.
set -euo pipefail
cd "$(dirname "$0")/.."

out=$(realpath -m "${1:-docs/book/src/figures}")
program=$(realpath "${MIYASAWA:-target/release/miyasawa}")
tests=$(realpath "${MIYASAWA_DATA:?the folder of the data sets}")/cifar10/test-a.tar
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
tar xf "$tests" cat/0002.jpg horse/0002.jpg frog/0004.jpg

run() { "$program" "$@" --quiet; }

# Theory: what speaks for each class, the way to another class, what the denoiser keeps.
run explain horse/0002.jpg --class horse --class deer --class dog -o "$out/explain.png"
run explain cat/0002.jpg --class dog -o "$work/unused.png" --path "$out/path.png"
run explain frog/0004.jpg --class frog --sigma 0.2 -o "$work/unused.png" \
  --jacobian "$out/jacobian.png"

# Robustness: reliability diagrams on 500 images, clean and under attack.
run calibrate --data cifar10 --limit 500 --sigmas 0.02,0.2 --eps 0.25 -o "$out/reliability.png"

# Training: the curves of ten passes over the digits.
run train --set network.width=8 --set network.blocks='[1,1,1]' --set eval.every=20 \
  --set eval.limit=360 --out digits
cp digits/curves.png "$out/curves.png"
