"""Files, zips and arrays that are damaged in any way: data, or an error that names the file."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gan_jax import arrays, errors
from gan_jax.data.sources import FolderSource, NpzSource, TiledSource, Transform
from gan_jax.inference import image_files
from tests.fuzz import pictures

WHOLE = pictures.whole()
BROKEN = pictures.broken()
TRANSFORMS = [
    Transform(),
    Transform(resolution=8),
    Transform(resolution=8, channels=1),
    Transform(channels=3),
    Transform(resolution=10, channels=3, resize="pad"),
]
EXAMPLES = 200


@pytest.fixture(autouse=True)
def small_limit(monkeypatch):
    """Refuse pictures that would take long, as the limit for real ones does at another size."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2**16)


def check(image, source):
    assert image.dtype == np.uint8
    assert image.shape == source.shape
    assert image.ndim == 3
    assert image.shape[2] in (1, 3)


def one_line(error, name):
    """Assert that an error is one line that names the file."""
    assert name in str(error)
    assert "\n" not in str(error)
    return False


def by_source(path, name, transform):
    """Return whether a folder or zip, of the one file ``name``, can be read as data."""
    try:
        source = FolderSource(path, "all", transform)
        check(source[0]["image"], source)
    except errors.DataError as error:
        return one_line(error, name)
    return True


def by_tiles(path, name):
    try:
        source = TiledSource(FolderSource(path, "all", Transform()), 4)
        check(source[len(source) - 1]["image"], source)
    except errors.DataError as error:
        return one_line(error, name)
    return True


def by_inference(path, name, channels):
    """Return whether the file at a path can be translated; a refusal is one line."""
    try:
        (file,) = image_files.find(path, "--input")
    except errors.DataError as error:
        return one_line(error, str(path))
    assert file.name == name
    assert image_files.has_alpha(file) in (True, False)
    try:
        picture = image_files.read(file, channels)
    except errors.DataError as error:
        return one_line(error, "")
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape[2] == channels
    assert picture.alpha is None or picture.alpha.shape == picture.pixels.shape[:2]
    return True


@pytest.mark.parametrize("name", WHOLE)
def test_every_kind_of_file_comes_out_in_its_shape(name, tmp_path):
    content, shape = WHOLE[name]
    (tmp_path / name).write_bytes(content)
    source = FolderSource(tmp_path, "all", Transform())
    assert source.shape == shape
    check(source[0]["image"], source)
    assert by_source(tmp_path, name, Transform(resolution=8))
    assert by_inference(tmp_path, name, 1)
    assert by_inference(tmp_path, name, 3)


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_image_is_an_error_that_names_the_file(name, tmp_path):
    (tmp_path / name).write_bytes(BROKEN[name])
    assert not by_source(tmp_path, name, Transform())
    assert not by_tiles(tmp_path, name)
    assert not by_inference(tmp_path, name, 3)


@st.composite
def damaged(draw, contents):
    """Draw the name and bytes of one of some files, cut off, overwritten or drawn out somewhere."""
    name = draw(st.sampled_from(sorted(contents)))
    raw = bytearray(contents[name])
    for _ in range(draw(st.integers(1, 3))):
        # Headers are short and decide more than what follows.
        where = draw(st.one_of(st.integers(0, min(64, len(raw))), st.integers(0, len(raw))))
        kind = draw(st.sampled_from(["cut", "overwrite", "insert", "remove"]))
        some = draw(st.binary(min_size=1, max_size=8))
        if kind == "cut":
            del raw[where:]
        elif kind == "overwrite":
            raw[where : where + len(some)] = some
        elif kind == "insert":
            raw[where:where] = some
        else:
            del raw[where : where + len(some)]
    return name, bytes(raw)


FILES = damaged({name: content for name, (content, _) in WHOLE.items()})


@pytest.mark.slow
@settings(max_examples=EXAMPLES)
@given(drawn=FILES, transform=st.sampled_from(TRANSFORMS))
def test_damaged_files(tmp_path, drawn, transform):
    name, content = drawn
    for path in tmp_path.iterdir():
        path.unlink()
    (tmp_path / name).write_bytes(content)
    by_source(tmp_path, name, transform)
    by_tiles(tmp_path, name)
    by_inference(tmp_path, name, transform.channels or 3)


def zipped(kind):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        archive.writestr("a.png", WHOLE["grey.png"][0])
        archive.writestr("b/c.png", WHOLE["colour.png"][0])
    return buffer.getvalue()


ZIPS = damaged({"stored.zip": zipped(zipfile.ZIP_STORED), "deflated.zip": zipped(8)})


@pytest.mark.slow
@settings(max_examples=EXAMPLES)
@given(drawn=ZIPS)
def test_damaged_zips(tmp_path, drawn):
    name, content = drawn
    path = tmp_path / name
    path.write_bytes(content)
    try:
        source = FolderSource(path, "all", Transform(resolution=8))
        source.fingerprint()
        for image in source.read(range(len(source)))["image"]:
            check(image, source)
        files = image_files.find(path, "--input")
        for place in image_files.outputs(files, tmp_path / "out", "png"):
            assert tmp_path / "out" in place.parents
            assert ".." not in place.parts
        for file in files:
            image_files.has_alpha(file)
            image_files.read(file, 3)
    except errors.DataError as error:
        one_line(error, "")
    except errors.ConfigError as error:  # Two have one place.
        one_line(error, "--input has")


def arrays_of(save):
    buffer = io.BytesIO()
    save(buffer, image=np.zeros((3, 4, 4), np.uint8), label=np.arange(3))
    return buffer.getvalue()


ARRAYS = damaged(
    {"stored.npz": arrays_of(np.savez), "deflated.npz": arrays_of(np.savez_compressed)}
)


@pytest.mark.slow
@settings(max_examples=EXAMPLES)
@given(drawn=ARRAYS)
def test_damaged_arrays(tmp_path, drawn):
    name, content = drawn
    path = tmp_path / name
    path.write_bytes(content)
    try:
        found = arrays.read_npz(path)
        assert all(isinstance(array, np.ndarray) for array in found.values())
    except arrays.UnreadableError as error:
        one_line(error, "")
    try:
        source = NpzSource(path, "all", Transform(resolution=8, channels=1))
        check(source[0]["image"], source)
    except errors.DataError as error:
        one_line(error, name)
    except errors.ConfigError as error:
        one_line(error, "images of ")  # Unsupported number of channels.
