"""Pixel losses: closed forms, PyTorch's, weights, gradients where nothing differs, mistakes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from gan_jax.errors import ConfigError
from gan_jax.losses import reconstruction
from gan_jax.losses.reconstruction import charbonnier, l1, l2, make_pixel_loss, total_variation

LOSSES = {"l1": l1, "l2": l2, "charbonnier": charbonnier}


def images_of(seed, shape=(3, 5, 4, 2)):
    return jax.random.uniform(jax.random.key(seed), shape, jnp.float32, -1.0, 1.0)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_closed_forms_per_image(wrap):
    reference = images_of(0)
    images = reference + jnp.asarray([0.5, -0.25, 0.0], jnp.float32)[:, None, None, None]
    np.testing.assert_allclose(wrap(l1)(images, reference), [0.5, 0.25, 0.0], rtol=1e-6)
    np.testing.assert_allclose(wrap(l2)(images, reference), [0.25, 0.0625, 0.0], rtol=1e-6)
    np.testing.assert_allclose(
        wrap(charbonnier)(images, reference), np.hypot([0.5, 0.25, 0.0], 1e-3), rtol=1e-6
    )
    np.testing.assert_allclose(
        charbonnier(images, reference, eps=0.5), np.hypot([0.5, 0.25, 0.0], 0.5), rtol=1e-6
    )


def test_values_are_pytorchs():
    torch = pytest.importorskip("torch", reason="PyTorch is the reference (extra: parity)")
    images, reference = images_of(0), images_of(1)
    theirs = [torch.from_numpy(np.array(x)) for x in (images, reference)]
    for ours, function in ((l1, torch.nn.functional.l1_loss), (l2, torch.nn.functional.mse_loss)):
        expected = function(*theirs, reduction="none").mean((1, 2, 3))
        np.testing.assert_allclose(ours(images, reference), expected, rtol=1e-6)
    # sqrt(x^2 + eps^2) is eps (1 + the smooth pseudo-Huber loss); PyTorch has the piecewise one
    # only, to which it is equal where errors are large, but for terms of eps / error.
    huber = torch.nn.functional.smooth_l1_loss(*theirs, reduction="none", beta=1e-6)
    np.testing.assert_allclose(
        charbonnier(images, reference, eps=1e-4), huber.mean((1, 2, 3)), atol=1e-5
    )


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_weights_make_a_weighted_mean_of_each_image(loss):
    images, reference = images_of(0), images_of(1)
    # Of single pixels without weights.
    errors = np.asarray(loss(images.reshape(-1, 1), reference.reshape(-1, 1)), np.float64).reshape(
        images.shape
    )
    per_pixel = jnp.abs(images_of(2, (3, 5, 4, 1)))
    for weights in (per_pixel, jnp.abs(images_of(3)), jnp.abs(images_of(4, (3, 1, 1, 2)))):
        w = np.broadcast_to(np.asarray(weights, np.float64), images.shape)
        expected = (w * errors).sum((1, 2, 3)) / w.sum((1, 2, 3))
        np.testing.assert_allclose(loss(images, reference, weights), expected, rtol=1e-5)
        # Their scale is nothing, also per image.
        scales = jnp.asarray([0.01, 1.0, 70.0], jnp.float32)[:, None, None, None]
        np.testing.assert_allclose(loss(images, reference, weights * scales), expected, rtol=1e-5)
    ones = jnp.ones((3, 5, 4, 1), jnp.float32)
    np.testing.assert_allclose(loss(images, reference, ones), loss(images, reference), rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_outside_a_hole_nothing_counts_and_an_image_without_one_costs_nothing(loss):
    images, reference = images_of(0), images_of(1)
    hole = jnp.zeros((3, 5, 4, 1), jnp.float32).at[:2, 1:3, 1:3].set(1.0)

    def total(images):
        values = loss(images, reference, hole)
        return values.sum(), values

    gradient, values = jax.grad(total, has_aux=True)(images)
    np.testing.assert_allclose(
        values[:2], loss(images[:2, 1:3, 1:3], reference[:2, 1:3, 1:3]), rtol=1e-6
    )
    assert values[2] == 0.0
    assert np.all(np.asarray(gradient)[np.broadcast_to(hole == 0.0, images.shape)] == 0.0)
    assert np.all(np.asarray(gradient)[:2, 1:3, 1:3] != 0.0)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_gradients(loss):
    images, reference = images_of(0), images_of(1)
    check_grads(lambda x: loss(x, reference), (images,), 1, atol=1e-2, rtol=1e-2, eps=1e-3)

    def slope(x):
        return jnp.square(jax.grad(lambda x: loss(x, reference).sum())(x)).sum()

    assert bool(jnp.isfinite(jax.grad(slope)(reference)).all())
    at_equality = jax.grad(lambda x: loss(x, reference).sum())(reference)
    np.testing.assert_array_equal(at_equality, jnp.zeros_like(reference))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_bfloat16_is_compared_in_float32(loss):
    images, reference = jnp.full((1, 3), 100.5, jnp.bfloat16), jnp.full((1, 3), 1.0, jnp.bfloat16)
    value = loss(images, reference)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, {l2: 99.5**2}.get(loss, 99.5), rtol=1e-6)


def test_total_variation_by_hand():
    image = jnp.asarray([[0.0, 1.0, 1.0], [0.0, 0.5, -1.0]], jnp.float32)[None, :, :, None]
    # Down: 0 + 0.5 + 2; right: 1 + 0 and 0.5 + 1.5; six entries.
    np.testing.assert_allclose(total_variation(image), [5.5 / 6], rtol=1e-6)
    both = jnp.concatenate([image, 3.0 * image], axis=3)
    np.testing.assert_allclose(total_variation(both), [22.0 / 12], rtol=1e-6)


@pytest.mark.slow
def test_total_variation_of_what_does_not_vary():
    flat = jnp.full((2, 4, 5, 3), 0.3, jnp.float32)
    np.testing.assert_array_equal(total_variation(flat), [0.0, 0.0])
    np.testing.assert_array_equal(
        jax.grad(lambda x: total_variation(x).sum())(flat), jnp.zeros_like(flat)
    )
    images = images_of(0)
    np.testing.assert_allclose(total_variation(images + 1.0), total_variation(images), rtol=1e-5)
    np.testing.assert_allclose(total_variation(-2.0 * images), 2.0 * total_variation(images))
    np.testing.assert_array_equal(total_variation(jnp.ones((2, 1, 1, 3), jnp.float32)), [0.0, 0.0])


def test_losses_by_name():
    images, reference = images_of(0), images_of(1)
    assert set(reconstruction.PIXEL_LOSSES) == set(LOSSES)
    for name, loss in LOSSES.items():
        np.testing.assert_array_equal(
            make_pixel_loss(name)(images, reference), loss(images, reference)
        )
    made = make_pixel_loss("charbonnier", eps=0.3)
    weights = jnp.abs(images_of(2))
    np.testing.assert_array_equal(
        made(images, reference, weights), charbonnier(images, reference, weights, eps=0.3)
    )
    assert make_pixel_loss("l1", eps=None) is l1


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("l3", {}, "reconstruction.name = 'l3' is unknown; accepted: charbonnier, l1, l2"),
        ("l1", {"eps": 0.1}, "reconstruction.l1.eps = 0.1 is unknown; accepted: none"),
        ("charbonnier", {"epsilon": 1}, 'charbonnier.epsilon = 1 is unknown.*Did you mean "eps"'),
        ("charbonnier", {"eps": 0.0}, "reconstruction.charbonnier.eps = 0.0"),
        ("charbonnier", {"eps": -1.0}, "reconstruction.charbonnier.eps = -1.0"),
        ("charbonnier", {"eps": "small"}, "reconstruction.charbonnier.eps = 'small'"),
    ],
)
def test_mistakes_in_settings_name_the_field(name, options, message):
    with pytest.raises(ConfigError, match=message):
        make_pixel_loss(name, **options)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_arrays_that_would_be_broadcast_are_refused(loss):
    images = images_of(0)
    with pytest.raises(ValueError, match=r"\(3, 5, 4, 2\) and reference images \(3, 5, 4, 1\)"):
        loss(images, images[..., :1])
    with pytest.raises(ValueError, match="reference images have dtype uint8"):
        loss(images, images.astype(jnp.uint8))
    with pytest.raises(ValueError, match=r"images have shape \(3,\)"):
        loss(images[:, 0, 0, 0], images[:, 0, 0, 0])
    for wrong in ((3, 5, 4), (1, 5, 4, 1), (3, 4, 4, 1), (3, 5, 4, 3)):
        with pytest.raises(ValueError, match=r"weights have shape .* for images \(3, 5, 4, 2\)"):
            loss(images, images, jnp.ones(wrong, jnp.float32))
    with pytest.raises(ValueError, match="weights have dtype bool"):
        loss(images, images, jnp.ones((3, 5, 4, 1), bool))
    with pytest.raises(ValueError, match=r"accepted: \[batch, height, width, channels\]"):
        total_variation(images[..., 0])
