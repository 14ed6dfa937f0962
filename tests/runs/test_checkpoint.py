"""Checkpoints come back bit for bit, or are refused where they do not fit."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec, SingleDeviceSharding

from gan_jax.errors import CheckpointError, ConfigError
from gan_jax.runs import checkpoint
from gan_jax.runs.checkpoint import Checkpoints
from tests.runs.checkpoints import (
    abstract,
    assert_identical,
    make_state,
    replicated,
    save_steps,
    tree_of,
)


@pytest.mark.slow
def test_round_trip_is_bit_for_bit_and_keeps_structure(tmp_path):
    state = make_state(seed=4)
    meta = {"kimg": 1.5, "data": {"epoch": 3}, "losses": [0.1, float("inf")], "none": None}
    with Checkpoints(tmp_path / "run" / "checkpoints") as checkpoints:
        checkpoints.save(4, state, meta)
    with Checkpoints(tmp_path / "run" / "checkpoints", read_only=True) as checkpoints:
        restored = checkpoints.restore(abstract(state))
    assert_identical(restored.state, state)
    assert restored.step == 4
    assert restored.meta == meta
    assert restored.skipped == []
    # The key is usable, and gives the numbers that it would have given.
    np.testing.assert_array_equal(
        jax.random.normal(restored.state.key, (3,)), jax.random.normal(state.key, (3,))
    )
    assert str(jax.random.key_impl(restored.state.scalars["keys"])) == "rbg"


def test_any_number_of_devices_restores_what_any_other_saved(tmp_path):
    state = make_state()
    on_eight, on_one = replicated(state, 8), replicated(state, 1)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, on_eight, {})
        smaller = checkpoints.restore(abstract(on_one)).state
        checkpoints.save(2, smaller, {})
        larger = checkpoints.restore(abstract(on_eight), step=2).state
    assert_identical(smaller, state)
    assert_identical(larger, state)
    for restored, wanted in ((smaller, on_one), (larger, on_eight)):
        pairs = zip(jax.tree.leaves(restored), jax.tree.leaves(wanted), strict=True)
        for one, two in pairs:
            if isinstance(two, jax.Array):
                assert one.sharding.device_set == two.sharding.device_set
                assert one.sharding.is_equivalent_to(two.sharding, two.ndim)


def test_sharded_leaves_come_back_on_the_asked_sharding(tmp_path):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("data"))
    state = {
        "batch": jax.device_put(jnp.arange(16.0).reshape(8, 2), split),
        "keys": jax.device_put(jax.random.split(jax.random.key(0), 8), split),
    }
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, {})
        restored = checkpoints.restore(abstract(state)).state
    assert_identical(restored, state)
    assert {shard.data.shape for shard in restored["batch"].addressable_shards} == {(1, 2)}
    assert {shard.data.shape for shard in restored["keys"].addressable_shards} == {(1,)}


def test_the_caller_may_donate_the_state_right_after_save(tmp_path):
    step = jax.jit(lambda x: jax.tree.map(lambda y: y * 2 + 1, x), donate_argnums=0)
    state = {"w": jnp.arange(300_000.0), "b": jnp.ones(100_000)}
    expected = jax.tree.map(np.array, state)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, {})
        for _ in range(5):
            state = step(state)
        restored = checkpoints.restore(abstract(state)).state
    jax.tree.map(np.testing.assert_array_equal, restored, expected)


def test_works_where_the_caller_forbids_implicit_transfers(tmp_path, monkeypatch):
    make = checkpoint.make_manager

    def waiting(*arguments):
        np.asarray(jnp.ones(()) + np.ones(()))  # As several processes do for each other.
        return make(*arguments)

    monkeypatch.setattr(checkpoint, "make_manager", waiting)
    state = replicated(make_state(), 8)
    wanted = abstract(state)
    with Checkpoints(tmp_path) as checkpoints, jax.transfer_guard("disallow"):
        checkpoints.save(1, state, {})
        restored = checkpoints.restore(wanted).state
    assert_identical(restored, state)


def test_leaf_of_another_kind_is_refused(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(TypeError, match="is a str; accepted: arrays"):
            checkpoints.save(1, {"name": "x"}, {})
        with pytest.raises(TypeError, match="JSON"):
            checkpoints.save(1, {"x": jnp.ones(2)}, {"x": object()})
        assert checkpoints.steps() == []


def test_single_device_state_without_sharding_goes_to_the_default_device(tmp_path, small):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, small, {})
        bare = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), small)
        restored = checkpoints.restore(bare).state
    assert_identical(restored, small)
    assert isinstance(restored["a"].sharding, SingleDeviceSharding)


def test_latest_and_every_nth_are_kept(tmp_path, small):
    save_steps(tmp_path, small, list(range(1, 11)), keep_latest=2, keep_every=4)
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.steps() == [4, 8, 9, 10]
        # All of them are whole, and none was mistaken for another.
        for step in checkpoints.steps():
            restored = checkpoints.restore(abstract(small), step=step)
            assert int(restored.state["step"]) == restored.step == step
            assert restored.meta == {"kimg": step / 2}
    save_steps(tmp_path, small, [11], keep_latest=1)
    assert Checkpoints(tmp_path, read_only=True).steps() == [11]


def test_one_more_step_is_kept_until_another_is(tmp_path, small):
    with Checkpoints(tmp_path, keep_latest=1) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, small, {})
            checkpoints.wait()
            if step == 1:
                checkpoints.keep(1)
        assert checkpoints.steps() == [1, 3]
        checkpoints.keep(3)
        for step in (4, 5):
            checkpoints.save(step, small, {})
            checkpoints.wait()
        assert checkpoints.steps() == [3, 5]


@pytest.mark.parametrize("options", [{"keep_latest": 0}, {"keep_every": 0}])
def test_keeping_nothing_is_refused(tmp_path, options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))} = 0; accepted: 1 or more"):
        Checkpoints(tmp_path, **options)


def test_saving_a_step_again_leaves_the_first(tmp_path, small):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, small, {"run": "first"})
        checkpoints.save(1, {**small, "a": small["a"] + 1}, {"run": "second"})  # still in flight
        checkpoints.wait()
        checkpoints.save(1, {**small, "a": small["a"] + 1}, {"run": "third"})
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {**small, "a": small["a"] + 1}, {"run": "fourth"})
        restored = checkpoints.restore(abstract(small))
    assert restored.meta == {"run": "first"}
    assert_identical(restored.state, small)


def test_read_only_changes_nothing(tmp_path, small):
    save_steps(tmp_path, small, [1, 2])
    (tmp_path / "3.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "3.orbax-checkpoint-tmp" / "file").write_text("x")
    (tmp_path / "2" / "meta" / "metadata").write_text("{")
    before = tree_of(tmp_path)
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.restore(abstract(small)).step == 1
        with pytest.raises(CheckpointError, match="read-only"):
            checkpoints.save(4, small, {})
    assert tree_of(tmp_path) == before
    missing = tmp_path / "missing"
    with Checkpoints(missing, read_only=True) as checkpoints:
        assert checkpoints.steps() == []
        with pytest.raises(CheckpointError, match=r"No checkpoint in .*missing"):
            checkpoints.restore(abstract(small))
    assert not missing.exists()


def test_a_mismatching_state_lists_the_offending_leaves(tmp_path):
    saved = make_state(width=3)
    other = make_state(width=5)
    generator = other.networks["generator"]
    params = {**generator.params, "Dense_2": {"bias": jnp.ones(2)}}
    params["Dense_1"] = {"kernel": params["Dense_1"]["kernel"].astype(jnp.float32)}
    networks = {"generator": generator._replace(params=params)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, saved, {})
        checkpoints.save(2, saved, {})
        with pytest.raises(CheckpointError) as caught:
            checkpoints.restore(abstract(other._replace(networks=networks)))
        # Nothing is damaged: nothing is skipped or moved.
        assert checkpoints.steps() == [1, 2]
    message = str(caught.value)
    assert "\n" not in message
    path = "networks/generator/params"
    for part in (
        f"{path}/Dense_0/kernel: float32[4,3] in the checkpoint, float32[4,5] in the state",
        f"{path}/Dense_1/kernel: bfloat16[3,2] in the checkpoint, float32[5,2] in the state",
        f"{path}/Dense_2/bias: not in the checkpoint, float32[2] in the state",
    ):
        assert part in message
    listed = message.count(" in the state") + message.count("not in the state")
    more = re.search(r"and (\d+) more", message)
    total = re.search(r"(\d+) of its leaves differ", message)
    assert more
    assert total
    # Of the generator: 3 of params, 3 each of mu, nu, ema (kernels, bias); all 13 of the critic.
    assert int(total[1]) == int(more[1]) + 10
    assert listed >= 10


def test_unexpected_leaves_and_another_generator_of_numbers_are_a_mismatch(tmp_path, small):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, small, {})
        fewer = {name: leaf for name, leaf in small.items() if name != "a"}
        with pytest.raises(CheckpointError, match=r"1 of .* a: float32\[2,3\] .* not in the state"):
            checkpoints.restore(abstract(fewer))
        rbg = {**small, "key": jax.random.key(0, impl="rbg")}
        with pytest.raises(CheckpointError, match=r"key: key<fry>\[\] .* key<rbg>\[\] in the"):
            checkpoints.restore(abstract(rbg))
