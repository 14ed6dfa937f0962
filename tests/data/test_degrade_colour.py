"""Grey images against Pillow's."""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from gan_jax.data import degrade
from gan_jax.data.device import to_float, to_uint8


def test_luminance_is_pillows_to_the_byte():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 64, 64, 3), np.uint8)
    images[0, 0, :3] = [[0, 0, 0], [255, 255, 255], [255, 0, 0]]
    made = degrade.make("grey")
    keys = jax.random.split(jax.random.key(0), 4)
    found = jax.jit(made)(keys, to_float(jnp.asarray(images))).input
    expected = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])
    np.testing.assert_array_equal(to_uint8(found)[..., 0], expected)
    np.testing.assert_array_equal(found[..., 0], to_float(jnp.asarray(expected)))
    assert found[0, 0, :2, 0].tolist() == [-1.0, 1.0]
