"""A model in the benchmark of RobustBench: accuracy, and robust accuracy under AutoAttack.

    python robustbench_benchmark.py [MODEL] --count 200 --norm L2 --eps 0.5

Needs miyasawa[torch], robustbench and "setuptools<81". RobustBench downloads CIFAR-10 into the
folder of --data. MODEL is a checkpoint or the name of a bundled model; it must classify CIFAR-10's
classes in their order, as the bundled model does.
"""

import argparse
import importlib.util
import json
import sys
import types

import miyasawa.torch

if importlib.util.find_spec("autoattack") is None:
    # RobustBench 1.1.1 asks PyPI for AutoAttack by another name than it imports, and calls it by
    # the arguments of the original.
    import pyautoattack
    import pyautoattack.state

    class AutoAttack(pyautoattack.AutoAttack):
        def __init__(self, *args, log_path=None, **options):
            super().__init__(*args, **options)

        def run_standard_evaluation(self, images, labels, bs=250, state_path=None):
            found = super().run_standard_evaluation(
                images, labels, batch_size=bs, state_path=state_path
            )
            # The images, and what becomes of their classes.
            return found[0] if isinstance(found, tuple) else found

    package = types.ModuleType("autoattack")
    package.AutoAttack = AutoAttack
    sys.modules |= {"autoattack": package, "autoattack.state": pyautoattack.state}

from robustbench.eval import benchmark  # noqa: E402


def main(*args):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?")
    parser.add_argument("--data", default="./data")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--norm", choices=["L2", "Linf"], default="L2")
    parser.add_argument("--eps", type=float, default=0.5, help="in units of the [0, 1] range")
    parser.add_argument("--batch", type=int, default=50)
    given = parser.parse_args(args or None)
    # A module that takes images in [0, 1] and gives logits: all that RobustBench asks for.
    model = miyasawa.torch.load(given.model).eval().requires_grad_(False)
    accuracy, robust = benchmark(
        model,
        n_examples=given.count,
        dataset="cifar10",
        threat_model=given.norm,
        eps=given.eps,
        data_dir=given.data,
        batch_size=given.batch,
    )
    found = {"accuracy": accuracy, "robust_accuracy": robust, "norm": given.norm, "eps": given.eps}
    print(json.dumps(found))
    return found


if __name__ == "__main__":
    main()
