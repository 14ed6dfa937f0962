"""Masks of holes of the kinds that people make."""

import io

import numpy as np
import pytest
from PIL import Image

from gan_jax import errors
from gan_jax.inference import hole_masks, image_files

HOLE = np.zeros((12, 16), bool)
HOLE[3:8, 4:10] = True
PHOTO = np.random.default_rng(0).integers(90, 110, (12, 16, 3)).astype(np.uint8)


def grey(hole, ground, dtype=np.uint8):
    return Image.fromarray(np.where(HOLE, hole, ground).astype(dtype))


def rgb(hole, ground):
    where = np.broadcast_to(np.asarray(ground, np.uint8), (12, 16, 3)).copy()
    where[HOLE] = hole
    return Image.fromarray(where)


def with_alpha(image, alpha, opaque=255):
    image = image.convert("RGBA")
    image.putalpha(Image.fromarray(np.where(alpha, opaque, 0).astype(np.uint8)))
    return image


def palette(hole, ground):
    image = Image.fromarray(HOLE.astype(np.uint8), "P")
    image.putpalette([*ground, *hole])
    return image


def jpeg(image):
    buffer = io.BytesIO()
    image.resize((96, 72), Image.Resampling.NEAREST).save(buffer, "JPEG", quality=70)
    return Image.open(io.BytesIO(buffer.getvalue())).resize((16, 12), Image.Resampling.BOX)


MASKS = {
    "white on black": grey(255, 0),
    "bilevel": grey(255, 0).convert("1"),
    "1 and 0": grey(1, 0),
    "grey and 0": grey(100, 0),
    "1 and 0 in colour": grey(1, 0).convert("RGB"),
    "16 bits": grey(65535, 0, np.uint16),
    "1 and 0 of 16 bits": grey(1, 0, np.uint16),
    "255 and 0 of 32 bits": grey(255, 0, np.int32),
    "floats up to 1": grey(1.0, 0.0, np.float32),
    "palette": palette((255, 255, 255), (0, 0, 0)),
    "VOC's palette": palette((128, 0, 0), (0, 0, 0)),
    "palette of 1 and 0": palette((1, 1, 1), (0, 0, 0)),
    "red on black": rgb((255, 0, 0), (0, 0, 0)),
    "red on white": rgb((255, 0, 0), (255, 255, 255)),
    "green on a grey photograph": rgb((0, 255, 0), PHOTO[:, :, :1].repeat(3, 2)),
    "CMYK": grey(255, 0).convert("CMYK"),
    "erased from black": with_alpha(rgb((0, 0, 0), (0, 0, 0)), ~HOLE),
    "erased from a photograph": with_alpha(Image.fromarray(PHOTO), ~HOLE),
    "white strokes on nothing": with_alpha(rgb((255, 255, 255), (0, 0, 0)), HOLE),
    "white strokes on white nothing": with_alpha(rgb((255, 255, 255), (255, 255, 255)), HOLE),
    "red strokes on nothing": with_alpha(rgb((255, 0, 0), (0, 0, 0)), HOLE, 128),
    "erased, by alpha of 1 and 0": with_alpha(rgb((0, 0, 0), (0, 0, 0)), ~HOLE, 1),
    "white strokes, by alpha of 1 and 0": with_alpha(rgb((255, 255, 255), (0, 0, 0)), HOLE, 1),
    "opaque, with alpha": with_alpha(grey(255, 0), np.ones_like(HOLE)),
    "jpeg": jpeg(grey(255, 0)),
    "jpeg, red on white": jpeg(rgb((255, 0, 0), (255, 255, 255))),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_of_any_kind_has_its_hole(name):
    np.testing.assert_array_equal(hole_masks.holes(MASKS[name]), HOLE)


def test_values_between_are_holes_from_the_middle_on():
    values = np.array([[0, 1, 127, 128, 255]], np.uint8)
    found = hole_masks.holes(Image.fromarray(values))
    assert found.tolist() == [[False, False, False, True, True]]
    wide = hole_masks.holes(Image.fromarray(values.astype(np.uint16) * 257))
    np.testing.assert_array_equal(wide, found)


def stored(tmp_path, image):
    image.save(tmp_path / "mask.png")
    (file,) = image_files.find(tmp_path / "mask.png", "--mask")
    return file


def test_an_inverted_mask_is_turned_if_asked_for(tmp_path):
    file = stored(tmp_path, grey(0, 255))
    np.testing.assert_array_equal(hole_masks.read(file), ~HOLE)
    np.testing.assert_array_equal(hole_masks.read(file, inverted=True), HOLE)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("L", (4, 4)), r"^has no hole$"),
        (Image.new("L", (4, 4), 1), r"^has no hole$"),
        (Image.new("L", (4, 4), 255), r"^is a hole everywhere$"),
        (Image.new("RGBA", (4, 4)), r"^is a hole everywhere$"),
    ],
)
def test_a_mask_without_hole_or_without_ground_is_refused(tmp_path, image, message):
    with pytest.raises(errors.DataError, match=message):
        hole_masks.read(stored(tmp_path, image))
