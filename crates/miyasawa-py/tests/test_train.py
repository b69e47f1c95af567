"""Training from Python, against the command line."""

import json
import signal

import numpy as np
import pytest
from conftest import run, started

import miyasawa

SMALL = {
    "network": {"width": 8, "blocks": [1, 1]},
    "schedule.batch": 16,
    "schedule.steps": 12,
    "eval.sigmas": [0.1],
    "eval.limit": 32,
}


def settings(config):
    flat = {"network.width": 8, "network.blocks": [1, 1]}
    flat |= {key: value for key, value in config.items() if key != "network"}
    return [part for key, value in flat.items() for part in ("--set", f"{key}={value}")]


def two_kinds(count=96, seed=0):
    """Images of two classes: bright above, bright below."""
    draws = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = draws.integers(0, 60, (count, 8, 8), dtype=np.uint8)
    images[labels == 0, :4] += 150
    images[labels == 1, 4:] += 150
    return images[..., None], labels


def test_a_run_gives_the_bytes_of_the_command_line(tmp_path):
    seen = []
    found = miyasawa.train(SMALL, out=tmp_path / "here", callback=seen.append)
    done = run("train", "--out", tmp_path / "there", *settings(SMALL), "--json")
    expected = json.loads(done.stdout)
    assert found["rows"] == expected["rows"] and found["complete"] and found["steps"] == 12
    model, other = ((tmp_path / name / "model.safetensors") for name in ("here", "there"))
    assert model.read_bytes() == other.read_bytes()
    steps = [event for event in seen if event["event"] == "step"]
    assert [event["step"] for event in steps] == list(range(1, 13))
    assert all(event["total"] == 12 and np.isfinite(event["loss"]) for event in steps)
    assert any(event["event"] == "evaluation" for event in seen)


def test_a_run_that_the_callback_ends_goes_on(tmp_path):
    whole = miyasawa.train(SMALL, out=tmp_path / "whole")
    part = miyasawa.train(SMALL, out=tmp_path / "part", callback=lambda e: e.get("step", 0) >= 3)
    assert not part["complete"] and 3 <= part["steps"] < 12
    with pytest.raises(miyasawa.UsageError, match="holds a run already"):
        miyasawa.train(SMALL, out=tmp_path / "part")
    again = miyasawa.train(out=tmp_path / "part", resume=True)
    assert again["complete"] and again["rows"] == whole["rows"]
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "part")]
    assert models[0] == models[1]


def test_arrays_are_learned(tmp_path):
    images, labels = two_kinds()
    names = np.array(["above", "below"])[labels]
    config = SMALL | {"schedule.steps": 60}
    found = miyasawa.train(config, (images, names), test=two_kinds(seed=1), out=tmp_path / "run",
                           classes=["above", "below"])
    assert found["rows"][0]["accuracy"] > 0.9
    model = miyasawa.load(found["model"])
    assert model.classes == ["above", "below"] and model.shape == (1, 8, 8)
    test, truth = two_kinds(seed=2)
    assert (model.probabilities(test).argmax(1) == truth).mean() > 0.9
    # Measured: the same as by hand, and arrays as data.
    measured = miyasawa.evaluate(model, (test, truth), sigmas=[0.05, 0.3])
    assert measured["count"] == 96 and [row["sigma"] for row in measured["rows"]] == [0.05, 0.3]
    assert measured["rows"][0]["accuracy"] > 0.9 and measured["data"] == "arrays"
    attacked = miyasawa.attack(model, (test, truth), norm="linf", eps=["0", "8/255"],
                               method="pgd", steps=3, limit=32)
    assert [row["eps"] for row in attacked["rows"]] == pytest.approx([0, 8 / 255])
    certified = miyasawa.certify(model, (test, truth), sigma=0.2, n=100, n0=20, limit=4)
    assert len(certified["certificates"]) == 4
    assert miyasawa.calibrate(model, (test, truth), sigmas=[0.1])["rows"]
    others = miyasawa.ood(model, (test, truth), out_data="digits", limit=32)
    assert others["pairs"][0]["best"] and others["data"] == "arrays"


def test_floats_are_the_bytes_they_stand_for(tmp_path):
    images, labels = two_kinds(32)
    values = np.moveaxis(images.astype(np.float32) / np.float32(127.5) - 1, -1, 1)
    config = SMALL | {"schedule.steps": 2}
    test = (images, labels)
    for name, given in (("bytes", images), ("floats", values)):
        miyasawa.train(config, (given, labels), test=test, out=tmp_path / name)
    bytes_, floats = ((tmp_path / name / "model.safetensors") for name in ("bytes", "floats"))
    assert bytes_.read_bytes() == floats.read_bytes()


def test_wrong_calls_of_training(tmp_path):
    images, labels = two_kinds(8)
    out = tmp_path / "run"
    for call in (
        lambda: miyasawa.train({"network.widht": 8}, out=out),
        lambda: miyasawa.train(3, out=out),
        lambda: miyasawa.train(SMALL, images, out=out),
        lambda: miyasawa.train(SMALL, (images, labels[:3]), out=out),
        lambda: miyasawa.train(SMALL, (images, labels), classes=["one"], out=out),
        lambda: miyasawa.train(SMALL, (3.0 * images.astype(np.float32), labels), out=out),
        lambda: miyasawa.evaluate(miyasawa.load(), (images, labels), sigmas=[-1]),
        lambda: miyasawa.evaluate(None, "digits", colour=3),
    ):
        with pytest.raises(miyasawa.MiyasawaError) as found:
            call()
        assert str(found.value) and "\n" not in str(found.value)
    assert not out.exists()


def test_measurements_are_those_of_the_command_line(model):
    watched = []
    found = miyasawa.evaluate("photo", "digits", limit=6, sigmas=[0.1, 0.4], seed=2,
                              watch=lambda task, share: watched.append((task, share)))
    call = ("eval", "--model", "photo", "--data", "digits", "--limit", 6, "--sigmas", "0.1,0.4")
    assert found == json.loads(run(*call, "--seed", 2, "--json").stdout)
    assert all(0 <= share <= 1 for _, share in watched)


SLOW = """
import sys, miyasawa, threading, os, signal
def callback(event):
    if event.get("step") == 2:
        print("running", flush=True)
try:
    miyasawa.train({"schedule.steps": 100000, "network.width": 8, "network.blocks": [1]},
                   out=sys.argv[1], callback=callback)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_ends_a_run_with_a_checkpoint(tmp_path):
    with started(SLOW, tmp_path / "run") as process:
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=120)[0] == "interrupted\n"
    assert process.returncode == 0
    assert list((tmp_path / "run" / "checkpoints").iterdir())


def test_tensorboard_reads_the_event_file(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = SMALL | {"log.tensorboard": True}
    miyasawa.train(config, out=tmp_path / "run", callback=lambda e: e.get("step", 0) >= 3)
    miyasawa.train(config, out=tmp_path / "run", resume=True)
    read = accumulator.EventAccumulator(str(tmp_path / "run"), {"scalars": 0})
    read.Reload()
    losses = [(event.step, event.value) for event in read.Scalars("train/loss")]
    lines = [json.loads(line) for line in open(tmp_path / "run" / "metrics.jsonl")]
    written = [(line["step"], np.float32(line["loss"])) for line in lines if "event" not in line]
    assert losses == written and len(losses) == 12
    assert read.Scalars("test/psnr/sigma 0.1")[-1].step == 12
