#!/usr/bin/env python3
"""Attacks a checkpoint with independent implementations, for comparison with `miyasawa attack`.

    miyasawa attack MODEL --data DATA --limit N ... --dump images.safetensors --json > ours.json
    python scripts/attacks_peer.py --reference reference.py --model MODEL \
        --pictures images.safetensors --norm l2 --eps 0.5 --method pgd|autoattack \
        [--steps 50] [--threads 1] [--ours ours.json]

PGD is written here in plain PyTorch; AutoAttack is that of torchattacks (PyPI). The network is the
PyTorch reference (reference.py, given by its path), filled with the parameters of the checkpoint,
whose metadata hold the configuration; the images and labels are those that `--dump` wrote, in the
same order. Prints one JSON document.

Needs: torch, safetensors, torchattacks (whose `torchvision` and `requests` are used by parts that
this script does not import, and are replaced by empty modules where they are missing).
"""
import argparse, importlib.util, json, sys, time, types
import torch
import torch.nn.functional as F
from torch import nn
from safetensors import safe_open
from safetensors.torch import load_file


def load_model(reference, path):
    spec = importlib.util.spec_from_file_location("reference", reference)
    ref = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ref)
    with safe_open(path, "pt") as f:
        info = json.loads(f.metadata()["info"])
    net, data = info["network"], info["data"]
    if net.get("kind", "gradresnet") != "gradresnet":
        sys.exit(f"{path}: a network of the kind {net['kind']}, expected a joint model")
    model = ref.GradResNet(
        net["channels"], net["classes"], net["width"], tuple(net["blocks"]), net["blind"]
    )
    model.load_state_dict(load_file(path))
    return Classifier(ref, model.eval().requires_grad_(False), data["std"], info["sigma"][0])


class Classifier(nn.Module):
    """Logits of images in [0, 1] at one noise level."""

    def __init__(self, ref, net, sigma_data, sigma):
        super().__init__()
        self.ref, self.net, self.sigma_data, self.sigma = ref, net, sigma_data, sigma

    def forward(self, x):
        sigma = torch.full((len(x),), self.sigma, dtype=x.dtype)
        return self.ref.joint_log_prob(self.net, 2 * x - 1, sigma, self.sigma_data)[1]


def pgd(model, x, labels, norm, eps, steps, generator):
    """Madry et al. 2018 with steps of 2.5 eps/steps from a random start. Returns which images are
    classified correctly at the last step, and which at every step."""

    def project(d):
        if norm == "linf":
            return d.clamp(-eps, eps)
        length = d.flatten(1).norm(dim=1).clamp_min(1e-12)
        return d * (eps / length).clamp_max(1)[:, None, None, None]

    d = torch.randn(x.shape, generator=generator)
    if norm == "l2":
        d = 0.5 * eps * d / d.flatten(1).norm(dim=1)[:, None, None, None]
    else:
        d = eps * (2 * torch.rand(x.shape, generator=generator) - 1)
    y = (x + d).clamp(0, 1)
    always = torch.ones(len(x), dtype=torch.bool)
    for step in range(steps + 1):
        y.requires_grad_(True)
        z = model(y)
        correct = z.argmax(1) == labels
        always &= correct
        if step == steps:
            return correct, always
        (g,) = torch.autograd.grad(F.cross_entropy(z, labels, reduction="sum"), y)
        if norm == "l2":
            g = g / g.flatten(1).norm(dim=1).clamp_min(1e-30)[:, None, None, None]
        else:
            g = g.sign()
        y = (x + project(y.detach() + 2.5 * eps / steps * g - x)).clamp(0, 1).detach()


def autoattack(model, x, labels, norm, eps, classes):
    for name in ("torchvision", "torchvision.transforms", "requests"):
        try:
            __import__(name)
        except ImportError:
            sys.modules[name] = types.ModuleType(name)
    import torchattacks

    attack = torchattacks.AutoAttack(
        model,
        norm={"l2": "L2", "linf": "Linf"}[norm],
        eps=eps,
        version="standard",
        n_classes=classes,
        seed=0,
    )
    # By default its attacks with gradients have 10 steps; the standard version has 100.
    for part in attack._autoattack.attacks:
        if hasattr(part, "steps"):
            part.steps = 100
    adversarial = attack(x, labels)
    size = (adversarial - x).flatten(1)
    size = size.norm(dim=1) if norm == "l2" else size.abs().amax(1)
    assert size.max() <= eps * 1.001, size.max()
    with torch.no_grad():
        return model(adversarial).argmax(1) == labels


def fractions(text):
    """`0.5,8/255` as numbers."""
    return [float(a) / float(b or 1) for a, _, b in (v.partition("/") for v in text.split(","))]


def main():
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    p.add_argument("--reference", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--pictures", required=True)
    p.add_argument("--norm", choices=["l2", "linf"], required=True)
    p.add_argument("--eps", type=fractions, required=True)
    p.add_argument("--method", choices=["pgd", "autoattack"], required=True)
    p.add_argument("--steps", type=int, default=50)
    p.add_argument("--batch", type=int, default=100)
    p.add_argument("--threads", type=int, default=1)
    ours = "the JSON of `miyasawa attack` on the same images: differences are added"
    p.add_argument("--ours", help=ours)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    model = load_model(a.reference, a.model)
    file = load_file(a.pictures)
    x, labels = file["x"], file["labels"].long()
    with torch.no_grad():
        z = torch.cat([model(part) for part in x.split(a.batch)])
    clean = z.argmax(1) == labels
    generator = torch.Generator().manual_seed(0)
    rows, start = [], time.perf_counter()
    for eps in sorted(a.eps):
        last, always = [], []
        for part, truth in zip(x[clean].split(a.batch), labels[clean].split(a.batch)):
            if a.method == "pgd":
                correct, every = pgd(model, part, truth, a.norm, eps, a.steps, generator)
            else:
                correct = every = autoattack(model, part, truth, a.norm, eps, z.shape[1])
            last.append(correct)
            always.append(every)
        share = lambda parts: torch.cat(parts).sum().item() / len(x)
        row = dict(eps=eps, robust_accuracy=share(always))
        if a.method == "pgd":
            row["robust_accuracy_last_step"] = share(last)
        rows.append(row)
    out = dict(
        peer=f"pytorch-{torch.__version__}",
        model=a.model,
        norm=a.norm,
        method=a.method,
        count=len(x),
        clean_accuracy=clean.float().mean().item(),
        rows=rows,
        seconds=time.perf_counter() - start,
        threads=a.threads,
    )
    if a.ours:
        with open(a.ours) as f:
            ours = json.load(f)
        out["ours"] = {k: ours[k] for k in ("clean_accuracy", "rows", "seconds")}
        by_eps = {round(r["eps"], 9): r["robust_accuracy"] for r in ours["rows"]}
        out["ours_minus_peer"] = {
            r["eps"]: by_eps[round(r["eps"], 9)] - r["robust_accuracy"] for r in rows
        }
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
