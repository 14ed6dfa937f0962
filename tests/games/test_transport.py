"""The pin to one transport map as a term: its value, its weight, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.data import spec as specs
from gan_jax.errors import ConfigError
from gan_jax.games.terms import TERMS
from tests.games import stub
from tests.games.term_games import SHAPE, started
from tests.training import tiny


def test_transport_is_the_mean_squared_distance_of_data_from_their_latents():
    game, turn = started("transport")
    z = np.asarray(game.latents(turn.keys("latent")))
    made = np.asarray(stub.generated(game, turn))
    loss, outcome = stub.loss(game, "generator", turn)
    expected = np.mean((made.reshape(4, 16) - z) ** 2)
    np.testing.assert_allclose(outcome.metrics["transport"], expected, rtol=1e-4)
    np.testing.assert_allclose(loss, outcome.metrics["adversarial"] + 2.0 * expected, rtol=1e-4)


def test_its_weight_falls_along_half_a_cosine_from_its_start():
    term = TERMS["transport"](weight=0.2, start=1, end_factor=0.025, decay_steps=4)
    found = [float(term.weight_at(jnp.int32(step), 0.2)) for step in (0, 2, 4, 9)]
    np.testing.assert_allclose(found, [0.0, 0.1025, 0.005, 0.005], rtol=1e-5)
    assert TERMS["transport"](weight=0.2).weight_at(jnp.int32(9), 0.2) == 0.2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"end_factor": 0.5}, "transport.decay_steps = None; accepted: 1 or more, or none with"),
        ({"decay_steps": 0}, "transport.decay_steps = 0; accepted: 1 or more"),
        ({"end_factor": -1.0}, "transport.end_factor = -1.0; accepted: 0 or more"),
    ],
)
def test_a_weight_that_cannot_be_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        TERMS["transport"](**fields)


def test_latents_of_another_size_are_refused():
    config = tiny.point_config()
    config.terms.transport.weight = 1.0
    config.generator.latent_dim = 15
    spec = specs.images(SHAPE)
    assert "generator.latent_dim = 15; accepted with terms.transport: 16" in stub.refusal(
        config, spec
    )
    config.generator.latent_dim = 16
    config.terms.information.weight = 1.0
    assert "no codes of terms.information" in stub.refusal(config, spec)
