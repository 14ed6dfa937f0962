"""Pictures of given latents are those of the sampler, in batches of any size, on any devices."""

import numpy as np
import pytest

from gan_jax.inference.rendering import MOST_CLASSES, Renderer, latents, shown_labels
from gan_jax.training.sampling import InTurn, Sampler, Sampling
from tests.inference.painter import Painter


@pytest.mark.parametrize("seed", [3, 2**32 - 1])
def test_latents_are_those_of_the_samples(seed):
    game = Painter()
    expected, _ = Sampler(game, seed=seed, batch_size=8).latents(0)
    np.testing.assert_array_equal(latents(game, seed=seed, num=8), expected)
    np.testing.assert_array_equal(latents(game, seed=seed, num=20)[:8], expected)


def test_truncation_is_the_samplers():
    game = Painter()
    sampler = Sampler(game, seed=3, batch_size=8, sampling=Sampling(truncation=0.5))
    expected = sampler.samples(game.variables, 8).astype(int)
    z = latents(game, seed=3, num=8)
    for found in (
        Renderer(game, game.variables, truncation=0.5)(z),
        Renderer(game, game.variables, truncation=2.0)(z, truncation=0.5),
    ):
        assert np.abs(found - expected).max() <= 1
    assert np.abs(Renderer(game, game.variables)(z) - expected).max() > 1


@pytest.mark.parametrize("batch_size", [7, 64])
def test_pictures_are_the_samplers(batch_size):
    game = Painter(num_classes=3)
    sampler = Sampler(game, seed=0, batch_size=20, class_of=InTurn(game.num_classes))
    render = Renderer(game, game.variables, batch_size=batch_size)
    z = latents(game, seed=0, num=20)
    found = render(z, np.arange(20) % 3).astype(int)
    assert np.abs(found - sampler.samples(game.variables, 20)).max() <= 1


def test_rows_have_one_latent_per_column():
    game = Painter(num_classes=3)
    render = Renderer(game, game.variables, batch_size=8)
    z = latents(game, seed=0, num=5)
    rows = render.rows(z, [2, 0])
    assert rows.shape == (2, 5, 8, 8, 1)
    np.testing.assert_array_equal(rows[0], render(z, np.full(5, 2)))
    np.testing.assert_array_equal(rows[1], render(z, np.zeros(5, np.int32)))
    assert (rows[0] != rows[1]).any()


def test_in_train_mode_the_statistics_are_the_batchs():
    game = Painter()
    z = latents(game, seed=0, num=16)
    one = Renderer(game, game.variables, batch_size=16, train=True)(z)
    assert np.abs(one.mean() - 127.5) < 1
    assert abs(Renderer(game, game.variables)(z).mean() - one.mean()) > 1


def test_points_stay_floats():
    game = Painter(shape=(2,))
    assert Renderer(game, game.variables)(latents(game, seed=0, num=3)).dtype == np.float32


def test_of_many_classes_some_are_shown():
    assert shown_labels(Painter()) == [None]
    assert shown_labels(Painter(num_classes=3)) == [0, 1, 2]
    assert shown_labels(Painter(num_classes=3), 1) == [1]
    many = shown_labels(Painter(num_classes=1000))
    assert len(set(many)) == MOST_CLASSES
    assert (many[0], many[-1]) == (0, 999)
