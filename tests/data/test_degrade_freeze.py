"""Videos that stand still after their first frames."""

import jax
import numpy as np
import pytest

from gan_jax.data import degrade
from gan_jax.errors import ConfigError


def videos(frames=5):
    shape = (2, frames, 3, 4, 2)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def test_the_first_frames_are_known_and_the_last_of_them_is_repeated():
    clean = videos()
    made = degrade.make("freeze", context=2)
    found = made(jax.random.split(jax.random.key(0), 2), jax.numpy.asarray(clean))
    np.testing.assert_array_equal(found.input, clean[:, [0, 1, 1, 1, 1]])
    assert found.known.shape == (2, 5, 3, 4, 1)
    np.testing.assert_array_equal(found.known[1, :, 2, 3, 0], [1, 1, 0, 0, 0])
    assert (found.known == found.known[:1, :, :1, :1]).all()
    np.testing.assert_array_equal(made.measured(clean), clean[:, 2:])


@pytest.mark.parametrize("context", [0, -1, 2.0, True])
def test_a_number_of_frames_is_positive_and_whole(context):
    with pytest.raises(ConfigError, match=r"degrade\.freeze\.context = .*a whole number above 0"):
        degrade.make("freeze", context=context)


def test_a_frame_is_left_to_predict():
    made = degrade.make("freeze")
    assert made.context == 4
    made.check((5, 8, 8, 1))
    with pytest.raises(ConfigError, match=r"context = 4, but videos have 4 frames.*: 1 to 3"):
        made.check((4, 8, 8, 1))
    with pytest.raises(ValueError, match=r"\[batch, frames, height, width, channels\]"):
        made(jax.random.split(jax.random.key(0), 2), jax.numpy.asarray(videos()[:, 0]))
