"""Models on arrays, against the command line."""

import logging
import pickle
import threading

import numpy as np
import pytest
from conftest import document, floats, picture, run

import miyasawa

PIL = pytest.importorskip("PIL.Image")


def png(path, image):
    PIL.fromarray(image).save(path)
    return path


def test_probabilities_are_those_of_the_command_line_to_the_last_bit(model, tmp_path):
    for number, shape in enumerate([(32, 32), (45, 60), (32, 32, 1)]):
        image = picture(*shape, seed=number)
        image = image[:, :, 0] if image.shape[2] == 1 else image
        path = png(tmp_path / "image.png", image)
        for noise in ("clean", 0.2, "auto"):
            options = [] if noise == "clean" else ["--sigma", noise]
            found = document("classify", path, "--top", 10, *options)["images"][0]
            expected = {"sigma": found["sigma"], "classes": found["classes"]}
            for given in (image, path, str(path), PIL.open(path)):
                assert model.classify(given, noise) == expected, (shape, noise, type(given))
            assert model.classify(floats(np.atleast_3d(image)), noise) == expected


def test_denoised_images_are_those_of_the_command_line(model, photo, tmp_path):
    image = picture(40, 56)
    path, out = png(tmp_path / "image.png", image), tmp_path / "out.png"
    for name, denoiser in [("photo", photo), ("cifar10", model)]:
        for noise, options in [("auto", []), (0.1, ["--sigma", 0.1])]:
            call = ["denoise", path, "--model", name, "-o", out, "--overwrite", *options]
            sigma = document(*call)["images"][0]["sigma"]
            expected = np.asarray(PIL.open(out))
            found, level = denoiser.denoise(image, noise, with_sigma=True)
            assert (found == expected).all() and level == sigma
            assert (np.asarray(denoiser.denoise(PIL.open(path), noise)) == expected).all()
            assert (denoiser.denoise(path, noise) == expected).all()
    call = ["denoise", path, "--model", "cifar10", "--class", "ship", "-o", out, "--overwrite"]
    document(*call, "--sigma", 0.1)
    found = model.class_conditional(image, "ship", 0.1)
    assert (found == np.asarray(PIL.open(out))).all()
    document("denoise", path, "-o", out, "--overwrite", "--strength", 0.5)
    assert (photo.denoise(image, strength=0.5) == np.asarray(PIL.open(out))).all()


def test_explanations_are_those_of_the_command_line(model, tmp_path):
    path = png(tmp_path / "image.png", picture())
    expected = document("explain", path, "--class", "ship", "-o", tmp_path / "why.png")
    found = model.explain(path, "ship")
    for name in ("class", "probability", "relative_error", "sigma"):
        assert found[name] == expected[name]
    assert found["denoised"].dtype == np.uint8 and found["difference"].dtype == np.float32
    assert found["difference"].shape == (32, 32, 3)
    assert np.abs(found["difference"] - found["gradient"]).max() < 1e-4
    several = model.explain(floats(picture()), ["ship", 0])
    assert [one["label"] for one in several] == [8, 0]
    assert several[0]["difference"].shape == (3, 32, 32)


def test_a_batch_is_its_images_except_for_rounding(model):
    images = np.stack([picture(seed=seed) for seed in range(5)])
    single = np.stack([model.probabilities(image) for image in images])
    assert single.shape == (5, 10)
    np.testing.assert_allclose(model.probabilities(images), single, atol=1e-5)
    np.testing.assert_allclose(model.probabilities(list(images)), single, atol=1e-5)
    np.testing.assert_allclose(model.probabilities(floats(images)), single, atol=1e-5)
    best = [one["classes"][0]["index"] for one in model.classify(images, top=1)]
    assert best == single.argmax(1).tolist()
    denoised = model.denoise(floats(images), 0.1)
    one = model.denoise(floats(images[3]), 0.1)
    np.testing.assert_allclose(denoised[3], one, atol=1e-4)
    assert model.denoise([images[0], images[1][:20]], 0.1)[1].shape == (20, 32, 3)


def test_what_goes_in_comes_out(model):
    image = picture(24, 20)
    values = floats(image)
    for given in (
        image,
        image[:, :, 0],
        image[:, :, :1],
        image.astype(np.uint16) * 257,
        values,
        values[0],
        values.astype(np.float64),
        np.stack([image, image]),
        np.asfortranarray(values),
    ):
        found = model.denoise(given, 0.1)
        assert type(found) is type(given) and found.dtype == given.dtype
        assert found.shape == given.shape
    opaque = PIL.fromarray(image)
    opacity = PIL.fromarray(image[:, :, 0])
    transparent = opaque.copy()
    transparent.putalpha(opacity)
    found = model.denoise(transparent, 0.1)
    assert found.mode == "RGBA" and found.getchannel("A").tobytes() == opacity.tobytes()
    assert (np.asarray(found)[:, :, :3] == np.asarray(model.denoise(opaque, 0.1))).all()


def test_tensors_of_pytorch_come_back_as_such(model):
    torch = pytest.importorskip("torch")
    image = picture(24, 20)
    values = floats(image)
    tensor = torch.tensor(values)
    for given in (tensor, tensor[None].double(), tensor[0], tensor.bfloat16()):
        found = model.denoise(given, 0.1)
        assert isinstance(found, torch.Tensor)
        assert found.dtype == given.dtype and found.shape == given.shape
    bytes_ = torch.tensor(np.moveaxis(image, -1, 0))
    assert model.denoise(bytes_, 0.1).dtype == torch.uint8
    expected = np.moveaxis(model.denoise(image, 0.1), -1, 0)
    assert (model.denoise(bytes_, 0.1).numpy() == expected).all()
    score = model.score(tensor, 0.2)
    assert isinstance(score, torch.Tensor)
    assert (score.numpy() == model.score(values, 0.2)).all()
    for wrong in (tensor.to("meta"), tensor.to(torch.int32), tensor[0, 0]):
        with pytest.raises(miyasawa.MiyasawaError):
            model.denoise(wrong, 0.1)


def test_layouts(model):
    image = picture(24, 20)
    values = floats(image)
    last = np.ascontiguousarray(np.moveaxis(values, 0, -1))
    found = model.denoise(last, 0.1, layout="channels_last")
    assert (np.moveaxis(found, -1, 0) == model.denoise(values, 0.1)).all()
    with pytest.raises(miyasawa.ImageError, match="channels_last"):
        model.denoise(last, 0.1)


def test_the_score_is_the_gradient_of_the_density(model):
    values = floats(picture())
    score = model.score(values, 0.2)
    assert score.shape == values.shape and score.dtype == np.float32
    direction = np.random.default_rng(1).standard_normal(values.shape).astype(np.float32)
    direction /= np.linalg.norm(direction)
    step = 0.02
    up, down = (model.log_prob(values + s * step * direction, 0.2) for s in (1, -1))
    slope = float((score * direction).sum())
    assert abs((up - down) / (2 * step) - slope) < 0.02 * np.linalg.norm(score)
    several = model.log_prob(np.stack([values, values]), 0.2)
    assert several.shape == (2,) and several[0] == several[1] == model.log_prob(values, 0.2)
    assert model.score(PIL.fromarray(picture()), 0.2).shape == (32, 32, 3)


def test_errors(model, tmp_path):
    image = picture()
    wrong = [
        (miyasawa.UsageError, lambda: model.classify(image, -1.0)),
        (miyasawa.UsageError, lambda: model.classify(image, "noisy")),
        (miyasawa.UsageError, lambda: model.class_index("house")),
        (miyasawa.UsageError, lambda: model.classify(3)),
        (miyasawa.UsageError, lambda: miyasawa.load(device="abacus")),
        (miyasawa.UsageError, lambda: miyasawa.load(threads=0)),
        (miyasawa.UsageError, lambda: miyasawa.load("photo").classify(image)),
        (miyasawa.ImageError, lambda: model.classify(tmp_path / "none.png")),
        (miyasawa.ImageError, lambda: model.classify(np.zeros((32, 32, 2), np.uint8))),
        (miyasawa.ImageError, lambda: model.classify(np.zeros((0, 32, 3), np.uint8))),
        (miyasawa.ImageError, lambda: model.classify(image.astype(np.int64))),
        (miyasawa.ImageError, lambda: model.denoise(np.full((3, 8, 8), np.nan, np.float32), 0.1)),
        (miyasawa.CheckpointError, lambda: miyasawa.load(tmp_path / "none.safetensors")),
    ]
    for kind, call in wrong:
        with pytest.raises(kind) as found:
            call()
        assert isinstance(found.value, miyasawa.MiyasawaError) and str(found.value)
    assert issubclass(miyasawa.UsageError, ValueError)
    assert issubclass(miyasawa.CheckpointError, OSError)
    assert model.classify([]) == []
    assert model.probabilities(np.zeros((0, 32, 32, 3), np.uint8)).shape == (0, 10)


def test_warnings_go_to_the_logger(model, caplog):
    with caplog.at_level(logging.WARNING, logger="miyasawa"):
        miyasawa.load().classify(picture(), 1.5)
    assert any("outside" in record.message for record in caplog.records)


def test_a_model_says_what_it_is(model, photo, tmp_path):
    assert miyasawa.bundled() == ["cifar10", "photo"]
    assert model.classes[6] == "frog" and model.shape == (3, 32, 32) and model.kind == "gradresnet"
    assert model.can_classify and model.can_denoise and not photo.can_classify
    assert model.class_index("ship") == model.class_index(8) == 8
    info = document("info")
    assert model.sha256 == info["sha256"] and "bundled" in repr(model)
    assert model.info["training"]["steps"] > 0
    again = pickle.loads(pickle.dumps(model))
    assert again.classify(picture()) == model.classify(picture())
    assert model.estimate_noise(picture(64, 64)) == pytest.approx(0.1, abs=0.03)


def test_threads_share_a_model(model):
    image, found = picture(), []
    expected = model.classify(image)
    work = lambda: found.append(model.classify(image))
    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found == [expected] * 4


def test_the_program(tmp_path):
    assert run("--version").stdout.split()[1] == miyasawa.__version__
    assert run("classify").returncode == 2
    failed = run("info", tmp_path / "none.safetensors")
    assert failed.returncode == 1 and failed.stderr.startswith("error: ")


def test_a_model_of_views_is_that_of_the_command_line(tmp_path):
    views = miyasawa.load("photo", views=4)
    image = picture(40, 33)
    found = views.denoise(image, 0.2)
    assert (found != miyasawa.load("photo").denoise(image, 0.2)).any()
    png(tmp_path / "a.png", image)
    run("denoise", tmp_path / "a.png", "--sigma", "0.2", "--views", "4", "-o", tmp_path / "b.png")
    assert (np.asarray(PIL.open(tmp_path / "b.png")) == found).all()
    assert (pickle.loads(pickle.dumps(views)).denoise(image, 0.2) == found).all()
    for wrong in (3, 0, 1.5):
        with pytest.raises(miyasawa.UsageError, match="views"):
            miyasawa.load(views=wrong)
    with pytest.raises(miyasawa.UsageError, match="4 views, expected one"):
        miyasawa.evaluate(views, "digits")
