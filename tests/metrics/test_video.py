"""Measures of videos: frames as channels, centres of brightness and the error of the motion."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.data.sources.bouncing import RADII, bouncing, render
from gan_jax.errors import ConfigError, MetricError
from gan_jax.evaluation import choosing, videos
from gan_jax.evaluation.settings import make_settings
from gan_jax.metrics import extractor, video
from tests.configs import variants


def test_frames_become_channels_of_one_image():
    x = np.arange(2 * 3 * 4 * 5 * 2).reshape(2, 3, 4, 5, 2)
    image = video.as_image(x)
    assert image.shape == (2, 4, 5, 6)
    for frame in range(3):
        np.testing.assert_array_equal(image[..., 2 * frame : 2 * frame + 2], x[:, frame])


def test_an_extractor_of_images_sees_videos():
    means = extractor.Extractor(
        name="mean",
        variables={},
        layers={"mean": 6},
        default="mean",
        logits=None,
        protocol={"weights": "none"},
        apply=lambda variables, images, layers: {"mean": images.mean(axis=(1, 2))},
    )
    adapted = video.by_frames(means)
    x = jnp.asarray(np.random.RandomState(0).rand(2, 3, 4, 5, 2), jnp.float32)
    found = adapted.apply({}, x, ("mean",))["mean"]
    chex.assert_trees_all_close(found, x.mean(axis=(2, 3)).reshape(2, 6), rtol=1e-6)
    assert adapted.protocol == {"weights": "none", "input": "frames as channels"}


def test_the_centre_of_brightness_is_that_of_the_pixels():
    x = np.zeros((1, 2, 5, 7, 1), np.uint8)
    x[0, 0, 1, 2] = 10
    x[0, 0, 1, 6] = 30
    np.testing.assert_allclose(video.centroids(x), [[[1, 5], [2, 3]]])  # The second one is black.


def test_real_videos_move_on_a_path_and_others_do_not():
    real = bouncing("test", 60).read(range(60))["video"]
    assert videos.motion_error(real) < 0.25
    assert videos.motion_error(np.flip(real, (2, 3))) == pytest.approx(
        videos.motion_error(real), abs=0.02
    )
    order = np.random.RandomState(0).rand(60, 8).argsort(axis=1)
    shuffled = np.take_along_axis(real, order[:, :, None, None, None], axis=1)
    assert videos.motion_error(shuffled) > 1.5
    # Two pixels of one frame are an error of 2 / sqrt(8) for a path of the other frames.
    still = np.repeat(real[:, :1], 8, axis=1)
    still[:, 4] = np.roll(still[:, 4], 2, axis=1)
    assert 0.3 < videos.motion_error(still) < 2 / 8**0.5 + 0.3
    # Of one axis alone as of the other.
    sideways = np.repeat(real[:, :1], 8, axis=1)
    sideways[:, 4] = np.roll(sideways[:, 4], 2, axis=2)
    assert videos.motion_error(sideways) > 0.3
    with pytest.raises(MetricError, match="no videos"):
        videos.motion_error(real[:0])


def test_frames_are_moved_by_whole_pixels_until_their_centres_are_in_the_middle():
    x = np.zeros((1, 3, 6, 8, 1), np.uint8)
    x[0, 0, 0, 7] = 9  # A corner.
    x[0, 1, 5, 1:4, 0] = [2, 3, 2]
    moved = video.centred(x)
    assert moved.shape == x.shape
    expected = np.zeros_like(x)
    expected[0, 0, 3, 4] = 9
    expected[0, 1, 3, 3:6] = np.reshape([2, 3, 2], (3, 1))
    np.testing.assert_array_equal(moved, expected)


def test_shapes_are_constant_where_all_frames_of_a_video_show_the_same():
    real = bouncing("test", 60).read(range(60))["video"]
    found = videos.shape_metrics(real)
    assert found["shape_constancy"] == 1.0
    assert found["shape_error"] < 0.04
    # Neighbours are of different classes: a third of the videos changes its shape.
    mixed = real.copy()
    mixed[:20, 3] = np.roll(real, 1, axis=0)[:20, 3]
    assert videos.shape_metrics(mixed)["shape_constancy"] == pytest.approx(40 / 60)


def test_the_error_of_shapes_is_the_difference_of_their_pixels():
    three = render(np.arange(3), np.full(3, RADII[0]), np.full(3, 5.0), np.full(3, 9.25))
    exact = np.repeat(three[:, None, :, :, None], 2, axis=1)
    assert videos.shape_metrics(exact)["shape_error"] == 0.0
    changed = exact.copy()
    changed[:, 0, 5, 9] -= 51  # A fifth, of one of 512 pixels of a video.
    assert videos.shape_metrics(changed)["shape_error"] == pytest.approx(0.2 / 512**0.5, rel=1e-6)


def test_the_metrics_of_videos_are_chosen_and_refused_by_name():
    c = variants.load("videogan")
    source = bouncing("train", 3000)
    chosen = choosing.choose_metrics(make_settings(c), source)
    assert [metric.name for metric in chosen] == [
        "motion_error",
        "shape_constancy",
        "shape_error",
        "classifier_fid",
        "classifier_precision",
        "classifier_recall",
    ]
    c.eval.metrics = ("fid",)
    with pytest.raises(ConfigError, match=r"'fid'.*videos"):
        choosing.choose_metrics(make_settings(c), source)
