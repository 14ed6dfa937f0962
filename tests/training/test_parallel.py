"""One device, eight devices, shard_map and pmap are the same training."""

from unittest import mock

import chex
import jax
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.runs import build
from gan_jax.training import parallel, step
from gan_jax.training.ema import EMA
from tests.training import tiny


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "maps"),
    [
        (tiny.penalized_config, [("shard_map", 8), ("pmap", 8), ("pmap", 1)]),
        (tiny.batch_norm_config, [("shard_map", 8), ("pmap", 2)]),
        (tiny.stacked_config, [("shard_map", 8)]),
        (tiny.motion_config, [("shard_map", 8)]),
        # Terms and the layer are compared over devices in test_terms.py and test_minibatch.py.
        pytest.param(tiny.auxiliary_config, [("shard_map", 8)], marks=pytest.mark.exhaustive),
        pytest.param(tiny.info_config, [("shard_map", 8)], marks=pytest.mark.exhaustive),
        pytest.param(tiny.style_config, [("shard_map", 2)], marks=pytest.mark.exhaustive),
        pytest.param(tiny.minibatch_config, [("shard_map", 8)], marks=pytest.mark.exhaustive),
    ],
)
def test_any_number_of_devices_by_any_map_trains_alike(make, maps):
    config = tiny.sgd(make())
    one = tiny.final(config, 1)
    for mode, devices in maps:
        chex.assert_trees_all_close(tiny.final(config, devices, mode), one, **tiny.TOLERANCE)


@pytest.mark.slow
def test_relativistic_average_takes_its_means_over_all_devices():
    config = tiny.sgd(tiny.point_config())
    config.loss.name = "relativistic_average"
    chex.assert_trees_all_close(tiny.final(config, 8), tiny.final(config, 1), **tiny.TOLERANCE)


@pytest.mark.slow
def test_the_quickly_compiled_first_state_is_that_of_all_optimizations(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")  # As users have it; that of the tests applies no more.
    config = tiny.point_config()
    config.num_devices = 1
    training, original = build.make_training(config, tiny.spec(config)), jax.stages.Lowered.compile
    full = jax.jit(training._state, compiler_options={"xla_backend_optimization_level": 3})()
    with mock.patch.object(jax.stages.Lowered, "compile", autospec=True) as compiled:
        compiled.side_effect = lambda lowered, options: original(lowered, options)
        quick = training.init_state()
    compiled.assert_called_once_with(mock.ANY, {"xla_backend_optimization_level": 1})
    assert tiny.bits(quick) == tiny.bits(full)
    # The vectors of spectral normalization are divided by a norm, a sum whose order counts.
    config = tiny.image_config()
    config.discriminator.dcgan.normalization = "spectral"
    training = build.make_training(config, tiny.spec(config))
    with mock.patch.object(parallel.Parallel, "lower_init") as lower_init:
        training.init_state()
    assert lower_init.call_args.kwargs == {"has_sums": True}


@pytest.mark.slow
def test_state_stays_replicated_and_unstacked_in_both_modes():
    for mode in parallel.MODES:
        config = tiny.point_config()
        config.parallel = mode
        training = build.make_training(config, tiny.spec(config))
        expected = training.abstract_state
        state, _ = tiny.run(config, 1)
        chex.assert_trees_all_equal_shapes_and_dtypes(state, expected)
        for leaf in jax.tree.leaves(state):
            assert leaf.sharding.is_fully_replicated
            assert len(leaf.sharding.device_set) == 8


@pytest.mark.slow
@pytest.mark.parametrize("mode", parallel.MODES)
def test_traced_once_and_no_implicit_transfer(mode):
    chex.clear_trace_counter()
    config = tiny.point_config()
    training = build.make_training(config, tiny.spec(config))
    train_step = step.make_train_step(training.game, training.optimizers, EMA(), batch_size=16)
    once = chex.assert_max_traces(train_step, n=1)
    mapped = parallel.Parallel(once, mode, parallel.data_parallel(jax.devices()))
    traced = mapped.trace_init(
        lambda: step.init_state(training.game, training.optimizers, EMA(), 0)
    )
    state = mapped.lower_init(traced)()()
    resident = mapped.put_replicated(tiny.data(config))
    batches = [tiny.index_batch(config, training, i) for i in range(4)]
    with jax.transfer_guard("disallow"):
        for batch in batches:
            state, _ = mapped(state, resident, mapped.put_batch(batch))
    assert int(jax.device_get(state.step)) == 4


@pytest.mark.slow
def test_several_steps_per_call_are_the_same_steps():
    config = tiny.sgd(tiny.penalized_config())
    single, each, training = tiny.run_with_metrics(config, 4)
    mapped = training.parallel
    batches = [tiny.index_batch(config, training, i)["index"] for i in range(4)]
    state, metrics = mapped(
        training.init_state(),
        mapped.put_replicated(tiny.data(config)),
        mapped.put_batch({"index": np.concatenate(batches)}),
    )
    assert int(state.step) == 4
    chex.assert_trees_all_close(state.networks, single.networks, **tiny.TOLERANCE)
    means = jax.tree.map(lambda *values: np.mean(values), *jax.device_get(each))
    chex.assert_trees_all_close(metrics, means, **tiny.TOLERANCE)


def test_batch_that_does_not_divide_is_refused_with_sizes_that_do():
    config = tiny.point_config()
    config.train.batch_size = 12
    with pytest.raises(
        errors.ConfigError, match=r"train\.batch_size = 12 .* 8 devices.*such as 8 or 16"
    ):
        build.make_training(config, tiny.spec(config))


@pytest.mark.parametrize("count", [0, 9])
def test_devices_that_are_not_there_are_refused(count):
    config = tiny.point_config()
    config.num_devices = count
    with pytest.raises(errors.ConfigError, match=rf"num_devices = {count}; accepted: 1 to 8"):
        build.make_training(config, tiny.spec(config))


def test_unknown_map_is_refused():
    config = tiny.point_config()
    config.parallel = "shardmap"
    with pytest.raises(errors.ConfigError, match='Did you mean "shard_map"'):
        build.make_training(config, tiny.spec(config))
