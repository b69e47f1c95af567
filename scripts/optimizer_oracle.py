"""The numbers of the test `steps_agree_with_pytorch` in crates/miyasawa/src/train/optimizer.rs.

Needs torch. torch.optim.SGD adds the decay to the gradient; ours is decoupled, so it is applied by
hand here.
"""
import torch

GRADS = [[1.0, -2.0], [0.5, 0.5], [-1.0, 0.25]]
LR, DECAY, CLIP = 0.01, 0.1, 2.0


def run(make, decoupled_by_hand):
    p = torch.nn.Parameter(torch.tensor([[0.5, -0.25]]))
    opt = make([p])
    for g in GRADS:
        p.grad = torch.tensor([g])
        # clip_grad_norm_ adds 1e-6 to the norm: exact clipping here.
        p.grad *= min(1.0, CLIP / p.grad.norm().item())
        if decoupled_by_hand:
            p.data *= 1 - LR * DECAY
        opt.step()
    return [f"{v:.8f}" for v in p.data.flatten().tolist()]


print("adamw   ", run(lambda p: torch.optim.AdamW(p, lr=LR, weight_decay=DECAY), False))
print("sgd     ", run(lambda p: torch.optim.SGD(p, lr=LR, momentum=0.9), True))
print("nesterov", run(lambda p: torch.optim.SGD(p, lr=LR, momentum=0.9, nesterov=True), True))


def muon(g, steps=5, eps=1e-7):
    x = g.double() / (g.double().norm() + eps)
    for _ in range(steps):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x


# The numbers of `two_steps_agree_with_pytorch` in crates/miyasawa/src/train/muon.rs: lr 0.1,
# momentum 0.9.
weight, momentum = torch.zeros(2, 3, dtype=torch.double), torch.zeros(2, 3, dtype=torch.double)
theirs = torch.nn.Parameter(torch.zeros(2, 3))
opt = torch.optim.Muon(
    [theirs], lr=0.1, weight_decay=0.0, momentum=0.9, adjust_lr_fn="match_rms_adamw"
)
for g in [[1.0, -2.0, 0.5, 0.25, 1.5, -1.0], [0.5, 0.5, -1.0, 2.0, -0.25, 0.0]]:
    g = torch.tensor(g).reshape(2, 3)
    momentum = 0.9 * momentum + 0.1 * g.double()
    weight -= 0.1 * 0.2 * 3**0.5 * muon(0.9 * momentum + 0.1 * g.double())
    theirs.grad = g
    opt.step()
ours = [f"{v:.8f}" for v in weight.flatten().tolist()]
print("muon    ", ours, "torch", [f"{v:.4f}" for v in theirs.data.flatten().tolist()])
