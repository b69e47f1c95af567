#!/usr/bin/env bash
# Makes an archive of the program for others to unpack and run: scripts/release.sh [TARGET].
#
# Writes dist/miyasawa-VERSION-TARGET.tar.gz and its .sha256: the stripped program with the bundled
# model, README, CHANGELOG, the licences, those of every crate in it, and where its assets are from.
# TARGET is a Rust triple; without one, this machine's. The same commit, toolchain and TARGET give
# the same bytes, in whatever folder it is built: the folders of the machine are cut out of the
# program, entries are sorted, owned by nobody, and as old as the commit. Needs Rust, a C compiler,
# GNU tar, Python 3.
set -euo pipefail
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
target=${1:-$host}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
name=miyasawa-$version-$target
if [ -n "$(git status --porcelain)" ]; then
  echo "warning: there are changes that no commit has; the archive is of them" >&2
fi

# The folders of this machine, which panics would name: they exist once the crates are fetched.
cargo fetch --locked
flags=()
for folder in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
  flags+=("--remap-path-prefix=$folder=registry")
done
flags+=("--remap-path-prefix=$PWD=miyasawa")
CARGO_ENCODED_RUSTFLAGS=$(printf '\x1f%s' "${flags[@]}")
export CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS:1} CARGO_PROFILE_RELEASE_DEBUG=false
# Its own folder: other flags are another build, which must not take the place of that of the tests.
build=${MIYASAWA_RELEASE_TARGET_DIR:-target/archive}
program=$build/release/miyasawa
options=(--release --locked --package miyasawa-cli --target-dir "$build")
if [ "$target" != "$host" ]; then
  options+=(--target "$target")
  program=$build/$target/release/miyasawa
fi
cargo build "${options[@]}"
[ -f "$program" ] || program=$program.exe

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir "$stage/$name"
install -m 755 "$program" "$stage/$name/"
install -m 644 README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$stage/$name/"
# The authors of the embedded digits.
install -m 644 crates/miyasawa/assets/README.md "$stage/$name/ASSETS.md"
python3 scripts/third_party.py "$target" > "$stage/$name/THIRD-PARTY.txt"
chmod 755 "$stage/$name"
chmod 644 "$stage/$name/THIRD-PARTY.txt"

mkdir -p dist
tar --create --format=ustar --sort=name --owner=0 --group=0 --numeric-owner \
  --mtime="@$(git log -1 --format=%ct)" --directory "$stage" "$name" |
  gzip -n9 > "dist/$name.tar.gz"
(cd dist && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256")
ls -l "$program" "dist/$name.tar.gz"
cat "dist/$name.tar.gz.sha256"
