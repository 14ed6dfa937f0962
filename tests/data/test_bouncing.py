"""Videos: the source of bouncing shapes, and the kind of its data."""

import io

import jax
import numpy as np
import pytest
from PIL import Image

from gan_jax.data import kinds
from gan_jax.data.sources import make_source
from gan_jax.data.sources.bouncing import SPEED, bouncing, folded
from gan_jax.errors import ConfigError
from gan_jax.metrics.video import centroids


def test_shapes_move_straight_on_and_bounce_off_the_borders():
    videos = bouncing("train", 300).read(range(300))["video"]
    assert videos.shape == (300, 8, 16, 16, 1)
    steps = np.diff(centroids(videos), axis=1)
    assert np.abs(steps).max() < SPEED + 0.1
    # An axis without a turn has one velocity.
    straight = (np.sign(steps) == np.sign(steps[:, :1])).all(axis=1)
    assert 0.2 < straight.mean() < 0.9
    spread = steps.std(axis=1)
    assert np.median(spread[straight]) < 0.1 < np.median(spread[~straight])
    # Nothing leaves the picture.
    brightness = videos.astype(float).sum(axis=(2, 3, 4))
    assert (brightness.std(axis=1) / brightness.mean(axis=1)).max() < 0.1


def test_a_folded_path_is_a_triangle_wave():
    room = np.float64(3.0)
    given = [-1.0, 0.0, 1.0, 3.0, 4.0, 6.0, 7.5]
    np.testing.assert_allclose(folded(np.asarray(given), room), [1, 0, 1, 3, 2, 0, 1.5])


def test_a_class_is_a_shape():
    source = bouncing("train", 9)
    batch = source.read(range(9))
    np.testing.assert_array_equal(batch["label"], np.arange(9) % 3)
    # Of their bounding squares a disc fills about 79 %, a square all and a cross 56 %.
    filled = []
    for frame in batch["video"][:, 0, ..., 0]:
        rows, columns = np.nonzero(frame > 127)
        filled.append(len(rows) / (np.ptp(rows) + 1) / (np.ptp(columns) + 1))
    disc, square, cross = np.reshape(filled, (3, 3)).T
    assert (square == 1).all()
    assert (disc > cross).all()
    assert (disc < 1).all()


def test_splits_differ_and_mistakes_are_named(data_config):
    train, test = (make_source(data_config(name="bouncing", split=s)) for s in ("train", "test"))
    assert train.fingerprint().startswith("bouncing:train:800:8x16x16x1:")
    assert (train.read([0])["video"] != test.read([0])["video"]).any()
    with pytest.raises(ConfigError, match=r"data\.split = 'val'"):
        make_source(data_config(name="bouncing", split="val"))
    with pytest.raises(ConfigError, match=r"data\.toy_size = 0; accepted: 1 or more"):
        make_source(data_config(name="bouncing", toy_size=0))


def test_stored_videos_come_back_from_networks_and_from_files():
    source = bouncing("train", 3)
    kind, videos = kinds.of(source.field), source.read(range(3))["video"]
    seen = kind.to_network(jax.numpy.asarray(videos))
    assert (float(seen.min()), float(seen.max())) == (-1.0, 1.0)
    np.testing.assert_array_equal(kind.to_stored(seen), videos)
    content = kind.file(videos[0])
    assert kind.is_complete(content)
    assert not kind.is_complete(content[:-1])
    with Image.open(io.BytesIO(content)) as file:
        assert file.n_frames == 8
        frames = []
        for i in range(8):
            file.seek(i)
            frames.append(np.asarray(file.convert("L")))
    np.testing.assert_array_equal(np.stack(frames), videos[0, ..., 0])


def test_a_picture_of_videos_shows_strips_from_left_to_right():
    videos = np.zeros((4, 8, 32, 32, 1), np.uint8)
    videos[1, 5] = 255
    picture = kinds.of(bouncing("train", 1).field).picture(videos)
    assert picture.shape == (4 * 34 + 2, 8 * 34 + 2, 1)
    rows, columns = np.nonzero(picture[..., 0] == 255)
    assert (rows.min(), columns.min()) == (34 + 2, 5 * 34 + 2)
    wide = kinds.of(bouncing("train", 1).field).picture(videos, columns=2)
    assert wide.shape == (2 * 34 + 2, 16 * 34 + 2, 1)
