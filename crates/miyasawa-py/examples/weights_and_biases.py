"""A run whose numbers go to Weights & Biases, by a callback of `miyasawa.train`.

    WANDB_MODE=offline python weights_and_biases.py runs/mine --data digits --steps 500

Needs wandb. Without WANDB_MODE the numbers go to the account that `wandb login` knows; those of
an offline run are sent by `wandb sync`.
"""

import argparse

import wandb

import miyasawa


def numbers(prefix, found, leave_out):
    """The numbers of a dictionary under names such as `train/loss`."""
    kept = {key: value for key, value in found.items() if key not in leave_out}
    return {f"{prefix}/{key}": v for key, v in kept.items() if isinstance(v, (int, float))}


def callback(run):
    """What `miyasawa.train` calls: sends the numbers of steps and evaluations to a run of wandb,
    under the names that the event file of TensorBoard has for them, such as `train/loss` and
    `test/psnr/sigma 0.1`."""

    def send(event):
        if event["event"] == "step":
            run.log(numbers("train", event, ("step", "total")), step=event["step"])
        elif event["event"] == "evaluation":
            for row in event["rows"]:
                named = numbers("test", row, ("sigma",))
                level = f"sigma {row['sigma']:g}"
                run.log({f"{key}/{level}": v for key, v in named.items()}, step=event["step"])

    return send


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", help="the folder of the run")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--steps", type=int, default=500)
    given = parser.parse_args()
    config = {"network": {"width": 16, "blocks": [1, 1]}, "schedule.steps": given.steps}
    with wandb.init(project="miyasawa", config=config) as run:
        found = miyasawa.train(config, given.data, out=given.out, callback=callback(run))
        run.summary["model"] = found["model"]


if __name__ == "__main__":
    main()
