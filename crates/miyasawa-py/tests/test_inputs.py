"""What a new user gives by mistake, and what is unusual and right."""

import multiprocessing
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from conftest import floats, picture, started

import miyasawa

EVERYTHING = ("classify", "probabilities", "denoise", "score", "log_prob", "estimate_noise")


def call(model, method, given, **options):
    noise = (0.2,) if method in ("score", "log_prob") else ()
    return getattr(model, method)(given, *noise, **options)


class Converting:
    """What gives an array by `__array__`."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype=dtype)


class Exporting:
    """What gives its memory by DLPack, and nothing else."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_memory_of_any_order_is_read(model):
    image = picture(33, 20)
    values = floats(image)
    expected = model.denoise(image, 0.1)
    wide = np.zeros((66, 40, 3), np.uint8)
    wide[::2, ::2] = image
    turned = np.ascontiguousarray(image[::-1, ::-1])[::-1, ::-1]
    locked = image.copy()
    locked.flags.writeable = False
    for given in (wide[::2, ::2], turned, np.asfortranarray(image), locked, np.asarray(image)):
        assert (model.denoise(given, 0.1) == expected).all()
    expected = model.score(values, 0.2)
    for given in (
        np.asfortranarray(values),
        values[:, ::-1][:, ::-1],
        values.astype(">f4"),
        np.moveaxis(np.moveaxis(values, 0, -1).copy(), -1, 0),
        Converting(values),
        Exporting(values),
    ):
        assert (model.score(given, 0.2) == expected).all()
    large = image.astype(np.uint16) * 257
    found = model.denoise(large.astype(">u2"), 0.1)
    assert (found == model.denoise(large, 0.1)).all()
    # Half precision holds the values of 8 bits to 0.0005.
    half = model.score(values.astype(np.float16), 0.2)
    assert half.dtype == np.float16
    assert np.abs(half - expected).max() < 0.02 * np.abs(expected).max()


def test_grey_images_of_every_shape_are_one(model):
    grey = picture(32, 32, 1)
    expected = model.probabilities(grey)
    for given in (grey[:, :, 0], np.matrix(grey[:, :, 0]), floats(grey), floats(grey)[0]):
        assert (model.probabilities(given) == expected).all()
    assert model.denoise(floats(grey)[0], 0.1).shape == (32, 32)
    assert model.denoise(grey, 0.1).shape == (32, 32, 1)


@pytest.mark.parametrize("method", EVERYTHING)
def test_what_is_no_image_is_refused_in_one_line(model, method, tmp_path):
    values = floats(picture())
    with_nan, with_inf = values.copy(), values.copy()
    with_nan[1, 2, 3], with_inf[0, 0, 0] = np.nan, np.inf
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n and nothing else")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for given in (
        with_nan,
        with_inf,
        np.zeros((4, 32, 32), np.float32),
        np.zeros((32, 32, 4), np.uint8),
        np.zeros((2, 32, 32, 4), np.uint8),
        np.zeros((0, 0), np.uint8),
        np.zeros((3, 0, 5), np.float32),
        np.zeros(3, np.float32),
        np.float32(3),
        np.zeros((1, 1, 1, 3, 3), np.float32),
        np.zeros((32, 32), bool),
        np.zeros((32, 32), np.int64),
        np.zeros((32, 32), np.uint32),
        np.zeros((32, 32), complex),
        np.array([["a", "b"], ["c", "d"]]),
        np.array([[None, 1], [2, 3]]),
        None,
        b"\x89PNG",
        {"image": 1},
        [[0.0, 1.0], [1.0, 0.0]],
        [picture(), None],
        tmp_path,
        tmp_path / "none.png",
        str(broken),
        tmp_path / "empty.jpg",
        "",
        "with\0nothing",
    ):
        with pytest.raises(miyasawa.MiyasawaError) as found:
            call(model, method, given)
        assert str(found.value) and "\n" not in str(found.value), given


def test_numbers_that_are_none_are_refused(model, photo):
    image, values = picture(), floats(picture())
    for wrong in (
        lambda: model.classify(image, None),
        lambda: model.classify(image, [0.1, 0.2]),
        lambda: model.classify(image, "0.1"),
        lambda: model.classify(image, float("nan")),
        lambda: model.classify(image, 1e30),
        lambda: model.classify(image, top=0),
        lambda: model.classify(image, top=1.5),
        lambda: model.classify(image, layout="HWC"),
        lambda: model.denoise(image, float("inf")),
        lambda: model.score(values, "auto"),
        lambda: model.score(values, 0),
        lambda: model.log_prob(values, -0.1),
        lambda: model.explain(image, 10),
        lambda: model.explain(image, "ship", "auto"),
        lambda: model.explain(np.stack([image, image]), 1),
        lambda: model.class_conditional(image, 1.5, 0.1),
        lambda: model.class_conditional(image, None, 0.1),
        lambda: photo.class_conditional(image, 1, 0.1),
        lambda: photo.denoise(image, 0.1, strength=-1),
        lambda: photo.denoise(image, 0.1, strength="much"),
        lambda: photo.denoise(image, 0.1, strength=(1, 1, 1)),
        lambda: miyasawa.evaluate(None, "digits", help=True),
        lambda: miyasawa.evaluate(None, "digits", watch=3),
        lambda: miyasawa.evaluate(None, "digits", sigmas=[]),
        lambda: miyasawa.evaluate(model, (image[None][:0], [])),
        lambda: miyasawa.train(out="none", callback=3),
        lambda: miyasawa.train({"seed": object()}, out="none"),
        lambda: miyasawa.load(threads=-1),
        lambda: miyasawa.load(threads=2.5),
        lambda: miyasawa.load(threads=10**30),
        lambda: miyasawa.load(device=None),
        lambda: miyasawa.load(3),
    ):
        with pytest.raises(miyasawa.UsageError) as found:
            wrong()
        assert str(found.value) and "\n" not in str(found.value)
    level = photo.denoise(image, 0.1, strength=0.5)
    assert (photo.denoise(image, np.float32(0.1), strength=np.float32(0.5)) == level).all()


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    miyasawa.train(
        {"schedule.steps": 1, "network": {"width": 8, "blocks": [1]}, "eval.limit": 8},
        out=tmp_path / "run",
    )
    content = (tmp_path / "run/model.safetensors").read_bytes()
    flipped = bytearray(content)
    flipped[-5] ^= 4
    for name, data in [
        ("empty", b""),
        ("text", b"not a model at all"),
        ("huge header", (2**60).to_bytes(8, "little") + b"{}"),
        ("half", content[: len(content) // 2]),
        ("flipped", bytes(flipped)),
    ]:
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(data)
        with pytest.raises(miyasawa.CheckpointError) as found:
            miyasawa.load(path)
        assert name in str(found.value) and "\n" not in str(found.value)
    with pytest.raises(miyasawa.CheckpointError):
        miyasawa.load(tmp_path)


def _in_child(model, pipe):
    try:
        pipe.send(model.classify(picture())["classes"][0]["class"])
    except miyasawa.MiyasawaError as error:
        pipe.send(str(error))


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")
def test_a_forked_process_says_so_and_a_new_one_works(model):
    best = model.classify(picture())["classes"][0]["class"]
    for method in ("fork", "spawn"):
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context(method)
        child = context.Process(target=_in_child, args=(model, theirs))
        child.start()
        assert ours.poll(120), f"{method}: no answer"
        found = ours.recv()
        child.join()
        assert found == best if method == "spawn" else "forked" in found, (method, found)


def test_threads_of_python_work_at_once(model, photo):
    image, values, found = picture(), floats(picture()), []
    work = [
        lambda: model.classify(image),
        lambda: model.probabilities(np.stack([image] * 70)).tobytes(),
        lambda: photo.denoise(image, 0.1).tobytes(),
        lambda: model.score(values, 0.2).tobytes(),
        lambda: model.explain(image, 3)["probability"],
        lambda: model.log_prob(values, 0.2),
    ]
    expected = [one() for one in work]
    run = lambda at: found.append((at, work[at]() == expected[at]))
    threads = [threading.Thread(target=run, args=(at % 6,)) for at in range(18)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(found) == 18 and all(same for _, same in found)


INTERRUPTED = """
import sys, time, numpy as np, miyasawa
model = miyasawa.load()
large = np.random.default_rng(0).integers(0, 255, (2600, 2600, 3), dtype=np.uint8)
many = np.random.default_rng(0).integers(0, 255, (20000, 32, 32, 3), dtype=np.uint8)
labels = np.arange(500) % 10
work = {
    "denoise": lambda: miyasawa.load("photo").denoise(large, 0.2),
    "classify": lambda: model.classify(many),
    "attack": lambda: miyasawa.attack(model, (many[:500], labels), norm="l2", eps=[0.1, 0.2],
                                      method="pgd", steps=100),
    "evaluate": lambda: miyasawa.evaluate(model, (many, np.arange(20000) % 10)),
}
model.classify(many[0])
print("running", flush=True)
began = time.time()
try:
    work[sys.argv[1]]()
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(model.classify(many[0])["classes"][0]["class"], flush=True)
"""


@pytest.mark.parametrize("work", ["denoise", "classify", "attack", "evaluate"])
def test_ctrl_c_ends_the_work_and_the_model_remains(work):
    with started(INTERRUPTED, work) as process:
        assert process.stdout.readline() == "running\n"
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        began = time.time()
        said = process.communicate(timeout=120)[0].split()
    assert said[0] == "interrupted" and len(said) == 2 and process.returncode == 0
    # At the next call of the network, also of an attack of many steps.
    assert time.time() - began < 60


ONE_THREAD = """
import sys, numpy as np, miyasawa
model = miyasawa.load(threads=1)
image = np.zeros((32, 32, 3), np.uint8)
seen = []
def callback(event):
    # The work waits for this call, which asks for work.
    seen.append(miyasawa.load().classify(image)["classes"][0]["class"])
miyasawa.train({"schedule.steps": 3, "network": {"width": 8, "blocks": [1]}, "eval.limit": 8},
               out=sys.argv[1], callback=callback)
print(len(seen), set(seen) == {model.classify(image)["classes"][0]["class"]})
"""


def test_a_callback_may_use_models_with_one_thread(tmp_path):
    call = [sys.executable, "-c", ONE_THREAD, tmp_path / "run"]
    done = subprocess.run(
        call, capture_output=True, text=True, timeout=120, env={"RAYON_NUM_THREADS": "1"}
    )
    count, same = done.stdout.split()
    assert int(count) >= 4 and same == "True", done.stderr


def test_an_exception_of_a_callback_ends_the_run(tmp_path):
    def callback(event):
        raise KeyError("mine")

    config = {"schedule.steps": 1000, "network": {"width": 8, "blocks": [1]}}
    with pytest.raises(KeyError, match="mine"):
        miyasawa.train(config, out=tmp_path / "run", callback=callback)
