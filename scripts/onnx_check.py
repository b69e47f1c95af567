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
OUTPUTS = ["logits", "posterior", "log_prob", "denoised", "class_denoised"]


def check(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    typed = {value.name for value in inferred.graph.value_info}
    untyped = [name for node in model.graph.node for name in node.output if name not in typed]
    assert set(untyped) <= set(OUTPUTS), f"{path.name}: no type is inferred for {untyped}"
    assert {node.domain for node in model.graph.node} == {""}, f"{path.name}: other operators"
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    low, high = json.loads(metadata["sigma_range"])
    assert model.producer_name == "miyasawa" and 0 <= low <= high, metadata
    return model


def errors(path):
    """The relative error of every output, by the height and width of the images."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]
    batches = collections.defaultdict(lambda: collections.defaultdict(dict))
    for key, value in load_file(path.with_suffix(".safetensors")).items():
        number, kind, name = key.split(".")
        batches[number][kind][name] = value
    found = []
    for batch in batches.values():
        feed = {name: batch["input"][name] for name in names}
        if "class" in feed:
            feed["class"] = feed["class"].astype(np.int64)
        outputs = [port.name for port in session.get_outputs()]
        assert set(outputs) == set(batch["output"]), f"{path.name}: {outputs}"
        for name, values in zip(outputs, session.run(outputs, feed)):
            expected = batch["output"][name]
            assert values.shape == expected.shape, f"{path.name}: {name} has {values.shape}"
            error = np.abs(values - expected).max() / np.abs(expected).max()
            found.append((name, batch["input"]["image"].shape[2:], float(error)))
    return found, len(batches)


def worst(found, name, size=None):
    """The largest error of an output; nan, which is above any tolerance, where one is."""
    of = [error for n, s, error in found if n == name and size in (None, s)]
    return float(np.max(of)) if of else float("nan")


def main(folder):
    paths = sorted(pathlib.Path(folder).glob("*.onnx"))
    assert paths, f"{folder}: expected graphs"
    everything, seen = [], 0
    print(f"{'graph':<36} {'nodes':>5} {'MB':>7}  errors in ONNX Runtime {ort.__version__}")
    for path in paths:
        model = check(path)
        found, count = errors(path)
        seen += count
        everything += found
        size = path.stat().st_size / 1e6
        names = list(dict.fromkeys(name for name, *_ in found))
        text = ", ".join(f"{name} {worst(found, name):.1e}" for name in names)
        print(f"{path.stem:<36} {len(model.graph.node):>5} {size:>7.2f}  {text}")
    print(f"\nlargest relative errors, {len(paths)} graphs, {seen} batches:\n")
    print("| size | " + " | ".join(OUTPUTS) + " |\n| --- |" + " --- |" * len(OUTPUTS))
    for size in sorted({size for _, size, _ in everything}, key=np.prod):
        row = [f"{worst(everything, name, size):.1e}" for name in OUTPUTS]
        print(f"| {size[0]}x{size[1]} | " + " | ".join(row) + " |")
    overall = {name: worst(everything, name) for name in OUTPUTS}
    too_large = {name: error for name, error in overall.items() if not error <= TOLERANCE}
    if too_large:
        sys.exit(f"expected errors of at most {TOLERANCE:g}, found {too_large}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
