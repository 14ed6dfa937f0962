"""A state in parts trains like a whole one."""

import chex
import jax
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.data import spec as specs
from gan_jax.runs import build
from gan_jax.training import fsdp
from tests.training import tiny


def cut(config, devices):
    config.fsdp.update(devices=devices, min_size=16)
    return config


def clipped_config():
    """Momentum, with gradients of a norm that only the whole has clipped."""
    config = tiny.penalized_config()
    for optimizer in config.optimizer.values():
        optimizer.update(name="momentum", learning_rate=0.05, clip_norm=0.1)
    return config


def weight_clipping_config():
    config = tiny.sgd(tiny.point_config())
    config.game.clip = 0.02
    return config


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "devices"),
    [
        (lambda: tiny.sgd(tiny.batch_norm_config()), 4),
        (clipped_config, 4),
        (weight_clipping_config, 2),
        # The layer alone is compared over devices in layers/test_minibatch.py.
        pytest.param(lambda: tiny.sgd(tiny.minibatch_config()), 4, marks=pytest.mark.exhaustive),
    ],
    ids=["batch_norm", "clip_norm", "weight_clipping", "minibatch"],
)
def test_a_state_in_parts_trains_like_a_whole_one(make, devices):
    parts, training = tiny.run(cut(make(), devices), 3)
    chex.assert_trees_all_close(tiny.host(parts), tiny.final(make(), 1), **tiny.TOLERANCE)
    chex.assert_trees_all_equal_shapes_and_dtypes(parts, training.abstract_state)
    for leaf, abstract in zip(
        jax.tree.leaves(parts), jax.tree.leaves(training.abstract_state), strict=True
    ):
        assert leaf.sharding == abstract.sharding


@pytest.mark.slow
def test_the_moving_average_and_adams_moments_are_cut_and_follow():
    def make():
        config = tiny.image_config(critic_steps=1)
        config.ema.half_life = 100.0
        return config

    config = make()
    config.num_devices = 1
    whole, _ = tiny.run(config, 3)
    parts, _ = tiny.run(cut(make(), 8), 3)
    generator = parts.networks["generator"]
    assert generator.ema is not None
    moments = generator.opt_state[0].mu
    for tree in (generator.params, moments, generator.ema["params"]):
        for leaf in jax.tree.leaves(tree):
            shape = leaf.addressable_shards[0].data.shape
            assert np.prod(shape) == leaf.size // (8 if leaf.size >= 16 else 1)
    # Adam makes of rounding in a gradient of nothing a step of full size.
    chex.assert_trees_all_close(
        tiny.host(parts).networks["generator"].ema["batch_stats"],
        tiny.host(whole).networks["generator"].ema["batch_stats"],
        rtol=1e-3,
        atol=1e-3,
    )


def test_a_device_holds_a_part_of_the_state_only():
    whole = build.make_training(tiny.image_config(), specs.images((8, 8, 1)))
    parts = build.make_training(cut(tiny.image_config(), 8), specs.images((8, 8, 1)))

    def on_one_device(training):
        leaves = jax.tree.leaves(training.abstract_state.networks)
        return sum(np.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in leaves)

    assert on_one_device(parts) < on_one_device(whole) / 6


@pytest.mark.parametrize(
    ("shape", "dim"),
    [((8, 4), 0), ((4, 8), 1), ((8, 8), 1), ((3, 6), fsdp.WHOLE), ((4,), fsdp.WHOLE), ((), -1)],
)
def test_the_longest_dimension_that_divides_is_cut(shape, dim):
    assert fsdp.FSDP(devices=4, min_size=16).dim(shape) == dim


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fsdp": {"devices": 3}}, "fsdp.devices = 3; accepted: a divisor of the 8 devices"),
        ({"fsdp": {"devices": 0}}, "fsdp.devices = 0; accepted: 1 or more"),
        ({"fsdp": {"min_size": 0}}, "fsdp.min_size = 0; accepted: 1 or more"),
        (
            {"fsdp": {"devices": 2}, "parallel": "pmap"},
            "parallel = 'pmap' with fsdp.devices = 2; accepted: \"shard_map\"",
        ),
        (
            {"fsdp": {"devices": 2}, "train": {"replicas": 2}},
            "train.replicas = 2 with fsdp.devices = 2; accepted: one of them above 1",
        ),
    ],
)
def test_what_cannot_be_cut_is_refused(changes, message):
    config = tiny.point_config()
    config.update(changes)
    with pytest.raises(errors.ConfigError) as error:
        build.make_training(config, specs.points())
    assert str(error.value) == message
