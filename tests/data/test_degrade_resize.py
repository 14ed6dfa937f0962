"""Reduction against Pillow's, channel by channel in floats."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from gan_jax.data import degrade
from gan_jax.data.device import to_float


@pytest.fixture(scope="module")
def clean():
    photo = load_sample_image("flower.jpg")
    return to_float(jnp.asarray(np.stack([photo[:96, :120], photo[200:296, 300:420]])))


def keys_of(batch):
    return jax.random.split(jax.random.key(0), batch)


def pillow(images, factor):
    """Reduce float images with Pillow, which knows no float images of several channels."""
    _, height, width, channels = images.shape
    size = (width // factor, height // factor)
    return np.stack(
        [
            np.stack(
                [
                    np.asarray(Image.fromarray(image[..., c], "F").resize(size, Image.BICUBIC))
                    for c in range(channels)
                ],
                axis=-1,
            )
            for image in np.asarray(images)
        ]
    )


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_bicubic_as_in_pillow(clean, factor):
    made = degrade.make("downsample", factor=factor, round=False)
    assert made.scale == factor
    found = jax.jit(made)(keys_of(2), clean).input
    np.testing.assert_allclose(found, np.clip(pillow(clean, factor), -1.0, 1.0), atol=2e-6)


def test_values_are_those_of_a_file(clean):
    found = np.asarray(jax.jit(degrade.make("downsample"))(keys_of(2), clean).input)
    levels = (found + 1.0) * 127.5
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
    exact = np.asarray(jax.jit(degrade.make("downsample", round=False))(keys_of(2), clean).input)
    assert np.abs(found - exact).max() <= 0.5001 * 2 / 255
    np.testing.assert_array_equal(found, to_float(jnp.asarray(np.round(levels), jnp.uint8)))


def test_overshoot_is_clipped():
    edge = jnp.where(jnp.arange(32) < 17, -1.0, 1.0).astype(jnp.float32)
    clean = jnp.broadcast_to(edge[None, None, :, None], (1, 32, 32, 1))
    assert np.abs(pillow(clean, 2)).max() > 1.01
    for rounds in (False, True):
        made = degrade.make("downsample", factor=2, round=rounds)
        found = jax.jit(made)(keys_of(1), clean).input
        assert np.abs(found).max() == 1.0
