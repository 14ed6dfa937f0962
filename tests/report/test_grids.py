"""Grids, scatter plots and PNG files show exactly the pixels that they were given."""

import os

import numpy as np
import pytest
from PIL import Image

import gan_jax
from gan_jax.errors import WorkdirError
from gan_jax.report import provenance
from gan_jax.report.grids import grid, save_png, scatter

GREY = 128


def numbered(n, height=2, width=3, channels=1):
    """Image i is full of i + 1."""
    images = np.arange(1, n + 1, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(images, (n, height, width, channels))


def test_layout_is_row_by_row_with_lines_around_and_between():
    result = grid(numbered(5), columns=3, padding=1, scale=1)
    g = GREY
    expected = [
        [g, g, g, g, g, g, g, g, g, g, g, g, g],
        [g, 1, 1, 1, g, 2, 2, 2, g, 3, 3, 3, g],
        [g, 1, 1, 1, g, 2, 2, 2, g, 3, 3, 3, g],
        [g, g, g, g, g, g, g, g, g, g, g, g, g],
        [g, 4, 4, 4, g, 5, 5, 5, g, g, g, g, g],
        [g, 4, 4, 4, g, 5, 5, 5, g, g, g, g, g],
        [g, g, g, g, g, g, g, g, g, g, g, g, g],
    ]
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result[..., 0], expected)


def test_magnified_pixels_are_squares():
    image = np.random.default_rng(0).integers(256, size=(1, 2, 3, 3), dtype=np.uint8)
    result = grid(image, padding=2, scale=4)
    assert result.shape == (2 * 4 + 4, 3 * 4 + 4, 3)
    np.testing.assert_array_equal(
        result[2:-2, 2:-2], np.kron(image[0], np.ones((4, 4, 1), np.uint8))
    )


@pytest.mark.parametrize(("side", "shown"), [(8, 32), (16, 32), (28, 56), (32, 32), (64, 64)])
def test_tiles_are_magnified_until_a_person_sees_them(side, shown):
    assert grid(numbered(1, side, side), padding=0).shape == (shown, shown, 1)


@pytest.mark.parametrize(("n", "columns", "rows"), [(1, 1, 1), (4, 2, 2), (5, 3, 2), (64, 8, 8)])
def test_the_default_grid_is_as_square_as_can_be(n, columns, rows):
    assert grid(numbered(n, 32, 32), padding=0).shape == (rows * 32, columns * 32, 1)


def test_many_channels_are_grey_images_side_by_side():
    images = np.arange(2 * 2 * 3 * 5, dtype=np.uint8).reshape(2, 2, 3, 5)
    shown = grid(images, columns=1, padding=0, scale=1)
    rows = images.transpose(0, 1, 3, 2).reshape(4, 15, 1)
    np.testing.assert_array_equal(shown, rows)


def test_what_is_transparent_is_drawn_on_white():
    pixels = np.array([[[200, 0, 100, 255], [200, 0, 100, 51], [200, 0, 100, 0]]], np.uint8)
    shown = grid(pixels[None], padding=0, scale=1)
    assert shown.tolist() == [[[200, 0, 100], [244, 204, 224], [255, 255, 255]]]


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((2, 4, 4, 0), np.uint8),
        np.zeros((0, 4, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(images):
    with pytest.raises(ValueError, match="accepted: "):
        grid(images)


def dot_centre(image, colour):
    rows, columns = np.nonzero(np.all(image == colour, axis=-1))
    return rows.mean(), columns.mean()


RED, SILVER, WHITE = (214, 69, 65), (178, 178, 178), (255, 255, 255)


@pytest.mark.parametrize(
    ("point", "row", "column"),
    [((0, 0), 50, 50), ((0.5, 0), 50, 75), ((0, 0.5), 25, 50), ((-0.5, -0.8), 90, 25)],
)
def test_x_is_to_the_right_and_y_upwards(point, row, column):
    image = scatter(np.array([point]), limits=(-1, 1), size=101)
    assert dot_centre(image, RED) == (row, column)


def test_points_lie_over_real_ones_and_the_rest_is_white():
    image = scatter(np.array([[0.0, 0.0]]), np.array([[0.0, 0.0], [1.0, 1.0]]), (-2, 2), 101)
    assert dot_centre(image, RED) == (50, 50)
    assert dot_centre(image, SILVER) == (25, 75)
    assert {tuple(pixel) for pixel in image.reshape(-1, 3)} == {RED, SILVER, WHITE}


def test_points_outside_or_not_finite_are_left_out():
    points = np.array([[5.0, 0.0], [np.nan, 0.0], [np.inf, 0.0], [0.0, -1.01]], np.float32)
    assert (scatter(points, limits=(-1, 1), size=64) == 255).all()
    # Nothing to take limits from is no error either: training may have diverged.
    assert (scatter(np.full((3, 2), np.nan), size=64) == 255).all()


def test_default_limits_are_those_of_the_real_points():
    real = np.array([[0.0, 0.0], [10.0, 10.0]])
    image = scatter(np.array([[1e6, 1e6]]), real, size=221)
    assert not (image == RED).all(-1).any()
    # The range is 0 to 10 and half a unit on each side: 0 and 10 lie 1/22 from the edges.
    assert (image[210, 10] == SILVER).all()
    assert (image[10, 210] == SILVER).all()


def test_dots_at_the_edge_are_cut_not_wrapped():
    image = scatter(np.array([[1.0, 1.0]]), limits=(-1, 1), size=600)
    assert (image[0, -1] == RED).all()
    assert (image[:, :300] == 255).all()
    assert (image[300:] == 255).all()


def test_wrong_points_and_limits_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 3\); accepted: \[n, 2\]"):
        scatter(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="lower first"):
        scatter(np.zeros((4, 2)), limits=(1, -1))


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7, 1), (5, 7)])
def test_a_png_reads_back_as_it_was(tmp_path, shape):
    image = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    path = tmp_path / "samples" / "0001.png"
    save_png(path, image)
    with Image.open(path) as read:
        assert read.format == "PNG"
        np.testing.assert_array_equal(
            np.asarray(read), image.reshape(shape[:2] + shape[2:] * (shape[-1] == 3))
        )
    assert os.listdir(path.parent) == ["0001.png"]


def test_a_png_says_what_it_is_told(tmp_path):
    text = provenance.synthetic(tmp_path / "näher", 7, seed=3, label=None)
    save_png(tmp_path / "a.png", np.zeros((2, 2), np.uint8), text)
    with Image.open(tmp_path / "a.png") as image:
        assert image.text == {
            "Software": f"gan_jax {gan_jax.__version__}",
            "Description": "synthetic image",
            "run": "näher",
            "step": "7",
            "seed": "3",
        }


def test_a_png_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    save_png(path, np.zeros((2, 2, 3), np.uint8))
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(WorkdirError, match=r"Cannot write .*a\.png: No space left on device"):
        save_png(path, np.ones((2, 2, 3), np.uint8))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("image", [np.zeros((2, 2, 3)), np.zeros((2, 2, 4), np.uint8)])
def test_another_picture_is_refused(tmp_path, image):
    with pytest.raises(ValueError, match="accepted: uint8"):
        save_png(tmp_path / "a.png", image)
