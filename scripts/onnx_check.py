"""Checks exported graphs: python3 scripts/onnx_check.py FOLDER

FOLDER holds NAME.onnx and NAME.safetensors as tests/onnx writes them. Every graph goes through
onnx.checker with shape inference, has standard operators alone, and is run in ONNX Runtime. Prints
the largest relative error of every output, max |a - b| / max |b| over its tensor, and fails where
one is above 1e-4. Needs onnx, onnxruntime, safetensors (PyPI).
"""

import collections
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort
from safetensors.numpy import load_file

TOLERANCE = 1e-4
OUTPUTS = {"logits", "posterior", "log_prob", "denoised", "class_denoised"}


def check(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    typed = {value.name for value in inferred.graph.value_info}
    untyped = [name for node in model.graph.node for name in node.output if name not in typed]
    assert set(untyped) <= OUTPUTS, f"{path.name}: no type is inferred for {untyped}"
    assert {node.domain for node in model.graph.node} == {""}, f"{path.name}: other operators"
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    low, high = json.loads(metadata["sigma_range"])
    assert model.producer_name == "miyasawa" and 0 <= low <= high, metadata
    return model


def errors(path):
    """The largest relative error of every output."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]
    batches = collections.defaultdict(lambda: collections.defaultdict(dict))
    for key, value in load_file(path.with_suffix(".safetensors")).items():
        number, kind, name = key.split(".")
        batches[number][kind][name] = value
    worst = {}
    for batch in batches.values():
        feed = {name: batch["input"][name] for name in names}
        if "class" in feed:
            feed["class"] = feed["class"].astype(np.int64)
        outputs = [port.name for port in session.get_outputs()]
        assert set(outputs) == set(batch["output"]), f"{path.name}: {outputs}"
        for name, found in zip(outputs, session.run(outputs, feed)):
            expected = batch["output"][name]
            assert found.shape == expected.shape, f"{path.name}: {name} has {found.shape}"
            error = np.abs(found - expected).max() / np.abs(expected).max()
            worst[name] = max(worst.get(name, 0.0), float(error))
    return worst, len(batches)


def main(folder):
    paths = sorted(pathlib.Path(folder).glob("*.onnx"))
    assert paths, f"{folder}: expected graphs"
    overall, seen = collections.defaultdict(float), 0
    print(f"{'graph':<36} {'nodes':>5} {'MB':>7}  errors in ONNX Runtime {ort.__version__}")
    for path in paths:
        model = check(path)
        worst, count = errors(path)
        seen += count
        size = path.stat().st_size / 1e6
        found = ", ".join(f"{name} {error:.1e}" for name, error in worst.items())
        print(f"{path.stem:<36} {len(model.graph.node):>5} {size:>7.2f}  {found}")
        for name, error in worst.items():
            overall[name] = max(overall[name], error)
    print(f"\nlargest relative error of each output, {len(paths)} graphs, {seen} batches:")
    for name, error in overall.items():
        print(f"{name:<14} {error:.1e}")
    assert set(overall) == OUTPUTS, "expected all five outputs"
    too_large = {name: error for name, error in overall.items() if not error <= TOLERANCE}
    if too_large:
        sys.exit(f"expected errors of at most {TOLERANCE:g}, found {too_large}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
