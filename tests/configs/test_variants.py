"""Every configuration: its papers' settings, and that it is what it says it is."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from configs import base
from gan_jax import errors
from gan_jax.data import captions
from gan_jax.data import spec as specs
from gan_jax.data.sources.draws import random_arrays
from gan_jax.games.game import batches_per_step
from gan_jax.games.translation import TranslationGame
from gan_jax.runs import build, loop
from gan_jax.runs.run import open_run
from gan_jax.training.ema import EMA
from tests.configs import variants

SHAPES = {
    "cifar10": (32, 32, 3),
    "mnist": (32, 32, 1),
    "fashion_mnist": (32, 32, 1),
    "folder": (64, 64, 3),
    "digits": (16, 16, 1),
    "photos": (96, 96, 3),
    "tiles": (96, 96, 3),
    "tones": (1024, 1),
    "sounds": (16_384, 1),
    "bouncing": (8, 16, 16, 1),
    "videos": (16, 64, 64, 3),
    "grammar": (11, 29),
    "scales": (16, 16, 1),
    "midi": (16, 48, 1),
    "text": (32, 60),
    "shapes": (16, 16, 3),
}
CLASSES = 10


def source_name(name, data):
    """Return what a variant's data set is called as ``data.name``."""
    if data == "folder" and name in ("stackgan", "text_to_image"):
        return "captioned"
    return "folder" if data == "tiles" else data


def spec(config, data):
    """Return the specification of the stored data of a configuration."""
    if data in base.TEXT:
        length, tokens = SHAPES[data]
        return {"text": specs.text(length, [str(i) for i in range(1, tokens)], " ")}
    if data in base.VIDEO:
        return specs.labelled("video", specs.Field("video", SHAPES[data], "uint8"), CLASSES)
    if len(SHAPES[data]) == 2:
        sound = specs.Field("audio", SHAPES[data], "int16", sample_rate=16_000)
        if (window := config.data.spectrogram.window) > 0:
            stft, scales = (window, config.data.spectrogram.hop), ((0.0, 1.0),) * (window // 2)
            sound = dataclasses.replace(sound, kind="spectrogram", stft=stft, scales=scales)
        return specs.labelled("audio", sound, CLASSES)
    if data in base.MUSIC:
        return specs.labelled("music", specs.music(SHAPES[data][:2], 60), CLASSES)
    if config.generator.conditioning == "text":
        words = np.ones((1, 4), np.int32)
        label = captions.field(4, {str(i): i for i in range(CLASSES)}, words)
        side = config.data.resolution
        return {"image": specs.image((side, side, 3)), "label": label}
    height, width, channels = SHAPES[data]
    if config.data.crop is not None:  # Larger than it is trained on.
        height = width = config.data.resolution
    if config.data.pairing != "none":
        return specs.pairs((height, width, channels))
    return specs.images((height, width, channels), CLASSES)


def chosen(name):
    """Return the data sets to build: the default, and the first of the paper's size."""
    return variants.datasets(name)[:2]


@functools.cache
def built(name, data):
    """Return the training of a configuration on one device; tests do not change it."""
    config = variants.load(name, data)
    config.num_devices = 1
    return build.make_training(config, spec(config, data))


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
    "text_to_image",
    "textgan",
    "videogan",
    "wavegan",
    "specgan",
    "colorize",
    "deblur",
    "inpaint",
)


def small(name):
    """Return a smoke run that compiles quickly."""
    config = variants.load(name, "smoke")
    config.num_devices = 1
    config.train.update(steps=2, batch_size=4, log_every=1, checkpoint_every=1)
    config.game.discriminator_steps = 1
    config.game.paired.content_steps = min(config.game.paired.content_steps, 1)
    config.game.cycle.identity_weight = 0.0
    config.game.progressive.update(stable_images=1, fade_images=1)
    config.generator.translator.downsamplings = 1
    if config.data.crop is not None:
        config.data.update(resolution=24, crop=16)
    return config


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


def optimizer(config, network):
    """Return name, rate, options and schedule of a network's optimizer."""
    chosen = config.optimizer[network]
    own = {name: value for name, value in chosen[chosen.name].items() if value is not None}
    return chosen.name, chosen.learning_rate, own, chosen.schedule.name


def adam(rate, b1, b2, schedule="constant"):
    return "adam", rate, {"b1": b1, "b2": b2, "eps": 1e-8}, schedule


def rmsprop(rate):
    return "rmsprop", rate, {"decay": 0.99, "eps": 1e-8}, "constant"


MOMENTUM = ("momentum", 0.02, {"momentum": 0.5, "nesterov": False}, "constant")
DCGAN = adam(2e-4, 0.5, 0.999)


@pytest.mark.parametrize(
    ("name", "paper", "chosen", "batch_size", "steps", "loss", "penalty"),
    [
        ("gan", "1406.2661", DCGAN, 128, 1, "non_saturating", "none"),
        ("cgan", "1411.1784", DCGAN, 128, 1, "non_saturating", "none"),
        ("lapgan", "1506.05751", MOMENTUM, 128, 1, "non_saturating", "none"),
        ("dcgan", "1511.06434", DCGAN, 128, 1, "non_saturating", "none"),
        ("vae_gan", "1512.09300", rmsprop(3e-4), 64, 1, "non_saturating", "none"),
        ("acgan", "1610.09585", DCGAN, 100, 1, "non_saturating", "none"),
        ("lsgan", "1611.04076", DCGAN, 64, 1, "least_squares", "none"),
        ("wgan", "1701.07875", rmsprop(5e-5), 64, 5, "wasserstein", "none"),
        ("wgan_gp", "1704.00028", adam(2e-4, 0.0, 0.9, "linear"), 64, 5, "wasserstein", "wgan_gp"),
        ("dragan", "1705.07215", DCGAN, 64, 1, "non_saturating", "dragan"),
        ("r1_gan", "1801.04406", rmsprop(1e-4), 64, 1, "non_saturating", "r1"),
        ("sngan", "1802.05957", adam(2e-4, 0.0, 0.9, "linear"), 64, 5, "hinge", "none"),
    ],
)
def test_settings_are_those_of_the_paper(name, paper, chosen, batch_size, steps, loss, penalty):
    assert paper in variants.module(name).__doc__
    config = variants.load(name, "cifar10")
    for network in ("generator", "discriminator", *(["encoder"] if name == "vae_gan" else [])):
        assert optimizer(config, network) == chosen
    assert (config.train.batch_size, config.game.discriminator_steps) == (batch_size, steps)
    assert (config.loss.name, config.penalty.name) == (loss, penalty)
    if penalty != "none":
        assert (config.penalty.weight, config.penalty.every) == (10.0, 1)
    assert config.game.clip == (0.01 if name == "wgan" else None)


def test_segan_has_the_settings_of_1703_09452():
    config = variants.load("segan", "sounds")
    assert {optimizer(config, n)[:2] for n in ("generator", "discriminator")} == {("rmsprop", 2e-4)}
    assert (config.train.batch_size, config.loss.name) == (400, "least_squares")
    paired = config.game.paired
    assert (paired.pixel, paired.pixel_weight, paired.adversarial_weight) == ("l1", 100.0, 1.0)
    game = built("segan", "sounds").game
    assert game.generator.noise
    assert len(game.generator.features) == 11
    assert game.generator.features == game.discriminator.features
    assert game.degradation.snr == (0.0, 15.0)


def test_hifigan_has_the_settings_of_2010_05646():
    config = variants.load("hifigan", "sounds")
    for network in ("generator", "discriminator"):
        optimizer = config.optimizer[network]
        assert (optimizer.name, optimizer.learning_rate) == ("adamw", 2e-4)
        assert (optimizer.adamw.b1, optimizer.adamw.b2) == (0.8, 0.99)
    assert (config.train.batch_size, config.loss.name) == (16, "least_squares")
    sound = config.data.sound
    assert (sound.sample_rate, sound.samples) == (22_050, 8192)
    game = built("hifigan", "sounds").game
    assert (game.pixel, game.pixel_weight, game.matching_weight) == ("mel", 45.0, 2.0)
    mel, made, judge = game.degradation, game.generator, game.discriminator
    assert (mel.window, mel.hop, mel.bands, mel.lowest, mel.highest) == (1024, 256, 80, 0.0, 8000.0)
    assert (made.features, made.rates, made.kernels) == (512, (8, 8, 2, 2), (3, 7, 11))
    assert (made.dilations, made.double, made.normalization) == ((1, 3, 5), True, "weight")
    assert (judge.periods, judge.scales, judge.normalization) == ((2, 3, 5, 7, 11), 3, "weight")
    assert game.adversarial_weight == len(judge.periods) + judge.scales


# Of generator and discriminator on CIFAR-10, counted on 2026-11-28.
PARAMETERS = {
    "gan": (3_831_552, 3_803_137),
    "lapgan": (1_792_992, 477_001),
    "dcgan": (1_068_931, 663_361),
    "lsgan": (1_068_931, 663_361),
    "wgan": (1_068_931, 663_361),
    "dragan": (1_068_931, 662_977),  # Without batch-norm.
    "wgan_gp": (1_204_483, 1_053_825),
    "r1_gan": (1_466_627, 1_053_825),  # With latents of size 256.
    "sngan": (4_276_739, 1_053_825),  # With 256 features in the generator.
    "sngan_projection": (4_304_387, 1_055_105),
    "vae_gan": (1_183_619, 663_361),
}


@pytest.mark.parametrize(("name", "expected"), PARAMETERS.items())
def test_networks_have_the_papers_sizes(name, expected):
    networks = built(name, "cifar10").abstract_state.networks
    suffix = "_8" if name == "lapgan" else ""
    for role, count in zip(("generator", "discriminator"), expected, strict=True):
        params = jax.tree.leaves(networks[f"{role}{suffix}"].params)
        assert sum(math.prod(leaf.shape) for leaf in params) == count


def test_lsgan_has_the_labels_of_1611_04076():
    # Batch statistics of real images and of fakes must not be mixed.
    assert not variants.load("lsgan", "cifar10").game.joint_batch
    loss = built("lsgan", "cifar10").game.loss
    assert loss.discriminator(jnp.array([1.0]), jnp.array([0.0])) == 0.0
    assert loss.generator(jnp.array([1.0]), None) == 0.0


def test_wgan_clips_the_critic_alone():
    game = built("wgan", "cifar10").game
    assert batches_per_step(game) == 5
    discriminator, generator = game.players
    clipped = discriminator.project({"w": jnp.array([-3.0, 0.005, 3.0])})["w"]
    assert clipped.tolist() == jnp.array([-0.01, 0.005, 0.01]).tolist()
    assert generator.project is None


def test_r1_gan_averages_by_0_999_from_the_first_step_on():
    config = variants.load("r1_gan", "cifar10")
    average = EMA(**config.ema)
    for step in (0, 10_000):
        decay = float(average.decay(jnp.int32(step), config.train.batch_size))
        assert decay == pytest.approx(0.999, abs=1e-6)


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


def test_sngan_normalizes_every_kernel_of_the_discriminator():
    networks = built("sngan", "cifar10").abstract_state.networks
    discriminator = networks["discriminator"]
    assert set(discriminator.mutable) == {"spectral"}
    kernels = [path for path in flatten_dict(discriminator.params) if path[-1] == "kernel"]
    assert len(jax.tree.leaves(discriminator.mutable)) == len(kernels)
    assert set(networks["generator"].mutable) == {"batch_stats"}


def test_sagan_normalizes_both_networks_and_attends_once_in_each():
    networks = built("sagan", "cifar10").abstract_state.networks
    for role, tables in (("generator", 0), ("discriminator", 1)):
        params = flatten_dict(networks[role].params)
        kernels = [path for path in params if path[-1] == "kernel"]
        assert len(jax.tree.leaves(networks[role].mutable["spectral"])) == len(kernels) + tables
        assert len([path for path in params if path[-1] == "gamma"]) == 1


@pytest.mark.parametrize(
    ("name", "rates", "second", "batch_size", "steps"),
    [
        ("sagan", (1e-4, 4e-4), 0.9, 256, 1),
        ("biggan", (5e-5, 2e-4), 0.999, 2048, 2),
        ("biggan_deep", (5e-5, 2e-4), 0.999, 2048, 2),
    ],
)
def test_the_discriminators_rate_is_the_larger(name, rates, second, batch_size, steps):
    config = variants.load(name, "cifar10")
    assert (config.loss.name, config.game.discriminator_steps) == ("hinge", steps)
    assert config.train.batch_size == batch_size
    for network, rate in zip(("generator", "discriminator"), rates, strict=True):
        assert optimizer(config, network) == adam(rate, 0.0, second)
    if name != "sagan":
        assert config.terms.orthogonal.weight == 1e-4
        average = EMA(**config.ema)
        decays = [float(average.decay(jnp.int32(i), 2 * 2048)) for i in (19_999, 20_000)]
        assert decays == [0.0, pytest.approx(0.9999, abs=1e-7)]


def test_stylegan2_has_the_settings_of_1912_04958():
    config = variants.load("stylegan2", "cifar10")
    for network in ("generator", "discriminator"):
        assert optimizer(config, network) == adam(2e-3, 0.0, 0.99)
    assert (config.loss.name, config.train.batch_size) == ("non_saturating", 32)
    penalty, lengths = config.penalty, config.terms.path_length
    assert (penalty.name, penalty.weight, penalty.every) == ("r1", 10.0, 16)
    assert (lengths.weight, lengths.every, lengths.decay) == (2.0, 4, 0.99)
    own = config.generator.stylegan2
    assert (own.style_dim, own.mapping_layers, own.mixing) == (512, 8, 0.9)
    assert config.ema.half_life == 10_000
    networks = built("stylegan2", "cifar10").abstract_state.networks
    assert set(networks["generator"].mutable) == {"style_average"}
    assert networks["discriminator"].mutable == {}


@pytest.mark.parametrize("name", ["wavegan", "specgan"])
def test_sound_has_the_settings_of_1802_04208(name):
    config = variants.load(name, "sounds")
    for network in ("generator", "discriminator"):
        assert optimizer(config, network) == adam(1e-4, 0.5, 0.9)
    assert (config.train.batch_size, config.game.discriminator_steps) == (64, 5)
    assert (config.loss.name, config.penalty.name, config.penalty.weight) == (
        "wasserstein",
        "wgan_gp",
        10.0,
    )
    game = built(name, "sounds").game
    assert (game.latent_dim, game.generator.features, game.discriminator.features) == (100, 64, 64)
    if name == "wavegan":
        assert game.discriminator.phase_shuffle == 2
    else:
        assert config.data.spectrogram.to_dict() == {"window": 256, "hop": 128}
        params = built(name, "sounds").abstract_state.networks["discriminator"].params
        assert params["Conv_4"]["kernel"].shape == (5, 5, 512, 1024)
        assert params["Dense_0"]["kernel"].shape == (4 * 4 * 1024, 1)


def test_mle_trains_the_generator_of_textgan_on_the_same_data():
    game, alone = built("textgan", "grammar").game, built("mle", "grammar").game
    assert alone.generator == game.generator
    assert [player.name for player in alone.players] == ["generator"]
    config = variants.load("textgan", "text")
    assert (config.loss.name, config.penalty.name) == ("relativistic_pairing", "r1_r2")
    assert game.generator.anneal_images <= config.train.steps * config.train.batch_size


def test_cgan_conditions_both_networks_of_1511_06434():
    config = variants.load("cgan", "cifar10")
    assert config.generator.conditioning == config.discriminator.conditioning == "concat"
    training = built("cgan", "cifar10")
    assert training.game.num_classes == CLASSES
    # A plane per class beside the image, a number per class beside the latent vector.
    networks = training.abstract_state.networks
    channels = SHAPES["cifar10"][-1]
    assert networks["discriminator"].params["Conv_0"]["kernel"].shape[2] == channels + CLASSES
    assert networks["generator"].params["Dense_0"]["kernel"].shape[0] == 100 + CLASSES


def test_acgan_predicts_the_class():
    game = built("acgan", "cifar10").game
    term = game.terms["classification"]
    weights = (term.weight, term.real_weight, term.fake_weight, term.generator_weight)
    assert weights == (1.0, 1.0, 1.0, 1.0)
    assert [(head.name, head.size) for head in game.discriminator.heads] == [("class", CLASSES)]
    # The discriminator does not receive the class that it predicts.
    assert game.discriminator.conditioning == "none"


def test_progan_has_the_settings_of_1710_10196():
    config = variants.load("progan", "cifar10")
    for network in ("generator", "discriminator"):
        assert optimizer(config, network) == adam(1e-3, 0.0, 0.99)
    assert (config.loss.name, config.penalty.name, config.penalty.weight) == (
        "wasserstein",
        "wgan_gp",
        10.0,
    )
    assert (config.terms.drift.weight, config.game.discriminator_steps) == (1e-3, 1)
    decay = EMA(**config.ema).decay(jnp.int32(0), config.train.batch_size)
    assert float(decay) == pytest.approx(0.999, abs=1e-5)
    assert config.train.steps * config.train.batch_size == 12_000_000
    game = built("progan", "cifar10").game
    # 600,000 images for the first stage, then 600,000 each for a stage's fade and the stage itself.
    for images, level in ((600_000, 0.0), (900_000, 0.5), (1_200_000, 1.0), (3_600_000, 3.0)):
        assert float(game.level(jnp.int32(images))) == level


def test_infogan_has_the_settings_of_1606_03657():
    config = variants.load("infogan", "cifar10")
    rates = [config.optimizer[name].learning_rate for name in ("generator", "discriminator")]
    assert rates == [1e-3, 2e-4]
    game = built("infogan", "cifar10").game
    assert (game.codes.noise, game.codes.categorical, game.codes.continuous) == (62, (10,), 2)
    term = game.terms["information"]
    assert (term.weight, term.categorical_weight, term.continuous_weight) == (1.0, 1.0, 0.1)
    assert game.latent_dim == game.generator.latent_dim == 74
    assert game.num_classes is None


def test_sngan_projection_is_sngan_with_the_conditioning_of_1802_05637():
    config, plain = variants.load("sngan_projection", "cifar10"), variants.load("sngan", "cifar10")
    assert config.generator.conditioning == "batch_norm"
    assert config.discriminator.conditioning == "projection"
    for group in (config.generator, config.discriminator):
        with group.unlocked():
            group.conditioning = "none"
    with config.unlocked():
        config.variant = "sngan"
    assert config.to_dict() == plain.to_dict()
    table = built("sngan_projection", "cifar10").abstract_state.networks["discriminator"]
    assert table.params["projection"]["embedding"].shape == (CLASSES, 128)
    assert table.mutable["spectral"]["projection"]["u"].shape == (128,)


def test_vae_gan_compares_features_at_8x8():
    config = variants.load("vae_gan", "cifar10")
    assert (config.game.vae.kl_weight, config.game.joint_batch) == (1.0, False)
    assert {config[name].name for name in ("encoder", "generator", "discriminator")} == {"dcgan"}
    game = built("vae_gan", "cifar10").game
    assert [player.name for player in game.players] == ["discriminator", "encoder", "generator"]
    shape = SHAPES["cifar10"]
    judged = jax.eval_shape(
        lambda: game.discriminator.init_with_output(
            jax.random.key(0), jnp.zeros((1, *shape)), train=False, method="judge"
        )
    )[0]
    assert judged.features[game.layer].shape[1:3] == (8, 8)
    assert game.encoder.outputs == 2 * 128


def test_lapgan_has_the_pyramid_of_1506_05751():
    training = built("lapgan", "cifar10")
    game = training.game
    assert batches_per_step(game) == 1
    sizes = [8 << level for level in range(4) if 8 << level <= SHAPES["cifar10"][0]]
    names = [f"{role}_{size}" for size in sizes for role in ("discriminator", "generator")]
    assert [player.name for player in game.players] == names
    # A latent vector of 100 numbers, then a plane of noise per finer level.
    assert game.latent_dim == 100 + sum(size**2 for size in sizes[1:])
    networks = training.abstract_state.networks
    for size in sizes[1:]:
        # Three and two convolutions, and no batch-norm.
        generator, discriminator = (
            networks[f"{role}_{size}"] for role in ("generator", "discriminator")
        )
        assert sorted(generator.params) == ["Conv_0", "Conv_1", "Conv_2"]
        assert sorted(discriminator.params) == ["Conv_0", "Conv_1", "Dense_0"]
        assert generator.mutable == discriminator.mutable == {}
        channels = SHAPES["cifar10"][2]
        # The noise is one more plane of the blurred image.
        assert generator.params["Conv_0"]["kernel"].shape == (5, 5, channels + 1, 64)


def test_midinet_has_the_settings_of_musegan_and_binary_neurons():
    config = variants.load("midinet")
    assert (config.loss.name, config.penalty.name) == ("wasserstein", "wgan_gp")
    assert config.terms.feature_matching.weight == 0.0
    for network in ("generator", "discriminator"):
        assert optimizer(config, network) == adam(1e-3, 0.5, 0.9, "linear")
    game = built("midinet", "scales").game
    assert (game.generator.slope, game.num_classes) == (1.0, CLASSES)
    assert game.generator.conditioning == game.discriminator.conditioning == "concat"
    slopes = [built("midinet", data).game.scheduled(10**6)["generator"] for data in base.MUSIC]
    assert [float(slope["neurons"]["value"]) for slope in slopes] == [1.0, pytest.approx(5.0)]
