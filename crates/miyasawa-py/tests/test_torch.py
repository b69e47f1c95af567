"""The networks in PyTorch against the library, and what others do with them."""

import ast
import pathlib

import numpy as np
import pytest
from conftest import document, floats, picture

import miyasawa

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
import miyasawa.torch as joint  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[3]
ORACLES = sorted((ROOT / "crates/miyasawa/tests/oracles").glob("*.safetensors"))


def assert_close(found, expected, relative=2e-5):
    found, expected = (np.asarray(value, dtype=np.float64) for value in (found, expected))
    assert found.shape == expected.shape
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert error < relative, error


def test_the_parameters_are_those_of_the_file(tmp_path):
    for name, asset in [("cifar10", "model"), ("photo", "photo")]:
        stored = load_file(ROOT / f"crates/miyasawa/assets/{asset}.safetensors")
        parameters = dict(joint.load(name).net.named_parameters())
        assert set(parameters) == set(stored) - {"freqs"}
        assert any(value.dtype == torch.bfloat16 for value in stored.values())
        for key, value in parameters.items():
            assert torch.equal(value, stored[key].float()), key


@pytest.mark.parametrize("name", ["cifar10", "photo"])
def test_outputs_are_those_of_the_library(name):
    module, model = joint.load(name).eval(), miyasawa.load(name)
    values = np.stack([floats(picture(32, 32, seed=seed)) for seed in range(3)])
    y, sigma = torch.tensor(values), 0.2
    with torch.no_grad():
        score = module.score(y, sigma)
        assert_close(score, model.score(values, sigma))
        assert_close(module.denoise(y, sigma), values + sigma**2 * model.score(values, sigma))
        if model.can_classify:
            density = module.log_prob(y, torch.full((3,), sigma))
            assert_close(density, model.log_prob(values, sigma))
            probs = module.logits(y, sigma).softmax(1)
            assert_close(probs, model.probabilities(values, sigma), 1e-4)
            labels = torch.tensor([0, 8, 3])
            both = module.denoise(y, sigma, labels) - module.denoise(y, sigma)
            for at, label in enumerate(labels.tolist()):
                expected = model.explain(values[at], label, sigma)["difference"]
                assert np.abs(both[at].numpy() - expected).max() < 2e-5
        odd = floats(picture(27, 45))
        assert_close(module.score(torch.tensor(odd[None]), 0.1)[0], model.score(odd, 0.1))


@pytest.mark.parametrize("path", ORACLES, ids=lambda path: path.stem)
def test_the_reference_is_computed(path):
    """The files that reference/reference.py wrote in float64, of every kind of network."""
    from safetensors import safe_open

    stored = load_file(path)
    with safe_open(path, "pt") as file:
        said = file.metadata()
    channels, _, _ = ast.literal_eval(said["image"])
    info = {
        "network": {
            "channels": channels,
            "classes": int(said["classes"]),
            "width": int(said["width"]),
            "blocks": ast.literal_eval(said["blocks"]),
            "blind": said["blind"] == "True",
            "norm": said.get("norm", "group"),
            "norm_epsilon": float(said.get("norm_epsilon", 1e-5)),
        },
        "data": {"std": float(said["sigma_data"]), "classes": list(range(int(said["classes"])))},
        "sigma": [0.02, 1.0],
    }
    module = joint.JointModel(info)
    params = {k.removeprefix("param."): v for k, v in stored.items() if k.startswith("param.")}
    missing, unexpected = module.net.load_state_dict(params, strict=False)
    assert not unexpected and set(missing) <= {"freqs"}
    module = module.double()
    x, eps, sigma = (stored[key].double() for key in ("x", "eps", "sigma"))
    y = x + sigma[:, None, None, None] * eps
    labels = stored["labels"]
    assert_close(module.logits(y, sigma).detach(), stored["logits"])
    with torch.no_grad():
        assert_close(module.score(y, sigma), stored["score"])
        assert_close(module.denoise(y, sigma), stored["denoised"])
        assert_close(module.denoise(y, sigma, labels), stored["denoised_given_label"])


def test_gradients_flow_through_the_denoiser():
    info = joint.load().info
    info["network"] |= {"width": 8, "blocks": [1, 1]}
    module = joint.JointModel(info).double()
    torch.nn.init.normal_(module.net.energy_head.weight)
    y = torch.randn(1, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: module.denoise(y, 0.3), (y,), atol=1e-6)
    loss = (module.denoise(y, 0.3) ** 2).sum()
    loss.backward()
    assert y.grad is not None and module.net.stem.weight.grad.abs().sum() > 0
    with torch.no_grad():
        assert not module.denoise(y, 0.3).requires_grad


def test_a_saved_model_is_read_by_the_program(tmp_path):
    module = joint.load()
    with torch.no_grad():
        module.net.class_head.bias.add_(0.125)
    path = tmp_path / "tuned.safetensors"
    module.save(path)
    again = joint.load(path)
    for (name, a), (_, b) in zip(module.net.named_parameters(), again.net.named_parameters()):
        assert torch.equal(a, b), name
    values = floats(picture())
    expected = miyasawa.load(path).probabilities(values, 0.2)
    logits = module.logits(torch.tensor(values[None]), 0.2).detach()
    assert_close(logits.softmax(1)[0], expected, 1e-4)
    assert document("info", path)["parameters"] == document("info")["parameters"]
    module.save(path, bf16=True)
    assert path.stat().st_size < 0.6 * sum(4 * p.numel() for p in module.parameters())
    joint.load("photo").save(path)
    assert miyasawa.load(path).can_denoise
    module.net.class_head = torch.nn.Linear(480, 7)
    with pytest.raises(miyasawa.CheckpointError):
        module.save(tmp_path / "wrong.safetensors")
    assert not (tmp_path / "wrong.safetensors").exists()


def test_deepinv_restores_with_the_denoiser():
    deepinv = pytest.importorskip("deepinv")
    from miyasawa.deepinv import Denoiser

    denoiser = Denoiser("photo").eval()
    clean = torch.tensor(floats(picture(48, 48, seed=3)) + 1)[None] / 2
    clean = torch.nn.functional.avg_pool2d(clean, 3, 1, 1)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    psnr = lambda a: -10 * torch.log10((a - clean).pow(2).mean()).item()
    with torch.no_grad():
        found = denoiser(noisy, 0.1)
        assert psnr(found) > psnr(noisy) + 5
        assert torch.equal(denoiser(noisy, torch.tensor([0.1])), found)
        grey = noisy.mean(1, keepdim=True)
        assert denoiser(grey, 0.06).shape == grey.shape
        # The formula of Tweedie goes to the image itself.
        assert (denoiser(noisy, 1e-4) - noisy).abs().max() < 1e-3
    # Plug and play: half of the pixels are lost, proximal gradient descent fills them in.
    physics = deepinv.physics.Inpainting(
        (3, 48, 48), mask=0.5, noise_model=deepinv.physics.GaussianNoise(0.02),
        rng=torch.Generator().manual_seed(1),
    )
    seen = physics(clean)
    algorithm = deepinv.optim.PGD(
        data_fidelity=deepinv.optim.L2(),
        prior=deepinv.optim.PnP(denoiser=denoiser),
        stepsize=1.0,
        sigma_denoiser=0.1,
        max_iter=30,
    )
    with torch.no_grad():
        restored = algorithm(seen, physics)
    assert psnr(restored) > psnr(seen) + 15, (psnr(restored), psnr(seen))


def test_torchattacks_finds_what_ours_does_not_deny():
    torchattacks = pytest.importorskip("torchattacks")
    module = joint.load().eval()
    images = np.stack([picture(seed=seed) for seed in range(4)])
    x = torch.tensor(floats(images) + 1) / 2
    labels = module(x).argmax(1)
    attack = torchattacks.PGDL2(module, eps=0.5, alpha=0.1, steps=5, random_start=False)
    found = attack(x, labels)
    distance = (found - x).flatten(1).norm(dim=1)
    assert (distance <= 0.5 + 1e-4).all() and found.min() >= 0 and found.max() <= 1
    before = module(x).softmax(1).gather(1, labels[:, None])
    after = module(found).softmax(1).gather(1, labels[:, None])
    assert (after < before).all()
