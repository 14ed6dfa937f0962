"""Projection finds the latents of a generator's own samples, and does not depend on the batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gan_jax import errors
from gan_jax.data.sources import Transform
from gan_jax.games import draws
from gan_jax.inference.projection import Settings, project, read_images
from gan_jax.inference.rendering import Renderer, latents, points
from gan_jax.training import spaces
from tests.inference.painter import Painter
from tests.inference.styled import LAYERS, styled

QUICK = Settings(steps=150, restarts=3, learning_rate=0.1, candidates=64)


def targets(game, num, labels=None):
    z = latents(game, seed=11, num=num)
    return z, Renderer(game, game.variables)(z, labels)


@pytest.mark.slow
def test_its_own_samples_are_matched_by_their_latents():
    game = Painter()
    z, images = targets(game, 5)
    settings = Settings(steps=300, restarts=3, prior=0.0, candidates=64)
    found = project(game, game.variables, images, settings)
    assert (found.psnr > 45).all(), found.psnr
    np.testing.assert_allclose(found.points, z, atol=0.05)
    assert found.label is None
    np.testing.assert_array_equal(found.image, Renderer(game, game.variables)(found.points))
    error = np.square(found.image.astype(float) - images).mean((1, 2, 3))
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(found.psnr, 10 * np.log10(255**2 / error), rtol=1e-5)


@pytest.mark.slow
def test_a_projection_does_not_depend_on_the_other_images():
    game = Painter()
    _, images = targets(game, 5)
    whole = project(game, game.variables, images, QUICK)
    parts = project(game, game.variables, images, QUICK, batch_size=6)
    alone = project(game, game.variables, images[3:4], QUICK)
    np.testing.assert_allclose(parts.points, whole.points, atol=1e-3)
    np.testing.assert_allclose(alone.points[0], whole.points[3], atol=1e-3)
    progress = []
    project(game, game.variables, images, QUICK, batch_size=6, advance=progress.append)
    assert progress == [2, 4, 5]


@pytest.mark.slow
def test_starts_are_the_nearest_candidates_and_the_best_end_is_kept():
    game = Painter()
    _, images = targets(game, 6)

    def still(restarts, candidates, prior):
        """Do not move: what is found is the best start."""
        settings = Settings(1, restarts, 1e-12, prior, candidates)
        return project(game, game.variables, images, settings)

    # Of one candidate each there is no choice: so all of them are known one by one.
    key = draws.named(jax.random.key(0), "projection")
    z = draws.latents(jax.vmap(lambda i: jax.random.fold_in(key, i))(np.arange(32, dtype="u4")), 4)
    made = Renderer(game, game.variables)(np.asarray(z)).astype(float) / 127.5
    error = np.square(made[None] - images[:, None] / 127.5).mean((2, 3, 4))
    np.testing.assert_allclose(still(1, 32, 0.0).points, z[error.argmin(1)], atol=1e-6)
    # The prior has no part in the choice of starts, but in that of the end.
    starts = np.argsort(error, axis=1)[:, :4]
    prior = 10 * np.square(np.square(z).mean(1) - 1)
    loss = np.take_along_axis(error, starts, 1) + prior[starts]
    best = starts[np.arange(6), loss.argmin(1)]
    assert (best != starts[:, 0]).any()
    np.testing.assert_allclose(still(4, 32, 10.0).points, z[best], atol=1e-6)


@pytest.mark.slow
def test_the_class_is_found_where_none_is_given_and_kept_where_one_is():
    game = Painter(num_classes=3)
    labels = np.array([2, 0, 1, 1], np.int32)
    _, images = targets(game, 4, labels)
    settings = Settings(steps=200, restarts=6, candidates=96, prior=0.0)
    free = project(game, game.variables, images, settings)
    assert (free.psnr > 35).all(), free.psnr
    np.testing.assert_array_equal(
        free.image, Renderer(game, game.variables)(free.points, free.label)
    )
    asked = project(game, game.variables, images, settings, label=1)
    np.testing.assert_array_equal(asked.label, 1)
    assert (asked.psnr[2:] > 35).all()


def test_the_prior_draws_latents_to_where_they_are_drawn():
    game = Painter()
    images = np.zeros((2, *game.shape), np.uint8)

    def distance(prior):
        settings = Settings(steps=150, restarts=2, prior=prior, candidates=64)
        z = project(game, game.variables, images, settings).points
        return np.abs(np.square(z).mean(1) - 1)

    assert (distance(100.0) < 0.02).all()
    assert (distance(0.0) > 0.2).all()


@pytest.mark.slow
def test_the_first_step_follows_each_latents_own_slope():
    # Adam's first step moves every entry by the learning rate.
    game = Painter()
    _, images = targets(game, 3)

    def moved_by(rate):
        return project(game, game.variables, images, Settings(1, 1, rate, 0.0, 1)).points

    start, moved = moved_by(1e-12), moved_by(0.01)

    def loss(z):
        target = jnp.asarray(images, jnp.float32) / 127.5 - 1
        return jnp.square(game.sample(game.variables, z) - target).mean((1, 2, 3)).sum()

    slope = jax.grad(loss)(jnp.asarray(start))
    np.testing.assert_allclose(moved, start - 0.01 * np.sign(slope), atol=1e-4)


def test_images_come_as_the_runs_data_are(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("b", "a"):
        wide = Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8))
        wide.save(tmp_path / f"{name}.png")
    images, names = read_images(tmp_path, (8, 8, 1))
    assert images.shape == (2, 8, 8, 1)
    assert names == ["a.png", "b.png"]
    one, name = read_images(tmp_path / "b.png", (8, 8, 1))
    np.testing.assert_array_equal(one[0], images[1])
    assert read_images(tmp_path / "b.png", (6, 8, 1), "squeeze")[0].shape == (1, 6, 8, 1)
    assert name == ["b.png"]
    with Image.open(tmp_path / "b.png") as image:
        np.testing.assert_array_equal(one[0], Transform(8, 1)(image))


def test_what_cannot_be_projected_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(errors.DataError, match=r"a\.png is not an image"):
        read_images(tmp_path / "a.png", (8, 8, 1))
    with pytest.raises(errors.DataError, match="nowhere"):
        read_images(tmp_path / "nowhere", (8, 8, 1))
    Image.new("L", (9, 9)).save(tmp_path / "b.png")
    with pytest.raises(errors.DataError, match="pad"):
        read_images(tmp_path / "b.png", (8, 8, 1), "pad")
    with pytest.raises(errors.ConfigError, match=r"uint8\[2, 4, 4, 1\]; accepted: uint8 \[n, 8, 8"):
        project(Painter(), {}, np.zeros((2, 4, 4, 1), np.uint8))


@pytest.mark.parametrize(
    "field", [{"steps": 0}, {"restarts": 0}, {"learning_rate": 0.0}, {"prior": -1.0}]
)
def test_settings_that_cannot_work_are_named(field):
    (name,) = field
    with pytest.raises(errors.ConfigError, match=f"{name} = .*accepted"):
        Settings(**field)


def test_styles_of_samples_are_found_again_from_their_mean():
    game, variables = styled()
    space = spaces.make_space(game, "w")
    z = latents(game, seed=11, num=2)
    images = Renderer(game, variables)(z)
    settings = Settings(steps=150, restarts=2, prior=0.0, candidates=32)
    found = project(game, variables, images, settings)
    assert found.points.shape == (2, 1, 4)
    assert (found.psnr > 40).all(), found.psnr
    np.testing.assert_allclose(found.points, points(space, game, variables, z), atol=0.3)
    assert found.label is None
    expected = Renderer(game, variables, space=space)(found.points)
    np.testing.assert_array_equal(found.image, expected)
    # One candidate: the mean of the styles, which one step at no rate leaves.
    settings = Settings(1, 1, 1e-12, 0.0, 32, "w+")
    still = project(game, variables, images, settings)
    key = draws.named(jax.random.key(0), "projection")
    z = draws.latents(jax.vmap(lambda i: jax.random.fold_in(key, i))(np.arange(32, dtype="u4")), 4)
    mean = points(space, game, variables, np.asarray(z)).mean(0)
    np.testing.assert_allclose(still.points, np.broadcast_to(mean, (2, LAYERS, 4)), atol=1e-5)


def test_the_prior_keeps_styles_within_their_distance_from_the_mean():
    game, variables = styled()
    levels = np.array([0, 255, 128], np.uint8)[:, None, None, None]
    images = np.tile(levels, (1, *game.shape))
    still = project(game, variables, images, Settings(1, 1, 1e-12, 0.0, 32, "w+"))
    # The last one is the image of the mean style.
    images[2] = still.image[2]

    def distance(prior):
        settings = Settings(steps=100, restarts=1, prior=prior, candidates=32, space="w+")
        styles = project(game, variables, images, settings).points
        return np.sqrt(np.square(styles - still.points).mean((1, 2)))

    near, far = distance(100.0), distance(0.0)
    assert (far[:2] > 1.5 * near[:2]).all(), (near, far)
    # Nearer than samples usually are, it has no effect.
    assert (near[:2] > 0.5).all()
    assert near[2] < 0.3, near
