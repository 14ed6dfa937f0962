"""VAE/GAN: each player's loss by hand, whom its gradient moves and where to, devices, restarts."""

import dataclasses
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import vae_gan
from gan_jax import errors
from gan_jax.data import spec as specs
from gan_jax.games import draws
from gan_jax.games.game import Turn, owner_steps
from gan_jax.games.registry import make_game
from gan_jax.inference import reconstruction
from gan_jax.layers.spectral import power_iteration
from gan_jax.runs import build, loop
from gan_jax.runs.run import open_run
from gan_jax.training import step
from gan_jax.training.ema import EMA
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


def play(config, shape=(2,), batch=16):
    """Return the game without a mapped axis, its parameters, and a turn on random data."""
    spec = tiny.spec_of(shape)
    game = make_game(config, spec, None)
    optimizers = build.make_optimizers(config, game)
    networks = jax.jit(lambda: step.init_state(game, optimizers, EMA(), 0))().networks
    rng = np.random.default_rng(0)
    turn = Turn(
        variables={name: network.variables for name, network in networks.items()},
        batch={
            specs.data_name(spec): jnp.asarray(
                rng.uniform(-1, 1, size=(batch, *shape)), jnp.float32
            ),
        },
        key=jax.random.key(3),
        count=jnp.zeros((), jnp.int32),
        axis_name=None,
    )
    return game, {name: network.params for name, network in networks.items()}, turn


def real(turn):
    """Return the real data of a turn."""
    (data,) = turn.batch.values()
    return data


def compiled(function, turn):
    """Return ``params -> (value, gradient, outcome)`` of a player's loss, in one program."""

    @jax.jit
    def compute(params):
        (value, outcome), gradient = jax.value_and_grad(function, has_aux=True)(params, turn)
        return value, gradient, outcome

    return compute


def losses_of(game, turn):
    """Return each player's loss, compiled."""
    return {player.name: compiled(player.loss, turn) for player in game.players}


def test_the_players_losses_are_the_papers():
    """Closed forms of KL, reconstruction and cross-entropies on what the networks give."""
    config = points()
    config.game.vae.update(gamma=0.25, kl_weight=3.0, layer=0)
    game, params, turn = play(config)

    @jax.jit
    def networks():
        told = game.encoder.apply(turn.variables["encoder"], real(turn), None)
        mean, log_variance = jnp.split(told, 2, axis=1)
        z = mean + jnp.exp(log_variance / 2) * draws.latents(turn.keys("posterior"), 3)
        made = game.sample(turn.variables, z)
        fake = game.sample(turn.variables, game.latents(turn.keys("latent")))
        judge = lambda x: game.discriminator.apply(  # noqa: E731
            turn.variables["discriminator"], x, None, method="judge"
        )
        return mean, log_variance, [judge(x) for x in (real(turn), made, fake)]

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
    for name, loss in losses_of(game, turn).items():
        value, _, outcome = loss({name: params[name]})
        np.testing.assert_allclose(value, expected[name], rtol=1e-5)
        for key, part in (("kl", kl), ("reconstruction", likelihood)):
            if key in outcome.metrics:
                np.testing.assert_allclose(outcome.metrics[key], part, rtol=1e-5)


def test_one_pass_over_all_sets_is_the_same_without_batch_norm():
    def values(joint):
        config = points()
        config.game.joint_batch = joint
        game, params, turn = play(config)
        return {name: loss({name: params[name]}) for name, loss in losses_of(game, turn).items()}

    chex.assert_trees_all_close(values(joint=True), values(joint=False), rtol=1e-5, atol=1e-6)


def test_batch_norm_apart_hides_how_a_reconstruction_differs():
    """What `joint_batch` changes: all features of an image of twice the contrast are doubled."""

    def distance(joint):
        config = pictures()
        config.game.joint_batch = joint
        game, _, turn = play(config, (16, 16, 1))

        @jax.jit
        def compute():
            made = [2.0 * real(turn)]
            judged, _ = game._judge_views(turn.variables["discriminator"], made, turn)
            return game._reconstruction(*judged)

        return float(compute())

    assert distance(joint=True) > 3.0 * distance(joint=False)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_turn_moves_its_own_network_and_no_other(name):
    """Also in what is carried along: batch statistics."""
    game, params, turn = play(pictures(), (16, 16, 1))
    player = next(player for player in game.players if player.name == name)
    assert player.networks == (name,)
    _, gradient, outcome = compiled(player.loss, turn)({name: params[name]})
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


def test_a_train_step_changes_all_three_networks():
    config = points()
    config.num_devices = 1
    training = build.make_training(sgd(config), tiny.spec(config))
    start = jax.device_get({n: s.params for n, s in training.init_state().networks.items()})
    state, _ = tiny.run(config, 1, training)
    assert set(start) == set(NETWORKS)
    for name, params in start.items():
        for path, leaf in jax.tree.leaves_with_path(params):
            if "kernel" in jax.tree_util.keystr(path):
                now = state.networks[name].params[path[0].key]["kernel"]
                assert np.abs(np.asarray(now) - leaf).max() > 1e-6, (name, path)


def went_down(name, rate, **weights):
    """Return metrics of ``name`` before and after a small step down its own gradient."""
    config = points()
    config.game.vae.update(**weights)
    game, params, turn = play(config)
    loss = losses_of(game, turn)[name]
    _, gradient, before = loss({name: params[name]})
    moved = jax.tree.map(lambda p, g: p - rate * g, {name: params[name]}, gradient)
    return before.metrics, loss(moved)[2].metrics


def test_the_encoder_goes_to_the_original():
    before, now = went_down("encoder", 1e-3, kl_weight=0.0)
    assert now["reconstruction"] < before["reconstruction"] - 1e-6


def test_the_encoder_goes_to_the_prior():
    before, now = went_down("encoder", 1e-7, kl_weight=1e4)
    assert now["kl"] < before["kl"] - 1e-6


def test_the_generator_goes_to_the_original():
    before, now = went_down("generator", 1e-5, gamma=1e3)
    assert now["reconstruction"] < before["reconstruction"] - 1e-6


def test_the_generator_goes_where_it_is_taken_for_real():
    before, now = went_down("generator", 1e-2, gamma=0.0)
    assert now["adversarial"] < before["adversarial"] - 1e-6


def test_the_discriminator_tells_both_kinds_of_fakes_from_real_data():
    before, now = went_down("discriminator", 0.1)
    for fake in ("reconstruction_score", "fake_score"):
        gaps = [metrics["real_score"] - metrics[fake] for metrics in (before, now)]
        assert gaps[1] > gaps[0] + 1e-4


def gradient_of(name, loss="non_saturating"):
    config = points()
    config.loss.name = loss
    game, params, turn = play(config)
    return losses_of(game, turn)[name]({name: params[name]})[1]


def test_the_encoder_learns_nothing_from_the_adversarial_loss():
    """Section 2.3 of the paper: the error of the discriminator is not passed to the encoder."""
    chex.assert_trees_all_equal(gradient_of("encoder"), gradient_of("encoder", "wasserstein"))


@pytest.mark.parametrize("name", ["discriminator", "generator"])
@pytest.mark.parametrize("loss", ["hinge", "relativistic_average"])
def test_any_adversarial_loss_may_be_chosen(name, loss):
    gradient, plain = gradient_of(name, loss), gradient_of(name)
    for one, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(plain), strict=True):
        assert np.isfinite(one).all()
        if one.ndim == 2:
            assert np.abs(one - other).max() > 1e-6


def test_a_penalty_and_augmentation_join_in():
    config = points()
    config.penalty.update(name="wgan_gp", weight=2.0)
    config.augment.noise.deviation = 0.1
    game, params, turn = play(config)
    loss = losses_of(game, turn)["discriminator"]
    value, _, outcome = loss({"discriminator": params["discriminator"]})
    penalty = outcome.metrics["penalty"]
    assert penalty > 1e-3
    np.testing.assert_allclose(value, outcome.metrics["adversarial"] + 2.0 * penalty, rtol=1e-5)
    # A reconstruction is disturbed exactly as its original is.
    sets = [real(turn), real(turn)]
    judged, _ = game._judge_views(turn.variables["discriminator"], sets, turn)
    original, made, sample = (one.shown for one in judged)
    np.testing.assert_array_equal(original, made)
    assert np.abs(original - real(turn)).max() > 0.01
    assert np.abs(original - sample).max() > 0.01


def test_reconstructions_are_of_the_posteriors_mean_and_of_one_image_alone():
    game, _, turn = play(pictures(), (8, 8, 1))
    reconstruct = jax.jit(lambda x: game.reconstruct(turn.variables, x))
    made = reconstruct(real(turn))
    assert (made.shape, made.dtype) == (real(turn).shape, jnp.float32)
    np.testing.assert_allclose(reconstruct(real(turn)[3:5]), made[3:5], atol=1e-6)
    mean, log_variance = jax.jit(game.encode)(turn.variables, real(turn))
    assert mean.shape == log_variance.shape == (16, 4)
    assert np.std(mean, axis=0).min() > 0
    decoded = jax.jit(game.sample)(turn.variables, mean)
    np.testing.assert_allclose(decoded, made, atol=1e-6)
    np.testing.assert_array_equal(reconstruct(real(turn)), made)  # Nothing is drawn.


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


def final(config, steps=3):
    state, _ = tiny.run(sgd(config), steps)
    return jax.tree.map(
        np.asarray, jax.device_get(state.replace(key=jax.random.key_data(state.key)))
    )


@pytest.mark.slow
@pytest.mark.parametrize(("joint", "mode"), [(True, "shard_map"), (False, "pmap")])
def test_eight_devices_are_one(joint, mode):
    def config(devices):
        config = pictures()
        config.data.resolution = 16  # Where the discriminator has batch-norm, too.
        config.game.joint_batch = joint
        config.num_devices, config.parallel = devices, mode
        config.augment.diffaug.policy = ("translation",)
        return config

    # As in tests/training/test_parallel.py: rounding, grown over three steps.
    chex.assert_trees_all_close(final(config(8)), final(config(1)), rtol=2e-4, atol=2e-5)


def test_gradients_in_parts_are_those_of_the_whole_batch():
    def config(parts):
        config = points()
        config.num_devices = 1
        config.train.accumulate = parts
        return config

    one, many = final(config(1)), final(config(4))
    chex.assert_trees_all_close(many.networks, one.networks, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("joint", [True, False])
def test_spectral_vectors_move_once_and_in_the_discriminators_turn_alone(joint):
    """Not again for reconstructions, samples, or other players."""
    config = pictures("spectral")
    config.game.joint_batch = joint
    game, params, turn = play(config, (8, 8, 1))
    rng = np.random.default_rng(5)

    def drawn(u):
        """Far from convergence, where every iteration moves a vector visibly."""
        x = rng.normal(size=u.shape).astype(np.float32)
        return x / np.linalg.norm(x)

    start = jax.tree.map(drawn, turn.variables["discriminator"]["spectral"])
    judge = {**turn.variables["discriminator"], "spectral": start}
    turn = dataclasses.replace(turn, variables={**turn.variables, "discriminator": judge})
    for name, loss in losses_of(game, turn).items():
        moved = loss({name: params[name]})[2].mutable
        assert ("discriminator" in moved) == (name == "discriminator")
        if name == "discriminator":
            end = moved[name]["spectral"]
    for layer, variables in start.items():
        if variables["u"].size > 1:  # One output has one direction.
            kernel = params["discriminator"][layer]["kernel"]
            once = power_iteration(kernel, variables["u"])
            np.testing.assert_allclose(end[layer]["u"], once, rtol=1e-5, atol=1e-6)
            for other in (variables["u"], power_iteration(kernel, once)):
                assert np.abs(once - other).max() > 1e-3


@pytest.mark.slow
def test_a_stopped_run_goes_on_bit_for_bit_and_reconstructs(tmp_path, monkeypatch):
    config = pictures()
    config.ema.half_life = 100.0
    config.num_devices = 1
    config.train.update(log_every=3, checkpoint_every=100, sample_every=100)
    assert loop.train(config, tmp_path / "whole").state == "done"
    tiny.stop_at(monkeypatch, 4)
    assert loop.train(config, tmp_path / "parts").state == "preempted"
    tiny.stop_at(monkeypatch, None)
    assert loop.train(config, tmp_path / "parts").state == "done"
    runs = [open_run(tmp_path / name) for name in ("whole", "parts")]
    leaves = [
        jax.tree.leaves(state.replace(key=jax.random.key_data(state.key)))
        for state in (run.state() for run in runs)
    ]
    assert [np.asarray(x).tobytes() for x in leaves[0]] == [
        np.asarray(x).tobytes() for x in leaves[1]
    ]
    row = json.loads((tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"encoder/kl", "generator/reconstruction", "discriminator/fake_score"} <= set(row)

    run = runs[0]
    variables = run.variables()
    images, split = reconstruction.held_out_images(run.config, 5)
    assert (split, images.shape) == ("test", (5, 8, 8, 1))
    found = reconstruction.reconstruct(run.game, variables, images)
    # The moving averages reconstruct.
    averaged = {name: network.averaged for name, network in run.state().networks.items()}
    again = reconstruction.reconstruct(run.game, averaged, images, batch_size=2)
    np.testing.assert_allclose(again.image.astype(int), found.image.astype(int), atol=1)


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
        ("fakes.top_k", 0.5, r"fakes\.top_k = 0\.5; .*: 1\.0"),
        ("encoder.name", "resnet", r"encoder\.name = 'resnet' is unknown; accepted: dcgan, mlp"),
    ],
)
def test_what_cannot_work_is_refused(field, value, message):
    config = points()
    config.num_devices = 1
    config.update_from_flattened_dict({field: value})
    with pytest.raises(errors.ConfigError, match=message):
        build.make_training(config, specs.points(8))
