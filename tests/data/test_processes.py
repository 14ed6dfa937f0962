"""Processes that read a source: their errors are those of the source, and they end in time."""

import subprocess

import numpy as np
import pytest
from PIL import Image

from gan_jax.data import processes
from gan_jax.data.sources import FolderSource, Transform
from gan_jax.errors import DataError


@pytest.fixture
def source(tmp_path):
    for k in range(6):
        folder = tmp_path / f"class{k % 2}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(np.full((5, 3, 3), k, np.uint8)).save(folder / f"{k}.png")
    return FolderSource(tmp_path, "train", Transform())


@pytest.fixture
def started(monkeypatch):
    """The processes that were started."""
    found, popen = [], subprocess.Popen

    def start(*args, **options):
        found.append(popen(*args, **options))
        return found[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    return found


def test_they_fill_raise_and_end(source, started, tmp_path):
    with processes.filling(source, 6, 2) as (data, fill):
        fill(4, [3, 0])
        fill(0, range(1, 5))
        (tmp_path / "class0" / "4.png").write_bytes(b"")
        with pytest.raises(DataError, match=r"4\.png is not an image .*skip"):
            fill(2, range(6))
        assert [process.poll() for process in started] == [None, None]
    assert [process.returncode for process in started] == [0, 0]
    # Of class 0 are the files 0, 2 and 4, the first of the set.
    np.testing.assert_array_equal(data["label"], [0, 0, 1, 1, 1, 0])
    values = np.array([2, 4, 1, 3, 1, 0], np.uint8)
    np.testing.assert_array_equal(
        data["image"], np.broadcast_to(values[:, None, None, None], (6, 5, 3, 3))
    )


def test_one_that_was_ended_is_an_error(source, started):
    with processes.filling(source, 6, 1) as (_, fill):
        fill(0, [0])
        started[0].kill()
        with pytest.raises(DataError, match=r"a process that reads .* has ended"):
            fill(0, [0])
