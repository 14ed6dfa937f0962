"""Paths between latents: closed forms, exact ends, and no NaN where an arc is not determined."""

import numpy as np
import pytest

from gan_jax import errors
from gan_jax.training.interpolation import PATHS, between, loop, slerp

BOTH = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
T = np.linspace(0, 1, 11)


def latents(n, d=64, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def on_sphere(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@BOTH
def test_the_ends_are_exact(path):
    a, b = latents(2)
    found = path(a, b, T)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[0], a)
    np.testing.assert_array_equal(found[-1], b)


@BOTH
def test_there_and_back_is_one_way(path):
    a, b = latents(2)
    np.testing.assert_allclose(path(a, b, T), path(b, a, 1 - T), atol=1e-6)


def test_lerp_is_the_weighted_mean():
    a, b = latents(2)
    np.testing.assert_allclose(
        PATHS["lerp"](a, b, 0.25), 0.75 * a.astype(float) + 0.25 * b, atol=1e-6
    )


def test_slerp_is_shoemakes_formula_on_a_sphere():
    a, b = on_sphere(latents(2).astype(np.float64))
    angle = np.arccos(a @ b)
    for t in T:
        expected = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
        np.testing.assert_allclose(slerp(a, b, t), expected, atol=1e-6)


def test_the_norm_of_unequal_ends_grows_evenly():
    a, b = on_sphere(latents(2)) * np.array([[2.0], [6.0]])
    np.testing.assert_allclose(np.linalg.norm(slerp(a, b, T), axis=1), 2 + 4 * T, rtol=1e-5)


@pytest.mark.parametrize("shift", [0.0, 1e-12, 1e-9, 1e-7, 1e-4])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_parallel_and_opposite_latents_give_no_nan(sign, shift):
    a = on_sphere(latents(1)[0].astype(np.float64))
    b = sign * a + shift * latents(1, seed=1)[0]
    found = slerp(a, b, T)
    assert np.isfinite(found).all()
    expected = 1 + (np.linalg.norm(b) - 1) * T
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), expected, rtol=1e-5)
    if sign < 0:
        assert abs(found[5] @ a) < 1e-3


@pytest.mark.parametrize("axis", [0, 1])
def test_opposite_axes_are_joined_by_an_arc(axis):
    a = np.eye(2)[axis]
    np.testing.assert_allclose(np.abs(slerp(a, -a, 0.5)), np.eye(2)[1 - axis], atol=1e-7)


def test_an_end_at_zero_is_reached_straight():
    b = latents(1)[0]
    np.testing.assert_allclose(slerp(np.zeros(64), b, T), T[:, None] * b, rtol=1e-6)
    assert (slerp(np.zeros(64), np.zeros(64), T) == 0).all()


@BOTH
def test_rows_go_from_end_to_end(path):
    a, b = latents(3), latents(3, seed=1)
    found = between(path, a, b, 5)
    assert found.shape == (3, 5, 64)
    np.testing.assert_array_equal(found[:, 0], a)
    np.testing.assert_array_equal(found[:, -1], b)
    np.testing.assert_array_equal(found[1, 2], path(a[1], b[1], 0.5))


@BOTH
def test_a_loop_meets_every_latent_once_and_closes(path):
    keys = latents(3)
    found = loop(path, keys, 4)
    assert found.shape == (12, 64)
    np.testing.assert_array_equal(found[::4], keys)
    np.testing.assert_array_equal(found[11], path(keys[2], keys[0], 0.75))


def test_too_few_frames_or_latents_are_refused():
    with pytest.raises(errors.ConfigError, match="frames = 1; accepted: 2 or more"):
        between(slerp, latents(1), latents(1), 1)
    with pytest.raises(errors.ConfigError, match="1 latents and 4 frames; accepted: 2 latents"):
        loop(slerp, latents(1), 4)
