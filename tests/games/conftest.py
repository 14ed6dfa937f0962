"""What the tests of games share: a turn to be played without a train step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.data.spec import data_name
from gan_jax.games.game import Turn
from gan_jax.runs import build
from tests.training.tiny import spec_of


@pytest.fixture
def play():
    """Return a function that builds a configuration's game, its variables and a turn."""

    def make(config, shape=(2,), num_classes=8, batch=16, count=0):
        config.num_devices = 1
        spec = spec_of(shape, num_classes)
        training = build.make_training(config, spec)
        state = training.init_state()
        rng = np.random.default_rng(0)
        turn = Turn(
            variables={name: network.variables for name, network in state.networks.items()},
            batch={
                data_name(spec): jnp.asarray(rng.normal(size=(batch, *shape)), jnp.float32),
                "label": jnp.asarray(rng.integers(0, num_classes, batch), jnp.int32),
            },
            key=jax.random.key(3),
            count=jnp.asarray(count, jnp.int32),
            axis_name=None,
            memory=state.game,
        )
        params = {name: network.params for name, network in state.networks.items()}
        return training.game, params, turn

    return make
