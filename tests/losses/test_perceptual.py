"""The perceptual distance: closed forms, layers, unit length, gradients, registered extractors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from gan_jax.data.device import to_float
from gan_jax.errors import ConfigError, MetricError
from gan_jax.losses.perceptual import from_extractor, perceptual
from gan_jax.losses.reconstruction import l2
from gan_jax.metrics import classifier, inception
from gan_jax.metrics.extractors import from_function
from tests.metrics import stub


def images_of(seed, shape=(3, 8, 8, 2)):
    return jax.random.uniform(jax.random.key(seed), shape, jnp.float32, -1.0, 1.0)


def two_layers(images):
    """A map of features and a vector of them, both nonlinear."""
    rows = jnp.linspace(-1.0, 1.0, 10, dtype=jnp.float32).reshape(2, 5)
    spatial = jnp.tanh(jnp.einsum("bhwc,cd->bhwd", images, rows))
    return {"map": spatial, "vector": jnp.sin(spatial.mean((1, 2)) * 4.0)}


def test_pixels_as_features_are_the_squared_error():
    images, reference = images_of(0), images_of(1)
    np.testing.assert_allclose(
        perceptual(lambda x: [x], images, reference), l2(images, reference), rtol=1e-6
    )
    flat = perceptual(lambda x: {"flat": x.reshape(3, -1)}, images, reference)
    np.testing.assert_allclose(flat, l2(images, reference), rtol=1e-6)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_layers_are_averaged_or_weighted(wrap):
    images, reference = images_of(0), images_of(1)

    def of(**options):
        return wrap(functools.partial(perceptual, two_layers, **options))(images, reference)

    seen, wanted = two_layers(images), two_layers(reference)
    spatial = np.square(seen["map"] - wanted["map"]).mean((1, 2, 3))
    vector = np.square(seen["vector"] - wanted["vector"]).mean(1)
    np.testing.assert_allclose(of(), (spatial + vector) / 2, rtol=1e-5)
    np.testing.assert_allclose(
        of(weights={"vector": 3.0, "map": 1.0}), (spatial + 3 * vector) / 4, rtol=1e-5
    )
    np.testing.assert_allclose(of(weights={"vector": 0.0, "map": 2.0}), spatial, rtol=1e-5)
    listed = functools.partial(
        perceptual, lambda x: tuple(two_layers(x).values()), weights=(1.0, 3.0)
    )
    np.testing.assert_allclose(
        wrap(listed)(images, reference), (spatial + 3 * vector) / 4, rtol=1e-5
    )


def test_unit_length_compares_directions():
    images, reference = images_of(0), images_of(1)
    seen, wanted = (np.asarray(two_layers(x)["map"], np.float64) for x in (images, reference))
    cosines = (seen * wanted).sum(-1)
    cosines /= np.linalg.norm(seen, axis=-1) * np.linalg.norm(wanted, axis=-1)
    # Of unit vectors the squared distance is 2 - 2 cos.
    found = perceptual(lambda x: [two_layers(x)["map"]], images, reference, normalize=True)
    np.testing.assert_allclose(found, (2 - 2 * cosines).mean((1, 2)), rtol=1e-4)
    vectors = perceptual(lambda x: [x.reshape(3, -1)], images, 2.0 * images, normalize=True)
    np.testing.assert_allclose(vectors, 0.0, atol=1e-10)
    opposite = perceptual(lambda x: [x.reshape(3, -1)], images, -images, normalize=True)
    np.testing.assert_allclose(opposite, 4.0, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("normalize", [False, True])
def test_features_of_zero_have_finite_gradients(normalize):
    zeros, other = jnp.zeros((2, 4, 4, 3), jnp.float32), images_of(0, (2, 4, 4, 3))

    def loss(images, reference):
        return perceptual(lambda x: [x], images, reference, normalize=normalize).sum()

    for images, reference in ((zeros, zeros), (zeros, other), (other, zeros), (other, other)):
        value, gradient = jax.value_and_grad(loss)(images, reference)
        assert bool(jnp.isfinite(gradient).all())
        if images is reference:
            assert value == 0.0
            np.testing.assert_array_equal(gradient, jnp.zeros_like(gradient))
        elif reference is other:
            assert bool((gradient != 0.0).any())
        second = jax.grad(lambda x, r=reference: jnp.square(jax.grad(loss)(x, r)).sum())(images)
        assert bool(jnp.isfinite(second).all())


@pytest.mark.parametrize("normalize", [False, True])
def test_gradients_are_those_of_the_value(normalize):
    images, reference = images_of(0), images_of(1)
    check_grads(
        jax.jit(lambda x: perceptual(two_layers, x, reference, normalize=normalize)),
        (images,),
        1,
        modes=["rev"],
        atol=1e-2,
        rtol=1e-2,
        eps=1e-2,
    )


def test_no_gradient_goes_into_the_reference_nor_through_its_features():
    images, reference = images_of(0), images_of(1)

    def loss(scale, reference):
        return perceptual(lambda x: [scale * x], images, reference).sum()

    scale = jnp.float32(2.0)
    gradient, of_reference = jax.jit(jax.grad(loss, (0, 1)))(scale, reference)
    np.testing.assert_array_equal(of_reference, jnp.zeros_like(reference))
    # d/ds mean (s x - c)^2 at c = s y, summed over the images.
    expected = 2.0 * np.mean((2.0 * images - 2.0 * reference) * images, axis=(1, 2, 3)).sum()
    np.testing.assert_allclose(gradient, expected, rtol=1e-4)


def test_bfloat16_features_are_compared_in_float32():
    def extract(images):
        return [images.astype(jnp.bfloat16)]

    value = perceptual(
        extract, jnp.full((1, 2, 2, 1), 100.5, jnp.float32), jnp.ones((1, 2, 2, 1), jnp.float32)
    )
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, 99.5**2, rtol=1e-6)


def test_mistakes_are_refused():
    images = images_of(0)
    with pytest.raises(ValueError, match=r"\(3, 8, 8, 2\) and reference images \(2, 8, 8, 2\)"):
        perceptual(two_layers, images, images[:2])
    with pytest.raises(ValueError, match="no features"):
        perceptual(lambda x: {}, images, images)
    with pytest.raises(ValueError, match=r"layer 0 are float32\[8, 8, 3, 2\]; accepted: floating"):
        perceptual(lambda x: [jnp.moveaxis(x, 0, 2)], images, images)
    with pytest.raises(ValueError, match=r"layer 0 are int32\[3, 128\]"):
        perceptual(lambda x: [x.reshape(3, -1).astype(jnp.int32)], images, images)
    for weights in ({"map": 1.0}, {"map": 0.0, "vector": 0.0}, {"map": 2.0, "vector": -1.0}, [1.0]):
        with pytest.raises(ValueError, match="for the layers map, vector; accepted: one of each"):
            perceptual(two_layers, images, images, weights=weights)


# Registered extractors.


@pytest.fixture(scope="module")
def of_digits():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    images = (rng.integers(0, 100, (60, 8, 10, 3)) + 150 * labels[:, None, None, None]).astype(
        np.uint8
    )
    trained = classifier.train_classifier(images, labels, 2, steps=2)
    return classifier.make_extractor(trained), images[:4]


@pytest.fixture(scope="module")
def of_inception(tmp_path_factory):
    """Random weights up to the first layer."""
    rng = np.random.default_rng(0)
    weights = {
        name: (rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)
        for name, shape in inception.shapes("64").items()
    }
    path = tmp_path_factory.mktemp("inception") / "weights.npz"
    inception.save_weights(path, weights)
    images = rng.integers(0, 256, (2, 20, 24, 3), np.uint8)
    return inception.make_inception(path), images


@pytest.fixture(params=["of_digits", "of_inception"])
def made(request):
    return request.getfixturevalue(request.param)


@pytest.mark.slow
def test_an_extractor_sees_floats_as_it_sees_bytes(made):
    extractor, images = made
    layers = (extractor.default,)
    of_bytes = jax.jit(extractor.apply, static_argnums=2)(extractor.variables, images, layers)
    of_floats = jax.jit(extractor.of_floats, static_argnums=2)(
        extractor.variables, images.astype(np.float32), layers
    )
    # Two programs, in which XLA may sum in another order.
    np.testing.assert_allclose(of_floats[layers[0]], of_bytes[layers[0]], rtol=1e-5, atol=1e-6)
    found = jax.jit(from_extractor(extractor))(to_float(jnp.asarray(images)))
    assert list(found) == list(layers)
    scale = np.abs(of_bytes[layers[0]]).max()
    np.testing.assert_allclose(found[layers[0]], of_bytes[layers[0]], atol=1e-5 * scale)


@pytest.mark.slow
def test_gradients_flow_through_an_extractor_unquantised(made):
    extractor, images = made
    reference = to_float(jnp.asarray(images))
    extract = from_extractor(extractor)
    # Less than half a byte away, where rounding would see no difference.
    near = reference + 0.3 * (2.0 / 255.0)

    @jax.jit
    @jax.value_and_grad
    def loss(images, reference):
        return perceptual(extract, images, reference).sum()

    value, gradient = loss(near, reference)
    assert value > 0.0
    assert gradient.shape == reference.shape
    assert bool(jnp.isfinite(gradient).all())
    assert np.mean(np.asarray(gradient) != 0.0) > 0.5
    # A step down the gradient that should take off a twentieth.
    step = 0.05 * value / jnp.sum(jnp.square(gradient)) * gradient
    assert float(loss(near - step, reference)[0]) == pytest.approx(0.95 * float(value), rel=0.02)
    at_equality, none = loss(reference, reference)
    # Of the two networks only one is differentiated, so they are rounded differently.
    assert at_equality < 1e-6 * value
    assert float(jnp.abs(none).max()) < 1e-2 * float(jnp.abs(gradient).max())


def test_metrics_still_insist_on_bytes(made):
    extractor, images = made
    layers = (extractor.default,)
    with pytest.raises(MetricError, match=r"float32.*accepted: .*uint8"):
        extractor.apply(extractor.variables, images.astype(np.float32), layers)
    with pytest.raises(MetricError, match=r"uint8.*accepted: .*floats"):
        extractor.of_floats(extractor.variables, images, layers)


def test_layers_of_an_extractor(of_digits):
    extractor, images = of_digits
    extract = jax.jit(from_extractor(extractor, ["logits", "features"]))
    found = extract(to_float(jnp.asarray(images)))
    assert {layer: value.shape for layer, value in found.items()} == {
        "logits": (4, 2),
        "features": (4, 64),
    }
    with pytest.raises(
        ConfigError, match=r"'feature' of the extractor 'classifier' .*Did you mean"
    ):
        from_extractor(extractor, ["feature"])
    with pytest.raises(ConfigError, match=r"'classifier' = \(\); accepted: at least one"):
        from_extractor(extractor, [])


def test_extractors_of_bytes_alone_are_refused():
    only_bytes = from_function("mine", stub.quarters, width=4, weights="v1")
    with pytest.raises(ConfigError, match="'mine' looks at bytes only"):
        from_extractor(only_bytes)
