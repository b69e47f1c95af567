#!/usr/bin/env bash
# The Python package: the wheel, its installation into a fresh environment, its tests, and the
# notebooks. Needs Rust, a C compiler and Python 3.11 or later; installs the rest by name from PyPI.
# PYTHON_LIGHT=1 leaves out what needs PyTorch, with the notebook on robustness; so does
# PYTHON_SECONDS=N where PyTorch's gigabytes are not installed within N seconds. PYTHON_SYSTEM=1
# takes the packages that the system's Python has, such as PyTorch. Prints when each part began.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
folder=${CARGO_TARGET_DIR:-target}
folder=$(mkdir -p "$folder" && cd "$folder" && pwd)
package=$root/crates/miyasawa-py

part() { printf -- '-- %s (%s s)\n' "$1" "$SECONDS"; }

part "the wheel"
tools=$folder/python-tools
[ -x "$tools/bin/maturin" ] ||
  { python3 -m venv "$tools" && "$tools/bin/pip" install -q "maturin>=1.8,<2"; }
wheels=$folder/wheels
rm -rf "$wheels"
CARGO_TARGET_DIR=$folder "$tools/bin/maturin" build --release --locked \
  --manifest-path "$package/Cargo.toml" --out "$wheels" ${PYTHON_BUILD:-}

part "a fresh environment"
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
python3 -m venv ${PYTHON_SYSTEM:+--system-site-packages} "$fresh/venv"
install=("$fresh/venv/bin/pip" install -q)
always=("$wheels"/*.whl pytest pillow scikit-learn mypy matplotlib nbclient ipykernel wandb)
"${install[@]}" "${always[@]}"
# RobustBench after torchattacks, which brings a folder of the same name. It reads pkg_resources,
# which later versions of setuptools have no more.
if [ -z "${PYTHON_LIGHT:-}" ]; then
  # The status of `timeout` where the time is over.
  over=124
  status=0
  timeout "${PYTHON_SECONDS:-3600}" "${install[@]}" torch safetensors torchattacks deepinv \
    tensorboard || status=$?
  if [ "$status" = "$over" ] && [ -n "${PYTHON_SECONDS:-}" ]; then
    echo "NOT CHECKED: what needs PyTorch, which was not installed within $PYTHON_SECONDS s"
    PYTHON_LIGHT=1
    # Without what came of it.
    python3 -m venv --clear ${PYTHON_SYSTEM:+--system-site-packages} "$fresh/venv"
    "${install[@]}" "${always[@]}"
  elif [ "$status" != 0 ]; then
    exit "$status"
  else
    "${install[@]}" robustbench==1.1.1 "setuptools<81"
  fi
fi

# Beside the project's own program, where it was built: the same numbers.
program=$folder/release/miyasawa
if [ -x "$program" ]; then export MIYASAWA_PROGRAM=$program; fi
# From another folder: the installed package is tested, not the sources.
cd "$fresh"
"$fresh/venv/bin/miyasawa" --version
part "types"
"$fresh/venv/bin/python" -m mypy --config-file "$package/pyproject.toml" -p miyasawa
part "tests"
"$fresh/venv/bin/python" -m pytest -q -p no:cacheprovider --durations 8 "$package/tests"
part "notebooks"
notebooks=("$package/notebooks/tour.ipynb")
[ -n "${PYTHON_LIGHT:-}" ] || notebooks+=("$package/notebooks/robustness.ipynb")
"$fresh/venv/bin/python" "$root/scripts/notebooks.py" "${notebooks[@]}"
part "done"
