"""StyleGAN's generator: its count, written out, and how it grows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gan_jax.layers.resample import upsample_binomial, upsample_nearest
from gan_jax.networks.progan import GROWTH
from gan_jax.networks.registry import make
from gan_jax.networks.styles import AVERAGE

SHAPE = (8, 12, 2)
FIELDS = {"features": 1, "max_features": 6, "style_dim": 5, "mapping_layers": 2, "latent_dim": 3}


def test_the_network_for_1024x1024_has_the_published_number_of_parameters():
    module = make("generator", "stylegan1", shape=(1024, 1024, 3))
    variables = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 512)))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 26_219_627
    started = module.init(jax.random.key(0), jnp.zeros((1, 512)), method="styles")
    assert started[GROWTH]["level"] == 8.0


@functools.cache
def network(stage=None):
    return make("generator", "stylegan1", shape=SHAPE, stage=stage, **FIELDS)


@functools.cache
def params():
    fresh = jax.eval_shape(network().init, jax.random.key(0), jnp.zeros((1, 3)))["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), fresh)


@functools.partial(jax.jit, static_argnames="stage")
def synthesized(level, styles, keys=None, stage=None):
    growth = {GROWTH: {"level": level}, AVERAGE: {"mean": jnp.zeros(5)}}
    return network(stage).apply({"params": params(), **growth}, styles, keys, method="synthesize")


def styles(layers):
    return np.random.default_rng(2).normal(size=(2, layers, 5)).astype(np.float32)


def convolved(x, layer, gain):
    kernel = layer["kernel"] * gain / np.sqrt(np.prod(layer["kernel"].shape[:-1]))
    dimensions = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=dimensions)
    return y + layer.get("bias", 0.0)


def test_each_layer_is_normalized_and_scaled_and_moved_by_its_style():
    own, given = params()["synthesis"], styles(4)

    def styled(x, index):
        layer = own[f"styled_{index}"]
        x = x + layer["bias"]
        x = jnp.where(x > 0, x, 0.2 * x)
        x = x - x.mean((1, 2), keepdims=True)
        x = x / np.sqrt(np.square(x).mean((1, 2), keepdims=True) + 1e-8)
        affine = given[:, index] @ layer["affine"]["kernel"] / np.sqrt(5) + layer["affine"]["bias"]
        scale, shift = np.split(np.asarray(affine)[:, None, None], 2, -1)
        return (1 + scale) * x + shift

    assert own["constant"].shape == (4, 6, 6)
    x = styled(jnp.broadcast_to(own["constant"], (2, 4, 6, 6)), 0)
    x = styled(convolved(x, own["conv_1"], 2**0.5), 1)
    coarse = convolved(x, own["rgb_0"], 1.0)
    x = styled(convolved(upsample_binomial(x), own["conv_2"], 2**0.5), 2)
    x = styled(convolved(x, own["conv_3"], 2**0.5), 3)
    expected = 0.7 * upsample_nearest(coarse) + 0.3 * convolved(x, own["rgb_1"], 1.0)
    np.testing.assert_allclose(synthesized(0.3, given), expected, rtol=1e-3, atol=1e-3)


def test_a_stage_is_the_whole_network_at_its_level_and_has_styles_of_its_layers_alone():
    small = synthesized(0.0, styles(4)[:, :2], stage=0)
    assert small.shape == (2, 4, 6, 2)
    np.testing.assert_allclose(synthesized(0.0, styles(4)), upsample_nearest(small), rtol=1e-4)
    found = synthesized(0.3, styles(4), stage=1)
    np.testing.assert_allclose(synthesized(0.3, styles(4)), found, rtol=1e-4, atol=1e-5)
    assert [network(stage).layers for stage in (0, 1, None)] == [2, 4, 4]


def test_noise_has_a_strength_for_each_channel():
    own = params()["synthesis"]
    for index in range(4):
        assert own[f"styled_{index}"]["Noise_0"]["strength"].shape == (6,)
    keys = jax.random.split(jax.random.key(0), 2)
    noisy = synthesized(1.0, styles(4), keys)
    assert np.abs(noisy - synthesized(1.0, styles(4))).max() > 0.1
