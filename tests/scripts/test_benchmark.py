"""The benchmarks: rows have what their names say; PyTorch's Inception equals ours."""

import json
import os
import sys

import jax
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.metrics import inception
from scripts import benchmark, benchmark_metrics, starts, train_steps


@pytest.mark.slow
def test_steps_are_timed_side_by_side(monkeypatch, tmp_path, capsys):
    pytest.importorskip("torch", reason="PyTorch is the other contestant (extra: parity)")
    path = tmp_path / "rows.json"
    chosen = ["--config=gan:smoke,lsgan:smoke,cgan:smoke", "--batch_size=4", "--repeats=1"]
    monkeypatch.setattr(sys, "argv", ["benchmark", f"--json={path}", "step", *chosen])
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # Set by the command, for itself.
    monkeypatch.setattr(benchmark, "PRODUCT_SIZE", 64)
    monkeypatch.setattr(train_steps, "TURN_SECONDS", 0.0)
    benchmark.main()
    content = json.loads(path.read_text())
    assert content["machine"]["jax"] == jax.__version__
    *steps, ours, theirs, summary = content["rows"]
    contestants = ["gan_jax float32", "PyTorch eager", "PyTorch eager, channels last"]
    expected = [(name, step) for name in ("gan:smoke", "lsgan:smoke") for step in contestants]
    expected += [("cgan:smoke", "gan_jax float32")]
    assert [(row["config"], row["step"]) for row in steps] == expected
    for row in steps:
        assert row["ms, median"] >= row["ms, fastest"] > 0
        assert row["CPU ms, median"] > 0
        if row["step"] == "gan_jax float32":
            first = row
            assert row["GFLOP/s"] == pytest.approx(1e3 * row["GFLOP"] / row["ms, median"])
        relative = row["ms, median"] / first["ms, median"]
        assert row["time / gan_jax's"] == pytest.approx(relative)
        alone = row["config"] == "cgan:smoke"
        assert row["note"] == ("no PyTorch reference" if alone else None)
    products = ["jnp.matmul 64^3 float32", "torch.matmul 64^3 float32"]
    assert [ours["product"], theirs["product"]] == products
    assert ours["GFLOP/s"] == pytest.approx(2e-6 * 64**3 / ours["ms, median"])
    tiny, whole = steps[2]["time / gan_jax's"], steps[5]["time / gan_jax's"]
    mean = summary["PyTorch channels last / gan_jax, geometric mean"]
    assert mean == pytest.approx((tiny * whole) ** 0.5)
    assert summary["lowest"] == min(tiny, whole)
    assert "| gan_jax float32 " in capsys.readouterr().out


@pytest.mark.slow
def test_a_benchmarked_step_is_one_in_which_all_players_play():
    config = benchmark.load("srgan:smoke")
    assert config.game.paired.content_steps == 2
    spec = benchmark.stored_spec(config)
    state = train_steps.make_step(config, spec).call()
    discriminator = state.networks["discriminator"].opt_state
    assert max(int(x) for x in jax.tree.leaves(discriminator) if x.dtype == "int32") == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dcgn", 'Did you mean "dcgan"'),
        ("dcgan:mnst", 'Did you mean "mnist"'),
        ("base", "accepted"),
    ],
)
def test_unknown_configurations_are_refused(monkeypatch, name, message):
    monkeypatch.setattr(sys, "argv", ["benchmark", "step", f"--config=gan,{name}"])
    with pytest.raises(SystemExit, match=message):
        benchmark.main()


@pytest.mark.exhaustive
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


@pytest.mark.exhaustive
# 300 pixels are reduced, and not by a power of two; the last layer depends on all others.
@pytest.mark.parametrize(
    ("layer", "size"), [("64", 300), pytest.param("2048", 32, marks=pytest.mark.slow)]
)
def test_pytorchs_inception_is_the_same(tmp_path, layer, size):
    weights = benchmark_metrics.random_inception(layer)
    made, expected = features(weights, random_images(2, size), layer, tmp_path / "weights.npz")
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
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


PROGRAM = """
import sys, time
print("Finished tracing step for jit in 0.5 sec")
print("Finished jaxpr to MLIR module conversion jit(step) in 0.25 sec")
print("Finished tracing draw for jit in 1.0 sec")
print("Finished XLA compilation of jit(step) in 2.5 sec")
print("train step     discriminator 1 step, then generator 1 step")
if sys.argv[1:] == ["fails"]:
    sys.exit("error: the reason")
print("step    1/1,000  kimg 0.1", flush=True)
time.sleep(600)
"""


def test_a_start_ends_with_the_first_step(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    row = starts.time_start(["program"], environment)
    assert row["tracing s"] == 1.5
    assert row["lowering s"] == 0.25
    assert row["compiling or reading s"] == 2.5
    assert row["before tracing s"] + 0.5 <= row["s to the first step"] < 600
    with pytest.raises(errors.ConfigError, match="program fails took no step: error: the reason"):
        starts.time_start(["program", "fails"], environment)


@pytest.mark.slow
def test_starts_are_timed_with_an_empty_and_a_filled_cache(monkeypatch):
    chosen = ["--config=gan:smoke", "--repeats=1"]
    monkeypatch.setattr(sys, "argv", ["benchmark", "start", *chosen])
    made = []
    monkeypatch.setattr(benchmark, "publish", lambda rows, path: made.extend(rows))
    benchmark.main()
    assert [(row["config"], row["cache"]) for row in made] == [
        ("gan:smoke", "empty"),
        ("gan:smoke", "filled"),
    ]
    for row in made:
        assert all(row[name] > 0 for name in starts.PHASES)
