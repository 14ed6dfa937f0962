"""The gradient difference loss: closed forms, what it ignores, weights, gradients, mistakes."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from jax.test_util import check_grads

from gan_jax.losses.reconstruction import gradient_difference


def random(seed, shape=(2, 4, 5, 2)):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


LOSS = jax.jit(gradient_difference)


def by_loops(images, reference, weights):
    """Return equation 6 of the paper pixel by pixel, for images."""
    found = []
    for x, y, w in zip(images, reference, weights, strict=True):
        total = 0.0
        for i in range(x.shape[0]):
            for j in range(x.shape[1]):
                for other in ((i - 1, j), (i, j - 1)):
                    if min(other) >= 0:
                        error = np.abs(np.abs(y[i, j] - y[other]) - np.abs(x[i, j] - x[other]))
                        total += np.sum(np.maximum(w[i, j], w[other]) * error)
        found.append(total / np.sum(np.broadcast_to(w, x.shape)))
    return np.asarray(found)


class GradientDifferenceTest(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    def test_one_bright_row_or_column(self):
        images = np.zeros((2, 3, 4, 1), np.float32)
        images[0, 1], images[1, :, 1] = 0.5, 0.5
        found = self.variant(gradient_difference)(images, np.zeros_like(images))
        chex.assert_trees_all_close(found, np.float32([2 * 4, 2 * 3]) * 0.5 / 12, rtol=1e-6)

    def test_it_is_the_sum_of_the_paper_per_entry(self):
        x, y = random(0), random(1)
        expected = by_loops(x, y, np.ones((2, 4, 5, 1)))
        chex.assert_trees_all_close(LOSS(x, y), np.float32(expected), rtol=1e-5)

    def test_a_difference_has_the_larger_weight_of_its_two_pixels(self):
        x, y, w = random(0), random(1), np.abs(random(2, (2, 4, 5, 1)))
        expected = by_loops(x, y, w)
        chex.assert_trees_all_close(LOSS(x, y, w), np.float32(expected), rtol=1e-5)

    def test_brightness_and_the_sign_of_slopes_do_not_count(self):
        x = random(0)
        for same in (x + 0.25, -x, np.float32(0.5) - x):
            chex.assert_trees_all_close(LOSS(same, x), np.zeros(2), atol=1e-6)
        assert float(gradient_difference(0.5 * x, x).min()) > 0.1

    def test_frames_are_compared_one_by_one_and_time_has_no_slope(self):
        x, y = random(0, (2, 3, 4, 5, 2)), random(1, (2, 3, 4, 5, 2))
        each = [LOSS(x[:, t], y[:, t]) for t in range(3)]
        chex.assert_trees_all_close(LOSS(x, y), np.mean(each, axis=0), rtol=1e-5)
        # Of the frames that are unknown alone.
        w = np.float32([0, 0, 1])[None, :, None, None, None] * np.ones((2, 3, 4, 5, 1), np.float32)
        chex.assert_trees_all_close(LOSS(x, y, w), each[2], rtol=1e-5)

    def test_gradients(self):
        x, y = random(0), random(1)
        total = jax.jit(lambda x: gradient_difference(x, y).sum())
        check_grads(total, (jnp.asarray(x),), 1, ["rev"])
        # Where nothing differs, and in flat images, it is 0.
        for flat in (jnp.asarray(y), jnp.zeros(y.shape)):
            slopes = jax.jit(jax.grad(lambda x, y: gradient_difference(x, y).sum()))(flat, flat)
            chex.assert_trees_all_close(slopes, np.zeros(y.shape))

    @parameterized.parameters(
        (random(0), random(1)[:1], None, "shape"),
        (random(0)[0], random(1)[0], None, r"accepted: \[batch, \.\.\., height, width, channels\]"),
        (random(0), random(1), np.ones((2, 4, 5, 3), np.float32), "weights have shape"),
        (random(0).astype(np.int32), random(1), None, "int32"),
    )
    def test_mistakes(self, x, y, weights, message):
        with pytest.raises(ValueError, match=message):
            gradient_difference(x, y, weights)
