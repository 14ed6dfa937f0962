"""What a run computes as StableHLO: without gan_jax, in batches and images of other sizes."""

import json
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax import export

from gan_jax import errors
from gan_jax.export import computations, stablehlo
from gan_jax.games.translation import TranslationGame
from gan_jax.runs import build
from gan_jax.runs.checkpoint import Checkpoints
from gan_jax.runs.run_directory import RunDirectory
from gan_jax.training import translating
from gan_jax.training.sampling import Sampling
from tests.configs import variants
from tests.configs.builds import small, spec
from tests.experiments.program import environment
from tests.inference.untrained import STEP, make_run
from tests.training import tiny

pytest.importorskip("flatbuffers", reason="needs the extra export")
ON = ("cpu", "cuda", "tpu")

# A process that cannot import gan_jax, as another program's.
ELSEWHERE = """
import json, sys
sys.modules["gan_jax"] = sys.modules["flax"] = None
import numpy as np
from jax import export

for name in sys.argv[1:]:
    with open(f"{name}.stablehlo", "rb") as file:
        call = export.deserialize(bytearray(file.read())).call
    arrays = np.load(f"{name}.npz")
    for size in (1, 5):
        given = [arrays[key][:size] for key in sorted(arrays) if key != "made"]
        np.testing.assert_allclose(call(*given), arrays["made"][:size], rtol=0, atol=2e-6)
print(json.dumps("gan_jax.layers" in sys.modules))
"""


def reload(made, platforms=("cpu",)):
    return export.deserialize(bytearray(stablehlo.serialized(made, platforms)))


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """Return a run with classes, batch-norm and averages."""
    config = tiny.conditional_config()
    config.sample.update(truncation=0.7, standing_images=64)
    run = make_run(tmp_path_factory.mktemp("classes") / "run", config)
    state = run.state()
    generator = state.networks["generator"]
    averages = {**generator.ema, "params": jax.tree.map(lambda x: 3.0 * x, generator.params)}
    raw = jax.tree.map(lambda x: 1.5 * x + 0.1, averages)
    generator = generator.replace(params=raw.pop("params"), mutable=raw, ema=averages)
    state = state.replace(networks={**state.networks, "generator": generator})
    with Checkpoints(RunDirectory(run.path).checkpoints) as checkpoints:
        checkpoints.save(STEP + 1, state, {})
    return run


def levels(images):
    """Return images in [-1, 1] as 8-bit levels."""
    return np.round(127.5 * (np.asarray(images) + 1.0))


def test_it_makes_the_samples_of_the_run_where_gan_jax_is_absent(classes, tmp_path):
    _, (made,) = computations.of_run(classes, None, classes.sampling())
    assert [one.name for one in made.inputs] == ["z", "label"]
    sampler = classes.sampler(classes.sampling(), seed=3, batch_size=5)
    z, label = map(np.asarray, sampler.latents(0))
    content = stablehlo.serialized(made, ON)
    exported = export.deserialize(bytearray(content))
    assert exported.platforms == ON
    images = np.asarray(exported.call(z, label))
    assert (images.dtype, images.shape) == (np.float32, (5, 8, 8, 1))
    # The lowering for CPUs and XLA's add in another order, which moves few levels by one.
    difference = np.abs(levels(images) - classes.sample(5, seed=3))
    assert difference.max() <= 1
    assert difference.mean() < 0.01
    assert np.ptp(levels(images)) > 100
    (tmp_path / "generator.stablehlo").write_bytes(content)
    # Sorted by their names, they are in the order of the arguments.
    np.savez(tmp_path / "generator.npz", a=z, b=label, made=images)
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, "generator"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=""),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) is False


def test_raw_weights_truncation_and_statistics_become_part_of_it(classes):
    z, label = map(np.asarray, classes.sampler(classes.sampling(), batch_size=4).latents(0))
    found = []
    for options in (
        {},
        {"average": False},
        {"truncation": 0.2},
        {"batch_norm": "running"},
        {"batch_norm": "standing"},
    ):
        _, (made,) = computations.of_run(classes, None, classes.sampling(**options))
        found.append(levels(jax.jit(made.function)(z, label)))
        wanted = classes.sample(4, batch_size=64, **options)
        assert np.abs(found[-1] - wanted).max() <= 1
    assert all((one != found[0]).any() for one in found[1:])


def test_a_discriminator_takes_labels_and_returns_its_scores(classes):
    _, (made,) = computations.of_run(classes, None, classes.sampling(), ["discriminator"])
    network = classes.state().networks["discriminator"]
    x = np.random.default_rng(0).uniform(-1, 1, (3, 8, 8, 1)).astype(np.float32)
    label = np.arange(3, dtype=np.int32)
    wanted = jax.jit(
        lambda v: classes.game.discriminator.apply(v, x, {"label": label}, train=False)
    )(network.variables)
    np.testing.assert_allclose(reload(made).call(x, label), wanted, rtol=1e-5, atol=1e-6)


def alike(network):
    """Return variables of a network that are all alike."""
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    return jax.tree.map(lambda x: np.full(x.shape, 0.01, x.dtype), shapes)


def game(name):
    config = small(name)
    return build.make_game(config, spec(config, variants.datasets(name)[0]), None)


def of_configuration(name):
    """Return what a configuration samples or translates with."""
    made = game(name)
    variables = {key: alike(one) for key, one in made.networks.items() if one.averaged}
    if isinstance(made, TranslationGame):
        return computations.translations(made, variables)
    return [computations.sampling(made, variables, 0.5)]


TRANSLATION = ("cyclegan", "pix2pix", "srgan")


@pytest.mark.parametrize("name", TRANSLATION)
def test_images_may_have_any_size_that_the_network_accepts(name):
    made = of_configuration(name)[0]
    exported = reload(made, ON)
    rng = np.random.default_rng(0)
    channels = exported.in_avals[0].shape[-1]
    for shape in ((1, 8, 12), (2, 16, 8)):
        x = rng.uniform(-1, 1, (*shape, channels)).astype(np.float32)
        wanted = jax.jit(made.function)(x)
        np.testing.assert_allclose(exported.call(x), wanted, rtol=0, atol=2e-6)
    with pytest.raises(ValueError, match="Error refining shapes"):
        exported.call(np.zeros((1, 4, 8, channels), np.float32))


def test_videos_are_continued_at_any_size():
    (made,) = of_configuration("predict")
    exported = reload(made, ON)
    known = (np.arange(8) < 4)[:, None, None, None]
    for shape in ((1, 8, 8, 12, 1), (2, 8, 16, 8, 1)):
        x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
        frozen = np.where(known, x, x[:, 3:4])
        given = np.broadcast_to(known, shape).astype(np.float32)
        found = exported.call(frozen, given)
        wanted = jax.jit(made.function)(frozen, given)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6)
        np.testing.assert_array_equal(found[:, :4], x[:, :4])


def test_spectrograms_may_have_any_length():
    (made,) = of_configuration("hifigan")
    exported = reload(made, ON)
    bands = exported.in_avals[0].shape[-1]
    for shape in ((1, 8, bands), (2, 13, bands)):
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        wanted = jax.jit(made.function)(x)
        np.testing.assert_allclose(exported.call(x), wanted, rtol=0, atol=2e-6)


def test_images_are_in_range_and_points_anywhere():
    config = small("stylegan2")
    found = build.make_game(config, spec(config, "digits"), None)
    variables = {"generator": jax.tree.map(lambda x: 30.0 * x, alike(found.networks["generator"]))}
    made = computations.sampling(found, variables)
    images = np.asarray(jax.jit(made.function)(np.ones((2, found.latent_dim), np.float32)))
    assert np.abs(images).max() == 1.0
    config = tiny.point_config()
    found = build.make_game(config, tiny.spec(config), None)
    variables = {"generator": jax.tree.map(lambda x: 10.0 + x, alike(found.networks["generator"]))}
    made = computations.sampling(found, variables)
    assert (np.asarray(jax.jit(made.function)(np.ones((2, 2), np.float32))) > 1.0).all()


def test_holes_are_filled_as_by_the_run():
    found = game("inpaint")
    variables = {"generator": alike(found.networks["generator"])}
    (made,) = computations.translations(found, variables)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 8, 8, 3), np.uint8)
    known = rng.integers(0, 2, (2, 8, 8, 1)).astype(np.float32)
    x = (pixels / 127.5 - 1.0).astype(np.float32)
    wanted = translating.network(found, "AtoB", variables)(pixels, known, None)
    got = levels(jax.jit(made.function)(x, known))
    assert np.abs(got - np.asarray(wanted)).max() <= 1
    assert (np.abs(got - pixels)[known[..., 0] < 0.5] > 1).mean() > 0.5


MADE = [name for name in variants.NAMES if name not in ("mle", "seqgan", "textgan", *TRANSLATION)]


QUICK = ("biggan", "stylegan2")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.exhaustive] * (n not in QUICK)) for n in MADE]
)
def test_every_configuration_is_exported_for_every_platform(name):
    for made in of_configuration(name):
        text = str(reload(made, ON).mlir_module())
        assert set(re.findall(r"custom_call @(\w+)", text)) <= {"shape_assertion"}
        # Strided, which the lowering for CPUs is not.
        assert name not in ("dcgan", "stylegan2") or "lhs_dilate = [2, 2]" in text


def test_what_cannot_be_exported_is_refused(classes, tmp_path):
    with pytest.raises(
        errors.ConfigError, match="--batch_norm = 'batch' is unknown; accepted: ema"
    ):
        computations.check(classes, Sampling("batch"))
    config = tiny.text_config()
    run = make_run(tmp_path / "text", config)
    with pytest.raises(errors.ConfigError, match="data of kind 'text', whose tokens"):
        computations.check(run, run.sampling())
    found = game("stylegan2")
    made = computations.network(found, "discriminator", alike(found.networks["discriminator"]))
    message = "discriminator cannot be exported for every size of its inputs: Symbolic"
    with pytest.raises(errors.ConfigError, match=message):
        stablehlo.serialized(made, ["cpu"])
