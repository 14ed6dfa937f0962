"""Projection finds the latents of a generator's own samples, and does not depend on the batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gan_jax import errors
from gan_jax.training.projection import Settings, project, read_images
from gan_jax.training.rendering import Renderer, latents
from tests.training.painter import Painter

QUICK = Settings(steps=150, restarts=3, learning_rate=0.1, candidates=64)


def targets(game, num, labels=None):
    z = latents(game, seed=11, num=num)
    return z, Renderer(game, game.variables)(z, labels)


def test_its_own_samples_are_matched_by_their_latents():
    game = Painter()
    z, images = targets(game, 5)
    settings = Settings(steps=300, restarts=3, prior=0.0, candidates=64)
    found = project(game, game.variables, images, settings)
    assert (found.psnr > 45).all(), found.psnr
    np.testing.assert_allclose(found.z, z, atol=0.05)
    assert found.label is None
    np.testing.assert_array_equal(found.image, Renderer(game, game.variables)(found.z))
    error = np.square(found.image.astype(float) - images).mean((1, 2, 3))
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(found.psnr, 10 * np.log10(255**2 / error), rtol=1e-5)


def test_a_projection_does_not_depend_on_the_other_images():
    game = Painter()
    _, images = targets(game, 5)
    whole = project(game, game.variables, images, QUICK)
    parts = project(game, game.variables, images, QUICK, batch_size=6)
    alone = project(game, game.variables, images[3:4], QUICK)
    np.testing.assert_allclose(parts.z, whole.z, atol=1e-3)
    np.testing.assert_allclose(alone.z[0], whole.z[3], atol=1e-3)
    told = []
    project(game, game.variables, images, QUICK, batch_size=6, tell=told.append)
    assert told == [2, 4, 5]


def test_the_best_start_is_kept():
    game = Painter()
    images = np.random.default_rng(0).integers(0, 256, (4, *game.shape), np.uint8)

    def errors_of(restarts):
        settings = Settings(steps=60, restarts=restarts, prior=0.0, candidates=64)
        return -project(game, game.variables, images, settings).psnr

    one, many = errors_of(1), errors_of(8)
    # The first of several starts is the only one of one.
    assert (many <= one + 1e-2).all()
    assert many.mean() < one.mean() - 0.05


def test_the_class_is_found_where_none_is_given_and_kept_where_one_is():
    game = Painter(num_classes=3)
    labels = np.array([2, 0, 1, 1], np.int32)
    _, images = targets(game, 4, labels)
    settings = Settings(steps=200, restarts=6, candidates=96, prior=0.0)
    free = project(game, game.variables, images, settings)
    assert (free.psnr > 35).all(), free.psnr
    np.testing.assert_array_equal(
        free.image, Renderer(game, game.variables)(free.z, free.label)
    )
    asked = project(game, game.variables, images, settings, label=1)
    np.testing.assert_array_equal(asked.label, 1)
    assert (asked.psnr[2:] > 35).all()


def test_the_prior_draws_latents_to_where_they_are_drawn():
    game = Painter()
    images = np.zeros((2, *game.shape), np.uint8)

    def distance(prior):
        settings = Settings(steps=150, restarts=2, prior=prior, candidates=64)
        z = project(game, game.variables, images, settings).z
        return np.abs(np.square(z).mean(1) - 1)

    assert (distance(100.0) < 0.02).all()
    assert (distance(0.0) > 0.2).all()


def test_features_take_part():
    game = Painter()
    _, images = targets(game, 2)
    seen = []

    def upper_half(x):
        seen.append(x.shape)
        return 100.0 * x[:, :4].reshape(len(x), -1)

    half = images.copy()
    half[:, 4:] = 255 - half[:, 4:]
    plain = project(game, game.variables, half, QUICK)
    by_features = project(game, game.variables, half, QUICK, features=upper_half)
    assert seen

    def error(found):
        return np.square(found.image[:, :4].astype(float) - images[:, :4]).mean()

    assert error(by_features) < 0.2 * error(plain)


def test_gradients_are_those_of_each_latents_own_loss():
    # The step is Adam's, so that the first one moves each entry by the learning rate.
    game = Painter()
    _, images = targets(game, 3)
    settings = Settings(steps=1, restarts=1, learning_rate=0.01, prior=0.0, candidates=1)
    key = jax.random.key(0)
    found = project(game, game.variables, images, settings)
    del key
    start = project(
        game, game.variables, images, Settings(1, 1, 1e-12, 0.0, 1)
    ).z
    moved = found.z - start
    assert ((np.abs(moved) < 1e-6) | (np.abs(np.abs(moved) - 0.01) < 1e-4)).all()
    assert (np.abs(moved) > 1e-3).any()

    def loss(z):
        made = game.sample(game.variables, z)
        target = jnp.asarray(images, jnp.float32) / 127.5 - 1
        return jnp.square(made - target).mean((1, 2, 3)).sum()

    slope = jax.grad(loss)(jnp.asarray(start))
    improved = np.abs(moved).max(1) > 1e-6
    np.testing.assert_array_equal(np.sign(moved[improved]), -np.sign(slope)[improved])


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
    assert name == ["b.png"]
    # The middle square, made smaller.
    grey = Image.open(tmp_path / "b.png").convert("L").crop((5, 0, 25, 20))
    np.testing.assert_array_equal(one[0, ..., 0], grey.resize((8, 8), Image.Resampling.LANCZOS))


def test_what_cannot_be_projected_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(errors.DataError, match=r"a\.png cannot be read as an image"):
        read_images(tmp_path / "a.png", (8, 8, 1))
    with pytest.raises(errors.DataError, match="nowhere"):
        read_images(tmp_path / "nowhere", (8, 8, 1))
    Image.new("L", (9, 9)).save(tmp_path / "b.png")
    with pytest.raises(errors.DataError, match=r"\(9, 9, 1\); accepted: \(8, 6, 1\)"):
        read_images(tmp_path / "b.png", (8, 6, 1))
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
