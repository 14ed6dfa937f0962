"""Spectral normalization in training: one power iteration per gradient step, and it is state."""

import chex
import jax
import numpy as np
import pytest

from gan_jax.games import draws
from gan_jax.games.game import Turn
from gan_jax.layers.spectral import power_iteration
from gan_jax.runs import build
from tests.training import tiny

pytestmark = pytest.mark.slow


def spectral_config(critic_steps=1):
    """The hinge loss at 8x8, the discriminator spectrally normalized."""
    config = tiny.sgd(tiny.image_config(critic_steps))
    config.loss.name = "hinge"
    config.penalty.name = "none"
    config.discriminator.dcgan.normalization = "spectral"
    config.num_devices = 1
    return config


def with_random_vectors(state):
    """Return a state far from convergence, where each iteration moves the vectors visibly."""
    rng = np.random.default_rng(5)
    discriminator = state.networks["discriminator"]

    def drawn(u):
        x = rng.normal(size=u.shape).astype(np.float32)
        return jax.device_put(x / np.linalg.norm(x), u.sharding)

    mutable = jax.tree.map(drawn, discriminator.mutable)
    return state.replace(
        networks={**state.networks, "discriminator": discriminator.replace(mutable=mutable)}
    )


def vectors(state):
    """Return the discriminator's vectors by layer, and its kernels."""
    network = jax.device_get(state.networks["discriminator"])
    us = {name: variables["u"] for name, variables in network.mutable["spectral"].items()}
    return us, {name: network.params[name]["kernel"] for name in us}


def played(config, steps=1):
    """Return the state before and after some train steps, begun with random vectors."""
    training = build.make_training(config, tiny.spec(config))
    before = with_random_vectors(training.init_state())
    copy = jax.device_get(before.replace(key=jax.random.key_data(before.key)))
    mapped = training.parallel
    resident = mapped.put_replicated(tiny.data(config))
    state = before
    for step in range(steps):
        batch = mapped.put_batch(tiny.index_batch(config, training, step))
        state, _ = mapped(state, resident, batch)
    return copy, state


@pytest.mark.parametrize(("joint", "penalty"), [(True, "none"), (False, "r1")])
def test_vectors_move_once_in_a_gradient_step_of_the_discriminator(joint, penalty):
    """Not again for the second half of the batch, the penalty, or the generator's turn."""
    config = spectral_config()
    config.game.joint_batch = joint
    config.penalty.name = penalty
    before, after = played(config)
    start, kernels = vectors(before)
    end, trained = vectors(after)
    assert len(start) == 2
    for name, u in start.items():
        if u.size == 1:  # one output has one direction
            continue
        once = power_iteration(kernels[name], u)
        np.testing.assert_allclose(end[name], once, rtol=1e-5, atol=1e-6)
        for other in (u, power_iteration(trained[name], once), power_iteration(trained[name], u)):
            assert np.max(np.abs(end[name] - other)) > 1e-3


def test_every_gradient_step_of_the_turn_moves_them():
    config = spectral_config(critic_steps=3)
    config.optimizer.discriminator.learning_rate = 1e-12  # the kernels stay
    before, after = played(config, steps=2)
    start, kernels = vectors(before)
    end, _ = vectors(after)
    u = start["SpectralConv_0"]
    passed = []
    for _ in range(7):
        u = power_iteration(kernels["SpectralConv_0"], u)
        passed.append(np.max(np.abs(end["SpectralConv_0"] - u)))
    assert np.argmin(passed) == 6 - 1
    assert passed[5] < 1e-5 < 1e-3 < min(passed[4], passed[6])


def test_each_turn_scores_with_the_vectors_it_should():
    """Its owner's turn with the new ones, also in the penalty; the generator's with the stored."""
    config = spectral_config()
    config.penalty.update(name="r1", weight=3.0)
    training = build.make_training(config, tiny.spec(config))
    game = training.game
    state = with_random_vectors(training.init_state())
    images = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 1)).astype(np.float32)
    turn = Turn(
        variables={name: n.variables for name, n in state.networks.items()},
        batch={
            "image": images,
            "label": np.zeros(4, np.int32),
        },
        key=jax.random.key(3),
        count=np.int32(0),
        axis_name=None,
    )

    def on_one_device(function, *arguments):
        # The generator's batch statistics name the mapped axis.
        mapped = jax.jit(jax.vmap(lambda _: function(*arguments), axis_name="data"))
        return jax.tree.map(lambda x: x[0], mapped(np.zeros(1)))

    z = draws.latents(turn.keys("latent"), game.latent_dim)
    fake = on_one_device(
        lambda: game.generator.apply(
            turn.variables["generator"], z, train=True, mutable=["batch_stats"]
        )[0]
    )
    stored = turn.variables["discriminator"]
    moved = {
        **stored,
        "spectral": {
            name: {"u": power_iteration(stored["params"][name]["kernel"], variables["u"])}
            for name, variables in stored["spectral"].items()
        },
    }

    @jax.jit
    def score(variables, x):
        return game.discriminator.apply(variables, x, train=False)

    params = {"discriminator": stored["params"]}
    _, outcome = on_one_device(game.discriminator_loss, params, turn)
    metrics = outcome.metrics
    np.testing.assert_allclose(metrics["real_score"], score(moved, images).mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["fake_score"], score(moved, fake).mean(), rtol=1e-4)
    slopes = jax.jit(jax.grad(lambda x: score(moved, x).sum()))(images)
    np.testing.assert_allclose(metrics["penalty"], 0.5 * np.sum(slopes**2) / 4, rtol=1e-4)

    params = {"generator": turn.variables["generator"]["params"]}
    loss, outcome = on_one_device(game.generator_loss, params, turn)
    np.testing.assert_allclose(loss, -score(stored, fake).mean(), rtol=1e-4)
    assert "discriminator" not in outcome.mutable
    # If the two were equal, the comparisons above would show nothing.
    assert abs(score(moved, fake).mean() / score(stored, fake).mean() - 1.0) > 1e-2


def test_joint_batch_gives_the_same_step():
    config = spectral_config(critic_steps=2)
    config.penalty.name = "wgan_gp"
    _, apart = played(config, steps=2)
    config.game.joint_batch = not config.game.joint_batch
    _, joint = played(config, steps=2)
    chex.assert_trees_all_close(
        jax.device_get(apart.networks), jax.device_get(joint.networks), rtol=2e-4, atol=2e-5
    )
