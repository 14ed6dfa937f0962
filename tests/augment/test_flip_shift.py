"""Mirror and shift: what may come out, how often, from which key, derivatives, mistakes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from gan_jax.augment.flip_shift import flip_shift
from gan_jax.errors import ConfigError

transform = jax.jit(flip_shift, static_argnums=2)


def keys_of(batch=4, seed=7):
    return jax.random.split(jax.random.key(seed), batch)


def repeated(image, count):
    return jnp.broadcast_to(image, (count, *image.shape))


def variants(image, down, right):
    """All that a NumPy image can become, by (mirrored, down, right)."""
    height, width, _ = image.shape
    padded = np.pad(image, ((down, down), (right, right), (0, 0)), "reflect")
    return {
        (mirrored, i, j): padded[down - i :, right - j :][:height, :width][:, :: 1 - 2 * mirrored]
        for mirrored, i, j in itertools.product(
            (0, 1), range(-down, down + 1), range(-right, right + 1)
        )
    }


def test_all_shifts_and_mirrors_are_equally_likely():
    # Every pixel differs, so that an image shows which variant it is.
    image = np.arange(8 * 16, dtype=np.float32).reshape(8, 16, 1)
    count = 6000
    results = np.asarray(transform(keys_of(count), repeated(image, count)))
    known = {v.tobytes(): name for name, v in variants(image, 1, 2).items()}
    assert len(known) == 2 * 3 * 5
    found = [known[np.ascontiguousarray(result).tobytes()] for result in results]
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert len(counts) == 30
    assert np.all(np.abs(counts - count / 30) < 5 * np.sqrt(count / 30))


@pytest.mark.parametrize(
    ("shape", "fraction", "limits"),
    [
        ((4, 4), 0.125, (1, 1)),
        ((3, 3), 0.125, (0, 0)),
        ((3, 3), 0.5, (2, 2)),
        ((1, 2), 0.5, (0, 1)),
    ],
)
def test_a_fraction_of_a_side_is_rounded_and_never_beyond_the_image(shape, fraction, limits):
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(*shape, 1)
    results = np.asarray(transform(keys_of(500), repeated(image, 500), fraction))
    allowed = {np.ascontiguousarray(v).tobytes() for v in variants(image, *limits).values()}
    assert {np.ascontiguousarray(result).tobytes() for result in results} == allowed


def test_without_a_shift_only_mirrors_are_left():
    images = jax.random.normal(jax.random.key(0), (64, 5, 6, 3))
    results = transform(keys_of(64), images, 0.0)
    mirrored = np.all(results == images[:, :, ::-1], (1, 2, 3))
    same = np.all(results == images, (1, 2, 3))
    assert np.all(mirrored ^ same)
    assert 10 < mirrored.sum() < 54


def test_an_image_is_transformed_by_its_own_key():
    image = jax.random.normal(jax.random.key(0), (16, 16, 3))
    images, keys = repeated(image, 32), keys_of(32)
    whole = transform(keys, images)
    np.testing.assert_array_equal(transform(keys[5:6], images[5:6])[0], whole[5])
    # 32 draws of 2 x 5 x 5 variants.
    assert len(np.unique(np.asarray(whole).reshape(32, -1), axis=0)) > 15


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.uint8])
def test_pixels_are_moved_and_never_computed(dtype):
    images = (255.0 * jax.random.uniform(jax.random.key(0), (4, 8, 8, 1))).astype(dtype)
    results = transform(keys_of(), images)
    assert results.dtype == dtype
    for image, result in zip(np.asarray(images, np.float32), results, strict=True):
        assert np.isin(np.asarray(result, np.float32), image).all()


@pytest.mark.slow
def test_gradients_agree_with_finite_differences_twice():
    images, keys = jax.random.normal(jax.random.key(0), (2, 8, 8, 1)), keys_of(2)
    check_grads(
        lambda images: jnp.tanh(transform(keys, images)),
        (images,),
        2,
        ["rev"],
        atol=1e-2,
        rtol=1e-2,
        eps=1e-3,
    )
    # What is reflected is seen twice or, in a corner, four times.
    counts = jax.grad(lambda images: transform(keys, images).sum())(images)
    assert set(np.unique(counts)) <= {0.0, 1.0, 2.0, 4.0}
    np.testing.assert_array_equal(counts.sum((1, 2, 3)), 64.0)


def test_mistakes_are_refused():
    images = jnp.zeros((4, 8, 8, 1))
    for fraction in (-0.1, 0.6, float("nan")):
        with pytest.raises(ConfigError, match=r"fraction = .*accepted: a number in \[0, 0\.5\]"):
            flip_shift(keys_of(), images, fraction)
    with pytest.raises(ValueError, match=r"only images .* got shape \(4, 2\)"):
        flip_shift(keys_of(), jnp.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"one key per image, shape \(4,\); got \(5,\)"):
        flip_shift(keys_of(5), images)
