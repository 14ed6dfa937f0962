import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from gan_jax.data import device, order
from gan_jax.data.pipeline import load, make_pipeline, resident_bytes
from gan_jax.data.sources import FolderSource, Transform, image_source
from gan_jax.data.sources.toy import toy
from gan_jax.errors import ConfigError, DataError

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE = 50


@pytest.fixture
def source():
    """Fifty images, whose pixels are their index."""
    images = np.arange(SIZE, dtype=np.uint8).repeat(4).reshape(SIZE, 2, 2, 1)
    return image_source("numbers", "train", images, np.arange(SIZE) % 3)


def pipeline(source, **changes):
    defaults = {"seed": 4, "global_batch": 6, "batches_per_step": 3, "steps_per_call": 2}
    return make_pipeline(source, **defaults | changes)


def calls(pipe, start, count):
    """Some calls as examples, whichever the path."""
    with pipe.batches(start) as batches:
        taken = list(itertools.islice(batches, count))
    fetch = jax.jit(device.fetch)
    return [jax.tree.map(np.asarray, fetch(pipe.data, call)) for call in taken]


def assert_same(left, right):
    assert len(left) == len(right)
    jax.tree.map(np.testing.assert_array_equal, left, right)


def test_positions_are_those_of_the_order(source):
    pipe = pipeline(source)
    assert pipe.resident
    with pipe.batches(5) as batches:
        call = next(batches)["index"]
    assert call.shape == (2, 3, 6)
    assert call.dtype == np.int32
    for s, k, i in [(0, 0, 0), (1, 2, 5), (0, 1, 3)]:
        position = ((5 + s) * 3 + k) * 6 + i
        assert call[s, k, i] == order.indices(4, position, 1, SIZE)[0]


def test_resident_data_is_the_set(source):
    pipe = pipeline(source)
    np.testing.assert_array_equal(pipe.data["image"], source.arrays["image"])
    np.testing.assert_array_equal(pipe.data["label"], source.arrays["label"])
    assert pipe.data is pipe.data
    assert resident_bytes(source) == sum(a.nbytes for a in pipe.data.values())


@pytest.mark.parametrize("start", [0, 7])
def test_resident_equals_streamed(source, start):
    resident = calls(pipeline(source), start, 4)
    streamed = pipeline(source, resident=False)
    assert not streamed.resident
    assert streamed.data == {}
    got = calls(streamed, start, 4)
    assert got[0]["image"].shape == (2, 3, 6, 2, 2, 1)
    assert got[0]["image"].dtype == np.uint8
    assert got[0]["label"].dtype == np.int32
    assert_same(resident, got)


@pytest.mark.slow
def test_worker_processes_change_nothing_and_end(source):
    expected = calls(pipeline(source), 3, 4)
    pipe = pipeline(source, resident=False, workers=2)
    assert_same(expected, calls(pipe, 3, 4))
    assert not [p for p in multiprocessing.active_children() if "grain" in p.name]


def test_calls_go_on_where_the_one_before_ended(source):
    whole = calls(pipeline(source, steps_per_call=6), 0, 1)[0]
    for resident in (True, False):
        parts = calls(pipeline(source, steps_per_call=1, resident=resident), 2, 4)
        for name in ("image", "label"):
            joined = np.concatenate([part[name] for part in parts])
            np.testing.assert_array_equal(joined, whole[name][2:])


@pytest.mark.parametrize("resident", [True, False])
def test_two_processes_read_the_halves_of_one(source, resident):
    one = calls(pipeline(source, resident=resident), 1, 3)
    two = [
        calls(pipeline(source, resident=resident, process_index=p, process_count=2), 1, 3)
        for p in range(2)
    ]
    joined = jax.tree.map(lambda a, b: np.concatenate([a, b], axis=2), *two)
    assert two[0][0]["label"].shape == (2, 3, 3)
    assert_same(one, joined)


def test_far_starts_cost_nothing(source):
    for resident in (True, False):
        with pipeline(source, resident=resident).batches(10**9) as batches:
            before = time.perf_counter()
            next(batches)
            assert time.perf_counter() - before < 5


def test_the_path_follows_from_the_size(source):
    images = np.zeros((1024, 32, 32, 1), np.uint8)
    big = image_source("big", "train", images, None)
    gib = resident_bytes(big) / 2**30
    assert pipeline(big, device_cache_gib=gib).resident
    assert not pipeline(big, device_cache_gib=gib * 0.999).resident
    assert not pipeline(big, device_cache_gib=0).resident
    assert pipeline(big, device_cache_gib=0, resident=True).resident
    points = toy("ring", 10, None)
    assert resident_bytes(points) == 10 * (8 + 4)
    assert load(points)["points"].dtype == np.float32


def test_progress_counts_to_the_end():
    seen = []
    images = np.zeros((1000, 1, 1, 1), np.uint8)
    load(image_source("a", "train", images, None), lambda done, total: seen.append((done, total)))
    assert seen[-1] == (1000, 1000)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_a_closed_iterator_ends(source):
    for resident in (True, False):
        batches = pipeline(source, resident=resident).batches(0)
        next(batches)
        batches.close()
        batches.close()
        with pytest.raises(StopIteration):
            next(batches)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"global_batch": 0}, r"train\.batch_size = 0; accepted: 1 or more"),
        ({"steps_per_call": 0}, r"train\.steps_per_call = 0"),
        ({"prefetch": 0}, r"data\.prefetch = 0"),
        ({"workers": -1}, r"data\.workers = -1; accepted: 0 \(threads\) or more"),
        ({"process_count": 4}, r"train\.batch_size = 6; accepted: a multiple of the 4 processes"),
    ],
)
def test_impossible_numbers(source, fields, message):
    with pytest.raises(ConfigError, match=message):
        pipeline(source, **fields)


# Damage.


def write_images(folder, count=12):
    for k in range(count):
        noise = np.random.default_rng(k).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{k:02}.jpg", quality=95)


def truncate(path):
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) - 100])


def folder(path, on_error="raise"):
    return FolderSource(path, "train", Transform(8, channels=3), on_error)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_images_that_vanish_in_a_run_are_named(tmp_path, workers):
    write_images(tmp_path)
    pipe = pipeline(folder(tmp_path), resident=False, workers=workers, prefetch=1)
    with pipe.batches(0) as batches:
        next(batches)
        (tmp_path / "05.jpg").unlink()
        with pytest.raises(DataError, match=r"05\.jpg cannot be read"):
            list(itertools.islice(batches, 10))


def test_a_corrupted_image_stops_both_paths(tmp_path):
    write_images(tmp_path)
    truncate(tmp_path / "07.jpg")
    with pytest.raises(DataError, match=r"07\.jpg cannot be decoded"):
        _ = pipeline(folder(tmp_path)).data
    with (
        pytest.raises(DataError, match=r"07\.jpg cannot be decoded"),
        pipeline(folder(tmp_path), resident=False).batches(0) as batches,
    ):
        next(batches)


@pytest.mark.slow
def test_skipping_is_the_same_on_all_paths_and_counted(tmp_path, caplog):
    write_images(tmp_path)
    for name in ("07.jpg", "08.jpg", "11.jpg"):
        truncate(tmp_path / name)
    sources = [folder(tmp_path, "skip") for _ in range(3)]
    paths = [{}, {"resident": False}, {"resident": False, "workers": 1}]
    got = [calls(pipeline(s, **path), 0, 2) for s, path in zip(sources, paths, strict=True)]
    assert_same(got[0], got[1])
    assert_same(got[0], got[2])
    for each in sources:
        assert sorted(each.failures) == [7, 8, 11]
        assert "08.jpg" in each.failures[8]
    assert "skipped 3 images" in caplog.text
    assert "07.jpg" in caplog.text or "08.jpg" in caplog.text or "11.jpg" in caplog.text


MAIN = """
import sys, time
import numpy as np
from gan_jax.data.pipeline import make_pipeline
from gan_jax.data.sources.toy import toy

if __name__ == "__main__":
    pipe = make_pipeline(toy("ring", 4096, None), seed=0, global_batch=512, batches_per_step=2,
        steps_per_call=2, resident=False, workers=1)
    batches = pipe.batches(0)
    next(batches)
    print("ready", flush=True)
    THEN
    [next(batches) for _ in range(20)]
    print("done", flush=True)
"""


def run_main(tmp_path, then):
    path = tmp_path / "main.py"
    path.write_text(MAIN.replace("THEN", then))
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, str(path)],
        stdout=pipe,
        stderr=pipe,
        text=True,
        env=environment,
        start_new_session=True,
    )


@pytest.mark.slow
def test_workers_outlive_signals_to_the_whole_job_and_end_without_a_close(tmp_path):
    ignore = "import signal; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]"
    process = run_main(tmp_path, f"{ignore}; print('set', flush=True); time.sleep(3)")
    assert process.stdout.readline() == "ready\n"
    assert process.stdout.readline() == "set\n"
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "done\n"), err
    assert "Traceback" not in err


@pytest.mark.slow
def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    process = run_main(tmp_path, "time.sleep(600)")
    assert process.stdout.readline() == "ready\n"
    process.kill()
    # Workers hold the other end of both pipes: this returns only when the last one is gone.
    process.communicate(timeout=120)
