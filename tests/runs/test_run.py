"""The Python interface of a trained run: ``gan_jax.open_run``."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import gan_jax
from configs import cgan
from gan_jax import errors
from gan_jax.data import sources
from gan_jax.inference import sample_run, translate_request, translate_run
from gan_jax.metrics import membership
from gan_jax.runs import checkpoint_files
from tests.training import images, tiny


def train(config, path):
    """Train so few steps that it takes seconds; return the run directory."""
    config.num_devices = 1
    config.train.update(
        steps=2, batch_size=8, log_every=1, sample_every=2, checkpoint_every=1, keep_latest=2
    )
    config.eval.every = 0
    assert gan_jax.train(config, path).state == "done"
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return a run with batch normalisation and a moving average."""
    config = tiny.batch_norm_config()
    config.ema.half_life = 100.0
    config.precision = "highest"
    return train(config, tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """Return a class-conditional run."""
    config = cgan.get_config("smoke")
    config.generator.name = config.discriminator.name = "mlp"
    return train(config, tmp_path_factory.mktemp("classes") / "run")


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    """Return a run that translates."""
    with pytest.MonkeyPatch.context() as patch:
        config = images.with_stubs(tiny.cycle_config(), patch)
        yield train(config, tmp_path_factory.mktemp("translator") / "run")


def exported(path, out, **options):
    """Return the samples and labels that the command line writes."""
    ask = sample_run.Request(gan_jax.open_run(path), out=out, batch_size=4, **options)
    sample_run.export(ask, archive=True)
    return dict(np.load(out))


def agree(a, b):
    """Assert that two sets of pictures are equal up to the rounding of a byte here and there."""
    assert a.shape == b.shape
    difference = np.abs(a.astype(int) - b.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "classes"])
def test_a_seed_gives_the_images_of_the_command_line(kind, request, tmp_path):
    path = request.getfixturevalue(kind)
    found = exported(path, tmp_path / "x.npz", num=13, seed=3)
    made = gan_jax.open_run(path).sample(13, seed=3)
    assert made.dtype == np.uint8
    agree(made, found["image"])
    if kind == "classes":
        assert found["label"].tolist() == [i % 10 for i in range(13)]
        one = exported(path, tmp_path / "y.npz", num=4, seed=3, label=7)
        agree(gan_jax.open_run(path).sample(4, seed=3, label=7), one["image"])


def test_samples_depend_on_seed_and_number_alone(plain):
    run = gan_jax.open_run(plain)
    few, many = run.sample(5, seed=1), run.sample(12, seed=1, batch_size=5)
    agree(few, many[:5])
    for other in (many[5:10], run.sample(5, seed=2)):
        assert (few != other).mean() > 0.05


def test_the_variables_are_those_of_the_state(plain):
    run = gan_jax.open_run(plain)
    assert run.steps == [1, 2]
    for step in (1, None):
        network = run.state(step).networks["generator"]
        for average, expected in ((True, network.averaged), (False, network.variables)):
            found = run.variables(step, average)
            assert list(found) == ["generator"]
            jax.tree.map(np.testing.assert_array_equal, found["generator"], dict(expected))
    shapes = jax.tree.map(lambda x: (x.shape, str(x.dtype)), run.abstract_variables())
    assert shapes == jax.tree.map(lambda x: (x.shape, str(x.dtype)), run.variables())


def test_only_the_leaves_of_the_samples_are_read(plain, monkeypatch):
    seen = []
    original = checkpoint_files.read_arrays

    def read_arrays(directory, record, stored):
        seen.extend(stored)
        return original(directory, record, stored)

    monkeypatch.setattr(checkpoint_files, "read_arrays", read_arrays)
    run = gan_jax.open_run(plain)
    run.sample(2)
    assert seen
    assert all(name.startswith("networks/generator/ema/") for name in seen)
    seen.clear()
    run.sample(2, batch_norm="running")
    rest = [name for name in seen if not name.startswith("networks/generator/ema/")]
    assert rest
    assert all(name.startswith("networks/generator/mutable/batch_stats/") for name in rest)


def test_what_was_read_and_compiled_serves_the_next_seed(plain, monkeypatch):
    run, read = gan_jax.open_run(plain), []
    load = run.load
    monkeypatch.setattr(run, "load", lambda *arguments: read.append(arguments) or load(*arguments))
    run.sample(4, seed=1)
    second = run.sample(4, seed=2)
    assert len(read) == 1
    agree(second, gan_jax.open_run(plain).sample(4, seed=2))
    run.sample(4, step=1)
    assert len(read) == 2


def test_nothing_global_changes(plain):
    # JAX's settings, the handlers of signals, and the precision that others compute in.
    before = dict(jax.config.values), signal.getsignal(signal.SIGTERM)
    run = gan_jax.open_run(plain)
    run.sample(2)
    run.state()
    assert (dict(jax.config.values), signal.getsignal(signal.SIGTERM)) == before
    with run.precision():
        assert jax.config.jax_default_matmul_precision == "highest"
    assert jax.config.jax_default_matmul_precision is None


@pytest.mark.slow
def test_images_are_translated_as_by_the_command_line(translator, tmp_path):
    run = gan_jax.open_run(translator)
    rng = np.random.default_rng(0)
    given = rng.integers(0, 256, (3, 21, 21, 1), dtype=np.uint8)
    made = run.translate(given)
    assert made.dtype == np.uint8
    assert made.shape == given.shape
    agree(made, run.translate(given, batch_size=2, direction="AtoB"))
    (tmp_path / "in").mkdir()
    for i, image in enumerate(given):
        Image.fromarray(image[..., 0]).save(tmp_path / "in" / f"{i}.png")
    ask = translate_request.Request(run, tmp_path / "in", tmp_path / "out")
    translate_run.translate(ask)
    written = [np.asarray(Image.open(tmp_path / "out" / f"{i}.png")) for i in range(3)]
    agree(made, np.stack(written).reshape(made.shape))


def test_mistakes_are_named(plain, classes, translator, tmp_path):
    run = gan_jax.open_run(plain)
    for message, call in (
        ("num = 0; accepted: 1 or more", lambda: run.sample(0)),
        ("label = 3, but .* is not class-conditional", lambda: run.sample(1, label=3)),
        ("label = 10; accepted: 0 to 9", lambda: gan_jax.open_run(classes).sample(1, label=10)),
        ("checkpoint = last; accepted: latest, best", lambda: run.sample(1, step="last")),
        ("No checkpoint of step 7", lambda: run.variables(7)),
        (r"has no best\.json", lambda: run.variables("best")),
        ("is for runs that translate images", lambda: run.translate(np.zeros((1, 8, 8, 1)))),
        ("this one translates images: see", lambda: gan_jax.open_run(translator).sample(1)),
        (
            r"images are float64 \[1, 8, 8\]; accepted: uint8 \[n, height, width, ",
            lambda: gan_jax.open_run(translator).translate(np.zeros((1, 8, 8))),
        ),
        (
            r"images are float64 \[1, 8, 8, 1\]; accepted: uint8",
            lambda: gan_jax.open_run(translator).translate(np.zeros((1, 8, 8, 1))),
        ),
        (r"no run directory: config\.json", lambda: gan_jax.open_run(tmp_path)),
    ):
        with pytest.raises(errors.GanJaxError, match=message):
            call()


def test_a_run_directory_of_another_layout_is_refused(plain, tmp_path):
    for layout in (None, 1, 3):
        path = tmp_path / str(layout)
        path.mkdir()
        (path / "config.json").write_text((plain / "config.json").read_text())
        if layout is not None:
            (path / "run.json").write_text(json.dumps({"layout": layout, "gan_jax": "9"}))
        message = f"has run directory layout {layout or 1}, but gan_jax .* reads layout 2 only"
        with pytest.raises(errors.WorkdirError, match=message):
            gan_jax.open_run(path)
        with pytest.raises(errors.WorkdirError, match=message):
            gan_jax.train(tiny.batch_norm_config(), path)


@pytest.mark.slow
def test_a_run_is_evaluated_without_a_record(tmp_path):
    path = train(tiny.point_config(), tmp_path)
    result = gan_jax.open_run(path).evaluate(metrics=("modes",), num_fake=32, num_real=64)
    assert 0 <= result.values["modes"] <= 8
    assert result.protocol["n_fake"] == 32
    assert not (path / "eval.jsonl").exists()


def test_membership_is_measured_by_the_raw_discriminator_of_the_checkpoint(classes, monkeypatch):
    scored = []

    def infer(members, others):
        scored.append((members, others))
        return membership.Inference(0.5, 0.1)

    monkeypatch.setattr(membership, "infer", infer)
    run = gan_jax.open_run(classes)
    name = "membership_auroc_discriminator"
    found = run.evaluate(step=1, metrics=(name,), num_fake=8, num_real=40).values
    assert found == {name: 0.5, f"{name}_standard_error": 0.1}
    ((members, others),) = scored
    assert (len(members), len(others)) == (20, 297)
    config = ConfigDict({**run.config.data, "split": "test"})
    source = sources.make_source(config)
    images, condition = source.arrays["image"] / 127.5 - 1.0, {"label": source.arrays["label"]}
    variables = run.state(1).networks["discriminator"].variables
    module = run.game.networks["discriminator"].module
    expected = module.apply(variables, images.astype(np.float32), condition, train=False)
    np.testing.assert_allclose(others, expected, atol=1e-5)


def test_importing_the_package_loads_no_framework():
    code = (
        "import sys, gan_jax; gan_jax.__version__; "
        "print([name for name in ('jax', 'flax', 'orbax', 'sklearn') if name in sys.modules])"
    )
    root = Path(gan_jax.__file__).parents[1]
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True
    )
    assert found.stdout.strip() == "[]"
