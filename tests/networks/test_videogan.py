"""VideoGAN's networks: the paper's sizes, and how foreground and background make a video."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError
from gan_jax.networks.registry import make

SHAPE = (8, 16, 16, 1)


def kernels(role, shape, **fields):
    """Return the shapes of all kernels at the paper's widths: traced, not computed."""
    module = make(role, "videogan", shape=shape, **fields)
    x = jnp.zeros((1, *shape) if role == "discriminator" else (1, module.latent_dim))
    params = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    return {name: layer["kernel"].shape for name, layer in params.items() if "kernel" in layer}


def test_networks_have_the_papers_layers():
    shape = (32, 64, 64, 3)
    time, space = (4, 4, 4), (4, 4)
    found = kernels("generator", shape)
    assert found == {
        "foreground_dense": (100, 2 * 4 * 4 * 512),
        "foreground_1_convolution": (*time, 512, 256),
        "foreground_2_convolution": (*time, 256, 128),
        "foreground_3_convolution": (*time, 128, 64),
        "foreground_convolution": (*time, 64, 3),
        "mask_convolution": (*time, 64, 1),
        "background_dense": (100, 4 * 4 * 512),
        "background_1_convolution": (*space, 512, 256),
        "background_2_convolution": (*space, 256, 128),
        "background_3_convolution": (*space, 128, 64),
        "background_convolution": (*space, 64, 3),
    }
    assert kernels("discriminator", shape) == {
        "Conv_0": (*time, 3, 64),
        "Conv_1": (*time, 64, 128),
        "Conv_2": (*time, 128, 256),
        "Conv_3": (*time, 256, 512),
        "Dense_0": (2 * 4 * 4 * 512, 1),
    }


@pytest.fixture(scope="module")
def generated():
    """A small generator's videos, as a function of its mask's bias; its kernel is 0."""
    module = make("generator", "videogan", shape=SHAPE, latent_dim=4, features=4)
    z = jax.random.normal(jax.random.key(1), (3, 4))
    variables = jax.jit(module.init)(jax.random.key(0), z)

    @jax.jit
    def videos(bias):
        params = jax.tree.map(lambda x: x, variables["params"])
        for name, layer in params.items():
            if name.endswith("_convolution"):  # Weights start near 0: too little to be seen.
                layer["kernel"] *= 0.0 if name == "mask_convolution" else 30.0
        params["mask_convolution"]["bias"] += bias
        own = {**variables, "params": params}
        return module.apply(own, z, train=True, mutable=["batch_stats"])[0]

    return videos


def test_the_mask_mixes_a_moving_foreground_with_a_still_background(generated):
    foreground, background, half = generated(50.0), generated(-50.0), generated(0.0)
    chex.assert_shape(foreground, (3, *SHAPE))
    chex.assert_trees_all_close(background, jnp.broadcast_to(background[:, :1], (3, *SHAPE)))
    assert float(jnp.std(foreground, axis=1).max()) > 0.1
    assert float(jnp.abs(background).max()) > 0.1
    chex.assert_trees_all_close(half, (foreground + background) / 2, atol=1e-6)
    # Nothing of the background shines through a foreground: at each pixel it is a tanh.
    other = background - foreground
    assert float(jnp.abs(foreground).max()) <= 1
    chex.assert_trees_all_close(generated(math.log(3.0)), foreground + other / 4, atol=1e-6)


def test_a_generator_without_background_has_one_stream():
    found = kernels("generator", SHAPE, features=4, background=False)
    assert sorted(found) == [
        "foreground_1_convolution",
        "foreground_convolution",
        "foreground_dense",
    ]


def test_the_discriminator_sees_the_order_of_frames():
    module = make("discriminator", "videogan", shape=SHAPE, features=4, normalization="none")
    x = jax.random.normal(jax.random.key(1), (2, *SHAPE))
    variables = jax.jit(module.init)(jax.random.key(0), x)
    score = jax.jit(lambda x: module.apply(variables, x))
    scores, reversed_ = score(x), score(x[:, ::-1])
    assert scores.shape == (2,)
    assert not np.allclose(scores, reversed_, atol=1e-6)


@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_refused_shapes_are_explained(role):
    with pytest.raises(ConfigError, match=r"videos, but one data point has shape \(16, 16, 1\)"):
        make(role, "videogan", shape=(16, 16, 1))
    with pytest.raises(ConfigError, match=r"6 frames; accepted by videogan.*a multiple of 4"):
        make(role, "videogan", shape=(6, 16, 16, 1))
    with pytest.raises(ConfigError, match=r"data\.resolution = 4 cannot be made by videogan"):
        make(role, "videogan", shape=(4, 4, 4, 1))
