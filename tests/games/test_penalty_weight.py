"""A replica's own weight of the penalty replaces that of the configuration, in every game."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import lapgan, vae_gan
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
    config.game.laplacian.coarsest = 8
    for network in (config.generator, config.discriminator):
        network.dcgan.normalization = "none"
    return config


@pytest.mark.parametrize(
    ("make_config", "shape"),
    [
        (tiny.point_config, (2,)),
        (vae_config, (8, 8, 1)),
        (pyramid_config, (16, 16, 1)),
        (tiny.paired_config, (16, 16, 1)),
    ],
    ids=["adversarial", "vae", "laplacian", "paired"],
)
def test_a_turns_weight_replaces_the_configured_one(make_config, shape, play):
    config = make_config()
    config.data.crop = None
    config.penalty.update(name="r1", weight=3.0)
    game, params, turn = play(config, shape, 2, batch=4)
    other = dataclasses.replace(turn, settings={"penalty_weight": jnp.float32(7.0)})
    players = [p for p in game.players if p.name.startswith("discriminator")]
    assert players
    for player in players:
        owned = {name: params[name] for name in player.networks}
        value, outcome = jax.jit(functools.partial(player.loss, turn=turn))(owned)
        changed, _ = jax.jit(functools.partial(player.loss, turn=other))(owned)
        penalty = outcome.metrics["penalty"]
        assert penalty > 1e-6
        np.testing.assert_allclose(changed - value, (7.0 - 3.0) * penalty, rtol=1e-3, atol=1e-6)
