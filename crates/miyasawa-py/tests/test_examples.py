"""The programs of the folder examples, with the packages that they are examples for."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from conftest import floats, picture
from test_train import SMALL

import miyasawa

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "examples"


def example(name):
    found = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_weights_and_biases_gets_every_number(tmp_path):
    wandb = pytest.importorskip("wandb")
    seen = []
    with wandb.init(mode="offline", project="test", dir=tmp_path) as run:
        send = example("weights_and_biases").callback(run)
        both = lambda event: (seen.append(event), send(event))[1]
        found = miyasawa.train(SMALL, out=tmp_path / "run", callback=both)
        # It keeps the numbers of a step until the step is over.
        run.log({}, commit=True)
        summary = dict(run.summary)
    last = [event for event in seen if event["event"] == "step"][-1]
    assert summary["train/loss"] == last["loss"] and summary["train/dsm"] == last["dsm"]
    assert summary["_step"] == found["steps"] == 12
    (row,) = found["rows"]
    assert summary["test/psnr/sigma 0.1"] == row["psnr"]
    assert summary["test/accuracy/sigma 0.1"] == row["accuracy"]


def test_the_program_for_weights_and_biases_runs(tmp_path):
    pytest.importorskip("wandb")
    call = [sys.executable, EXAMPLES / "weights_and_biases.py", tmp_path / "run", "--steps", "3"]
    environment = os.environ | {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    subprocess.run(call, check=True, cwd=tmp_path, env=environment)
    (record,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert b"test/psnr/sigma" in record.read_bytes()
    assert miyasawa.load(tmp_path / "run/model.safetensors").info["training"]["steps"] == 3


def test_robustbench_measures_what_we_do(monkeypatch, model):
    torch = pytest.importorskip("torch")
    pytest.importorskip("pyautoattack")
    program = example("robustbench_benchmark")
    import robustbench.data as data
    from robustbench.model_zoo.enums import BenchmarkDataset

    images = np.stack([picture(seed=seed) for seed in range(4)])
    labels = model.probabilities(images).argmax(1)
    # One of the four is classified otherwise.
    labels[3] = (labels[3] + 1) % 10
    x, y = torch.tensor(floats(images) + 1) / 2, torch.tensor(labels)
    # Its images are downloaded, which a test does not do.
    own = lambda count, *_: (x[:count], y[:count])
    monkeypatch.setitem(data._clean_dataset_loaders, BenchmarkDataset.cifar_10, own)
    found = program.main("--count", "4", "--eps", "1.0", "--batch", "4")
    measured = miyasawa.attack(
        model, (images, labels), norm="l2", eps=[1.0], method="autoattack", steps=20
    )
    assert found["accuracy"] == measured["clean_accuracy"] == 0.75
    assert found["robust_accuracy"] == measured["rows"][0]["robust_accuracy"] == 0
