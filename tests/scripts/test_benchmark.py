"""The benchmarks: PyTorch's networks and losses equal ours; rows have what their names say."""

import json
import sys

import jax
import numpy as np
import pytest

from gan_jax.losses import penalties
from gan_jax.metrics import inception
from gan_jax.networks import registry
from scripts import benchmark, benchmark_metrics

SHAPE, LATENT = (16, 16, 3), 8


@pytest.fixture
def reference():
    pytest.importorskip("torch")
    from scripts import pytorch_reference

    return pytorch_reference


def ours(role):
    fields = {"latent_dim": LATENT} if role == "generator" else {}
    module = registry.make(role, "resnet", shape=SHAPE, features=8, **fields)
    x = np.zeros((1, LATENT) if fields else (1, *SHAPE), np.float32)
    variables = jax.jit(lambda key: module.init(key, x, train=False))(jax.random.key(0))
    # Biases start at zero, where a mistake in their order would not show.
    leaves, structure = jax.tree.flatten(variables["params"])
    rng = np.random.default_rng(0)
    moved = [leaf + 0.1 * rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves]
    return module, {**variables, "params": jax.tree.unflatten(structure, moved)}


def test_generators_are_the_same(reference):
    import torch

    module, variables = ours("generator")
    theirs = reference.Generator(16, 3, 8, LATENT)
    reference.copy_weights(theirs, variables["params"])
    z = np.random.default_rng(1).normal(size=(4, LATENT)).astype(np.float32)
    made, _ = jax.jit(lambda: module.apply(variables, z, train=True, mutable=["batch_stats"]))()
    expected = theirs(torch.tensor(z)).detach().numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(made, expected, atol=1e-4)


def test_critics_and_their_penalties_are_the_same(reference):
    import torch

    module, variables = ours("discriminator")
    theirs = reference.Critic(16, 3, 8)
    reference.copy_weights(theirs, variables["params"])
    x = np.random.default_rng(1).normal(size=(4, *SHAPE)).astype(np.float32)
    image = torch.tensor(x.transpose(0, 3, 1, 2))

    def critic(images):
        return module.apply(variables, images, train=True)

    scores = jax.jit(critic)(x)
    np.testing.assert_allclose(scores, theirs(image).detach(), rtol=1e-4, atol=1e-5)
    values = jax.jit(lambda x: penalties.wgan_gp(critic, x, x, np.zeros(4, np.float32)))(x)
    expected = reference.penalty(theirs, image).detach()
    np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-5)


def test_steps_are_timed_side_by_side(reference, monkeypatch, tmp_path, capsys):
    path = tmp_path / "rows.json"
    small = ["--features=4", "--batch_size=2", "--critic_steps=1", "--repeats=1"]
    monkeypatch.setattr(sys, "argv", ["benchmark", f"--json={path}", "step", *small])
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # Set by the command, for itself.
    benchmark.main()
    content = json.loads(path.read_text())
    assert content["machine"]["jax"] == jax.__version__
    ours, *theirs = content["rows"]
    assert [row["step"] for row in content["rows"]] == [
        "gan_jax float32",
        "PyTorch eager",
        "PyTorch eager, channels last",
    ]
    assert ours["time / gan_jax's"] == 1.0
    assert ours["TFLOP/s"] == pytest.approx(1e3 * ours["TFLOP"] / ours["ms, median"])
    assert all(row["ms, median"] >= row["ms, fastest"] > 0 for row in (ours, *theirs))
    assert "| gan_jax float32 |" in capsys.readouterr().out


def test_replicas_gain_against_one_run():
    sizes = {"batch_size": 2, "steps_per_call": 2, "repeats": 1}
    one, two = benchmark.measure_replicas(config="points", replicas="2", **sizes)
    assert (one["replicas"], one["gain"], two["replicas"]) == (1, 1.0, 2)
    assert two["gain"] == pytest.approx(two["images/s in all"] / one["images/s in all"])


def random_images(n, size):
    """Smooth colours with noise on them, so that the pools have something to choose from."""
    rng = np.random.default_rng(1)
    base = rng.uniform(0, 255, (n, 1, 1, 3))
    return np.clip(base + 60 * rng.normal(size=(n, size, size, 3)), 0, 255).astype(np.uint8)


def features(weights, images, layer, path):
    """Return what our Inception and PyTorch's say of the images."""
    torch = pytest.importorskip("torch", reason="PyTorch is the reference (extra: parity)")
    from scripts import pytorch_inception

    inception.save_weights(path, weights)
    extractor = inception.make_inception(path)
    ours = jax.jit(extractor.apply, static_argnums=2)(extractor.variables, images, (layer,))
    with torch.inference_mode():
        theirs = pytorch_inception.Inception(weights, layer)(
            torch.tensor(images.transpose(0, 3, 1, 2).copy())
        )
    return np.asarray(ours[layer]), theirs.numpy()


# 300 pixels are reduced, and not by a power of two; the last layer depends on all others.
@pytest.mark.parametrize(
    ("layer", "size"), [("64", 300), pytest.param("2048", 32, marks=pytest.mark.slow)]
)
def test_pytorchs_inception_is_the_same(tmp_path, layer, size):
    weights = benchmark_metrics.random_inception(layer)
    made, expected = features(weights, random_images(2, size), layer, tmp_path / "weights.npz")
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_metrics_time_the_fid_its_parts_and_inception_beside_pytorchs(monkeypatch, tmp_path):
    pytest.importorskip("torch", reason="PyTorch is the other contestant (extra: parity)")
    weights, path = tmp_path / "weights.npz", tmp_path / "rows.json"
    inception.save_weights(weights, benchmark_metrics.random_inception("64"))
    small = ["--layer=64", "--features=4", "--num_fake=3", "--batch_size=2", "--repeats=1"]
    chosen = [f"--inception={weights}", "--precision=default"]
    monkeypatch.setattr(sys, "argv", ["benchmark_metrics", f"--json={path}", *small, *chosen])
    # Set by the command, for itself.
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    benchmark_metrics.main()
    rows = {row["what"]: row for row in json.loads(path.read_text())["rows"]}
    assert list(rows) == [
        "FID end to end, default",
        "- sampling",
        "- moments, on the host",
        "- distance, on the host",
        "Inception: gan_jax default",
        "Inception: PyTorch eager float32",
        "Inception: PyTorch eager float32, channels last",
    ]
    whole, distance = rows["FID end to end, default"], rows["- distance, on the host"]
    assert (whole["images"], whole["note"]) == (3, "extrapolated from 3 images")
    # What grows with the images is multiplied, the distance is not.
    rest = whole["seconds"] - distance["seconds"]
    np.testing.assert_allclose(whole["s per 50k"], rest * 50_000 / 3 + distance["seconds"])
    assert distance["s per 50k"] == distance["seconds"] > 0
    assert whole["compile s"] > rows["- sampling"]["compile s"] > 0
    ours = rows["Inception: gan_jax default"]
    for name, row in rows.items():
        if row is not distance:
            np.testing.assert_allclose(row["images/s"] * row["seconds"], row["images"])
        if name.startswith("Inception"):  # On CPU both precisions are float32.
            np.testing.assert_allclose(row["ours / this"], ours["images/s"] / row["images/s"])


def test_speed_is_compared_at_equal_precision():
    contestants = {
        "gan_jax highest": ("highest", lambda: None),
        "PyTorch eager float32": ("highest", lambda: None),
        "PyTorch eager TF32": ("default", lambda: None),
    }
    rows = benchmark_metrics.contest(contestants, batch_size=2, repeats=1)
    assert rows["gan_jax highest"]["ours / this"] == 1.0
    assert rows["PyTorch eager float32"]["ours / this"] > 0
    assert rows["PyTorch eager TF32"]["ours / this"] is None
