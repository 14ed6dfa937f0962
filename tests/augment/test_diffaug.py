"""DiffAugment: what each operation does, what is drawn and how, derivatives, devices, mistakes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from jax.test_util import check_grads

from gan_jax.augment import diffaug
from gan_jax.augment.augmentation import check_policy
from gan_jax.errors import ConfigError
from tests.devices import sharded

ALL = ("color", "translation", "cutout")
augment = jax.jit(diffaug.diff_augment, static_argnums=2)
recolor = jax.jit(diffaug.recolor)


def images_of(batch=4, shape=(8, 10, 3)):
    return jnp.asarray(np.random.default_rng(0).uniform(-1.0, 1.0, (batch, *shape)), jnp.float32)


def keys_of(batch=4, seed=7):
    return jax.random.split(jax.random.key(seed), batch)


def repeated(image, count):
    return jnp.broadcast_to(image, (count, *image.shape))


# The operations.


def test_brightness_leaves_differences_between_pixels():
    image = images_of(1)[0]
    brighter = recolor(image, 0.25, 1.0, 1.0)
    np.testing.assert_allclose(brighter, image + 0.25, atol=1e-6)


def test_saturation_is_about_each_pixels_mean_and_contrast_about_the_images():
    image = np.asarray(images_of(1)[0])
    grey = image.mean(-1, keepdims=True)
    for factor in (0.0, 0.5, 2.0):
        for found, mean in (
            (recolor(image, 0.0, factor, 1.0), grey),
            (recolor(image, 0.0, 1.0, factor), image.mean()),
        ):
            expected = mean + factor * (image - mean)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_colours_change_in_the_papers_order():
    image = np.asarray(images_of(1)[0])
    expected = image + 0.3
    grey = expected.mean(-1, keepdims=True)
    expected = grey + 0.2 * (expected - grey)
    expected = expected.mean() + 1.4 * (expected - expected.mean())
    np.testing.assert_allclose(recolor(image, 0.3, 0.2, 1.4), expected, atol=1e-6)
    # A brightness that came after the contrast would not keep the mean's shift.
    np.testing.assert_allclose(expected.mean(), image.mean() + 0.3, atol=1e-6)


def test_saturation_does_nothing_to_grey_images():
    image = images_of(1, (6, 6, 1))[0]
    np.testing.assert_array_equal(recolor(image, 0.1, 0.0, 1.2), recolor(image, 0.1, 2.0, 1.2))
    grey = jnp.broadcast_to(image, (6, 6, 3))
    np.testing.assert_allclose(recolor(grey, 0.0, 1.7, 1.0), grey, atol=1e-6)


def test_translation_moves_content_by_exactly_the_shift():
    image = np.asarray(images_of(1, (5, 7, 2))[0])
    shifts = list(itertools.product((-5, -1, 0, 2, 5, 9), (-3, 0, 1)))
    moved = jax.vmap(diffaug.translate, (None, 0, 0))(image, *np.array(shifts, np.int32).T)
    for (down, right), found in zip(shifts, moved, strict=True):
        expected = np.zeros_like(image)
        for i, j in itertools.product(range(5), range(7)):
            if 0 <= i + down < 5 and 0 <= j + right < 7:
                expected[i + down, j + right] = image[i, j]
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("shape", "centre", "rows", "columns"),
    [
        ((8, 4), (3, 1), range(1, 5), range(2)),  # half of each side
        ((8, 8), (0, 8), range(2), range(6, 8)),  # hangs over two borders
        ((5, 5), (2, 0), range(1, 4), range(2)),  # odd length 3: half of 5, halves up
    ],
)
def test_cutout_zeroes_half_of_each_side(shape, centre, rows, columns):
    expected = np.ones((*shape, 2), np.float32)
    expected[np.ix_(rows, columns)] = 0.0
    cut = jax.jit(diffaug.cut_out)(np.ones((*shape, 2), np.float32), *np.int32(centre))
    np.testing.assert_array_equal(cut, expected)


# The draws.


def test_color_draws_cover_their_ranges():
    # Of this image, brightness moves the mean, saturation the spread of channels (times contrast),
    # contrast the spread of pixels' means.
    image = jnp.zeros((2, 1, 2)).at[0].set(jnp.array([0.25, 0.75])).at[1].set(-0.5)
    count = 4000
    results = np.asarray(augment(keys_of(count), repeated(image, count), ("color",)))
    brightness = results.mean((1, 2, 3))
    contrast = results[:, 0].mean((1, 2)) - results[:, 1].mean((1, 2))
    saturation = (results[:, 0, 0, 1] - results[:, 0, 0, 0]) / 0.5 / contrast
    draws = np.stack([brightness, saturation, contrast])
    for values, low, high in zip(draws, (-0.5, 0.0, 0.5), (0.5, 2.0, 1.5), strict=True):
        assert low - 1e-5 <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high + 1e-5
        counts, _ = np.histogram(values, 10, (low, high))
        assert np.all(np.abs(counts - count / 10) < 5 * np.sqrt(count / 10))
    correlation = np.corrcoef(draws) - np.eye(3)
    assert np.abs(correlation).max() < 5 / np.sqrt(count)


def test_translations_are_uniform_over_an_eighth_of_each_side():
    height, width, count = 16, 4, 4000
    image = jnp.zeros((height, width, 1)).at[8, 2].set(1.0)
    moved = np.asarray(augment(keys_of(count), repeated(image, count), ("translation",)))
    _, rows, columns, _ = np.nonzero(moved)
    assert len(rows) == count
    # 16 / 8 = 2 pixels; 4 / 8 is half a pixel, rounded up to 1.
    places, counts = np.unique(np.stack([rows - 8, columns - 2]), axis=1, return_counts=True)
    np.testing.assert_array_equal(places.T, list(itertools.product(range(-2, 3), range(-1, 2))))
    assert np.all(np.abs(counts - count / 15) < 5 * np.sqrt(count / 15))


@pytest.mark.parametrize(("side", "centres"), [(4, 5), (5, 5)])
def test_cutouts_are_centred_uniformly_over_the_image(side, centres):
    count = 4000
    masks = np.asarray(augment(keys_of(count), jnp.ones((count, side, side, 1)), ("cutout",)))
    patterns, counts = np.unique(masks.reshape(count, -1), axis=0, return_counts=True)
    assert len(patterns) == centres**2
    assert np.all(np.abs(counts - count / centres**2) < 5 * np.sqrt(count / centres**2))
    # In the corners a quarter of an even square is left.
    assert (1.0 - patterns).sum(1).min() == (1 if side == 4 else 4)


# The contract.


def test_no_policy_is_the_identity_even_for_points():
    points = jnp.ones((4, 2))
    assert diffaug.diff_augment(keys_of(), points, ()) is points


def test_the_key_of_an_image_decides_and_no_other_image():
    images, keys = repeated(images_of(1, (16, 16, 3))[0], 4), keys_of()
    results = augment(keys, images, ALL)
    for i, j in itertools.combinations(range(4), 2):
        assert not np.allclose(results[i], results[j], atol=1e-3)
    again = augment(keys[np.array([2, 2, 0, 1])], images, ALL)
    np.testing.assert_array_equal(again, results[np.array([2, 2, 0, 1])])
    others = np.array([0, 2, 3])
    changed = augment(
        keys, np.asarray(images) * np.float32([1, 0.5, 1, 1])[:, None, None, None], ALL
    )
    np.testing.assert_array_equal(changed[others], results[others])


@pytest.mark.slow
def test_dtype_and_shape_are_kept():
    images = images_of().astype(jnp.bfloat16)
    result = augment(keys_of(), images, ALL)
    assert (result.dtype, result.shape) == (images.dtype, images.shape)
    exact = augment(keys_of(), images.astype(jnp.float32), ALL)
    np.testing.assert_array_equal(result, exact.astype(jnp.bfloat16))


@pytest.mark.slow
def test_gradients_agree_with_finite_differences_twice():
    """The second time as a gradient penalty that looks through the augmentation."""
    images, keys = images_of(2, (4, 4, 2)), keys_of(2)

    @jax.jit
    def score(images, weights):
        return jnp.sum(jnp.tanh(diffaug.diff_augment(keys, images, ALL) @ weights))

    @jax.jit
    def penalty(weights):
        return jnp.sum(jnp.square(jax.grad(score)(images, weights)))

    weights, accuracy = jnp.array([0.5, -1.0]), {"atol": 1e-2, "rtol": 1e-2, "eps": 1e-3}
    check_grads(score, (images, weights), 1, ["rev"], **accuracy)
    check_grads(penalty, (weights,), 1, ["rev"], **accuracy)
    assert np.abs(jax.grad(penalty)(weights)).min() > 1e-3


@pytest.mark.slow
def test_two_devices_are_one():
    images, keys = images_of(16), keys_of(16)
    split = sharded(
        lambda keys, images: diffaug.diff_augment(keys, images, ALL), P("data"), P("data"), count=2
    )
    np.testing.assert_allclose(split(keys, images), augment(keys, images, ALL), atol=1e-6)


@pytest.mark.slow
def test_an_operation_draws_alike_whatever_else_is_in_the_policy():
    images, keys = jnp.ones((4, 8, 8, 1)), keys_of()
    color = augment(keys, images, ("color",))
    translation = augment(keys, images, ("translation",))
    cutout = augment(keys, images, ("cutout",))
    # On a flat image these only multiply.
    expected = np.asarray(color) * np.asarray(translation) * np.asarray(cutout)
    np.testing.assert_allclose(augment(keys, images, ALL), expected, atol=1e-6)


@pytest.mark.slow
def test_operations_come_in_the_order_of_the_policy():
    keys, images = keys_of(16), jnp.ones((16, 8, 8, 1))
    first, last = (augment(keys, images, p) for p in (("cutout", "color"), ("color", "cutout")))
    holes = np.asarray(augment(keys, images, ("cutout",))) == 0.0
    np.testing.assert_array_equal(np.asarray(last)[holes], 0.0)
    assert np.abs(np.asarray(first)[holes]).mean() > 0.1


def test_translation_has_a_gradient_of_one_where_a_pixel_stays():
    keys, images = keys_of(), images_of()
    gradient = jax.grad(lambda images: augment(keys, images, ("translation",)).sum())(images)
    assert set(np.unique(gradient)) == {0.0, 1.0}


# Mistakes.


@pytest.mark.parametrize("policy", ["color", ("colour",), ("color", "color")])
def test_bad_policy_names_the_field(policy):
    with pytest.raises(ConfigError, match=r"augment\.policy = .*accepted: a tuple of color, trans"):
        check_policy("augment.policy", policy, ALL)


def test_a_mistyped_operation_has_a_suggestion():
    with pytest.raises(ConfigError, match=r'Did you mean "cutout"\?'):
        diffaug.diff_augment(keys_of(), images_of(), ("cut_out",))


def test_what_is_no_batch_of_images_is_refused():
    keys = keys_of()
    with pytest.raises(ValueError, match=r"only floating images .* float32 \(4, 2\)"):
        diffaug.diff_augment(keys, jnp.ones((4, 2)), ALL)
    with pytest.raises(ValueError, match=r"only floating images .* uint8"):
        diffaug.diff_augment(keys, jnp.ones((4, 8, 8, 3), jnp.uint8), ALL)
    with pytest.raises(ValueError, match=r"one key per image, shape \(4,\); got \(3,\)"):
        diffaug.diff_augment(keys[:3], images_of(), ALL)
