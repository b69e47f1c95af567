"""What the tests share. `MIYASAWA_PROGRAM` is the program that the package is compared with: the
binary of the project, or the entry point of this package where it is not set."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

import miyasawa


def program():
    given = os.environ.get("MIYASAWA_PROGRAM")
    if given:
        return [given]
    found = shutil.which("miyasawa", path=os.path.dirname(sys.executable))
    return [found] if found else [sys.executable, "-m", "miyasawa"]


def run(*args, **options):
    """The program's run, with its output as text."""
    call = [*program(), *map(str, args)]
    return subprocess.run(call, capture_output=True, text=True, **options)


def document(*args):
    """The document of a run with --json."""
    done = run(*args, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def model():
    return miyasawa.load()


@pytest.fixture(scope="session")
def photo():
    return miyasawa.load("photo")


def picture(height=32, width=32, channels=3, seed=0):
    """A smooth image with noise of the level 0.1, in bytes (height, width, channels)."""
    draws = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width] / 32.0
    planes = [np.sin(3 * rows + k) * np.cos(2 * columns - k) for k in range(channels)]
    clean = np.stack(planes, -1) * 0.6
    noisy = clean + 0.1 * draws.standard_normal(clean.shape)
    return np.clip(np.round((noisy + 1) * 127.5), 0, 255).astype(np.uint8)


def floats(image):
    """The values in [-1, 1] of an image in bytes, channels first, as the library has them."""
    values = image.astype(np.float32) / np.float32(127.5) - np.float32(1)
    return np.ascontiguousarray(np.moveaxis(values, -1, -3))


@contextlib.contextmanager
def started(program, *args):
    """A Python process that SIGINT interrupts, also where these tests run in the background of a
    shell, which ignores it there; ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, args)],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
