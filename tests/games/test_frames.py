"""Videos as images whose channels are frames."""

import jax.numpy as jnp
import numpy as np

from gan_jax.games import frames


def test_a_channels_frames_stand_in_their_order_and_further_channels_come_last():
    video = jnp.arange(2 * 3 * 4 * 5 * 2).reshape(2, 3, 4, 5, 2)
    image = frames.as_image(video)
    assert image.shape == (2, *frames.image_shape(video.shape[1:])) == (2, 4, 5, 6)
    expected = [video[:, t, ..., c] for c in range(2) for t in range(3)]
    np.testing.assert_array_equal(image, np.stack(expected, axis=-1))
    np.testing.assert_array_equal(frames.as_video(image, video), video)
    # Of fewer channels.
    np.testing.assert_array_equal(frames.as_video(image[..., :3], video), video[..., :1])


def test_images_and_sounds_stay_as_they_are():
    for shape in ((8, 8, 3), (64, 1)):
        x = jnp.ones((2, *shape))
        assert frames.image_shape(shape) == shape
        assert frames.as_image(x) is x
        assert frames.as_video(x, x) is x
