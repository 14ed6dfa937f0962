"""The pictures that a run of a game of images draws."""

import dataclasses

import numpy as np

from gan_jax.data import kinds, sources
from gan_jax.data import spec as specs
from gan_jax.runs import build, pictures, replicas
from tests.games import stub
from tests.training import tiny
from tests.training.images import restorer, source_of, state_of, unpaired

IMAGES = kinds.of(specs.image((32, 32, 3)))


def columns_of(picture, size, columns, padding=2):
    """Return the first row of tiles of a grid."""
    pitch = size + padding
    return [
        picture[padding : padding + size, padding + i * pitch : padding + i * pitch + size]
        for i in range(columns)
    ]


def draw(game, config, source):
    """Return the picture of a game's first state."""
    config.num_devices = 1
    training = build.make_training(config, source.spec)
    training = dataclasses.replace(training, game=game)
    pipeline = replicas.make_pipeline(config, training, source)
    draw = pictures.make_picture(config, training, pipeline)
    return draw(state_of(game), config.train.seed)


def test_a_picture_shows_input_output_and_target():
    config = tiny.paired_config()
    config.sample.num = 1
    source = source_of(np.full((3, 32, 32, 1), 200, np.uint8))
    game = dataclasses.replace(
        restorer("downsample", channels=1, scale=2, factor=2),
        generator=stub.Affine(0.5, 0.0, factor=2, outputs=1),
    )
    picture = draw(game, config, source)
    assert picture.shape == (36, 3 * 34 + 2, 1)
    shown = columns_of(picture, 32, 3)
    # 200 is 0.569 in [-1, 1]; half of that is 164.
    assert [int(tile.min()) for tile in shown] == [200, 164, 200]
    assert [int(tile.max()) for tile in shown] == [200, 164, 200]


def test_a_picture_of_domains_shows_both_ways():
    config = tiny.cycle_config()
    config.sample.num = 1
    a, b = (source_of(np.full((3, 32, 32, 1), level, np.uint8)) for level in (100, 200))
    source = sources.DomainSource(a, b, "train")
    game = unpaired(generator=stub.Affine(-1.0), history=0)
    picture = draw(game, config, source)
    shown = columns_of(picture, 32, 4)
    assert [int(tile.min()) for tile in shown] == [100, 155, 200, 55]


def test_small_and_grey_images_are_shown_as_large_and_coloured_as_the_others():
    small = np.arange(4, dtype=np.uint8).reshape(1, 2, 2, 1)
    large = np.full((1, 32, 32, 3), 7, np.uint8)
    picture = pictures.side_by_side([small, large], IMAGES)
    assert picture.shape == (36, 70, 3)
    first, second = columns_of(picture, 32, 2)
    np.testing.assert_array_equal(first[::16, ::16, 0], small[0, :, :, 0])
    np.testing.assert_array_equal(first, first[:, :, :1].repeat(3, -1))
    np.testing.assert_array_equal(first[:16, :16], 0)
    np.testing.assert_array_equal(first[16:, 16:], 3)
    np.testing.assert_array_equal(second, 7)


def test_an_examples_images_stay_beside_each_other():
    columns = [np.full((8, 32, 32, 1), 10 * k, np.uint8) for k in range(3)]
    for k, column in enumerate(columns):
        column += np.arange(8, dtype=np.uint8)[:, None, None, None] + np.uint8(k)
    picture = pictures.side_by_side(columns, IMAGES)
    # Two examples beside each other, four below.
    assert picture.shape == (4 * 34 + 2, 6 * 34 + 2, 1)
    corners = picture[2::34, 2::34, 0]
    np.testing.assert_array_equal(corners[0], [0, 11, 22, 1, 12, 23])
    np.testing.assert_array_equal(corners[3], [6, 17, 28, 7, 18, 29])


def test_sounds_are_shown_as_spectrograms_beside_each_other():
    kind = kinds.of(specs.Field("audio", (256, 1), "int16", sample_rate=8_000))
    rng = np.random.default_rng(0)
    columns = [rng.integers(-9000, 9000, (2, 256, 1)).astype(np.int16) for _ in range(3)]
    picture = pictures.side_by_side(columns, kind)
    in_turn = np.stack([column[i] for i in range(2) for column in columns])
    np.testing.assert_array_equal(picture, kind.picture(in_turn, columns=3))
