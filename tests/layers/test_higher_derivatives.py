"""What a gradient penalty asks of every layer: the gradient of a squared gradient.

It must be right where it is smooth, and finite where it is not or nearly not: at images of one
colour, where variances are 0, and at images of zeros, where norms are.
"""

import importlib
import inspect
import pkgutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gan_jax.layers
from gan_jax.layers.activation import PReLU
from gan_jax.layers.attention import SelfAttention
from gan_jax.layers.conditional import ConditionalBatchNorm, LinearBatchNorm
from gan_jax.layers.convolution import Conv, ConvTranspose
from gan_jax.layers.equalized import EqualizedConv, EqualizedDense
from gan_jax.layers.minibatch import MinibatchDiscrimination, MinibatchStddev
from gan_jax.layers.modulated import ModulatedConv
from gan_jax.layers.normalization import (
    BatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LocalResponseNorm,
    PixelNorm,
)
from gan_jax.layers.spectral import (
    SpectralConv,
    SpectralDense,
    SpectralEmbed,
)
from gan_jax.layers.weight_norm import WeightConv, WeightConvTranspose

SHAPE = (4, 4, 4, 8)
LABELS = jnp.array([0, 2, 2, 1], jnp.int32)
VECTORS = jnp.array([[0.5, -1.0], [1.0, 0.0], [-0.5, 2.0], [0.0, 1.0]], jnp.float32)


class Projection(nn.Module):
    """Inner products of features with rows of a table, as in a projection discriminator."""

    @nn.compact
    def __call__(self, x):
        return x * SpectralEmbed(3, x.shape[-1])(LABELS)[:, None, None]


class Flat(nn.Module):
    """A layer of vectors, on images."""

    layer: nn.Module

    @nn.compact
    def __call__(self, x):
        return self.layer(x.reshape(x.shape[0], -1))


# Every layer, and what it is called with after the images.
LAYERS = {
    "conv": (Conv(6), ()),
    "conv, strided": (Conv(6, (4, 4), (2, 2)), ()),
    "conv, pooled": (Conv(6, pool=True), ()),
    "conv, upsampled": (Conv(6, upsample=True), ()),
    "conv, transposed": (ConvTranspose(6), ()),
    "equalized conv": (EqualizedConv(6), ()),
    "equalized dense": (Flat(EqualizedDense(6)), ()),
    "modulated conv": (ModulatedConv(6), (VECTORS,)),
    "modulated conv, transposed": (ModulatedConv(6, upsample=True), (VECTORS,)),
    "spectral conv": (SpectralConv(6), ()),
    "spectral dense": (Flat(SpectralDense(6)), ()),
    "spectral embed": (Projection(), ()),
    "weight-normalized conv": (WeightConv(6), ()),
    "weight-normalized conv, transposed": (WeightConvTranspose(6), ()),
    "batch norm": (BatchNorm(), (True,)),
    "conditional batch norm": (ConditionalBatchNorm(3), (LABELS, True)),
    "linear batch norm": (LinearBatchNorm(), (VECTORS, True)),
    "layer norm": (LayerNorm(), ()),
    "instance norm": (InstanceNorm(), ()),
    "group norm": (GroupNorm(2), ()),
    "pixel norm": (PixelNorm(), ()),
    "local response norm": (LocalResponseNorm(alpha=1.0), ()),
    "minibatch discrimination": (Flat(MinibatchDiscrimination(5, 3)), ()),
    "minibatch stddev": (MinibatchStddev(), ()),
    "attention": (SelfAttention(), (True,)),
    "prelu": (PReLU(), ()),
}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_no_layer_is_left_out():
    tested = {type(getattr(layer, "layer", layer)).__name__ for layer, _ in LAYERS.values()}
    packages = pkgutil.iter_modules(gan_jax.layers.__path__, "gan_jax.layers.")
    there = {
        name
        for package in packages
        for name, thing in vars(importlib.import_module(package.name)).items()
        if inspect.isclass(thing) and thing.__module__ == package.name and name[0] != "_"
    }
    assert "MinibatchStddev" in there
    # The base, what is in `Projection`, and one whose gradients, on purpose, are not of its value.
    assert there - tested == {"Module", "SpectralEmbed", "DirectionDense"}


def prepared(name, dtype):
    """Return parameters and the penalty as a function of them and of images."""
    layer, arguments = LAYERS[name]
    if dtype is not None:
        inner = layer.layer.clone(dtype=dtype) if isinstance(layer, Flat) else None
        layer = Flat(inner) if inner is not None else layer.clone(dtype=dtype)
    images = jnp.asarray(normal(*SHAPE))
    variables = jax.jit(lambda key: layer.init(key, images, *arguments))(jax.random.key(1))
    params, state = variables.pop("params", {}), variables
    # Away from what layers start with, such as an attention that is not listened to.
    params = jax.tree.map(lambda leaf: leaf + 0.3 * normal(*leaf.shape, seed=2), params)
    # What comes before the layer is trained, too; it starts as the identity, so that images of one
    # colour remain so.
    params = {"layer": params, "before": jnp.eye(SHAPE[-1]), "bias": jnp.zeros(SHAPE[-1])}

    def score(params, images):
        x = jnp.einsum("nhwc,cd->nhwd", images, params["before"]) + params["bias"]
        x = x if dtype is None else x.astype(dtype)
        y = layer.apply({"params": params["layer"], **state}, x, *arguments).astype(jnp.float32)
        return jnp.sum(normal(*y.shape, seed=3) * jnp.tanh(y))

    def penalty(params, images):
        return jnp.sum(jnp.square(jax.grad(score, 1)(params, images)))

    return params, jax.jit(jax.value_and_grad(penalty))


def assert_finite(value, gradient, what):
    assert np.isfinite(value), what
    for leaf in jax.tree.leaves(gradient):
        # Of the square, too: Adam takes it.
        assert np.isfinite(np.square(np.asarray(leaf, np.float32))).all(), what


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_gradient_of_the_squared_input_gradient(name):
    params, penalty = prepared(name, None)
    images = jnp.asarray(normal(*SHAPE))
    value, gradient = penalty(params, images)
    assert_finite(value, gradient, "random images")

    # Along the gradient, against differences of the penalty.
    length = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(gradient)))
    assert length > 1e-3
    step = np.float32(2e-3)
    ahead, behind = (
        penalty(jax.tree.map(lambda p, g, s=s: p + s / length * g, params, gradient), images)[0]
        for s in (step, -step)
    )
    np.testing.assert_allclose((ahead - behind) / (2 * step), length, rtol=0.02)

    for colour in (0.0, 0.5, -1.0):
        assert_finite(*penalty(params, jnp.full(SHAPE, colour)), f"images of {colour}")
    few = jnp.asarray(np.repeat(normal(1, *SHAPE[1:]), SHAPE[0], axis=0))
    assert_finite(*penalty(params, few), "equal images")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "spectral conv",
        "batch norm",
        "layer norm",
        "pixel norm",
        "local response norm",
        "minibatch discrimination",
        "minibatch stddev",
        "attention",
    ],
)
def test_it_is_finite_in_bfloat16(name):
    """Of the layers with a root, a quotient or an exponential."""
    params, penalty = prepared(name, jnp.bfloat16)
    assert_finite(*penalty(params, jnp.asarray(normal(*SHAPE))), "random images")
    for colour in (0.0, 0.5, -1.0):
        assert_finite(*penalty(params, jnp.full(SHAPE, colour)), f"images of {colour}")
