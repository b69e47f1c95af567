"""Oracles of the reference models: python3 scripts/reference_models.py [FOLDER]

Defines ResNet-18 in its CIFAR form, DnCNN and the residual UNet in PyTorch with the parameter names
of `miyasawa`, and writes for each a safetensors file with parameters, a batch, what the model
answers out of training (`out`), and what one step of training sees: the loss, its gradients
(`grad.NAME`), and the running statistics after it (`moved.NAME`).
crates/miyasawa/tests/references.rs compares. Needs torch and safetensors.
"""

import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

SIGMA_DATA = 0.5


def conv(cin, cout, k=3, stride=1, bias=False):
    return nn.Conv2d(cin, cout, k, stride, k // 2, bias=bias)


class BiasFreeNorm(nn.Module):
    """Batch normalisation that subtracts and adds nothing (Mohan et al. 2020)."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        var = self.running_var
        if self.training:
            var = x.var((0, 2, 3), unbiased=False)
            with torch.no_grad():
                n = x.numel() / x.shape[1]
                self.running_var += 0.1 * (var * n / (n - 1) - self.running_var)
        return x * (self.weight / (var + 1e-5).sqrt()).view(1, -1, 1, 1)


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1, self.norm1 = conv(cin, cout, stride=stride), nn.BatchNorm2d(cout)
        self.conv2, self.norm2 = conv(cout, cout), nn.BatchNorm2d(cout)
        if cin != cout:
            self.shortcut, self.shortcut_norm = conv(cin, cout, 1, stride), nn.BatchNorm2d(cout)

    def forward(self, x):
        h = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        beside = self.shortcut_norm(self.shortcut(x)) if hasattr(self, "shortcut") else x
        return F.relu(h + beside)


class ResNet(nn.Module):
    def __init__(self, channels, classes, width, blocks):
        super().__init__()
        self.stem, self.norm = conv(channels, width), nn.BatchNorm2d(width)
        cin, stages = width, []
        for k, count in enumerate(blocks):
            stage = []
            for j in range(count):
                stage.append(BasicBlock(cin, width << k, 2 if k > 0 and j == 0 else 1))
                cin = width << k
            stages.append(nn.ModuleList(stage))
        self.stages, self.head = nn.ModuleList(stages), nn.Linear(cin, classes)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        for stage in self.stages:
            for block in stage:
                x = block(x)
        return self.head(x.mean((2, 3)))


class DnCnn(nn.Module):
    def __init__(self, channels, width, depth, bias_free, conditioned):
        super().__init__()
        norm = BiasFreeNorm if bias_free else nn.BatchNorm2d
        self.first = conv(channels + conditioned, width, bias=not bias_free)
        self.middle = nn.ModuleList(conv(width, width) for _ in range(depth - 2))
        self.norms = nn.ModuleList(norm(width) for _ in range(depth - 2))
        self.last = conv(width, channels, bias=not bias_free)

    def forward(self, x):
        x = F.relu(self.first(x))
        for c, norm in zip(self.middle, self.norms):
            x = F.relu(norm(c(x)))
        return self.last(x)


class ResidualBlock(nn.Module):
    def __init__(self, width, bias):
        super().__init__()
        self.conv1, self.conv2 = conv(width, width, bias=bias), conv(width, width, bias=bias)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(x)))


class Scale(nn.Module):
    def __init__(self, width, count, bias):
        super().__init__()
        blocks = lambda: nn.Sequential(*(ResidualBlock(width, bias) for _ in range(count)))
        self.before, self.after = blocks(), blocks()
        self.down = conv(width, 2 * width, stride=2, bias=bias)
        self.up = nn.ConvTranspose2d(2 * width, width, 3, 2, 1, bias=False)


class UNet(nn.Module):
    def __init__(self, channels, width, blocks, bias_free, conditioned):
        super().__init__()
        bias, last = not bias_free, len(blocks) - 1
        self.head = conv(channels + conditioned, width, bias=bias)
        self.scales = nn.ModuleList(Scale(width << k, n, bias) for k, n in enumerate(blocks[:-1]))
        self.body = nn.Sequential(*(ResidualBlock(width << last, bias) for _ in range(blocks[-1])))
        self.tail = conv(width, channels, bias=bias)

    def forward(self, x):
        x, skips = self.head(x), []
        for scale in self.scales:
            skips.append(scale.before(x))
            x = scale.down(skips[-1])
        x = self.body(x)
        for scale, skip in zip(reversed(self.scales), reversed(skips)):
            x = scale.after(scale.up(x, output_size=skip.shape[2:]) + skip)
        return self.tail(x)


def denoised(net, y, sigma, conditioned):
    if not conditioned:
        return y - net(y)
    sigma = sigma.view(-1, 1, 1, 1)
    variance = sigma**2 + SIGMA_DATA**2
    level = sigma.expand(-1, 1, *y.shape[2:])
    out = net(torch.cat([y, level], 1) / variance.sqrt())
    return SIGMA_DATA**2 / variance * y + sigma * SIGMA_DATA / variance.sqrt() * out


KINDS = {"resnet18": ResNet, "dncnn": DnCnn, "unet": UNet}
CASES = {
    "resnet18": (
        (3, 9, 8), dict(kind="resnet18", channels=3, classes=5, width=4, blocks=[1, 2, 1])
    ),
    "dncnn": (
        (1, 7, 9),
        dict(kind="dncnn", channels=1, width=6, depth=4, bias_free=False, conditioned=False),
    ),
    "dncnn-free": (
        (3, 6, 5),
        dict(kind="dncnn", channels=3, width=6, depth=4, bias_free=True, conditioned=True),
    ),
    "unet": (
        (1, 13, 10),
        dict(kind="unet", channels=1, width=3, blocks=[1, 1, 2], bias_free=True, conditioned=True),
    ),
    "unet-bias": (
        (3, 7, 7),
        dict(kind="unet", channels=3, width=3, blocks=[1, 1], bias_free=False, conditioned=False),
    ),
}


def oracle(image, config):
    torch.manual_seed(1)
    arguments = {key: value for key, value in config.items() if key != "kind"}
    net = KINDS[config["kind"]](**arguments).double()
    for name, tensor in net.state_dict().items():
        # Statistics and scales as after some training, not those of the start.
        if "norm" in name and tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape) + 0.5)
    x, eps = torch.rand(6, *image).double() * 2 - 1, torch.randn(6, *image).double()
    sigma, labels = torch.tensor([0.05, 0.1, 0.2, 0.4, 0.7, 1.0]).double(), torch.arange(6) % 5
    net.float().double()  # What is stored is float32.
    x, eps, sigma = (t.float().double() for t in (x, eps, sigma))
    y = x + eps * sigma.view(-1, 1, 1, 1)
    classifies = config["kind"] == "resnet18"
    answer = lambda: net(y) if classifies else denoised(net, y, sigma, config["conditioned"])
    params = {f"param.{name}": t.clone() for name, t in net.state_dict().items()}
    net.eval()
    out = answer()
    net.train()
    if classifies:
        loss = F.cross_entropy(answer(), labels)
    else:
        weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
        loss = (weight * ((answer() - x) ** 2).mean((1, 2, 3))).mean()
    loss.backward()
    tensors = dict(params, x=x, eps=eps, sigma=sigma, out=out.detach(), loss=loss.detach().view(1))
    tensors.update({f"grad.{name}": p.grad for name, p in net.named_parameters()})
    tensors.update({f"moved.{name}": b for name, b in net.named_buffers()})
    tensors = {k: v.float().contiguous() for k, v in tensors.items() if "num_batches" not in k}
    return dict(tensors, labels=labels)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "crates/miyasawa/tests/references")
    folder.mkdir(parents=True, exist_ok=True)
    for name, (image, config) in CASES.items():
        metadata = {"architecture": json.dumps(config), "sigma_data": str(SIGMA_DATA)}
        save_file(oracle(image, config), folder / f"{name}.safetensors", metadata)
