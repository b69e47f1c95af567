#!/usr/bin/env bash
# Runs the fuzz targets, each until it has read so many bytes: scripts/fuzz.sh [BYTES [TARGET...]].
#
# libFuzzer with coverage of this project's library alone: a compiler wrapper adds the flags that `cargo fuzz` adds to
# everything, so that a stable toolchain will do and what Burn compiled to is used again. The corpora start from a few
# small files (scripts/fuzz_seeds.py); what is found stays in fuzz/corpus, inputs that fail in fuzz/artifacts, both
# outside the repository. A panic, an overflow, more than 1 GiB of memory or ten seconds for an input is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
export FUZZ_BYTES=${1:-10000000}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(idx cifar archive classnames picture checkpoint config)

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
RUSTC_WRAPPER=$wrapper cargo build --release --manifest-path fuzz/Cargo.toml --target-dir target
python3 scripts/fuzz_seeds.py fuzz/corpus

status=0
for target in "${targets[@]}"; do
  mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
  log=fuzz/artifacts/$target.log
  if target/release/fuzz-"$target" "fuzz/corpus/$target" -artifact_prefix="fuzz/artifacts/$target/" \
    -max_len=8192 -timeout=10 -rss_limit_mb=1024 > "$log" 2>&1; then
    echo "$target: $(grep '^done' "$log")"
  else
    status=1
    echo "$target: failed, see $log"
  fi
done
exit $status
