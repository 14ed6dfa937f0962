import io

import numpy as np
import pytest
from PIL import Image

from gan_jax.data.sources.images import Transform, decode
from gan_jax.errors import ConfigError


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(image, kind="PNG", **options):
    return np.asarray(decode(encoded(image, kind, **options)))


COLOURS = np.array([[[200, 30, 90], [0, 255, 7]]], np.uint8)


def test_sixteen_bit_grey_is_scaled_not_cut():
    wide = np.array([[0, 128, 257, 32896, 65535]], np.uint16)
    assert decoded(Image.fromarray(wide)).tolist() == [[0, 0, 1, 128, 255]]
    assert decoded(Image.fromarray(wide), "TIFF").tolist() == [[0, 0, 1, 128, 255]]


def test_palette_gives_its_colours():
    image = Image.fromarray(COLOURS).quantize(2)
    np.testing.assert_array_equal(decoded(image), COLOURS)


def test_transparency_is_composited_on_white():
    alpha = np.array([[255, 0]], np.uint8)
    image = Image.fromarray(np.dstack([COLOURS, alpha]))
    assert decoded(image).tolist() == [[[200, 30, 90], [255, 255, 255]]]
    half = Image.fromarray(np.array([[[0, 128]]], np.uint8))  # grey with alpha: black, half seen
    assert half.mode == "LA"
    assert decoded(half).shape == (1, 1)
    assert abs(int(decoded(half)[0, 0]) - 127) <= 1


def test_transparent_colour_of_a_palette_or_grey_becomes_white():
    palette = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    assert decoded(palette, transparency=1).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    grey = Image.fromarray(np.array([[7, 9]], np.uint8))
    assert decoded(grey, transparency=9).tolist() == [[7, 255]]


def test_bilevel_and_cmyk():
    assert decoded(Image.fromarray(np.array([[True, False]]))).tolist() == [[255, 0]]
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # no cyan, all magenta and yellow: red
    red = decoded(cmyk, "JPEG", quality=95)[4, 4].astype(int)
    assert np.abs(red - [254, 0, 0]).max() <= 3


def test_camera_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees clockwise to view"
    image = Image.fromarray(np.array([[1, 2, 3]], np.uint8))
    assert decoded(image, exif=exif).tolist() == [[1], [2], [3]]


def test_first_frame_of_an_animation():
    frames = [Image.fromarray(np.full((4, 4), v, np.uint8)) for v in (10, 200)]
    raw = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.unique(np.asarray(decode(raw))).tolist() == [10]


def test_float_pixels_are_refused():
    with pytest.raises(ValueError, match="no known range"):
        decode(encoded(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"))


def test_centre_crop_of_a_wide_and_a_tall_image():
    wide = np.zeros((4, 10, 3), np.uint8)
    wide[:, 3:7] = np.arange(48).reshape(4, 4, 3)
    np.testing.assert_array_equal(Transform(4).array(wide), wide[:, 3:7])
    tall = np.swapaxes(wide, 0, 1)
    np.testing.assert_array_equal(Transform(4).array(tall), tall[3:7])


def test_resizing_keeps_flat_images_and_means():
    flat = np.full((30, 17, 3), (9, 99, 199), np.uint8)
    for size in (1, 8, 64):
        assert (Transform(size).array(flat) == (9, 99, 199)).all()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 1), np.uint8)
    small = Transform(8).array(noise)
    assert abs(small.mean() - noise.mean()) < 3
    # An antialiased mean of 64 values of standard deviation 74: about 9; a picked value: 74.
    assert small.std() < 20


def test_one_pixel_image_fills_the_square():
    assert (Transform(16).array(np.full((1, 1, 1), 42, np.uint8)) == 42).all()


def test_pad_puts_the_image_in_the_middle_of_black():
    image = np.full((28, 28, 1), 255, np.uint8)
    padded = Transform(32, resize="pad").array(image)
    np.testing.assert_array_equal(padded, np.pad(image, ((2, 2), (2, 2), (0, 0))))
    with pytest.raises(ConfigError, match="28 or more"):
        Transform(16, resize="pad").array(image)


class TestSizesThatAreNotSquare:
    """A black image of 8x16 with a white centre of 4x4, brought to 8x4 and other sizes."""

    image = np.zeros((8, 16, 1), np.uint8)
    image[2:6, 6:10] = 255

    def brought_to(self, height, width, resize):
        result = Transform((height, width), resize=resize).array(self.image)
        assert result.shape == (height, width, 1)
        return result[:, :, 0]

    def test_resize_keeps_the_aspect_of_the_largest_centre(self):
        centre = self.image[:, 6:10, 0]
        np.testing.assert_array_equal(self.brought_to(8, 4, "resize"), centre)
        np.testing.assert_array_equal(self.brought_to(16, 8, "resize")[[6, 9], 1:7].min(), 255)

    def test_crop_cuts_the_centre_unscaled(self):
        np.testing.assert_array_equal(
            self.brought_to(6, 8, "crop"), np.pad(np.full((4, 4), 255), ((1, 1), (2, 2)))
        )
        with pytest.raises(ConfigError, match=r"9x4 out of an image of 8x16; accepted: 8 or less"):
            self.brought_to(9, 4, "crop")

    def test_letterbox_shows_the_whole_image_between_bars(self):
        result = self.brought_to(8, 8, "letterbox")
        assert not result[:2].any()
        assert not result[6:].any()
        assert (result[3:5, 3:5] > 200).all()  # 2x2 of 4x8.
        total = self.image.sum(dtype=float) / 4
        assert result.sum() == pytest.approx(total, rel=0.05)

    def test_squeeze_scales_each_side_by_its_own_factor(self):
        result = self.brought_to(16, 8, "squeeze")
        assert (result[5:11, 3:5] > 200).all()
        assert result[:3].max() < 20  # Lanczos rings.

        assert result.sum() == pytest.approx(self.image.sum(dtype=float), rel=0.05)

    def test_pad_puts_the_image_in_the_middle(self):
        expected = np.pad(self.image[:, :, 0], ((1, 1), (2, 2)))
        np.testing.assert_array_equal(self.brought_to(10, 20, "pad"), expected)

    def test_the_configuration_read_from_json_gives_lists(self):
        assert Transform([8, 4]).shape(1, 1, 3) == (8, 4, 3)


@pytest.mark.parametrize("resolution", [0, (8, 0), (8, 8, 3), (8,)])
def test_sizes_that_are_none_are_refused(resolution):
    with pytest.raises(ConfigError, match=r"data.resolution = .*accepted: 1 or more"):
        Transform(resolution)


def test_channels_are_converted_as_asked():
    pixels = COLOURS.repeat(2, axis=0)
    grey = Transform(2, channels=1).array(pixels)
    # ITU-R BT.601 luma, as the Pillow handbook states for mode "L".
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(grey[:, :, 0], luma, atol=1)
    rgb = Transform(2, channels=3).array(grey)
    np.testing.assert_array_equal(rgb, grey.repeat(3, axis=2))
    np.testing.assert_array_equal(Transform().array(pixels), pixels)


def test_alpha_is_kept_where_four_channels_are_asked_for():
    alpha = np.array([[0, 128]], np.uint8)
    image = Image.fromarray(np.dstack([COLOURS, alpha]))
    kept = Transform(channels=4)(decode(encoded(image), alpha=True))
    np.testing.assert_array_equal(kept, np.dstack([COLOURS, alpha]))
    opaque = Transform(channels=4)(decode(encoded(Image.fromarray(COLOURS)), alpha=True))
    np.testing.assert_array_equal(opaque[..., 3], 255)
    # What is transparent has no influence on the colours of its neighbours.
    half = np.zeros((4, 4, 4), np.uint8)
    half[:, :2] = (200, 100, 50, 255)
    small = Transform(1, channels=4)(Image.fromarray(half))[0, 0]
    np.testing.assert_allclose(small, (200, 100, 50, 128), atol=2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resolution": 0}, "data.resolution = 0; accepted: 1 or more"),
        ({"channels": 0}, "data.channels = 0; accepted: 1 or more"),
        ({"value_range": (3, 2)}, r"data.value_range = \(3, 2\); accepted: \(\), or"),
        ({"resize": "stretch"}, "data.resize = 'stretch'; accepted: resize, letterbox"),
    ],
)
def test_impossible_fields(fields, message):
    with pytest.raises(ConfigError, match=message):
        Transform(**fields)
