"""Every configuration: it builds for every data set, and trains."""

import functools

import jax
import numpy as np
import pytest

from configs import base
from gan_jax import errors
from gan_jax.data.sources.draws import random_arrays
from gan_jax.games.translation import TranslationGame
from gan_jax.runs import build, loop
from gan_jax.runs.run import open_run
from tests.configs import variants
from tests.configs.builds import SHAPES, built, chosen, small, source_name, spec

# One configuration per game. A whole run is the same for all but its pictures and its checkpoints,
# so one is trained for each kind of picture: samples, reconstructions, restored images.
GAMES = (
    "wgan_gp",
    "infogan",
    "lapgan",
    "vae_gan",
    "denoise",
    "cyclegan",
    "ganomaly",
    "mle",
    "seqgan",
    "stackgan",
)

WHOLE_RUNS = ("wgan_gp", "vae_gan", "denoise")

# The step is that of another one but for networks, a loss, a penalty, a term, a degradation or a
# label, which have their own tests.
ALIKE = (
    "acgan",
    "biggan",
    "biggan_deep",
    "can",
    "cgan",
    "dcgan",
    "fastgan",
    "gan",
    "hifigan",
    "lsgan",
    "progan",
    "segan",
    "r1_gan",
    "r3gan",
    "sagan",
    "sngan",
    "stylegan1",
    "stylegan2",
    "sngan_projection",
    "midinet",
    "mocogan",
    "predict",
    "text_to_image",
    "textgan",
    "videogan",
    "wavegan",
    "wgan",
    "specgan",
    "colorize",
    "deblur",
    "inpaint",
)


def check_trained(first, last):
    """Check that most parameters of all networks have changed, and are finite."""
    for network in last:
        before, after = (jax.tree.leaves(one[network].params) for one in (first, last))
        changed = [bool((a != b).any()) for a, b in zip(before, after, strict=True)]
        assert sum(changed) > len(changed) / 2, network
        assert all(np.isfinite(leaf).all() for leaf in after), network


@pytest.mark.core
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "wgan_gp")) for n in WHOLE_RUNS]
)
def test_a_smoke_run_trains(name, tmp_path):
    assert loop.train(small(name), tmp_path).state == "done"
    run = open_run(tmp_path)
    check_trained(*(jax.device_get(run.state(step).networks) for step in (1, 2)))


def marks(name):
    """Return the marks of the train step of a configuration."""
    core = [pytest.mark.core] * (name in GAMES)
    return [pytest.mark.slow, *core, *[pytest.mark.exhaustive] * (name in ALIKE)]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=marks(n)) for n in variants.NAMES if n not in WHOLE_RUNS],
)
def test_two_smoke_steps_train(name):
    config = small(name)
    stored = spec(config, variants.datasets(name)[0])
    training = build.make_training(config, stored)
    names = ["a", "b"] if config.data.pairing == "domains" else ["index"]
    index = np.zeros((1, build.data_batches(training), 4), np.int32) + np.arange(4, dtype=np.int32)
    batch = training.parallel.put_batch(dict.fromkeys(names, index))
    data = training.parallel.put_replicated(random_arrays(stored, 4))
    state = training.init_state()
    for _ in range(2):
        before = jax.device_get(state.networks)
        state, _ = training.parallel(state, data, batch)
    check_trained(before, jax.device_get(state.networks))


def outside_data(config):
    """Return a configuration's fields by dotted name, but for the group ``data``."""
    names = (name for name in variants.fields(config) if not name.startswith("data."))
    return {name: functools.reduce(getattr, name.split("."), config) for name in names}


@pytest.mark.parametrize("name", variants.NAMES)
def test_data_sets_of_the_papers_size_differ_in_data_alone(name):
    outside = [data for data in variants.datasets(name) if data not in base.EMBEDDED]
    found = [outside_data(variants.load(name, data)) for data in outside]
    assert all(fields == found[0] for fields in found[1:])


@pytest.mark.parametrize("name", variants.NAMES)
def test_smoke_shrinks_every_data_set(name):
    for data in chosen(name):
        config = variants.load(name, f"{data},smoke")
        assert config.data.name == source_name(name, data)
        assert config.train.steps <= 10
        config.num_devices = 1
        build.make_training(config, spec(config, data))


@pytest.mark.parametrize(
    ("name", "data"), [(name, data) for name in variants.NAMES for data in chosen(name)]
)
def test_every_size_of_data_builds(name, data):
    config = variants.load(name, data)
    assert (config.variant, config.data.name) == (name, source_name(name, data))
    for field in spec(config, data).values():
        assert field.kind != "image" or field.shape[0] == config.data.resolution
        assert field.kind != "image" or config.data.channels in (None, field.shape[2])
    training = built(name, data)
    state = training.abstract_state
    assert state.step.shape == ()
    for network in state.networks.values():
        assert len(jax.tree.leaves(network.params)) >= 4
    game = training.game
    variables = {n: s.averaged for n, s in state.networks.items()}
    if isinstance(game, TranslationGame):
        *sides, width, _ = next(iter(game.spec.values())).shape
        for way, direction in game.directions.items():
            # The training's own size, and another one that is not square.
            for more in (0, direction.multiple):
                height = [side // direction.scale for side in sides]
                size = (*height, width // direction.scale + more)
                if more and name == "ganomaly":
                    continue
                known = None
                if direction.masked:
                    known = jax.ShapeDtypeStruct((2, *size, 1), "float32")
                x = jax.ShapeDtypeStruct((2, *size, direction.inputs), "float32")
                made = jax.eval_shape(
                    lambda v, x, known, w=way: game.translate(v, x, w, known=known),
                    variables,
                    x,
                    known,
                )
                expected = tuple(side * direction.scale for side in size)
                assert made.shape == (2, *expected, direction.outputs)
        return
    z = jax.ShapeDtypeStruct((2, game.latent_dim), "float32")
    shape = () if game.attributes is None else game.attributes.shape
    label = {"label": jax.ShapeDtypeStruct((2, *shape), "int32")}
    unconditional = game.num_classes is None and game.attributes is None
    made = jax.eval_shape(game.sample, variables, z, None if unconditional else label)
    expected = (128, 128 if data == "sounds" else 16, 1) if name == "specgan" else SHAPES[data]
    if name == "stackgan":
        expected = (config.data.resolution, config.data.resolution, 3)
    assert made.shape == (2, *expected)
    assert config.train.steps % config.train.steps_per_call == 0


@pytest.mark.parametrize("data", ["digits", "cifar10"])
@pytest.mark.parametrize("name", ["wgan_gp", "dragan", "r1_gan"])
def test_a_discriminator_under_a_penalty_has_no_batch_norm(name, data):
    # One pass for real images and fakes is the same as two only without batch statistics.
    config = variants.load(name, data)
    assert config.game.joint_batch
    networks = built(name, data).abstract_state.networks
    assert networks["discriminator"].mutable == {}
    assert "batch_stats" in networks["generator"].mutable


@pytest.mark.parametrize("name", variants.NAMES)
def test_the_default_is_in_every_installation(name):
    default = variants.datasets(name)[0]
    assert default in base.EMBEDDED
    assert variants.load(name).to_dict() == variants.load(name, default).to_dict()


@pytest.mark.parametrize("name", ["srgan", "cyclegan"])
def test_data_that_do_not_suit_a_variant_are_refused(name):
    with pytest.raises(errors.ConfigError, match=r"'cifar10' is unknown; accepted: .*photos"):
        variants.load(name, "cifar10")


@pytest.mark.parametrize("name", variants.NAMES)
def test_a_variant_invents_no_fields(name):
    allowed = variants.fields(base.get_config())
    for data in variants.datasets(name)[:2]:
        assert variants.fields(variants.load(name, data)) == allowed


@pytest.mark.parametrize("name", variants.NAMES)
def test_the_docstring_says_how_to_run_it(name):
    text = variants.module(name).__doc__
    assert f"--config=configs/{name}.py" in text
