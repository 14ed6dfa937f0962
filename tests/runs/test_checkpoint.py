"""Checkpoints come back bit for bit or are refused aloud, and nothing saved is ever lost."""

import errno
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec, SingleDeviceSharding

from gan_jax.errors import CheckpointError, ConfigError
from gan_jax.runs import checkpoint_files, integrity
from gan_jax.runs.checkpoint import Checkpoints

ROOT = Path(__file__).parents[2]


class Network(NamedTuple):
    params: Any
    batch_stats: Any
    optimizer: Any
    ema: Any


class State(NamedTuple):
    step: jax.Array
    key: jax.Array
    networks: Any
    scalars: Any


def make_state(seed: int = 0, width: int = 3) -> State:
    """A state with everything in it that a training state may hold, and some that is awkward."""
    keys = jax.random.split(jax.random.key(seed), 3)
    params = {
        "Dense_0": {
            "kernel": jax.random.normal(keys[0], (4, width)),
            "bias": jnp.full((width,), -0.0),
        },
        "Dense_1": {"kernel": jax.random.normal(keys[1], (width, 2), jnp.bfloat16)},
    }
    optimizer = optax.chain(optax.identity(), optax.adam(1e-3), optax.clip(1.0))
    network = Network(params, {}, optimizer.init(params), jax.tree.map(lambda x: x + 1, params))
    odd = {
        "nan": jnp.asarray([jnp.nan, jnp.inf, -jnp.inf, 1e-42]),
        "flag": jnp.asarray(True),
        "none": None,
        "empty": (),
        "no_elements": jnp.zeros((0, 3), jnp.float16),
        "keys": jax.random.split(jax.random.key(7, impl="rbg"), 8),
        "host": np.arange(3, dtype=np.int64),
        "python": 12,
        "by_number": {10: jnp.asarray(2, jnp.uint8), 9: [jnp.asarray(3, jnp.int8)]},
    }
    return State(jnp.asarray(seed), keys[2], {"generator": network, "critic": network}, odd)


def replicated(state: Any, devices: int) -> Any:
    """Put the JAX leaves of a state on so many devices."""
    mesh = jax.make_mesh(
        (devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices]
    )
    sharding = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(
        lambda x: jax.device_put(x, sharding) if isinstance(x, jax.Array) else x, state
    )


def abstract(state: Any) -> Any:
    return jax.tree.map(
        lambda x: (
            jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
            if isinstance(x, jax.Array)
            else x
        ),
        state,
    )


def bits(leaf: Any) -> tuple[str, tuple[int, ...], bytes]:
    data = jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    return str(leaf.dtype), tuple(leaf.shape), np.asarray(data).tobytes()


def assert_identical(actual: Any, expected: Any) -> None:
    """Same structure, types, shapes, dtypes and bits."""
    chex.assert_trees_all_equal_structs(actual, expected)
    pairs = zip(jax.tree.leaves_with_path(expected), jax.tree.leaves(actual), strict=True)
    for (path, two), one in pairs:
        if isinstance(two, int):
            assert type(one) is type(two), path
            assert one == two, path
            continue
        assert isinstance(one, jax.Array) == isinstance(two, jax.Array), path
        assert bits(one) == bits(two), path


@pytest.fixture(scope="module")
def small() -> dict[str, jax.Array]:
    return {"a": jnp.arange(6.0).reshape(2, 3), "key": jax.random.key(3), "step": jnp.asarray(5)}


def save_steps(directory: Path, state: dict[str, jax.Array], steps: list[int], **options: Any):
    """Save a state whose leaf "step" tells its step, at every step."""
    with Checkpoints(directory, **options) as checkpoints:
        for step in steps:
            checkpoints.save(step, {**state, "step": jnp.asarray(step)}, {"kimg": step / 2})


def tree_of(directory: Path) -> dict[str, bytes]:
    """Every file below a directory with its content."""
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


# ------------------------------------------------------------------------------------ round trip


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


def test_works_where_the_caller_forbids_implicit_transfers(tmp_path):
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


# ------------------------------------------------------------------------------------- retention


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
    with pytest.raises(ConfigError, match=f"{next(iter(options))} = 0; accepted: .* at least 1"):
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


# ---------------------------------------------------------------------------------------- damage


# What TensorStore 0.1.86 says of a file that this user may not read.
TENSORSTORE_SAYS = (
    'PERMISSION_DENIED: Error opening "zarr" driver: Error reading local file '
    '"/run/2/state/manifest.ocdbt": Failed to open: "/run/2/state/manifest.ocdbt": '
    "Permission denied [os_error_code='13'] [tensorstore_spec='{...}']"
)


def caused(error: Exception, cause: Exception) -> Exception:
    """Return an error that was raised from another."""
    error.__cause__ = cause
    return error


def change_metadata(directory: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change what a checkpoint's metadata say, with a checksum that fits."""
    path = directory / "meta" / "metadata"
    body = json.loads(path.read_text())["body"]
    change(body)
    path.write_text(json.dumps(integrity.seal(body)))


def files_of(tmp_path: Path, small: dict[str, jax.Array]) -> list[str]:
    save_steps(tmp_path, small, [1, 2])
    return list(tree_of(tmp_path / "2"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES = {
    "truncated": truncate,
    "emptied": lambda path: path.write_bytes(b""),
    "deleted": os.remove,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damaged_file_is_noticed_or_does_not_matter(tmp_path, small, caplog, damage):
    names = files_of(tmp_path, small)
    assert any("ocdbt" in name for name in names)
    assert os.path.join("meta", "metadata") in names
    fell_back = set()
    for number, name in enumerate(names):
        run = tmp_path / f"{damage}-{number}"
        for step in ("1", "2"):
            shutil.copytree(tmp_path / step, run / step)
        DAMAGES[damage](run / "2" / name)
        caplog.clear()
        with Checkpoints(run) as checkpoints:
            restored = checkpoints.restore(abstract(small))
            # Either way the state is that of the step which is named.
            wanted = {**small, "step": jnp.asarray(restored.step)}
            assert_identical(restored.state, wanted)
            if restored.step == 1:
                fell_back.add(name)
                assert [step for step, _ in restored.skipped] == [2]
                assert f"{run / '2'} is damaged" in caplog.text
                assert "step 1 is used instead" in caplog.text
                assert checkpoints.steps() == [1]
                assert (run / "2.damaged-1").is_dir()
            else:
                assert restored.skipped == []
            # And step 2 is saved again, if it was lost.
            checkpoints.save(2, {**small, "step": jnp.asarray(2)}, {"again": True})
            again = checkpoints.restore(abstract(small))
            assert again.step == 2
            assert again.meta.get("again", False) == (restored.step == 1)
    assert os.path.join("meta", "metadata") in fell_back
    assert len(fell_back) >= 3  # the metadata, the index, the data


def test_a_flipped_byte_anywhere_is_never_silently_wrong(tmp_path, small):
    names = files_of(tmp_path, small)
    rng = np.random.default_rng(0)
    noticed = 0
    for name in names:
        path = tmp_path / "2" / name
        content = path.read_bytes()
        positions = {0, len(content) // 2, len(content) - 1, *rng.integers(len(content), size=5)}
        for position in sorted(positions):
            changed = bytearray(content)
            changed[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(changed)
            with Checkpoints(tmp_path, read_only=True) as checkpoints:
                restored = checkpoints.restore(abstract(small))
            assert_identical(restored.state, {**small, "step": jnp.asarray(restored.step)})
            assert restored.meta == {"kimg": restored.step / 2}
            noticed += restored.step == 1
        path.write_bytes(content)
    assert noticed >= 20


def test_wrong_values_in_a_readable_checkpoint_are_noticed(tmp_path, small):
    # Orbax reads this one without complaint: only the checksums can tell.
    save_steps(tmp_path, small, [1, 2])
    shutil.rmtree(tmp_path / "2" / "state")
    shutil.copytree(tmp_path / "1" / "state", tmp_path / "2" / "state")
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(abstract(small))
    assert restored.skipped == [(2, "the checksum of leaf step is wrong")]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda sealed: sealed["body"]["meta"].update(kimg=99), "checksum of its metadata"),
        (lambda sealed: sealed.pop("body"), "not the JSON that was written"),
    ],
)
def test_changed_metadata_are_noticed(tmp_path, small, change, told):
    save_steps(tmp_path, small, [1, 2])
    path = tmp_path / "2" / "meta" / "metadata"
    sealed = json.loads(path.read_text())
    change(sealed)
    path.write_text(json.dumps(sealed))
    with Checkpoints(tmp_path) as checkpoints:
        [(step, reason)] = checkpoints.restore(abstract(small)).skipped
    assert step == 2
    assert told in reason


@pytest.mark.parametrize("field", ["format", "step", "meta", "leaves"])
def test_metadata_that_lack_a_field_are_damage(tmp_path, small, field):
    save_steps(tmp_path, small, [1, 2])
    change_metadata(tmp_path / "2", lambda body: body.pop(field))
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(abstract(small)).skipped == [
            (2, f"unreadable metadata: KeyError: '{field}'")
        ]


@pytest.mark.parametrize("field", ["shape", "dtype", "generator", "crc32"])
def test_a_leaf_of_which_the_metadata_lack_a_field_is_damage(tmp_path, small, field):
    save_steps(tmp_path, small, [1, 2])
    change_metadata(tmp_path / "2", lambda body: body["leaves"]["a"].pop(field))
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(abstract(small)).skipped == [
            (2, f"unreadable metadata: KeyError: '{field}'")
        ]


def test_arrays_of_another_shape_or_type_and_the_same_bytes_are_noticed(tmp_path, small):
    other_key = jax.random.wrap_key_data(jax.random.key_data(small["key"]).reshape(1, 2))
    others = {
        "a": small["a"].reshape(6),
        "step": jax.lax.bitcast_convert_type(jnp.asarray(5), jnp.float32),
        "key": other_key,
    }
    reasons = {
        "a": "leaf a is float32[6], but was saved as float32[2,3]",
        "step": "leaf step is float32[], but was saved as int32[]",
        "key": "leaf key is uint32[1,2], but was saved as uint32[2]",
    }
    for name, leaf in others.items():
        run = tmp_path / name
        with Checkpoints(run) as checkpoints:
            checkpoints.save(1, small, {})
            checkpoints.save(2, small, {})
        with Checkpoints(tmp_path / f"other {name}") as checkpoints:
            checkpoints.save(2, {**small, name: leaf}, {})
        shutil.rmtree(run / "2" / "state")
        shutil.copytree(tmp_path / f"other {name}" / "2" / "state", run / "2" / "state")
        with Checkpoints(run) as checkpoints:
            restored = checkpoints.restore(abstract(small))
        assert restored.skipped == [(2, reasons[name])]
        assert_identical(restored.state, small)


def test_keys_without_elements_come_back(tmp_path):
    state = {"keys": jax.random.split(jax.random.key(0), 2)[:0], "a": jnp.ones(2)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, {})
        assert_identical(checkpoints.restore(abstract(state)).state, state)


# What the system may say once and not again.
PASSING = {
    "no permission": PermissionError(errno.EACCES, "Permission denied"),
    "too many files": OSError(errno.EMFILE, "Too many open files"),
    "stale": OSError(errno.ESTALE, "Stale file handle"),
    "no memory": MemoryError(),
    "of a cause": caused(RuntimeError("could not read"), OSError(errno.EIO, "Input/output error")),
    "of TensorStore": ValueError(TENSORSTORE_SAYS),
}


@pytest.mark.parametrize("reader", ["unseal", "_read_arrays"])
@pytest.mark.parametrize("trouble", PASSING)
def test_a_read_that_fails_and_finds_no_damage_changes_nothing(
    tmp_path, small, monkeypatch, trouble, reader
):
    save_steps(tmp_path, small, [1, 2])
    read, failures = getattr(checkpoint_files, reader), [PASSING[trouble]]

    def read_once_in_vain(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return read(*arguments)

    monkeypatch.setattr(checkpoint_files, reader, read_once_in_vain)
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(CheckpointError, match=r"Checkpoint .*/2 cannot be read: ") as caught:
            checkpoints.restore(abstract(small))
        assert "\n" not in str(caught.value)
        assert sorted(os.listdir(tmp_path)) == ["1", "2"]
        restored = checkpoints.restore(abstract(small))
    assert (restored.step, restored.skipped) == (2, [])


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that answers EIO")
@pytest.mark.parametrize("name", ["meta/metadata", "state/_METADATA"])
def test_a_file_that_the_disk_does_not_give_out_is_not_damage(tmp_path, small, name):
    save_steps(tmp_path, small, [1, 2])
    file = tmp_path / "2" / name
    file.rename(tmp_path / "away")
    file.symlink_to("/proc/self/mem")  # whose first bytes cannot be read
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(CheckpointError, match=r"/2 cannot be read: Input/output error"):
            checkpoints.restore(abstract(small))
        (tmp_path / "away").replace(file)
        assert checkpoints.restore(abstract(small)).step == 2


def test_a_checkpoint_under_another_name_is_noticed(tmp_path, small):
    save_steps(tmp_path, small, [1])
    shutil.copytree(tmp_path / "1", tmp_path / "9")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(abstract(small)).skipped == [(9, "its metadata are of step 1")]


def test_all_damaged_is_an_error_that_lists_each_and_moves_none(tmp_path, small):
    save_steps(tmp_path, small, [1, 2])
    for step in (1, 2):
        (tmp_path / str(step) / "meta" / "metadata").write_text("{}")
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(CheckpointError, match=r"Every checkpoint .* step 2: .*; step 1: "):
            checkpoints.restore(abstract(small))
        # A run that starts anew by mistake would be worse than one that stops.
        assert checkpoints.steps() == [1, 2]


def test_an_asked_step_is_that_step_or_an_error(tmp_path, small):
    save_steps(tmp_path, small, [1, 2, 3], keep_latest=3)
    (tmp_path / "3" / "meta" / "metadata").write_text("{}")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(abstract(small), step=2).step == 2
        with pytest.raises(CheckpointError, match=r"No checkpoint of step 7 in .*: 1, 2, 3\."):
            checkpoints.restore(abstract(small), step=7)
        with pytest.raises(CheckpointError, match=r"Damaged .* step 3: .* Others in .*: 1, 2\."):
            checkpoints.restore(abstract(small), step=3)
        assert checkpoints.steps() == [1, 2, 3]


# ----------------------------------------------------------------------------- several processes


@pytest.fixture
def saved(tmp_path, small):
    """Checkpoints of the steps 1 and 2."""
    save_steps(tmp_path, small, [1, 2])
    return tmp_path


ANOTHER = "/2 cannot be read: another process reports the reason"


@pytest.fixture
def other_process(monkeypatch):
    """Let there be two processes; the list returned holds what the other one answers, in order.

    A function makes the answer from what this process tells.
    """
    answers: list[Any] = []

    def allgather(told: Any) -> np.ndarray:
        answer = answers.pop(0)
        return np.stack([told, np.asarray(answer(told) if callable(answer) else answer)])

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "process_allgather", allgather)
    return answers


def same(told: Any) -> Any:
    return told


def other(told: Any) -> Any:
    return told ^ np.uint32(1)


def test_processes_that_find_other_checkpoints_say_so_before_any_is_read(
    saved, small, other_process
):
    checkpoints = Checkpoints(saved, read_only=True)
    other_process[:] = [same, other, other]
    assert checkpoints.agreed_steps() == [1, 2]
    message = (
        f"Process 0 finds other checkpoints than another process, in {saved}: 1, 2. --workdir "
        "must be one directory that all processes share."
    )
    for ask in (checkpoints.agreed_steps, lambda: checkpoints.restore(abstract(small))):
        with pytest.raises(CheckpointError) as caught:
            ask()
        assert str(caught.value) == message
    assert other_process == []


def test_a_process_that_cannot_look_does_not_leave_the_others_waiting(tmp_path, other_process):
    (tmp_path / "file").write_text("")
    checkpoints = Checkpoints(tmp_path / "file", read_only=True)
    other_process[:] = [other]
    with pytest.raises(CheckpointError, match=r"Cannot read checkpoints in .*Not a directory"):
        checkpoints.agreed_steps()
    assert other_process == []


def test_what_another_process_cannot_read_now_is_not_damage(saved, small, other_process):
    checkpoints = Checkpoints(saved, read_only=True)
    fine, damage, trouble = np.int32(0), np.int32(1), np.int32(2)
    # The list of steps, the metadata, the arrays; of step 2, then of step 1.
    other_process[:] = [same, fine, damage, fine, fine]
    restored = checkpoints.restore(abstract(small))
    assert (restored.step, restored.skipped) == (1, [(2, "another process could not read it")])
    assert other_process == []

    for answers in ([same, trouble], [same, fine, trouble]):
        other_process[:] = answers
        with pytest.raises(CheckpointError, match=ANOTHER):
            checkpoints.restore(abstract(small))
        assert other_process == []

    # And it counts for more than the damage that this one finds.
    (saved / "2" / "meta" / "metadata").write_text("{}")
    other_process[:] = [same, trouble]
    with pytest.raises(CheckpointError, match=ANOTHER):
        checkpoints.restore(abstract(small))


# -------------------------------------------------------------------------------------- mismatch


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


# ------------------------------------------------------------------------------- full disk, kills

CHILD = """
    import faulthandler, os, resource, signal, sys
    faulthandler.dump_traceback_later(110, exit=True)
    import jax, jax.numpy as jnp, numpy as np
    from gan_jax.errors import CheckpointError
    from gan_jax.runs.checkpoint import Checkpoints

    def state_of(step, size):
        # Random, so that compression does not make it small.
        return {"w": jax.device_put(np.random.default_rng(step).random(size, np.float32)),
                "step": jnp.asarray(step)}
"""


def start(code: str, *arguments: Any) -> subprocess.Popen:
    program = textwrap.dedent(CHILD) + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("keep_latest", [1, 2])
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, keep_latest):
    # A limit on the size of files fails a write as a full disk does (EFBIG for ENOSPC), and needs
    # no privileges. One checkpoint of 4 MB fails; then there is room again.
    child = start(
        """
        directory, keep_latest = sys.argv[1], int(sys.argv[2])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        checkpoints = Checkpoints(directory, keep_latest=keep_latest)
        checkpoints.save(1, state_of(1, 1000), {})
        checkpoints.wait()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        for how, kilobytes in ("wait", 1000), ("wait", 0.1), ("save", 1000), ("close", 1000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(kilobytes * 1000), hard))
            try:
                checkpoints.save(2, state_of(2, 1_000_000), {})
                if how == "save":
                    checkpoints.save(3, state_of(3, 1000), {})
                else:
                    getattr(checkpoints, how)()
                print("MISSED", how)
            except CheckpointError as error:
                print("ERROR", error)
            print("STEPS", checkpoints.steps())
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        with Checkpoints(directory, keep_latest=keep_latest) as checkpoints:
            wanted = {"w": jnp.zeros(1000), "step": jnp.asarray(0)}
            print("RESTORED", int(checkpoints.restore(wanted).state["step"]))
            checkpoints.save(2, state_of(2, 1000), {})
            checkpoints.wait()
            print("STEPS", checkpoints.steps())
            print("FILES", sorted(os.listdir(directory)))
        """,
        tmp_path,
        keep_latest,
    )
    out, err = child.communicate(timeout=120)
    lines = out.splitlines()
    assert child.returncode == 0, err
    errors = [line for line in lines if line.startswith("ERROR")]
    assert len(errors) == 4, out
    for line in errors:
        assert line == (
            f"ERROR Could not save step 2 in {tmp_path}: File too large; complete checkpoints: 1."
        )
    kept = "[2]" if keep_latest == 1 else "[1, 2]"
    assert [line for line in lines if line.startswith("STEPS")] == ["STEPS [1]"] * 4 + [
        f"STEPS {kept}"
    ]
    assert "RESTORED 1" in lines
    assert f"FILES {[str(step) for step in json.loads(kept)]}" in lines
    # Orbax's own account of it, pages long, is kept away from the user.
    assert err == ""


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"Cannot keep checkpoints in .*/file/checkpoints: "):
        Checkpoints(tmp_path / "file" / "checkpoints")


def test_an_error_in_the_block_is_not_hidden_by_that_of_the_save(tmp_path, small, monkeypatch):
    checkpoints = Checkpoints(tmp_path)

    def fail() -> None:
        raise CheckpointError("disk full")

    monkeypatch.setattr(checkpoints, "wait", fail)
    with pytest.raises(ZeroDivisionError), checkpoints:
        raise ZeroDivisionError


def test_killed_while_saving_leaves_every_named_checkpoint_whole(tmp_path):
    rng = np.random.default_rng(0)
    wanted = {"w": jnp.zeros(500_000), "step": jnp.asarray(0)}
    newest = 0
    for _ in range(4):
        child = start(
            """
            checkpoints = Checkpoints(sys.argv[1])
            step = max(checkpoints.steps(), default=0)
            print("ready", flush=True)
            while True:
                step += 1
                checkpoints.save(step, state_of(step, 500_000), {"step": step})
                print(step, flush=True)
            """,
            tmp_path,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n", child.communicate()[1]
        # The first save has begun; of the first life, the second: then the first is complete.
        for _ in range(1 if newest else 2):
            child.stdout.readline()
        time.sleep(rng.uniform(0, 0.3))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert child.returncode == -signal.SIGKILL
        with Checkpoints(tmp_path, read_only=True) as checkpoints:
            restored = checkpoints.restore(wanted)
        assert restored.skipped == []
        assert restored.step == restored.meta["step"] == int(restored.state["step"]) >= newest
        expected = np.random.default_rng(restored.step).random(500_000, np.float32)
        np.testing.assert_array_equal(restored.state["w"], expected)
        newest = restored.step


def test_what_an_interrupted_save_left_is_removed_at_the_next_start(tmp_path, small):
    save_steps(tmp_path, small, [1])
    left = tmp_path / "2.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "1", left)
    (left / "commit_success.txt").unlink()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [1]
        checkpoints.save(2, small, {})
    assert not left.exists()
    assert Checkpoints(tmp_path, read_only=True).steps() == [1, 2]


def test_opening_and_closing_removes_what_an_interrupted_save_left(tmp_path, small):
    save_steps(tmp_path, small, [1])
    left = tmp_path / "2.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "1", left)
    (left / "commit_success.txt").unlink()
    Checkpoints(tmp_path).close()
    assert not left.exists()


def test_single_device_state_without_sharding_goes_to_the_default_device(tmp_path, small):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, small, {})
        bare = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), small)
        restored = checkpoints.restore(bare).state
    assert_identical(restored, small)
    assert isinstance(restored["a"].sharding, SingleDeviceSharding)


def test_what_one_failed_write_leaves_behind_is_not_told_again(tmp_path, caplog):
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.steps() == []
    log = logging.getLogger("asyncio")
    for one in (
        "Task finished coro=<_write() done, defined at /lib/orbax/checkpoint/handlers.py:1>",
        'Future finished exception=ValueError(\'OUT_OF_RANGE: Error writing "params/0.0" in OCDBT '
        'database at local file "/run/4.orbax-checkpoint-tmp/state/": File too large\')',
        "Future finished exception=ValueError('NOT_FOUND: [source locations=\"tensorstore/')",
    ):
        log.error("Future exception was never retrieved\nfuture: <%s>", one)
    assert caplog.records == []
    log.error("Task exception was never retrieved\nfuture: <Task finished of the user's>")
    log.error("/lib/orbax/checkpoint/handlers.py took long")
    assert len(caplog.records) == 2
