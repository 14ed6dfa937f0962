"""Damaged checkpoints are noticed and set aside; unreadable ones are left alone."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import multihost_utils

from gan_jax.errors import CheckpointError
from gan_jax.runs import checkpoint_files, integrity
from gan_jax.runs.checkpoint import Checkpoints
from tests.runs.checkpoints import abstract, assert_identical, save_steps, tree_of

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


DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
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


@pytest.mark.slow
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
    # Orbax reads this one without an error: only the checksums differ.
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


def test_metadata_that_lack_a_field_are_damage(tmp_path, small):
    save_steps(tmp_path, small, [1, 2])
    whole = (tmp_path / "2" / "meta" / "metadata").read_text()

    def without(field: str, place: Callable[[Any], Any]) -> None:
        change_metadata(tmp_path / "2", lambda body: place(body).pop(field))
        with Checkpoints(tmp_path, read_only=True) as checkpoints:
            assert checkpoints.restore(abstract(small)).skipped == [
                (2, f"unreadable metadata: KeyError: '{field}'")
            ]
        (tmp_path / "2" / "meta" / "metadata").write_text(whole)

    for field in ("format", "step", "meta", "leaves"):
        without(field, lambda body: body)
    for field in ("shape", "dtype", "generator", "crc32"):
        without(field, lambda body: body["leaves"]["a"])


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


@pytest.mark.parametrize(
    ("trouble", "reader"),
    [("no permission", "unseal"), *((trouble, "_read_arrays") for trouble in PASSING)],
)
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


@pytest.fixture
def saved(tmp_path, small):
    """Checkpoints of the steps 1 and 2."""
    save_steps(tmp_path, small, [1, 2])
    return tmp_path


ANOTHER = "/2 cannot be read: another process reports the reason"


@pytest.fixture
def other_process(monkeypatch):
    """Let there be two processes; the list returned holds what the other one answers, in order.

    A function makes the answer from what this process sends.
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
