"""Speed of classification from Python beside the command line's, in CPU seconds, which a busy
machine changes less than wall time: python scripts/python_speed.py PROGRAM [COUNT]. Prints one
JSON document.

Both classify the same COUNT images of 32x32, one by one; Python also all at once. The program reads
PNG files, whose decoding is a part of its time, as the start of both is not.
"""

import json
import pathlib
import resource
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

import miyasawa


def cpu(who):
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def main():
    program, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    draws = np.random.default_rng(0)
    images = draws.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(pathlib.Path(folder) / f"{number:05}.png") for number in range(count)]
        for path, image in zip(paths, images):
            Image.fromarray(image).save(path)

        def call(paths):
            before = cpu(resource.RUSAGE_CHILDREN)
            done = subprocess.run([program, "classify", "--json", *paths], capture_output=True)
            return cpu(resource.RUSAGE_CHILDREN) - before, json.loads(done.stdout)["images"]

        start, _ = call(paths[:1])
        seconds, found = call(paths)
    model = miyasawa.load()
    model.classify(images[0])
    before = cpu(resource.RUSAGE_SELF)
    single = [model.classify(image) for image in images]
    of_single = cpu(resource.RUSAGE_SELF) - before
    before = cpu(resource.RUSAGE_SELF)
    model.classify(images)
    of_batch = cpu(resource.RUSAGE_SELF) - before
    same = all(
        one["classes"][:5] == other["classes"] for one, other in zip(single, found)
    )
    program_seconds = seconds - start
    print(
        json.dumps(
            {
                "count": count,
                "same_numbers": same,
                "program_cpu_seconds": program_seconds,
                "python_cpu_seconds": of_single,
                "python_batch_cpu_seconds": of_batch,
                "ratio": of_single / program_seconds,
                "batch_ratio": of_batch / program_seconds,
            }
        )
    )


if __name__ == "__main__":
    main()
