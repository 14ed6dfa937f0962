"""metrics.jsonl is strict JSON and survives crashes; TensorBoard's files hold what was recorded."""

import io
import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gan_jax.errors import WorkdirError
from gan_jax.report import atomic, writers
from gan_jax.report.writers import (
    JsonlWriter,
    TensorBoardWriter,
    Writer,
    Writers,
    make_writers,
    read_rows,
    tensorboard,
    truncate_after,
)
from tests.experiments import program


def strict_rows(path):
    """Parse as a strict reader does: NaN and Infinity, which Python's parser admits, are errors."""

    def refuse(token):
        raise ValueError(f"{token} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def events(directory):
    """Every event below a directory, read by the definition of the file format and its protos."""
    found = []
    for path in sorted(directory.glob("events.*")):
        content = path.read_bytes()
        while content:
            # A record: length (8 bytes), its CRC (4), the event, its CRC (4).
            length = int.from_bytes(content[:8], "little")
            found.append(tensorboard._tensorboard().Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return found


def values_of(directory):
    return {
        (event.step, value.tag): value
        for event in events(directory)
        for value in event.summary.value
    }


# ----------------------------------------------------------------------------------------- jsonl


def test_a_row_is_strict_json_and_there_at_once(tmp_path):
    path = tmp_path / "run" / "metrics.jsonl"
    writer = JsonlWriter(path)
    third: Any = np.float32(1) / 3
    writer.scalars(1, {"loss": third, "count": 3, "inf": float("inf")}, kimg=0.064)
    writer.scalars(2, {"loss": float("nan"), "low": -np.inf})
    # Read before the file is closed: a run that is killed has left its rows.
    assert strict_rows(path) == [
        {"step": 1, "kimg": 0.064, "loss": float(third), "count": 3, "inf": "Infinity"},
        {"step": 2, "loss": "NaN", "low": "-Infinity"},
    ]
    # Floats come back exactly, and the strings are what `float` understands.
    assert np.float32(strict_rows(path)[0]["loss"]) == third
    np.testing.assert_equal(
        [float(strict_rows(path)[1][name]) for name in ("loss", "low")], [np.nan, -np.inf]
    )
    np.testing.assert_equal(read_rows(path)[1], {"step": 2, "loss": np.nan, "low": -np.inf})
    writer.close()


@pytest.mark.parametrize("name", ["step", "kimg"])
def test_a_metric_cannot_take_the_name_of_the_step(tmp_path, name):
    writer = JsonlWriter(tmp_path / "m")
    with pytest.raises(ValueError, match=f"named '{name}'"):
        writer.scalars(1, {name: 1.0})
    writer.close()


def test_a_second_process_appends(tmp_path):
    for step in (1, 2):
        writer = JsonlWriter(tmp_path / "m")
        writer.scalars(step, {})
        writer.close()
    assert [row["step"] for row in strict_rows(tmp_path / "m")] == [1, 2]


@pytest.mark.parametrize(("step", "kept"), [(None, 0), (0, 0), (2, 3), (3, 3), (100, 4)])
def test_truncation_drops_later_and_unfinished_rows_only(tmp_path, step, kept):
    lines = [
        b'{"step": 1, "loss": 0.10000000000000001}\n',
        b'{"step": 2, "loss": "NaN"}\n',
        b'{"step":2,"fid":3}\n',
        b'{"step": 4}\n',
        b'{"step": 4, "lo',
    ]
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(lines))
    truncate_after(path, step)
    # Byte for byte, in their own writing.
    assert path.read_bytes() == b"".join(lines[:kept])
    assert os.listdir(tmp_path) == ["metrics.jsonl"]


@pytest.mark.parametrize("cut", [1, 8, 11, 12])
def test_a_row_cut_anywhere_is_dropped_and_the_next_one_stands_alone(tmp_path, cut):
    row = b'{"step": 10}\n'
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + row[:cut])
    assert [kept["step"] for kept in read_rows(path)] == [1]
    both = make_writers(tmp_path, resume_step=10)
    both.scalars(11, {"loss": 1.0})
    both.close()
    assert [row["step"] for row in strict_rows(path)] == [1, 11]


def test_truncation_leaves_a_fitting_or_missing_file_alone(tmp_path):
    truncate_after(tmp_path / "none", 3)
    assert not (tmp_path / "none").exists()
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n')
    before = path.stat()
    truncate_after(path, 1)
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_truncation_that_crashes_leaves_the_old_rows(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    content = b'{"step": 1}\n{"step": 2}\n'
    path.write_bytes(content)

    def fail(*_):
        assert path.read_bytes() == content  # untouched until the very last moment
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", fail)
    with pytest.raises(WorkdirError, match=r"Cannot write .*metrics\.jsonl: No space left"):
        truncate_after(path, 1)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["metrics.jsonl"]


def test_unwritable_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkdirError, match=r"Cannot write .*metrics\.jsonl: "):
        JsonlWriter(tmp_path / "file" / "metrics.jsonl")
    with pytest.raises(WorkdirError, match=r"Cannot (read|write) .*: Not a directory"):
        make_writers(tmp_path / "file")


@program.has_full
def test_a_full_disk_is_reported_once_with_what_to_do():
    writer = JsonlWriter(program.FULL)
    with pytest.raises(WorkdirError, match=r"Cannot write /dev/full: No space left .*free space"):
        writer.scalars(1, {"loss": 1.0})
    writer.close()


# Writes rows of about 100 bytes; the third argument is the largest size of a file.
_ROWS = """
import contextlib, resource, sys
from gan_jax.errors import WorkdirError
from gan_jax.report import writers

@contextlib.contextmanager
def told():
    try:
        yield
    except WorkdirError as error:
        print(error)

_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), hard))
with told():
    writer = getattr(writers, sys.argv[1])(sys.argv[2])
    with told():
        for step in range(10**6):
            writer.scalars(step, {"a": 0.1 ** 0.5, "b": 0.2 ** 0.5, "c": 0.3 ** 0.5}, kimg=0.1)
    writer.close()
"""


def rows_until_full(writer, path, limit):
    """Return the errors reported, line by line; nothing else is, not even by a destructor."""
    # -X dev: else Python before 3.13 keeps to itself what fails in destructors. -B: no file that is
    # read again may be cut off.
    command = [sys.executable, "-B", "-X", "dev", "-W", "ignore", "-c", _ROWS]
    command += [writer, str(path), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_row_that_there_is_no_room_for_leaves_nothing(tmp_path):
    path = tmp_path / "metrics.jsonl"
    # Not the length of whole rows: the system takes the beginning of the last one.
    assert rows_until_full("JsonlWriter", path, 1000) == [f"Cannot write {path}: File too large"]
    assert 850 < path.stat().st_size < 1000
    assert len(strict_rows(path)) == len(read_rows(path)) > 5


def test_no_writer_is_left_open_by_another_one(tmp_path):
    closed = []

    class Full(Writer):
        def close(self):
            closed.append(self)
            raise WorkdirError("no room")

    both = Writers([Full(), Full()])
    with pytest.raises(WorkdirError, match="no room"):
        both.close()
    assert len(closed) == 2


# ----------------------------------------------------------------------------------- TensorBoard


def test_a_file_of_curves_that_cannot_grow_is_reported_and_closed(tmp_path):
    message = f"Cannot write {tmp_path}: File too large"
    # What is in the buffer cannot be written at the end either.
    assert rows_until_full("TensorBoardWriter", tmp_path, 100_000) == [message] * 2
    assert rows_until_full("TensorBoardWriter", tmp_path, 10) == [message]


def test_tensorboard_holds_scalars_and_images(tmp_path):
    rng = np.random.default_rng(0)
    colour = rng.integers(256, size=(5, 7, 3), dtype=np.uint8)
    grey = rng.integers(256, size=(4, 6, 1), dtype=np.uint8)
    writer = TensorBoardWriter(tmp_path)
    writer.scalars(3, {"loss/critic": -1.5, "nan": float("nan")}, kimg=0.25)
    writer.image(3, "samples", colour)
    writer.image(3, "grey", grey)
    writer.close()

    found = values_of(tmp_path)
    assert found[3, "loss/critic"].simple_value == -1.5
    assert found[3, "kimg"].simple_value == 0.25
    assert np.isnan(found[3, "nan"].simple_value)
    for name, image in (("samples", colour), ("grey", grey)):
        stored = Image.open(io.BytesIO(found[3, name].image.encoded_image_string))
        np.testing.assert_array_equal(
            np.asarray(stored.convert("RGB")), np.broadcast_to(image, (*image.shape[:2], 3))
        )


def test_evaluations_are_readable_before_the_writer_is_closed(tmp_path):
    writer = TensorBoardWriter(tmp_path)
    writer.curves(1, {"eval/fid": 2.0})
    assert values_of(tmp_path)[1, "eval/fid"].simple_value == 2.0
    writer.close()


def test_a_resumed_run_tells_tensorboard_what_to_forget(tmp_path):
    for resume_step, steps in ((None, [1, 2, 3, 4]), (2, [3, 4])):
        writer = TensorBoardWriter(tmp_path / str(resume_step), resume_step)
        for step in steps:
            writer.scalars(step, {"loss": float(step)})
        writer.close()

    def starts(name):
        return [
            event.step
            for event in events(tmp_path / name)
            if event.session_log.status == tensorboard._tensorboard().SessionLog.START
        ]

    # TensorBoard drops earlier events at or after the step of a START: 3 goes, 2 stays.
    assert starts("2") == [3]
    assert starts("None") == []


# ------------------------------------------------------------------------------------------- all


def test_make_writers_reports_to_both_and_drops_what_will_be_trained_again(tmp_path):
    first = make_writers(tmp_path)
    for step in (1, 2, 3):
        first.scalars(step, {"loss": step}, kimg=step / 10)
    first.close()
    second = make_writers(tmp_path, resume_step=2)
    second.scalars(3, {"loss": 33}, kimg=0.3)
    second.image(3, "samples", np.zeros((2, 2, 3), np.uint8))
    second.curves(3, {"eval/fid": 9.0})
    second.close()
    assert [row["loss"] for row in strict_rows(tmp_path / "metrics.jsonl")] == [1, 2, 33]
    # A process that starts within the same second does not write over the first one's file.
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
    curves = {tag for _, tag in values_of(tmp_path / "tensorboard")}
    assert curves == {"samples", "eval/fid", "loss", "kimg"}


def test_no_tensorflow_and_no_torch():
    code = (
        "import sys, gan_jax.report.writers as w, gan_jax.report.grids, tempfile;"
        "w.make_writers(tempfile.mkdtemp()).close();"
        "print({'tensorflow', 'torch', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_row_of_an_infinite_step_is_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": Infinity}\n{"step": 2, "loss": 1.0}\n')
    assert writers.read_rows(tmp_path / "metrics.jsonl") == [{"step": 2, "loss": 1.0}]
