"""R3GAN's networks: counts by hand, parity of a block with PyTorch, and how they start."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError
from gan_jax.layers.resample import downsample_binomial, upsample_binomial
from gan_jax.networks.r3gan import Block
from gan_jax.networks.registry import make

SMALL = {"features": (8, 4), "blocks": 1, "group_size": 4}


def count(role):
    module = make(role, "r3gan", shape=(32, 32, 3))
    x = jnp.zeros((1, 32, 32, 3) if role == "discriminator" else (1, 64))
    params = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_the_networks_for_cifar_have_the_parameters_of_the_paper_s_layers():
    # Eight blocks of 768 channels, 1,536 inside, in 96 groups of 16; two biases each.
    blocks = 8 * (2 * 768 * 1536 + 9 * 16 * 1536 + 2 * 1536)
    assert count("generator") == 4 * 4 * 768 + 64 * 768 + blocks + 768 * 3
    assert count("discriminator") == 3 * 768 + blocks + 4 * 4 * 768 + 768


def randomized(variables):
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32) / 3, variables)


def test_a_block_computes_what_pytorch_does():
    torch = pytest.importorskip("torch", reason="PyTorch is the reference (extra: parity)")
    block = Block(hidden=12, groups=3, blocks=1)
    x = np.random.default_rng(1).normal(size=(2, 5, 4, 6)).astype(np.float32)
    variables = randomized(jax.eval_shape(block.init, jax.random.key(0), x))
    kernels = {
        name: torch.tensor(layer["kernel"].transpose(3, 2, 0, 1))
        for name, layer in variables["params"].items()
    }
    biases = {name: layer.get("bias") for name, layer in variables["params"].items()}
    rectify = functools.partial(torch.nn.functional.leaky_relu, negative_slope=0.2)
    y = given = torch.tensor(x.transpose(0, 3, 1, 2))
    for name, options in (("Conv_0", {}), ("Conv_1", {"padding": 1, "groups": 3})):
        bias = torch.tensor(biases[name])
        y = rectify(torch.nn.functional.conv2d(y, kernels[name], bias, **options))
    y = given + torch.nn.functional.conv2d(y, kernels["Conv_2"])
    assert biases["Conv_2"] is None
    expected = y.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(block.apply(variables, x), expected, rtol=1e-4, atol=1e-5)


def test_a_block_starts_as_the_identity_with_weights_that_shrink_with_the_number_of_blocks():
    x = np.random.default_rng(1).normal(size=(1, 4, 4, 64)).astype(np.float32)
    block = Block(hidden=128, groups=2, blocks=16)
    variables = block.init(jax.random.key(0), x)
    np.testing.assert_array_equal(block.apply(variables, x), x)
    # He's standard deviation for a slope of 0.2, over the fourth root of 16 blocks.
    for name, inputs in (("Conv_0", 64), ("Conv_1", 9 * 64)):
        deviation = (2 / 1.04 / inputs) ** 0.5 / 2
        kernel = variables["params"][name]["kernel"]
        np.testing.assert_allclose(np.std(kernel), deviation, rtol=0.05)


def started(role, **fields):
    """Return a network of 8x8 images, some inputs, its parameters and 1x1 kernels at the start."""
    module = make(role, "r3gan", shape=(8, 8, 1), **fields)
    shape = (2, 3) if role == "generator" else (2, 8, 8, 1)
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    params = jax.jit(module.init)(jax.random.key(0), x)["params"]
    return module, x, params, [params[f"Conv_{i}"]["kernel"][0, 0] for i in (0, 1)]


def test_the_generator_starts_linear_in_the_latent_and_is_not_limited():
    module, z, params, (narrow, to_image) = started("generator", latent_dim=3, **SMALL)
    z *= 100
    scaled = params["basis"] * (z @ params["Dense_0"]["kernel"])[:, None, None]
    expected = upsample_binomial(scaled @ narrow) @ to_image
    images = module.apply({"params": params}, z)
    np.testing.assert_allclose(images, expected, rtol=1e-4, atol=1e-3)
    assert np.abs(images).max() > 2


def test_the_discriminator_starts_linear_in_the_image():
    module, x, params, (from_image, wide) = started("discriminator", **SMALL)
    last = downsample_binomial(x @ from_image) @ wide
    sums = np.sum(last * params["pool"], (1, 2))
    expected = (sums @ params["Dense_0"]["kernel"])[:, 0]
    scores = module.apply({"params": params}, x)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_weights_shrink_with_the_blocks_of_the_whole_network():
    fields = {"features": (64, 32), "blocks": 2, "group_size": 64}
    params = started("discriminator", **fields)[2]
    for block, inputs in enumerate((32, 32, 64, 64)):
        kernel = params[f"Block_{block}"]["Conv_0"]["kernel"]
        np.testing.assert_allclose(np.std(kernel), (2 / 1.04 / inputs) ** 0.5 / 4**0.25, rtol=0.08)


@pytest.mark.parametrize(
    ("role", "fields", "message"),
    [
        ("generator", {"group_size": 3}, r"group_size = 3 for blocks of the width 2 \* 8; accep"),
        ("generator", {"features": (8, 4, 4)}, r"\(8, 4, 4\) cannot work; accepted: a tuple of 2"),
        ("generator", {"blocks": 0}, "generator.r3gan.blocks = 0"),
        ("discriminator", {"minibatch": "stddev"}, "minibatch = 'stddev' is unknown; accepted: no"),
    ],
)
def test_a_field_that_cannot_work_is_named(role, fields, message):
    with pytest.raises(ConfigError, match=message):
        make(role, "r3gan", shape=(8, 8, 1), **{**SMALL, **fields})
