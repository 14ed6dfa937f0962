"""Decoded sets in the cache directory: the same arrays, never out of date, bounded."""

import errno
import functools
import os
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from gan_jax import cache
from gan_jax.data import decoded
from gan_jax.data.pipeline import load, make_pipeline
from gan_jax.data.sources import FolderSource, Transform, make_source, tiles
from gan_jax.data.sources.subset import only_classes
from gan_jax.errors import ConfigError


@pytest.fixture(autouse=True)
def cache_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def images(tmp_path):
    """A folder of two classes, of images of 12x10 whose files have one size."""
    for k in range(300):
        folder = tmp_path / "images" / f"class{k % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(k).integers(0, 256, (12, 10, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{k:03}.bmp")
    return tmp_path / "images"


def source_of(path, on_error="raise", **fields):
    return FolderSource(path, "train", Transform(**{"resolution": 8, **fields}), on_error)


def kept(source, least_seconds=0.0):
    """Load a set; return its arrays, and whether it was decoded."""
    decodings = []

    def decode():
        decodings.append(True)
        return load(source)

    return decoded.load(decoded.file_of(source), source, decode, least_seconds), bool(decodings)


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype
        np.testing.assert_array_equal(left[name], right[name])


@pytest.mark.parametrize(("cores", "least_for_processes"), [(1, 0), (5, 10**6), (2, 0)])
def test_a_later_start_has_the_same_arrays_and_failures(
    images, monkeypatch, caplog, cores, least_for_processes
):
    """Decoded by one thread, by five, or by two processes."""
    monkeypatch.setattr("gan_jax.data.pipeline._LEAST_FOR_PROCESSES", least_for_processes)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    for name in ("class0/004.bmp", "class1/299.bmp"):
        (images / name).write_bytes(b"no image")
    first, later = source_of(images, "skip"), source_of(images, "skip")
    plain = load(source_of(images, "skip"))
    (one, was_decoded), (other, was_decoded_again) = kept(first), kept(later)
    assert was_decoded
    assert not was_decoded_again
    assert_same(plain, one)
    assert_same(plain, other)
    assert later.failures == first.failures
    assert len(later.failures) == 2
    assert caplog.text.count("skipped 2 images that cannot be decoded (2 in all)") == 3


def test_what_is_decoded_quickly_is_not_kept(images):
    assert kept(source_of(images), least_seconds=60.0)[1]
    assert kept(source_of(images))[1]
    assert not kept(source_of(images))[1]


@pytest.mark.parametrize("packed", [False, True])
def test_every_pixel_belongs_to_the_key(images, tmp_path, packed):
    """Neither its size nor its date shows that a file was changed, nor do those around it."""

    def found():
        if not packed:
            return decoded.file_of(source_of(images))
        path = tmp_path / "images.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(images.rglob("*.bmp")):
                # The dates are those of the files.
                archive.write(file, file.relative_to(images))
        return decoded.file_of(source_of(path))

    before = found()
    assert found() == before
    for file in sorted(images.rglob("*.bmp"))[100:103]:
        status, raw = file.stat(), bytearray(file.read_bytes())
        raw[-1] ^= 1
        file.write_bytes(raw)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert found() != before
        before = found()
    (images / "class0" / "000.bmp").unlink()
    assert found() != before


def test_the_preparation_belongs_to_the_key_and_the_place_does_not(images, tmp_path, monkeypatch):
    first = decoded.file_of(source_of(images))
    others = [
        source_of(images, resolution=(8, 6)),
        source_of(images, channels=1),
        source_of(images, resize="squeeze"),
        source_of(images, value_range=(0, 100)),
        source_of(images, on_error="skip"),
        source_of(images).resized(4),
        only_classes(source_of(images), [0], "first"),
        only_classes(source_of(images), [1], "second"),
        tiles(str(images), "train", Transform(8, resize="tile"), "raise", ()),
    ]
    files = {first, *map(decoded.file_of, others)}
    assert len(files) == 1 + len(others)
    images.rename(tmp_path / "moved")
    assert decoded.file_of(source_of(tmp_path / "moved")) == first
    with monkeypatch.context() as patch:
        patch.setattr("PIL.__version__", "0.1")
        assert decoded.file_of(source_of(tmp_path / "moved")) not in files
    monkeypatch.setattr(decoded, "_code", lambda: "other code")
    assert decoded.file_of(source_of(tmp_path / "moved")) not in files


def test_a_damaged_file_is_replaced(images, caplog):
    data, _ = kept(source_of(images))
    file = decoded.file_of(source_of(images))
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damage in (whole[: len(whole) // 2], b"", bytes(flipped)):
        file.write_bytes(damage)
        again, was_decoded = kept(source_of(images))
        assert was_decoded
        assert_same(data, again)
        assert not kept(source_of(images))[1]
    # That of another set, whose arrays are whole.
    kept(source_of(images, resolution=4))
    shutil.copy(decoded.file_of(source_of(images, resolution=4)), file)
    assert kept(source_of(images))[1]
    assert caplog.text.count("the set is decoded again") == 4
    assert "'image' has shape (300, 4, 4, 3)" in caplog.text


def test_those_used_last_remain_within_the_limit(images, monkeypatch, caplog):
    caplog.set_level("INFO")
    sources = [source_of(images, resize=way) for way in ("resize", "letterbox", "squeeze")]
    files = [decoded.file_of(source) for source in sources]
    size = 300 * (8 * 8 * 3 + 4)
    monkeypatch.setenv("GAN_JAX_DECODED_GIB", str(2.2 * size / 2**30))
    kept(sources[0])
    kept(sources[1])
    for file, seconds in zip(files, (1, 2), strict=False):
        os.utime(file, (seconds, seconds))
    assert not kept(sources[0])[1]
    kept(sources[2])
    assert [file.exists() for file in files] == [True, False, True]
    monkeypatch.setenv("GAN_JAX_DECODED_GIB", str(0.9 * size / 2**30))
    kept(sources[1])
    assert [file.exists() for file in files] == [True, False, True]
    assert "The decoded set of 0.0 GiB is not kept" in caplog.text
    monkeypatch.setenv("GAN_JAX_DECODED_GIB", "0")
    assert decoded.file_of(sources[0]) is None
    monkeypatch.setenv("GAN_JAX_DECODED_GIB", "much")
    with pytest.raises(ConfigError, match=r"\$GAN_JAX_DECODED_GIB = 'much'; accepted: a number"):
        make_pipeline(sources[0], seed=0, global_batch=2, batches_per_step=1, steps_per_call=1)


def test_a_write_that_fails_leaves_nothing_and_ends_no_run(images, monkeypatch, caplog):
    expected = load(source_of(images))

    def savez(failure, file, **_):
        file.write(bytes(1000))
        raise failure

    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", functools.partial(savez, full))
        data, _ = kept(source_of(images))
        patch.setattr(np, "savez", functools.partial(savez, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            kept(source_of(images))
    assert_same(expected, data)
    assert list(decoded.folder().iterdir()) == []
    assert caplog.text.count("No space left on device") == 1
    # Where no folder can be made, as on a read-only disk.
    cache.root().joinpath("decoded").rmdir()
    cache.root().joinpath("decoded").write_text("")
    assert_same(expected, kept(source_of(images))[0])
    assert caplog.text.count("the set is decoded again at the next start") == 2


@pytest.fixture
def twins(tmp_path):
    """Folders of images of which B are three times as large as A."""
    for k in range(6):
        for name, size in (("trainA", 8), ("trainB", 24)):
            folder = tmp_path / "twins" / name
            folder.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(k).integers(0, 256, (size, size, 3), np.uint8)
            Image.fromarray(noise).save(folder / f"{k}.png")
    return tmp_path / "twins"


@pytest.mark.parametrize(
    "fields",
    [
        {"pairing": "twins", "resolution": 8},
        {"pairing": "twins", "resolution": 24, "scale": None},
        {"pairing": "twins", "resolution": 12, "scale": None, "resize": "tile"},
        {"pairing": "domains", "resolution": 8},
    ],
)
def test_pairs_are_kept(twins, data_config, monkeypatch, fields):
    config = data_config(name="folder", path=str(twins), **fields)
    monkeypatch.setattr(decoded, "load", functools.partial(decoded.load, least_seconds=0.0))

    def pipeline():
        return make_pipeline(
            make_source(config), seed=0, global_batch=2, batches_per_step=1, steps_per_call=1
        )

    first, later = pipeline(), pipeline()
    assert not first.is_decoded
    data = first.data
    assert later.is_decoded
    monkeypatch.setattr("gan_jax.data.pipeline.load", lambda *_: pytest.fail("decoded again"))
    assert_same(data, later.data)


@pytest.mark.slow
def test_sets_of_tfds_are_kept(shared_data, data_config):
    folder = str(shared_data("tfds"))
    sources = [
        make_source(
            data_config(name="fashion_mnist", data_dir=folder, resolution=size, split="test[:2%]")
        )
        for size in (28, 28, 14)
    ]
    data, _ = kept(sources[0])
    again, was_decoded = kept(sources[1])
    assert not was_decoded
    assert_same(data, again)
    assert kept(sources[2])[1]
    assert decoded.file_of(make_source(data_config())) is None  # Arrays in memory.
