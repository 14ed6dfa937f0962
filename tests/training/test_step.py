"""The train step: whose turn it is, what each turn may change, and what is recorded."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.data import spec as specs
from gan_jax.games.game import Game, Network, Outcome, Player, batches_per_step, owner_steps
from gan_jax.runs import build
from gan_jax.training import step
from gan_jax.training.ema import EMA
from gan_jax.training.state import NetworkState
from tests.training import tiny


class Scalar(nn.Module):
    """A network that is one number."""

    @nn.compact
    def __call__(self, x, *, train):
        return self.param("value", nn.initializers.zeros, ()) + 0.0 * jnp.sum(x)


@dataclasses.dataclass(frozen=True)
class Counting:
    """A game to be added up by hand: ``first`` follows the data, ``second`` follows ``first``."""

    spec: specs.Spec = dataclasses.field(default_factory=specs.points)
    latent_dim: int = 1
    num_classes: int | None = None
    memory: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    stages, stage, scheduled = Game.stages, Game.stage, Game.scheduled

    @property
    def networks(self) -> Mapping[str, Network]:
        x = jax.ShapeDtypeStruct((1, *specs.data_field(self.spec).shape), jnp.float32)
        return {"first": Network(Scalar(), (x,)), "second": Network(Scalar(), (x,), averaged=True)}

    @property
    def players(self) -> tuple[Player, ...]:
        return (
            Player("first", ("first",), self.first_loss, steps=3),
            Player("second", ("second",), self.second_loss, steps=2, fresh_data=False),
        )

    def first_loss(self, params, turn):
        mean = jnp.mean(specs.data(turn.batch, self.spec))
        return -params["first"]["value"] * mean, Outcome({"mean": mean, "count": turn.count * 1.0})

    def second_loss(self, params, turn):
        other = turn.variables["first"]["params"]["value"]
        mean = jnp.mean(specs.data(turn.batch, self.spec))
        return -params["second"]["value"] * other, Outcome({"other": other, "mean": mean})

    def sample(self, variables, z, labels):
        return z


def prepare(game, ema, **settings):
    optimizers = {name: tiny.make_optimizer("sgd", 1.0) for name in game.networks}
    state = step.init_state(game, optimizers, ema, seed=0)
    return state, jax.jit(step.make_train_step(game, optimizers, ema, **settings))


@pytest.mark.parametrize(("taken", "images"), [(-1, 0), (0, 0), (5, 320), (2**30, 2**31 - 64)])
def test_the_images_seen_stay_below_the_largest_integer(taken, images):
    assert step.images_seen(jnp.int32(taken), 64) == images


def play(steps, ema=None):
    state, train_step = prepare(Counting(), ema or EMA(), batch_size=4)
    data = np.random.default_rng(0).normal(size=(steps, 3, 4, 2)).astype(np.float32)
    states, metrics = [state], []
    for i in range(steps):
        batch = {"points": data[i]}
        state, means = train_step(state, {}, batch)
        states.append(state)
        metrics.append(means)
    return states, metrics, data


@pytest.fixture(scope="module")
def two_steps():
    """Return the states, metrics and data of two train steps."""
    return play(2)


def value(state, name):
    return float(state.networks[name].params["value"])


def test_each_step_of_a_player_sees_the_next_batch_and_the_others_as_they_then_stand(two_steps):
    states, _, data = two_steps
    means = data.mean(axis=(2, 3))
    first = np.cumsum(means.sum(axis=1))
    np.testing.assert_allclose(value(states[1], "first"), first[0], rtol=1e-5)
    np.testing.assert_allclose(value(states[2], "first"), first[1], rtol=1e-5)
    # Two steps a turn, each by what `first` is after its own turn.
    np.testing.assert_allclose(value(states[1], "second"), 2 * first[0], rtol=1e-5)
    np.testing.assert_allclose(value(states[2], "second"), 2 * first.sum(), rtol=1e-5)


def test_a_player_without_fresh_data_sees_the_last_batch_and_consumes_none(two_steps):
    _, metrics, data = two_steps
    assert batches_per_step(Counting()) == 3
    np.testing.assert_allclose(metrics[0]["second/mean"], data[0, 2].mean(), rtol=1e-5)


def test_turns_count_the_players_own_gradient_steps(two_steps):
    _, metrics, _ = two_steps
    assert float(metrics[0]["first/count"]) == np.mean([0, 1, 2])
    assert float(metrics[1]["first/count"]) == np.mean([3, 4, 5])


def test_the_loss_is_logged_as_it_was_differentiated(two_steps):
    _, metrics, data = two_steps
    first = np.concatenate([[0], np.cumsum(data[0].mean(axis=(1, 2)))])
    losses = -first[:3] * data[0].mean(axis=(1, 2))
    np.testing.assert_allclose(metrics[0]["first/loss"], losses.mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics[0]["first/mean"], data[0].mean(), rtol=1e-4)


def test_average_follows_only_the_networks_that_ask_for_it():
    states, _, _ = play(3, ema=EMA(half_life=12.0))  # images per train step: 3 batches of 4
    assert states[1].networks["first"].ema is None
    average = 0.0
    for state in states[1:]:
        average = 0.5 * average + 0.5 * value(state, "second")
        np.testing.assert_allclose(
            float(state.networks["second"].ema["params"]["value"]), average, rtol=1e-5
        )


def test_no_network_has_two_owners_or_none():
    game = Counting()
    assert owner_steps(game) == {"first": 3, "second": 2}

    class Orphan(Counting):
        players = property(lambda self: game.players[:1])

    class Shared(Counting):
        players = property(lambda self: (game.players[0], *game.players))

    with pytest.raises(ValueError, match="without an owner: second"):
        owner_steps(Orphan())
    with pytest.raises(ValueError, match="'first' has two owners"):
        owner_steps(Shared())


def turn_by_turn(config):
    """Return the states before, after the discriminator's turn alone, and after the whole step."""
    training = build.make_training(config, tiny.spec(config))
    game = training.game

    class DiscriminatorOnly(type(game)):
        @property
        def players(self):
            return super().players[:1]

    resident = tiny.data(config)
    batch = {"index": tiny.index_batch(config, training, 0)["index"]}
    states = [training.init_state()]
    for played in (DiscriminatorOnly(**vars(game)), game):
        train_step = step.make_train_step(played, training.optimizers, EMA(), batch_size=16)

        def one_device(state, batch, train_step=train_step):
            return train_step(state, resident, batch, axis_name="data")

        mapped = jax.jit(jax.vmap(one_device, (None, 0), axis_name="data"))
        states.append(jax.tree.map(lambda x: x[0], mapped(states[0], batch)[0]))
    return states


def changed(before, after):
    flags = jax.tree.map(lambda a, b: bool(np.any(np.asarray(a) != np.asarray(b))), before, after)
    return any(jax.tree.leaves(flags))


@pytest.mark.slow
def test_the_discriminators_turn_changes_nothing_of_the_generators():
    before, discriminator_only, both = turn_by_turn(tiny.batch_norm_config())
    assert not changed(before.networks["generator"], discriminator_only.networks["generator"]), (
        "parameters, batch statistics and optimizer state belong to the generator's own turn"
    )
    assert changed(
        before.networks["discriminator"].mutable,
        discriminator_only.networks["discriminator"].mutable,
    )
    # The generator's turn, in turn, leaves the discriminator as its own turn left it.
    chex.assert_trees_all_close(
        discriminator_only.networks["discriminator"],
        both.networks["discriminator"],
        rtol=1e-5,
        atol=1e-6,
    )
    assert changed(before.networks["generator"].mutable, both.networks["generator"].mutable)


@pytest.mark.slow
def test_clipping_projects_after_every_step():
    config = tiny.point_config()
    config.loss.name = "wasserstein"
    config.game.clip = 0.01
    config.num_devices = 1
    state, _ = tiny.run(config, 2)
    weights = jax.tree.leaves(jax.device_get(state.networks["discriminator"].params))
    assert max(np.abs(w).max() for w in weights) == pytest.approx(0.01)
    generator = jax.tree.leaves(jax.device_get(state.networks["generator"].params))
    assert max(np.abs(w).max() for w in generator) > 0.01


@pytest.mark.slow
def test_joint_batch_gives_the_same_step_without_batch_statistics():
    config = tiny.sgd(tiny.penalized_config())
    config.num_devices = 1
    config.game.joint_batch = False
    apart, _ = tiny.run(config, 2)
    config.game.joint_batch = True
    joint, _ = tiny.run(config, 2)
    for a, b in zip(jax.tree.leaves(apart.networks), jax.tree.leaves(joint.networks), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


@pytest.mark.slow
def test_lazy_penalty_is_zero_but_on_every_kth_step():
    config = tiny.point_config()
    config.penalty.update(name="r1", weight=1.0, every=3)
    config.num_devices = 1
    _, metrics, _ = tiny.run_with_metrics(config, 6)
    seen = [float(means["discriminator/penalty"]) > 0 for means in metrics]
    assert seen == [True, False, False, True, False, False]


@pytest.mark.slow
def test_bfloat16_keeps_state_in_float32_and_computes_nearly_the_same():
    config = tiny.sgd(tiny.penalized_config())
    config.num_devices = 1
    _, (full,), _ = tiny.run_with_metrics(config, 1)
    config.precision = "bfloat16"
    state, (half,), _ = tiny.run_with_metrics(config, 1)
    for leaf in jax.tree.leaves(state.networks):
        assert leaf.dtype in (jnp.float32, jnp.int32)
    for name in ("discriminator/loss", "discriminator/penalty", "generator/loss"):
        a, b = float(full[name]), float(half[name])
        assert a != b, "nothing was computed in bfloat16"
        assert abs(a - b) < 0.05 * (1 + abs(a))


@functools.cache
def accumulated(make, parts, devices=1, steps=2):
    """Return the networks after some steps whose gradients are means over parts of the batch."""
    config = tiny.sgd(make())
    config.num_devices = devices
    config.train.accumulate = parts
    state, metrics, _ = tiny.run_with_metrics(config, steps)
    return jax.device_get((state.networks, metrics))


@pytest.mark.slow
@pytest.mark.parametrize(("parts", "devices"), [(16, 1), (4, 2)])
def test_gradients_accumulated_over_parts_are_those_of_the_batch(parts, devices):
    whole = accumulated(tiny.penalized_config, 1)
    in_parts = accumulated(tiny.penalized_config, parts, devices)
    chex.assert_trees_all_close(in_parts, whole, rtol=2e-4, atol=2e-5)


@pytest.mark.slow
def test_accumulation_moves_spectral_vectors_once_and_statistics_by_their_mean():
    def make():
        config = tiny.conditional_config()
        config.game.discriminator_steps = 1
        return config

    whole, _ = accumulated(make, 1, steps=1)
    in_parts, _ = accumulated(make, 4, steps=1)
    one, other = (n["discriminator"].mutable["spectral"] for n in (whole, in_parts))
    chex.assert_trees_all_close(one, other, rtol=1e-4, atol=1e-5)
    # The mean of a batch is the mean of its parts' means.
    one, other = (n["generator"].mutable["batch_stats"] for n in (whole, in_parts))
    first = "ConditionalBatchNorm_0"
    np.testing.assert_allclose(one[first]["mean"], other[first]["mean"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parts", [0, 3])
def test_parts_that_do_not_divide_the_batch_are_refused(parts):
    config = tiny.point_config()
    config.num_devices = 2
    config.train.accumulate = parts
    with pytest.raises(errors.ConfigError, match=rf"train\.accumulate = {parts}; .*16 / 2 = 8"):
        build.make_training(config, specs.points())


@pytest.mark.slow
def test_the_memory_of_a_game_passes_from_part_to_part():
    def anchors(parts):
        config = tiny.sgd(tiny.point_config())
        config.num_devices = 1
        config.terms.lecam.weight = 0.1
        config.train.accumulate = parts
        return jax.device_get(tiny.run(config, 1)[0].game["lecam"])

    # Each part moves the averages by a hundredth of the way.
    one, two = anchors(1), anchors(2)
    assert abs(one.fake) > 1e-6
    np.testing.assert_allclose(two.fake, 2 * one.fake, rtol=0.3)


def test_a_stage_restarts_the_moments_and_no_schedule():
    """As other steps of the same number, but with moments of zeros."""
    decay = {"end_b2": 0.5, "end_b2_steps": 8}
    optimizer = tiny.make_optimizer("adam", 0.1, schedule={"name": "linear"}, **decay)
    params, gradient = {"w": jnp.ones(2)}, {"w": jnp.array([2.0, -3.0])}
    start = state = optimizer.transformation.init(params)
    for _ in range(3):
        _, state = optimizer.transformation.update(gradient, state, params)

    def after(begins):
        network = NetworkState(params, {}, state, None)
        given = {"generator": network}, {"generator": optimizer}
        return step._restarted(*given, jnp.array(begins))["generator"].opt_state

    chex.assert_trees_all_equal(after(False), state)
    chex.assert_trees_all_equal(after(True)[0].inner_state, start[0].inner_state)
    update, later = optimizer.transformation.update(gradient, after(True), params)
    # Whatever the decay, the first update has the length of the rate: 6 of 9 steps are left.
    np.testing.assert_allclose(update["w"], [-0.1 * 6 / 9, 0.1 * 6 / 9], rtol=1e-5)
    expected = 0.5 + 0.499 * (1 + np.cos(np.pi * 3 / 8)) / 2
    np.testing.assert_allclose(later[0].hyperparams["b2"], expected, rtol=1e-6)
