"""Fakes that two players are shown are made once in a train step."""

import re

import chex
import jax
import pytest
from flax import linen as nn

from gan_jax.layers.normalization import InstanceNorm
from gan_jax.training import step
from gan_jax.training.ema import EMA
from gan_jax.training.preparation import Prepare
from tests.games import stub
from tests.games.paired_games import pairs
from tests.games.test_cycle import cycle
from tests.training import tiny


class Hidden(nn.Module):
    """Translates pixels by two hidden layers of seven units, normalized, and dropped or not."""

    multiple: int = 1

    @nn.compact
    def __call__(self, x, condition=None, *, keys=None, train=True):
        hidden = InstanceNorm()(nn.Dense(7)(x))
        if keys is not None:
            kept = jax.vmap(lambda key: jax.random.bernoulli(key, 0.5, (7,)))(keys)
            hidden = hidden * kept[:, None, None, :]
        return nn.Dense(2)(nn.Dense(7)(hidden))


@pytest.mark.parametrize(
    ("game", "passes"),
    [
        (pairs(generator=Hidden()), 1),
        (pairs(generator=Hidden(), content_steps=3), 1),
        (cycle(generator=Hidden()), 6),
        (cycle(generator=Hidden(), history=4), 6),
    ],
    ids=["pairs", "pairs_after_content", "cycle", "cycle_with_history"],
)
def test_the_fakes_of_both_turns_are_computed_once(game, passes):
    """The discriminators' turn adds no pass of a generator: what is shown is the same."""
    optimizers = {name: tiny.make_optimizer("sgd", 1.0) for name in game.networks}
    state = step.init_state(game, optimizers, EMA(), seed=0)
    prepare = Prepare(game.spec, flip=True)
    train_step = step.make_train_step(game, optimizers, EMA(), batch_size=8, prepare=prepare)
    batch = stub.fields(game, stub.images((1, 8, 4, 6, 4)))
    program = jax.jit(train_step).lower(state, {}, batch).compile().as_text()
    # Products of 8 x 4 x 6 pixels, by both hidden layers, and back to them by gradients.
    assert len(re.findall(r"= f32\[192,7\]\S* dot\(", program)) == 4 * passes


@pytest.mark.parametrize("content_steps", [0, 3])
def test_parts_of_a_batch_are_shown_the_fakes_of_the_whole(content_steps):
    """Accumulated gradients are those of the batch, whose fakes have noise of their own."""
    game = pairs(generator=stub.Affine(0.5, 0.1, noise=0.3), content_steps=content_steps)
    optimizers = {name: tiny.make_optimizer("sgd", 0.1) for name in game.networks}
    before = step.init_state(game, optimizers, EMA(), seed=0)
    before = before.replace(step=before.step + content_steps)
    batch = stub.fields(game, stub.images((1, 8, 4, 6, 4)))

    def after(accumulate):
        train_step = step.make_train_step(
            game, optimizers, EMA(), batch_size=8, accumulate=accumulate
        )
        state, _ = jax.jit(train_step)(before, {}, batch)
        return {name: network.params for name, network in state.networks.items()}

    whole, parts = after(1), after(4)
    chex.assert_trees_all_close(parts, whole, rtol=1e-4, atol=1e-6)
    for name, network in before.networks.items():
        moved = jax.tree.map(lambda a, b: float(abs(a - b).max()), network.params, whole[name])
        assert max(jax.tree.leaves(moved)) > 1e-3
