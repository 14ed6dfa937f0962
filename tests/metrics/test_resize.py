"""TensorFlow 1's bilinear resize: closed forms, parity with torch-fidelity, mistakes."""

import jax
import numpy as np
import pytest

from gan_jax.metrics.resize import resize_tf1
from tests.metrics import fidelity

resize = jax.jit(resize_tf1, static_argnums=(1, 2))


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_enlarging_puts_old_pixels_at_even_places_and_repeats_the_last():
    image = np.array([[0, 10], [20, 50]], np.uint8).reshape(1, 2, 2, 1)
    expected = [[0, 5, 10, 10], [10, 20, 30, 30], [20, 35, 50, 50], [20, 35, 50, 50]]
    made = resize(image, 4, 4)
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made[0, :, :, 0], expected)


def test_reducing_takes_samples_and_does_not_average():
    image = random_images(2, 6, 9, 3)
    np.testing.assert_array_equal(resize(image, 2, 3), image[:, ::3, ::3].astype(np.float32))


def test_reducing_by_a_fraction():
    image = np.array([0, 10, 30, 60, 100], np.float32).reshape(1, 1, 5, 1)
    # Columns 0, 5/4, 10/4, 15/4.
    expected = [0, 15, 45, 90]
    np.testing.assert_array_equal(resize(image, 1, 4)[0, 0, :, 0], expected)


def test_the_same_size_changes_nothing():
    image = random_images(2, 7, 5, 3)
    np.testing.assert_array_equal(resize(image, 7, 5), image.astype(np.float32))


@pytest.mark.parametrize("size", [(1, 1), (300, 17)])
def test_constant_images_stay_constant(size):
    image = np.full((1, *size, 2), 77, np.uint8)
    np.testing.assert_array_equal(resize(image, 299, 299), np.full((1, 299, 299, 2), 77.0))


@pytest.mark.parametrize(
    ("size", "to"),
    [
        ((32, 32), (299, 299)),
        ((64, 48), (299, 299)),
        ((321, 481), (299, 299)),
        ((40, 30), (7, 91)),
        ((1, 5), (3, 2)),
    ],
)
def test_agrees_with_torch_fidelity(size, to):
    module = fidelity.reference_module("interpolate_compat_tensorflow")
    import torch

    images = random_images(2, *size, 3)
    theirs = module.interpolate_bilinear_2d_like_tensorflow1x(
        torch.tensor(images.transpose(0, 3, 1, 2)).float(), size=to, align_corners=False
    )
    # Below 256 the last place is worth 1.5e-5; a compiler may fuse the products and sums, of which
    # there are three.
    np.testing.assert_allclose(
        resize(images, *to), theirs.numpy().transpose(0, 2, 3, 1), rtol=0, atol=6e-5
    )


def test_floats_of_any_range():
    images = random_images(2, 9, 11, 1)
    scaled = images.astype(np.float32) / 128 - 1
    np.testing.assert_allclose(resize(scaled, 20, 6), resize(images, 20, 6) / 128 - 1, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 4, 3), (2, 0, 4, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"accepted: \[n, height, width, c\]"):
        resize(np.zeros(shape, np.float32), 5, 5)


def test_no_pixels_are_refused():
    with pytest.raises(ValueError, match="size 0x5"):
        resize(np.zeros((1, 4, 4, 3), np.float32), 0, 5)
