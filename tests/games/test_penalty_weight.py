"""A replica's own weight of the penalty replaces that of the configuration, in every game."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from configs import lapgan, vae_gan
from tests.games import stub
from tests.training import tiny


def vae_config():
    config = vae_gan.get_config("smoke")
    for network in (config.encoder, config.generator, config.discriminator):
        network.name = "mlp"
    config.generator.latent_dim = 3
    config.data.resolution = 8
    return config


def pyramid_config():
    config = lapgan.get_config("smoke")
    config.generator.name = config.discriminator.name = "mlp"
    config.game.laplacian.coarsest = 2
    for network in (config.game.laplacian.generator, config.game.laplacian.discriminator):
        network.update(features=4, kernel_size=3, normalization="none")
    return config


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make_config", "shape"),
    [
        (tiny.point_config, (2,)),
        (vae_config, (8, 8, 1)),
        (pyramid_config, (4, 4, 1)),
        (tiny.paired_config, (8, 8, 1)),
    ],
    ids=["adversarial", "vae", "laplacian", "paired"],
)
def test_a_turns_weight_replaces_the_configured_one(make_config, shape):
    config = make_config()
    config.data.crop = None
    config.penalty.update(name="r1", weight=3.0)
    game, turn = stub.begin(config, shape, 2, batch=4)
    other = dataclasses.replace(turn, settings={"penalty_weight": jnp.float32(7.0)})
    *_, player = (p.name for p in game.players if p.name.startswith("discriminator"))
    value, outcome = stub.loss(game, player, turn)
    changed, _ = stub.loss(game, player, other)
    penalty = outcome.metrics["penalty"]
    assert penalty > 1e-6
    np.testing.assert_allclose(changed - value, (7.0 - 3.0) * penalty, rtol=1e-3, atol=1e-6)


def test_a_turns_weight_falls_along_half_a_cosine():
    config = tiny.point_config()
    config.penalty.update(name="r1", weight=7.0, end_factor=0.1, decay_steps=4)
    game, turn = stub.begin(config, (2,), 2, batch=4)
    for step, weight in ((0, 3.0), (2, 1.65), (4, 0.3), (9, 0.3)):
        count, settings = jnp.int32(step * turn.steps), {"penalty_weight": jnp.float32(3.0)}
        now = dataclasses.replace(turn, count=count, settings=settings)
        value, outcome = stub.loss(game, "discriminator", now)
        expected = outcome.metrics["adversarial"] + weight * outcome.metrics["penalty"]
        np.testing.assert_allclose(value, expected, rtol=1e-5)
