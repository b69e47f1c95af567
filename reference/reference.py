"""PyTorch reference of the joint classification-denoising model: the definition that the Rust
implementation is checked against, and the peer that it is timed against.

    python reference.py oracle OUT.safetensors [--width 8 --classes 5 --image 1x16x16 --batch 3
                                --seed 0 --blind --norm group|none --norm-epsilon 1e-5]
    python reference.py bench  [--width 64 --batch 32 --image 3x32x32 --classes 10 --dtype f32|bf16
                                --mode eager|channels_last|compile --threads 2 --iters 7
                                --device cpu|cuda]
    python reference.py infer  [--task classify|denoise --batch 1 ...]      same options as bench

Needs: torch, numpy, safetensors (PyPI). `oracle` writes every parameter, the inputs, and all that
the model must reproduce: logits, energy, log p(y,c), the score, both denoisers, the losses and the
gradient of the loss for every parameter, in float64 computed and float32 stored.

Notation (data in [-1, 1]; d = number of input values of one image; s = sigma_data):
    y = x + sigma * eps,   c_in = 1 / sqrt(s^2 + sigma^2),   u = c_in * y
    log p(y, c | sigma)
        = -|y|^2 / (2 (s^2 + sigma^2)) + (s / sigma) * e(u, sigma) + f_c(u, sigma) + const
    score(y)   = grad_y logsumexp_c log p(y, c)            D(y)    = y + sigma^2 * score(y)
    score(y|c) = grad_y log p(y, c)                        D(y, c) = y + sigma^2 * score(y|c)
    CE  = -log softmax_c log p(y, c)
    DSM = (s^2 + sigma^2) / (s * sigma)^2 * |D(y) - x|^2 / d
A blind model sees no sigma: c_in = 1, log p(y, c) = -|y|^2 / 2 + e(y) + f_c(y), and its loss is
    DSM = |sigma * score(y) + eps|^2 / d.
`--norm none` replaces group normalisation by a scale and a shift of every channel; `--norm-epsilon`
is what group normalisation adds to the variances.
"""
import argparse, json, math, time, resource
import torch
import torch.nn.functional as F
from torch import nn

CHANNELS_PER_GROUP = 8


class GroupNorm(nn.Module):
    """Group normalisation whose scale and shift are modulated by the noise embedding."""

    def __init__(self, channels, embedding, norm="group", epsilon=1e-5):
        super().__init__()
        self.groups, self.norm, self.epsilon = max(1, channels // CHANNELS_PER_GROUP), norm, epsilon
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.modulation = nn.Linear(embedding, 2 * channels) if embedding else None

    def forward(self, x, emb):
        if self.norm == "none":
            h = x * self.weight[:, None, None] + self.bias[:, None, None]
        else:
            h = F.group_norm(x, self.groups, self.weight, self.bias, eps=self.epsilon)
        if self.modulation is None:
            return h
        scale, shift = self.modulation(emb).chunk(2, 1)
        return h * (1 + scale[:, :, None, None]) + shift[:, :, None, None]


class Block(nn.Module):
    """out = norm(gelu(conv2(gelu(conv1(x))) + shortcut(x))); convolutions carry no bias."""

    def __init__(self, cin, cout, stride, embedding, norm="group", epsilon=1e-5):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        changes = stride != 1 or cin != cout
        self.shortcut = nn.Conv2d(cin, cout, 1, stride, bias=False) if changes else None
        self.norm = GroupNorm(cout, embedding, norm, epsilon)

    def forward(self, x, emb):
        h = self.conv2(F.gelu(self.conv1(x)))
        h = h + (x if self.shortcut is None else self.shortcut(x))
        return self.norm(F.gelu(h), emb)


class GradResNet(nn.Module):
    """ResNet-18 layout made smooth. The mean-pooled output of every stage feeds both heads.

    Without norms the energy takes every stage by the sum over its own pixels: the mean times the
    pixels of the image would give the last of four stages 64 times the weight of the first.
    """

    def __init__(self, in_channels, classes, width=64, blocks=(2, 2, 2, 2), blind=False,
                 norm="group", epsilon=1e-5):
        super().__init__()
        fourier, embedding = 32, 0 if blind else 64
        if not blind:
            logs = torch.linspace(math.log(0.25), math.log(16.0), fourier // 2)
            self.register_buffer("freqs", torch.exp(logs))
            self.embed1 = nn.Linear(fourier, embedding)
            self.embed2 = nn.Linear(embedding, embedding)
        self.blind, self.norm = blind, norm
        self.stem = nn.Conv2d(in_channels, width, 3, 1, 1, bias=False)
        self.stages, cin = nn.ModuleList(), width
        for k, n in enumerate(blocks):
            cout = width * 2**k
            self.stages.append(nn.ModuleList(
                Block(cin if j == 0 else cout, cout, 2 if k > 0 and j == 0 else 1, embedding,
                      norm, epsilon)
                for j in range(n)))
            cin = cout
        features = sum(width * 2**k for k in range(len(blocks)))
        self.class_head = nn.Linear(features, classes)
        self.energy_head = nn.Linear(features, 1, bias=False)  # a constant has no gradient

    def forward(self, u, sigma):
        """u: [N, C, H, W]; sigma: [N]. Returns logits f [N, classes] and energy e [N]."""
        emb = None
        if not self.blind:
            t = (sigma.log() / 4)[:, None] * self.freqs[None]
            emb = F.silu(self.embed2(F.silu(self.embed1(torch.cat([t.cos(), t.sin()], 1)))))
        h, pooled, shares, pixels = F.gelu(self.stem(u)), [], [], u.shape[2] * u.shape[3]
        for stage in self.stages:
            for block in stage:
                h = block(h, emb)
            pooled.append(h.mean((2, 3)))
            shares.append(pooled[-1] * (h.shape[2] * h.shape[3] / pixels))
        phi = torch.cat(pooled, 1)
        summed = torch.cat(shares, 1) if self.norm == "none" else phi
        return self.class_head(phi), self.energy_head(summed)[:, 0] * pixels


def joint_log_prob(net, y, sigma, sigma_data):
    """log p(y, c | sigma) up to a constant, in two parts: what the classes share [N], and the
    logits f [N, classes]. They are kept apart: the shared part is in the thousands, and adding it
    to f in float32 would round the class posterior away and spoil the score and, by a few percent,
    the gradients of the denoising loss."""
    sq = y.pow(2).flatten(1).sum(1)
    if net.blind:
        f, e = net(y, sigma)
        return e - 0.5 * sq, f
    var = sigma_data**2 + sigma**2
    f, e = net(y * var.rsqrt()[:, None, None, None], sigma)
    return sigma_data / sigma * e - sq / (2 * var), f


def marginal_log_prob(shared, f):
    """log p(y | sigma) up to a constant, [N]."""
    return shared + torch.logsumexp(f, 1)


def losses(net, x, labels, eps, sigma, sigma_data, create_graph=True):
    """Mean cross-entropy and mean weighted denoising-score-matching loss of a batch."""
    s4 = sigma[:, None, None, None]
    y = (x + s4 * eps).requires_grad_(True)
    shared, f = joint_log_prob(net, y, sigma, sigma_data)
    (score,) = torch.autograd.grad(marginal_log_prob(shared, f).sum(), y, create_graph=create_graph)
    ce = F.cross_entropy(f, labels)
    if net.blind:
        dsm = (s4 * score + eps).pow(2).mean()
    else:
        weight = (sigma_data**2 + sigma**2) / (sigma_data * sigma) ** 2
        dsm = (weight * (y + s4**2 * score - x).pow(2).flatten(1).mean(1)).mean()
    return ce, dsm, score


def shape(text):
    return tuple(int(v) for v in text.split("x"))


def build(a, dtype=torch.float32):
    torch.manual_seed(a.seed)
    c, h, w = a.image
    net = GradResNet(c, a.classes, a.width, tuple(a.blocks), a.blind, a.norm, a.norm_epsilon)
    net = net.to(dtype)
    x = torch.rand(a.batch, c, h, w, dtype=dtype) * 2 - 1
    labels = torch.randint(0, a.classes, (a.batch,))
    eps = torch.randn(a.batch, c, h, w, dtype=dtype)
    sigma = torch.exp(torch.empty(a.batch, dtype=dtype).uniform_(math.log(0.02), math.log(1.0)))
    return net, x, labels, eps, sigma


def oracle(a):
    from safetensors.torch import save_file
    net, x, labels, eps, sigma = build(a, torch.float64)
    with torch.no_grad():  # no parameter left at a value that hides a mistake, all exact in float32
        for p in net.parameters():
            p.add_(0.05 * torch.randn_like(p))
            p.copy_(p.float())
        x, eps, sigma = (t.float().double() for t in (x, eps, sigma))
    ce, dsm, score = losses(net, x, labels, eps, sigma, a.sigma_data)
    (ce + a.dsm_weight * dsm).backward()
    s2 = (sigma**2)[:, None, None, None]
    y = (x + sigma[:, None, None, None] * eps).requires_grad_(True)
    shared, f = joint_log_prob(net, y, sigma, a.sigma_data)
    (cond,) = torch.autograd.grad((shared + f.gather(1, labels[:, None])[:, 0]).sum(), y)
    with torch.no_grad():
        u = y if net.blind else y * (a.sigma_data**2 + sigma**2).rsqrt()[:, None, None, None]
        _, e = net(u, sigma)
    out = {f"param.{k}": v for k, v in net.named_parameters()}
    out |= {f"grad.{k}": v.grad for k, v in net.named_parameters()}
    out |= dict(x=x, eps=eps, sigma=sigma, labels=labels, logits=f, energy=e,
                joint=shared[:, None] + f, score=score, denoised=y + s2 * score,
                denoised_given_label=y + s2 * cond, ce=ce[None], dsm=dsm[None])
    single = lambda v: v if v.dtype == torch.int64 else v.detach().float()
    out = {k: single(v).contiguous() for k, v in out.items()}
    meta = {k: str(v) for k, v in vars(a).items()}
    save_file(out, a.out, metadata=meta)


def median_seconds(step, iters, warmup=2, device="cpu"):
    def timed():
        t = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - t

    for _ in range(warmup):
        timed()
    times = [timed() for _ in range(iters)]
    return sorted(times)[len(times) // 2]


def conv_macs(net, x, sigma):
    macs = []
    count = lambda m, i, o: macs.append(o.numel() * m.weight[0].numel())
    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        net(x, sigma)
    for h in hooks:
        h.remove()
    return sum(macs)


def report(a, seconds, macs, passes):
    print(json.dumps(dict(
        peer=f"pytorch-{torch.__version__}", mode=a.mode, dtype=a.dtype, batch=a.batch,
        width=a.width, median_seconds=seconds, images_per_second=a.batch / seconds,
        conv_gflop=2e-9 * passes * macs, achieved_gflops=2e-9 * passes * macs / seconds,
        device=a.device,
        peak_device_bytes=torch.cuda.max_memory_allocated() if a.device == "cuda" else None,
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)))


def prepare(a):
    torch.set_num_threads(a.threads)
    net, x, labels, eps, sigma = build(a)
    macs = conv_macs(net, x, sigma)
    net, x, labels, eps, sigma = (v.to(a.device) for v in (net, x, labels, eps, sigma))
    torch.backends.cudnn.benchmark = True
    if a.mode == "channels_last":
        net = net.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    return net, x, labels, eps, sigma, macs


def bench(a):
    net, x, labels, eps, sigma, macs = prepare(a)
    opt = torch.optim.AdamW(net.parameters(), 1e-3)

    # torch.compile cannot trace autograd.grad: func.grad it can.
    def functional(x, labels, eps, sigma):
        s4 = sigma[:, None, None, None]
        y = x + s4 * eps

        def marginal(y):
            shared, f = joint_log_prob(net, y, sigma, a.sigma_data)
            return marginal_log_prob(shared, f).sum(), f

        score, f = torch.func.grad(marginal, has_aux=True)(y)
        weight = (a.sigma_data**2 + sigma**2) / (a.sigma_data * sigma) ** 2
        square = (y + s4**2 * score - x).pow(2).flatten(1).mean(1)
        return F.cross_entropy(f, labels) + (weight * square).mean()

    def eager(x, labels, eps, sigma):
        ce, dsm, _ = losses(net, x, labels, eps, sigma, a.sigma_data)
        return ce + dsm

    loss = torch.compile(functional) if a.mode == "compile" else eager

    def step():
        opt.zero_grad(set_to_none=True)
        with torch.autocast(a.device, torch.bfloat16, enabled=a.dtype == "bf16"):
            value = loss(x, labels, eps, sigma)
        value.backward()
        opt.step()

    report(a, median_seconds(step, a.iters, device=a.device), macs, 6)


def infer(a):
    net, x, labels, eps, sigma, macs = prepare(a)
    y = x + sigma[:, None, None, None] * eps

    def classify():
        half = torch.autocast(a.device, torch.bfloat16, enabled=a.dtype == "bf16")
        with torch.inference_mode(), half:
            return joint_log_prob(net, y, sigma, a.sigma_data)[1].softmax(1)

    def denoise():
        z = y.detach().requires_grad_(True)
        with torch.autocast(a.device, torch.bfloat16, enabled=a.dtype == "bf16"):
            m = marginal_log_prob(*joint_log_prob(net, z, sigma, a.sigma_data)).sum()
        (score,) = torch.autograd.grad(m, z)
        return z.detach() + (sigma**2)[:, None, None, None] * score

    for p in net.parameters():
        p.requires_grad_(False)
    step, passes = (classify, 1) if a.task == "classify" else (denoise, 2)
    report(a, median_seconds(step, a.iters, warmup=5, device=a.device), macs, passes)


def main():
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    p.add_argument("command", choices=["oracle", "bench", "infer"])
    p.add_argument("out", nargs="?", default="oracle.safetensors")
    p.add_argument("--image", type=shape)
    p.add_argument("--width", type=int)
    p.add_argument("--classes", type=int)
    p.add_argument("--batch", type=int)
    p.add_argument("--blocks", type=lambda t: [int(v) for v in t.split(",")], default=[2, 2, 2, 2])
    p.add_argument("--blind", action="store_true")
    p.add_argument("--norm", choices=["group", "none"], default="group")
    p.add_argument("--norm-epsilon", type=float, default=1e-5)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--sigma-data", type=float, default=0.5)
    p.add_argument("--dsm-weight", type=float, default=1.0)
    p.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    p.add_argument("--mode", choices=["eager", "channels_last", "compile"], default="eager")
    p.add_argument("--task", choices=["classify", "denoise"], default="denoise")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--iters", type=int, default=7)
    p.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    a = p.parse_args()
    small = a.command == "oracle"
    a.image = a.image or ((1, 16, 16) if small else (3, 32, 32))
    a.width = a.width or (8 if small else 64)
    a.classes = a.classes or (5 if small else 10)
    a.batch = a.batch or (3 if small else 32)
    {"oracle": oracle, "bench": bench, "infer": infer}[a.command](a)


if __name__ == "__main__":
    main()
