"""VAE/GAN: each player's loss by hand, whom its gradient moves, devices."""

import dataclasses
import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from configs import vae_gan
from gan_jax.data import spec as specs
from gan_jax.games import draws
from gan_jax.games.game import owner_steps
from gan_jax.layers.spectral import power_iteration
from gan_jax.runs import build
from tests.games import stub
from tests.training import tiny

NETWORKS = ("discriminator", "encoder", "generator")


def points():
    """Perceptrons on points of the plane: the fastest to compile."""
    config = vae_gan.get_config("smoke")
    config.loss.name = "non_saturating"
    config.generator.name = config.discriminator.name = config.encoder.name = "mlp"
    config.generator.latent_dim = 3
    config.generator.mlp.update(features=(16,), output="linear")
    config.discriminator.mlp.features = (16, 8)
    config.encoder.mlp.features = (16,)
    config.game.joint_batch = False
    config.data.update(name="ring", toy_size=512)
    config.train.update(batch_size=16, steps=6)
    return config


def pictures(normalization="batch"):
    """Convolutions at 8x8, batch-norm in encoder and generator, and at 16x16 everywhere."""
    config = vae_gan.get_config("smoke")
    config.generator.latent_dim = 4
    for name in NETWORKS:
        config[name].dcgan.features = 4
    config.discriminator.dcgan.normalization = normalization
    config.game.vae.layer = -1
    config.data.resolution = 8
    config.train.update(batch_size=16, steps=6)
    return config


def sgd(config, learning_rate=0.01):
    for name in NETWORKS:
        config.optimizer[name].update(name="sgd", learning_rate=learning_rate)
    return config


def play(config, shape=(2,)):
    """Return the game without a mapped axis, and a turn on random data."""
    return stub.begin(config, shape, None)


@pytest.mark.slow
def test_the_players_losses_are_the_papers():
    """Closed forms of KL, reconstruction and cross-entropies on what the networks give."""
    config = points()
    config.game.vae.update(gamma=0.25, kl_weight=3.0, layer=0)
    game, turn = play(config)

    @jax.jit
    def networks():
        told = game.encoder.apply(turn.variables["encoder"], game.data(turn), None)
        mean, log_variance = jnp.split(told, 2, axis=1)
        z = mean + jnp.exp(log_variance / 2) * draws.latents(turn.keys("posterior"), 3)
        made = game.sample(turn.variables, z)
        fake = game.sample(turn.variables, game.latents(turn.keys("latent")))
        judge = lambda x: game.discriminator.apply(  # noqa: E731
            turn.variables["discriminator"], x, None, method="judge"
        )
        return mean, log_variance, [judge(x) for x in (game.data(turn), made, fake)]

    mean, log_variance, verdicts = jax.device_get(networks())
    kl = 0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1).sum(1).mean()
    difference = verdicts[0].features[0] - verdicts[1].features[0]
    likelihood = 0.5 * np.square(difference).sum(1).mean()
    original, recon, prior = (verdict.scores for verdict in verdicts)
    softplus = lambda x: np.log1p(np.exp(x))  # noqa: E731
    expected = {
        "encoder": 3.0 * kl + likelihood,
        "generator": 0.25 * likelihood + 0.5 * (softplus(-recon) + softplus(-prior)).mean(),
        "discriminator": (softplus(-original) + 0.5 * (softplus(recon) + softplus(prior))).mean(),
    }
    for name in NETWORKS:
        value, outcome = stub.loss(game, name, turn)
        np.testing.assert_allclose(value, expected[name], rtol=1e-5)
        for key, part in (("kl", kl), ("reconstruction", likelihood)):
            if key in outcome.metrics:
                np.testing.assert_allclose(outcome.metrics[key], part, rtol=1e-5)


@pytest.mark.slow
def test_one_pass_over_all_sets_is_the_same_without_batch_norm():
    def values(joint):
        config = points()
        config.game.joint_batch = joint
        game, turn = play(config)
        return {name: stub.play(game, name, turn) for name in NETWORKS}

    chex.assert_trees_all_close(values(joint=True), values(joint=False), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_batch_norm_apart_hides_how_a_reconstruction_differs():
    """What `joint_batch` changes: all features of an image of twice the contrast are doubled."""

    def distance(joint):
        config = pictures()
        config.game.joint_batch = joint
        game, turn = play(config, (16, 16, 1))

        @jax.jit
        def compute():
            made = [2.0 * game.data(turn)]
            judged, _ = game._judge_views(turn.variables["discriminator"], made, turn)
            return game._reconstruction(*judged)

        return float(compute())

    assert distance(joint=True) > 3.0 * distance(joint=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_turn_moves_its_own_network_and_no_other(name):
    """Also in what is carried along: batch statistics."""
    game, turn = play(pictures(), (16, 16, 1))
    player, _ = stub.owned(game, name, turn)
    assert player.networks == (name,)
    _, gradient, outcome = stub.play(game, name, turn)
    for path, leaf in jax.tree.leaves_with_path(gradient):
        assert np.isfinite(leaf).all(), path
        if "kernel" in jax.tree_util.keystr(path):
            assert np.abs(leaf).max() > 0.0, path
    assert set(outcome.mutable) == {name}
    before = {k: v for k, v in turn.variables[name].items() if k != "params"}
    chex.assert_trees_all_equal_shapes_and_dtypes(outcome.mutable[name], before)
    for old, new in zip(
        jax.tree.leaves(before), jax.tree.leaves(outcome.mutable[name]), strict=True
    ):
        assert np.abs(old - new).max() > 0.0


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_agree_with_finite_differences(name):
    config = points()
    config.game.vae.gamma = 1.0
    game, turn = play(config)
    player, params = stub.owned(game, name, turn)
    value = jax.jit(lambda params: player.loss(params, turn)[0])
    check_grads(value, (params,), 1, ["rev"], atol=2e-2, rtol=2e-2, eps=1e-3)


def gradient_of(name, loss="non_saturating"):
    config = points()
    config.loss.name = loss
    game, turn = play(config)
    return stub.play(game, name, turn)[1]


def test_the_encoder_learns_nothing_from_the_adversarial_loss():
    """Section 2.3 of the paper: the error of the discriminator is not passed to the encoder."""
    chex.assert_trees_all_equal(gradient_of("encoder"), gradient_of("encoder", "wasserstein"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["discriminator", "generator"])
def test_any_adversarial_loss_may_be_chosen(name):
    gradient, plain = gradient_of(name, "relativistic_average"), gradient_of(name)
    for one, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(plain), strict=True):
        assert np.isfinite(one).all()
        if one.ndim == 2:
            assert np.abs(one - other).max() > 1e-6


@pytest.mark.slow
def test_a_penalty_and_augmentation_join_in():
    config = points()
    config.penalty.update(name="wgan_gp", weight=2.0)
    config.augment.noise.deviation = 0.1
    game, turn = play(config)
    value, outcome = stub.loss(game, "discriminator", turn)
    penalty = outcome.metrics["penalty"]
    assert penalty > 1e-3
    np.testing.assert_allclose(value, outcome.metrics["adversarial"] + 2.0 * penalty, rtol=1e-5)
    # A reconstruction is disturbed exactly as its original is.
    sets = [game.data(turn), game.data(turn)]
    judged, _ = game._judge_views(turn.variables["discriminator"], sets, turn)
    original, made, sample = (one.shown for one in judged)
    np.testing.assert_array_equal(original, made)
    assert np.abs(original - game.data(turn)).max() > 0.01
    assert np.abs(original - sample).max() > 0.01


def test_reconstructions_are_of_the_posteriors_mean_and_of_one_image_alone():
    game, turn = play(pictures(), (8, 8, 1))
    reconstruct = jax.jit(lambda x: game.reconstruct(turn.variables, x))
    made = reconstruct(game.data(turn))
    assert (made.shape, made.dtype) == (game.data(turn).shape, jnp.float32)
    np.testing.assert_allclose(reconstruct(game.data(turn)[3:5]), made[3:5], atol=1e-6)
    mean, log_variance = jax.jit(game.encode)(turn.variables, game.data(turn))
    assert mean.shape == log_variance.shape == (16, 4)
    assert np.std(mean, axis=0).min() > 0
    decoded = jax.jit(game.sample)(turn.variables, mean)
    np.testing.assert_allclose(decoded, made, atol=1e-6)
    np.testing.assert_array_equal(reconstruct(game.data(turn)), made)  # Nothing is drawn.


def test_both_networks_of_the_autoencoder_are_averaged_and_have_one_owner():
    config = points()
    config.ema.half_life = 100.0
    config.num_devices = 1
    training = build.make_training(config, specs.points())
    assert owner_steps(training.game) == dict.fromkeys(NETWORKS, 1)
    state = training.abstract_state
    averaged = {name for name, network in state.networks.items() if network.ema is not None}
    assert averaged == {"encoder", "generator"}
    # One batch of real data serves all three, as in the paper.
    assert build.data_batches(training) == 1


@functools.cache
def final(devices=1, parts=1):
    """Return the networks after two train steps."""
    config = sgd(points())
    config.num_devices = devices
    config.train.accumulate = parts
    return tiny.host(tiny.run(config, 2)[0]).networks


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "parts"), [(2, 1), (1, 4)])
def test_two_devices_and_a_batch_in_parts_are_the_whole_batch(devices, parts):
    chex.assert_trees_all_close(final(devices, parts), final(), **tiny.TOLERANCE)


@pytest.mark.slow
def test_spectral_vectors_move_once_and_in_the_discriminators_turn_alone():
    """Not again for reconstructions, samples, or other players."""
    config = pictures("spectral")
    config.game.joint_batch = False
    game, turn = play(config, (8, 8, 1))
    rng = np.random.default_rng(5)

    def drawn(u):
        """Far from convergence, where every iteration moves a vector visibly."""
        x = rng.normal(size=u.shape).astype(np.float32)
        return x / np.linalg.norm(x)

    start = jax.tree.map(drawn, turn.variables["discriminator"]["spectral"])
    judge = {**turn.variables["discriminator"], "spectral": start}
    turn = dataclasses.replace(turn, variables={**turn.variables, "discriminator": judge})
    for name in NETWORKS:
        moved = stub.loss(game, name, turn)[1].mutable
        assert ("discriminator" in moved) == (name == "discriminator")
        if name == "discriminator":
            end = moved[name]["spectral"]
    for layer, variables in start.items():
        if variables["u"].size > 1:  # One output has one direction.
            kernel = turn.variables["discriminator"]["params"][layer]["kernel"]
            once = power_iteration(kernel, variables["u"])
            np.testing.assert_allclose(end[layer]["u"], once, rtol=1e-5, atol=1e-6)
            for other in (variables["u"], power_iteration(kernel, once)):
                assert np.abs(once - other).max() > 1e-3


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("game.vae.gamma", -1.0, r"game\.vae\.gamma = -1\.0; accepted: 0 or more"),
        ("game.vae.kl_weight", -0.5, r"game\.vae\.kl_weight = -0\.5; accepted: 0 or more"),
        ("game.vae.layer", 2, r"game\.vae\.layer = 2; .* of 2 hidden layers: -2 to 1"),
        ("game.vae.layer", -3, r"game\.vae\.layer = -3; accepted"),
        ("generator.conditioning", "concat", r"generator\.conditioning = 'concat'.*'none'"),
        ("discriminator.conditioning", "concat", r"discriminator\.conditioning = 'concat'"),
        ("terms.lecam.weight", 0.3, r"terms\.lecam\.weight = 0\.3; .*'vae': 0"),
        ("augment.apa.limit", 0.5, r"augment\.apa\.limit = 0\.5.*'vae': 0"),
        ("fakes.top_k", 0.5, r"fakes\.top_k = 0\.5; .*: 1\.0"),
        ("generator.name", "stylegan2", r"stylegan2\.mixing = 0\.9: .* 'vae': 0"),
        ("encoder.name", "resnet", r"encoder\.name = 'resnet' is unknown; accepted: dcgan, mlp"),
    ],
)
def test_what_cannot_work_is_refused(field, value, message):
    config = points()
    config.update_from_flattened_dict({field: value})
    assert re.search(message, stub.refusal(config, specs.points(8)))
