"""JPEG against files that Pillow writes and reads."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from gan_jax.data import degrade
from gan_jax.data.degrade import jpeg as module
from gan_jax.data.device import to_float, to_uint8

jpeg = jax.jit(module.jpeg)


def file_of(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=2)
    return file


def through_file(image, quality):
    return np.asarray(Image.open(file_of(image, quality)))


def decibels(one, other):
    return 10 * np.log10(255**2 / np.mean(np.square(np.float64(one) - np.float64(other))))


def through_ours(image, quality):
    values = jnp.asarray(np.atleast_3d(image), jnp.float32)
    found = np.asarray(jpeg(values, jnp.int32(quality))).reshape(image.shape)
    np.testing.assert_array_equal(found, np.clip(np.round(found), 0, 255))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("quality", [1, 10, 50, 75, 100])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(128, 192), (101, 75)])
def test_what_is_lost_is_what_pillow_loses(quality, mode, size):
    """Differences are steps of quantisation that Pillow's integer transform decides otherwise."""
    photo = load_sample_image("china.jpg")[100 : 100 + size[0], 200 : 200 + size[1]]
    image = np.asarray(Image.fromarray(photo).convert(mode))
    expected, found = through_file(image, quality), through_ours(image, quality)
    assert np.mean(np.abs(found - expected)) < 0.6
    assert decibels(found, expected) > 43.0
    # Of the best files hardly anything is lost but by rounding.
    if quality <= 75:
        assert decibels(found, expected) > decibels(image, expected) + 12.0


def test_sizes_smaller_than_a_block():
    photo = load_sample_image("china.jpg")
    for height, width in ((7, 9), (16, 5), (17, 33)):
        image = np.ascontiguousarray(photo[120 : 120 + height, 300 : 300 + width])
        found, expected = through_ours(image, 60), through_file(image, 60)
        assert decibels(found, expected) > decibels(image, expected) + 10.0


@pytest.mark.parametrize("quality", [1, 2, 20, 49, 50, 51, 99, 100])
def test_tables_are_those_in_pillows_files(quality):
    image = np.zeros((8, 8, 3), np.uint8)
    written = Image.open(file_of(image, quality)).quantization
    for index, table in enumerate((module._LUMINANCE, module._CHROMINANCE)):
        ours = np.asarray(module.scaled_table(table, jnp.int32(quality)))
        np.testing.assert_array_equal(ours.ravel(), written[index])


def test_flat_colours_survive_the_best_quality():
    colours = np.random.default_rng(0).integers(0, 256, (20, 3))
    for colour in colours:
        image = np.broadcast_to(colour.astype(np.uint8), (16, 16, 3))
        found = through_ours(image, 100)
        np.testing.assert_allclose(found, image, atol=2)
        np.testing.assert_array_equal(found, through_file(np.ascontiguousarray(image), 100))


def test_every_quality_of_the_range_is_drawn():
    photo = load_sample_image("china.jpg")[100:116, 200:216]
    clean = to_float(jnp.asarray(photo))
    made = degrade.make("jpeg", quality=(20, 23))
    keys = jax.random.split(jax.random.key(0), 60)
    found = np.asarray(to_uint8(jax.jit(made)(keys, jnp.repeat(clean[None], 60, axis=0)).input))
    of_quality = {quality: through_ours(photo, quality) for quality in range(19, 25)}
    drawn = [
        min(of_quality, key=lambda q: np.abs(of_quality[q] - image).mean())
        for image in found.astype(np.float32)
    ]
    assert set(drawn) == {20, 21, 22, 23}
