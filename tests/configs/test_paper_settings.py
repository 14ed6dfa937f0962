"""Every configuration has the settings of its paper."""

import math

import jax
import jax.numpy as jnp
import pytest
from flax.traverse_util import flatten_dict

from configs import base
from gan_jax.games.game import batches_per_step
from gan_jax.training.ema import EMA
from tests.configs import variants
from tests.configs.builds import CLASSES, SHAPES, built


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


def test_predict_has_the_terms_of_1511_05440():
    config = variants.load("predict", "videos")
    paired = config.game.paired
    assert (paired.pixel, paired.pixel_weight, paired.gradient_weight) == ("l1", 1.0, 1.0)
    assert (paired.adversarial_weight, config.loss.name) == (0.05, "non_saturating")
    assert config.degrade.freeze.context == 4


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
