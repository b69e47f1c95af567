#!/usr/bin/env bash
# Runs the fuzz targets: scripts/fuzz.sh [BYTES|SECONDSs [TARGET...]], as in `fuzz.sh 10000000` or
# `fuzz.sh 5s`. Each target ends after a number of bytes, or of seconds.
#
# libFuzzer with coverage of this project's library alone: a compiler wrapper adds the flags that
# `cargo fuzz` adds to everything. So a stable toolchain will do, and what Burn compiled to is used
# again. The corpora start from a few small files (scripts/fuzz_seeds.py). What is found stays in
# fuzz/corpus, inputs that fail in fuzz/artifacts, both outside the repository. A failure is a
# panic, an overflow, more than 1 GiB of memory, ten seconds for one input, or a target that
# accepted no input at all. Needs Rust, a C++ compiler and Python 3. FUZZ_SEED=1 makes libFuzzer
# draw the same changes again.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-10000000} in
  *s) export FUZZ_SECONDS=${1%s} ;;
  *) export FUZZ_BYTES=${1:-10000000} ;;
esac
shift || true
targets=("$@")
# All of them: a target that is in no list would never run.
if [ ${#targets[@]} = 0 ]; then
  for file in fuzz/fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi

wrapper=$(mktemp)
trap 'rm -f "$wrapper"' EXIT
cat > "$wrapper" <<'W'
#!/usr/bin/env bash
flags=()
case " $* " in
  *" --crate-name miyasawa "*)
    flags=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
      -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
      -Cllvm-args=-sanitizer-coverage-trace-compares) ;;
esac
exec "$@" "${flags[@]}"
W
chmod +x "$wrapper"
folder=${CARGO_TARGET_DIR:-target}
RUSTC_WRAPPER=$wrapper cargo build --release --locked --manifest-path fuzz/Cargo.toml \
  --target-dir "$folder"
python3 scripts/fuzz_seeds.py fuzz/corpus

status=0
for target in "${targets[@]}"; do
  mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
  log=fuzz/artifacts/$target.log
  if "$folder/release/fuzz-$target" "fuzz/corpus/$target" \
    -artifact_prefix="fuzz/artifacts/$target/" -max_len=8192 -timeout=10 -rss_limit_mb=1024 \
    -seed="${FUZZ_SEED:-0}" > "$log" 2>&1; then
    ended=$(grep '^done' "$log" || echo "no line 'done' in $log")
    echo "$target: $ended"
    case $ended in
      *", 0 of them accepted" | "no line"*)
        status=1
        echo "$target: failed: nothing accepted"
        ;;
    esac
  else
    status=1
    input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    echo "$target: failed on the input $PWD/${input:-? (none was written)}"
    echo "The log is $PWD/$log. Its panic and its end:"
    # The panic's message stands above libFuzzer's trace, the input's bytes in Base64 below it.
    grep -a -m 5 -A 1 'panicked at' "$log" || true
    tail -n 12 "$log"
  fi
done
exit $status
