"""Values of more than 8 bits: the range of a set, and both bytes of 16-bit colours."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from gan_jax.data.sources import FolderSource, Subset, Transform, levels
from gan_jax.data.sources.images import deep_pixels
from gan_jax.errors import ConfigError

RANDOM = np.random.default_rng(0)


def png(pixels):
    """Return a PNG of 16 bits, uint16 [h, w, c]; Pillow writes those of one channel only."""
    height, width, channels = pixels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(name, data):
        checked = name + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def tiff(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "TIFF")
    return buffer.getvalue()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_no_bit_of_sixteen_is_lost(channels):
    pixels = RANDOM.integers(0, 2**16, (3, 5, channels), np.uint16)
    found = deep_pixels(png(pixels))
    np.testing.assert_array_equal(found.reshape(pixels.shape), pixels)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([7, 4095], 0, 4095),
        ([0, 2048], 0, 4095),
        ([0, 1], 0, 1),
        ([0, 0], 0, 1),
        ([5, 65535], 0, 65535),
        ([0, 70_000], 0, 2**17 - 1),
        ([-1024, 3071], -1024, 3071),
        ([0.0, 0.3], 0, 1),
        ([-0.5, 0.3], -1, 1),
        ([0.0, 200.0], 0, 255),
        ([-4.0, 12.0, np.nan], -4, 12),
        ([300.0, 300.0], 300, 301),
    ],
)
def test_the_range_of_a_set_is_that_of_its_values(values, low, high):
    one, other = np.array(values[:1]), np.array(values[1:])
    assert levels.found([one, other]) == levels.Levels(low, high)


def test_bytes_are_rounded_and_clipped():
    made = levels.Levels(0, 4095).to_bytes(np.array([-9, 0, 8, 9, 2048, 4095, 9999]))
    assert made.tolist() == [0, 0, 0, 1, 128, 255, 255]
    with pytest.raises(ValueError, match="not finite"):
        levels.Levels(0, 1).to_bytes(np.array([0.5, np.inf]))
    assert levels.found([np.array([np.nan])]) is None


def folder(tmp_path, *contents, suffix="png", **fields):
    for k, content in enumerate(contents):
        (tmp_path / f"{k}.{suffix}").write_bytes(content)
    return FolderSource(tmp_path, "train", Transform(**fields))


def values(source):
    return [source[k]["image"][0, 0].tolist() for k in range(len(source))]


def test_all_files_of_a_set_have_one_range(tmp_path):
    dark, bright = (png(np.full((4, 4, 1), x, np.uint16)) for x in (1024, 4095))
    source = folder(tmp_path, dark, bright)
    assert values(source) == [[64], [255]]
    assert source.notes == ("of 4x4", "values 0 to 4095 become 0 to 255")
    given = folder(tmp_path, dark, bright, value_range=(1024, 2048))
    assert values(given) == [[0], [255]]


def test_splits_have_the_range_of_all_of_them(tmp_path):
    for split, value in (("train", 4095), ("test", 1024)):
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.png").write_bytes(png(np.full((4, 4, 1), value, np.uint16)))
    sources = [FolderSource(tmp_path, split, Transform()) for split in ("train", "test")]
    assert [values(source) for source in sources] == [[[255]], [[64]]]
    assert Subset(sources[1], [0], "part").levels == levels.Levels(0, 4095)


def test_colours_of_twelve_bits_are_not_black(tmp_path):
    pixels = np.full((4, 4, 4), (4095, 2048, 0, 65535), np.uint16)
    source = folder(tmp_path, png(pixels), png(pixels[..., :3]))
    assert values(source) == [[255, 128, 0]] * 2
    alpha = folder(tmp_path, png(pixels), png(pixels[..., :3]), channels=4)
    assert values(alpha) == [[255, 128, 0, 255]] * 2


def test_floats_and_signed_integers(tmp_path):
    floats = [tiff(np.full((4, 4), x, np.float32)) for x in (0.25, 1.0)]
    assert values(folder(tmp_path, *floats, suffix="tif")) == [[64], [255]]
    signed = [tiff(np.full((4, 4), x, np.int32)) for x in (-1000, 0)]
    assert values(folder(tmp_path, *signed, suffix="tif")) == [[0], [255]]


def test_a_given_range_is_that_of_8_bit_images_too(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), (0, 1, 2), np.uint8)).save(buffer, "PNG")
    assert values(folder(tmp_path, buffer.getvalue(), value_range=(0, 2))) == [[0, 128, 255]]
    with pytest.raises(ConfigError, match=r"\(0, 256\): the images of .* have 8 bits; accepted"):
        folder(tmp_path, buffer.getvalue(), value_range=(0, 256))
    # Beside images of more bits, those of 8 bits stay as they are.
    wide = png(np.full((4, 4, 1), 2048, np.uint16))
    mixed = folder(tmp_path, buffer.getvalue(), wide, value_range=(0, 4095))
    assert values(mixed) == [[0, 1, 2], [128] * 3]
    (tmp_path / "1.png").unlink()
    dark = folder(tmp_path, buffer.getvalue()).notes[-1]
    assert dark == "no value of the first above 2 of 255 (data.value_range=(0, 2) spreads them)"
