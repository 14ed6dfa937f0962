"""The contract of every loss and every penalty: one value per example, however it is computed."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from jax.test_util import check_grads

from gan_jax.losses import (
    adversarial,
    classification,
    information,
    penalties,
    reconstruction,
    variational,
)
from gan_jax.losses.consistency import consistency

BATCH = 4
IMAGE = (5, 4, 2)


def uniform(low, high, shape=(BATCH,), seed=0):
    """Return NumPy's numbers, of which a test can make others without compiling anything."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


PARAMS = {
    "kernel": 0.5 * uniform(-1, 1, (3, 3, 2, 3), 3),
    "head": uniform(-1, 1, (3,), 4),
}


def critic_of(params):
    """Return a small convolutional critic."""

    def critic(images):
        dims = ("NHWC", "HWIO", "NHWC")
        kernel = params["kernel"]
        hidden = jax.lax.conv_general_dilated(
            images, kernel, (1, 1), "SAME", dimension_numbers=dims
        )
        return jnp.sum(jnp.tanh(hidden) @ params["head"], (1, 2))

    return critic


@dataclasses.dataclass(frozen=True)
class Case:
    """A function of arrays whose first dimension is the batch.

    Attributes:
      function: returns one value per example.
      arguments: a pytree for each.
      order: up to which it has derivatives at ``arguments``.
      pairs: whether its arguments must have the same shape.
      scores: whether its arguments may be patch maps.
    """

    function: Callable[..., jax.Array]
    arguments: tuple[Any, ...]
    order: int = 2
    pairs: bool = True
    scores: bool = False


def adversarial_case(name, side):
    """Return one side of an adversarial loss as a function of the real and the fake scores."""
    loss = adversarial.make(name)
    # Between the labels of least squares, and away from the hinge's kinks at 1 and -1.
    real, fake = uniform(0.1, 0.7, seed=1), uniform(0.2, 0.7, seed=2)
    order = 1 if name == "hinge" else 2
    if side == "discriminator" or loss.generator_needs_real:
        function = loss.discriminator if side == "discriminator" else loss.generator
        return Case(function, (real, fake), order, scores=True)
    return Case(lambda fake: loss.generator(fake, None), (fake,), order, False, scores=True)


def draws_of(penalty, shape):
    """Return a penalty's random draws for a batch."""
    keys = jax.random.split(jax.random.key(0), BATCH)
    return jax.tree.map(np.asarray, jax.vmap(lambda key: penalty.draw(key, shape))(keys))


def penalty_case(name):
    """Return a penalty of a convolutional critic as a function of images and draws."""
    penalty = penalties.make(name)
    draws = draws_of(penalty, IMAGE)
    real, fake = uniform(-2, 2, (BATCH, *IMAGE), 1), uniform(-1, 1, (BATCH, *IMAGE), 2)
    return Case(functools.partial(penalty, critic_of(PARAMS)), (real, fake, draws), 0)


PAIR = (uniform(-2, 2, (BATCH, 3), 5), uniform(-1, 1, (BATCH, 3), 6))
PICTURES = (uniform(-1, 0, (BATCH, *IMAGE), 7), uniform(0, 1, (BATCH, *IMAGE), 8))
LABELS = np.array([0, 2, 1, 2], np.int32)
LOSSES = {
    **{
        f"{name}_{side}": adversarial_case(name, side)
        for name in adversarial.LOSSES
        for side in ("discriminator", "generator")
    },
    "ambiguity": Case(classification.ambiguity, PAIR[:1], pairs=False),
    "consistency": Case(consistency, (uniform(0, 1, seed=3), uniform(0, 1, seed=4)), scores=True),
    "cross_entropy": Case(lambda x: classification.cross_entropy(x, LABELS), PAIR[:1], pairs=False),
    "gaussian_code": Case(information.gaussian_code, PAIR),
    "gaussian_kl": Case(variational.gaussian_kl, PAIR),
    "gaussian_reconstruction": Case(variational.gaussian_reconstruction, PICTURES),
    **{
        name: Case(reconstruction.make_pixel_loss(name), PICTURES)
        for name in ("l1", "l2", "charbonnier")
    },
}
# Labels are not to be permuted, nor a batch of batches.
WHOLE = {name: case for name, case in LOSSES.items() if name != "cross_entropy"}
PENALTIES = {name: penalty_case(name) for name in penalties.PENALTIES}


def over(cases):
    """Parameterize a test over named cases."""
    return parameterized.named_parameters(*((name, name, case) for name, case in cases.items()))


@functools.cache
def expected(name):
    """Return the values of a case, computed without a compiled function."""
    case = {**LOSSES, **PENALTIES}[name]
    return np.asarray(case.function(*case.arguments))


class TestEvery(chex.TestCase):
    """What holds for losses and penalties alike."""

    @chex.variants(with_jit=True, without_jit=True, with_device=True, with_pmap=True)
    @over({**LOSSES, **PENALTIES})
    def test_one_finite_value_per_example_however_it_runs(self, name, case):
        values = self.variant(case.function)(*case.arguments)
        chex.assert_shape(values, (BATCH,))
        chex.assert_type(values, jnp.float32)
        chex.assert_tree_all_finite(values)
        chex.assert_trees_all_close(values, expected(name), rtol=1e-5, atol=1e-7)

    @over({**WHOLE, **PENALTIES})
    def test_vmap_is_a_loop_and_values_do_not_change_what_is_traced(self, name, case):
        batches = [case.arguments, jax.tree.map(lambda x: x[::-1], case.arguments)]
        stacked = jax.tree.map(lambda *x: np.stack(x), *batches)
        chex.clear_trace_counter()

        @jax.jit
        @jax.vmap
        @chex.assert_max_traces(n=1)
        def function(*arguments):
            return case.function(*arguments)

        function(*jax.tree.map(lambda x: x[::-1], stacked))
        values = function(*stacked)
        chex.assert_trees_all_close(values[0], expected(name), rtol=1e-5, atol=1e-7)
        # And the order of the batch does not matter.
        chex.assert_trees_all_close(values[1], expected(name)[::-1], rtol=1e-5, atol=1e-7)


class TestLosses(chex.TestCase):
    """What holds for losses, which are functions of scores, features or images."""

    @over(LOSSES)
    def test_low_precision_is_computed_in_float32(self, name, case):
        for dtype in (jnp.bfloat16, jnp.float16):
            low = [x.astype(dtype) for x in case.arguments]
            values = case.function(*low)
            chex.assert_type(values, jnp.float32)
            exact = case.function(*(x.astype(np.float32) for x in low))
            np.testing.assert_array_equal(values, exact)

    @over(LOSSES)
    def test_gradients_agree_with_finite_differences(self, name, case):
        check_grads(case.function, case.arguments, case.order, atol=2e-2, rtol=2e-2, eps=1e-2)

    @over({name: case for name, case in LOSSES.items() if case.scores})
    def test_value_and_gradient_are_finite_at_large_scores(self, name, case):
        signs = np.array([[1, -1, 1, -1], [1, 1, -1, -1]], np.float32)
        sizes = 100 * signs[: len(case.arguments)]
        places = tuple(range(len(sizes)))
        results = jax.value_and_grad(lambda *x: jnp.sum(case.function(*x)), places)(*sizes)
        chex.assert_tree_all_finite(results)

    @over({name: case for name, case in LOSSES.items() if case.scores})
    def test_patches_of_one_image_are_averaged(self, name, case):
        patches = [np.stack([x, 0.5 * x, x[::-1]], 1)[..., None] for x in case.arguments]
        values = case.function(*patches)
        chex.assert_shape(values, (BATCH,))
        # Each patch is a sample: as a batch of 12 scores, then averaged over those of one image.
        as_samples = case.function(*(x.reshape(-1) for x in patches)).reshape(BATCH, 3).mean(1)
        chex.assert_trees_all_close(values, as_samples, rtol=1e-5)

    @over(LOSSES)
    def test_other_dtypes_and_ranks_are_refused(self, name, case):
        for wrong in (lambda x: np.zeros_like(x, np.int32), lambda x: np.float32(0.0)):
            with pytest.raises((ValueError, AssertionError)):
                case.function(*map(wrong, case.arguments))

    @over({name: case for name, case in LOSSES.items() if case.pairs})
    def test_shapes_that_would_broadcast_are_refused(self, name, case):
        first, second = case.arguments
        for other in (second[..., None], second[:1], second[:-1]):
            with pytest.raises((ValueError, AssertionError)):
                case.function(first, other)


class TestPenalties(chex.TestCase):
    """What holds for penalties, which are functions of a critic too."""

    @over(PENALTIES)
    def test_bfloat16_critic_is_measured_in_float32(self, name, case):
        # Large enough that a sum of squares rounded to bfloat16 would be off by up to 0.4 %.
        weights = (0.3 * jax.random.normal(jax.random.key(3), (501,))).astype(jnp.bfloat16)
        norm = np.linalg.norm(np.asarray(weights, np.float64))
        expected = {"r1": norm**2 / 2, "r2": norm**2 / 2, "r1_r2": norm**2}
        penalty = penalties.make(name)
        points = uniform(-1, 1, (BATCH, 501))
        draws = jax.vmap(lambda key: penalty.draw(key, (501,)))(
            jax.random.split(jax.random.key(0), 4)
        )
        for dtype in (jnp.float32, jnp.bfloat16):
            values = penalty(
                lambda x: x.astype(jnp.bfloat16) @ weights,
                points.astype(dtype),
                -points.astype(dtype),
                draws,
            )
            chex.assert_type(values, jnp.float32)
            np.testing.assert_allclose(values, expected.get(name, (norm - 1) ** 2), rtol=1e-5)

    @over(PENALTIES)
    def test_images_do_not_influence_each_other(self, name, case):
        for image in range(BATCH):
            # DRAGAN's deviation is of the batch: there only the draws may change alone.
            kept = case.arguments[:2] if name == "dragan" else ()
            changed = jax.tree.map(np.array, case.arguments[len(kept) :])
            for leaf in jax.tree.leaves(changed):
                leaf[image] *= 0.3
            values = case.function(*kept, *changed)
            others = np.arange(BATCH) != image
            reference = expected(name)
            np.testing.assert_allclose(values[others], reference[others], rtol=1e-5)
            assert abs(values[image] - reference[image]) > 1e-4 * abs(reference[image])

    @over(PENALTIES)
    def test_a_flat_critic_has_a_finite_value_and_gradient(self, name, case):
        def loss(weights):
            penalty = penalties.make(name)
            return penalty(lambda x: jnp.tensordot(x, weights, 3), *case.arguments).mean()

        value, grad = jax.value_and_grad(loss)(jnp.zeros(IMAGE))
        np.testing.assert_allclose(value, 1.0 if name in ("wgan_gp", "dragan") else 0.0)
        np.testing.assert_array_equal(grad, 0.0)

    @over(PENALTIES)
    def test_gradients_agree_with_finite_differences(self, name, case):
        @jax.jit
        def compute(params):
            return penalties.make(name)(critic_of(params), *case.arguments).mean()

        check_grads(compute, (PARAMS,), 1, ["rev"], atol=1e-2, rtol=1e-2, eps=1e-3)

    @over(PENALTIES)
    def test_points_of_the_plane(self, name, case):
        penalty = penalties.make(name)
        draws = jax.vmap(lambda key: penalty.draw(key, (2,)))(
            jax.random.split(jax.random.key(0), 4)
        )
        points = uniform(-1, 1, (BATCH, 2))
        chex.assert_shape(penalty(lambda x: jnp.sin(x).sum(1), points, points, draws), (BATCH,))

    @over(PENALTIES)
    def test_draws_of_an_example_do_not_depend_on_the_batch(self, name, case):
        penalty = penalties.make(name)
        keys = jax.random.split(jax.random.key(5), 6)
        whole = jax.vmap(lambda key: penalty.draw(key, IMAGE))(keys)
        chex.assert_trees_all_equal(
            jax.tree.map(lambda x: x[4], whole), penalty.draw(keys[4], IMAGE)
        )
        for leaf in jax.tree.leaves(whole):
            chex.assert_type(leaf, jnp.float32)
            assert 0.0 <= np.min(leaf) < np.max(leaf) < 1.0
            assert not np.array_equal(leaf[0], leaf[1])

    @over(PENALTIES)
    def test_missing_wrong_or_flat_images_are_refused(self, name, case):
        real, fake, draws = case.arguments
        for images, message in (
            ((None, None), r"(real|fake) images are needed, got None"),
            ((real.astype(np.uint8), fake.astype(np.uint8)), "dtype uint8; accepted: a floating"),
            ((real[:, 0, 0, 0], fake[:, 0, 0, 0]), r"shape \(4,\); accepted: \[batch, \.\.\.\]"),
        ):
            with pytest.raises(ValueError, match=message):
                case.function(*images, draws)
        with pytest.raises(ValueError, match=r"critic gave scores of shape \(\)"):
            penalties.make(name)(lambda images: images.sum(), *case.arguments)
