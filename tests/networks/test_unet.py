"""The U-Net: layers and parameters by hand, normalization, parity with PyTorch."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.networks.registry import make
from gan_jax.networks.unet import UNet
from tests.networks.pytorch import (
    conv,
    drawn,
    images_in,
    images_out,
    instance_norm,
    transposed,
)


def _params(module, *shape):
    return jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, *shape)))["params"]


def _kernels(params, kind):
    count = sum(name.startswith(f"{kind}_") for name in params)
    return [params[f"{kind}_{i}"]["kernel"].shape for i in range(count)]


def test_the_papers_network_at_256_pixels():
    """Section 6.1.1 of 1611.07004: C64-C128-C256-C512 x 5, then CD512 x 3-C512-C256-C128-C64.

    By concatenation, layers of the decoder after the first see twice what stands before them.
    """
    module = make("translator", "unet", shape=(256, 256, 3), outputs=3, levels=8, dropout_levels=3)
    params = _params(module, 256, 256, 3)
    down = [3, 64, 128, 256, 512, 512, 512, 512, 512]
    assert _kernels(params, "Conv") == [
        (4, 4, before, width) for before, width in itertools.pairwise(down)
    ]
    seen = [512, 1024, 1024, 1024, 1024, 512, 256, 128]
    made = [512, 512, 512, 512, 256, 128, 64, 3]
    assert _kernels(params, "ConvTranspose") == [
        (4, 4, before, width) for before, width in zip(seen, made, strict=True)
    ]
    kernels = 16 * sum(a * b for a, b in itertools.pairwise(down))
    kernels += 16 * sum(a * b for a, b in zip(seen, made, strict=True))
    biases = 64 + 512 + 3
    norms = 2 * (sum(down[2:-1]) + sum(made[:-1]))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == kernels + biases + norms
    # What the authors' code prints of it in millions.
    assert round((kernels + biases + norms) / 1e6, 3) == 54.415


def test_width_doubles_up_to_the_bound():
    module = make(
        "translator", "unet", shape=(32, 32, 1), outputs=1, levels=5, features=8, max_features=24
    )
    widths = [shape[-1] for shape in _kernels(_params(module, 32, 32, 1), "Conv")]
    assert widths == [8, 16, 24, 24, 24]


@pytest.mark.parametrize("normalization", ["instance", "batch", "layer", "group"])
def test_a_single_pixel_inside_is_not_normalized(normalization):
    """Nor is the first map; all others are, and have their only bias there."""
    module = UNet((16, 16, 3), 3, features=8, normalization=normalization)
    params = _params(module, 16, 16, 3)
    assert sum("Norm" in name for name in params) == 2 + 3
    with_bias = {name for name in params if "bias" in params[name] and "Norm" not in name}
    assert with_bias == {"Conv_0", "Conv_3", "ConvTranspose_3"}


@pytest.mark.parametrize("normalization", ["none", "instance"])
def test_a_single_pixel_inside_reaches_every_output(normalization):
    """Through it alone the first output sees the last input, and normalization leaves it so."""
    module = UNet((8, 8, 1), 1, levels=3, features=4, normalization=normalization)
    x = np.random.default_rng(0).uniform(-1, 1, size=(1, 8, 8, 1)).astype(np.float32)
    variables = drawn(module, x)
    slopes = jax.jit(jax.grad(lambda x: module.apply(variables, x)[0, 0, 0, 0]))(x)
    assert np.abs(slopes[0, -1, -1, 0]) > 0


def test_weights_start_from_the_papers_normal_distributions():
    module = UNet((8, 8, 3), 3, levels=3, features=32)
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]
    for layer in ("Conv_2", "ConvTranspose_1"):
        kernel = np.asarray(params[layer]["kernel"])
        np.testing.assert_allclose(kernel.std(), 0.02, rtol=0.02)
        np.testing.assert_allclose(kernel.mean(), 0.0, atol=5e-4)
    scales = np.concatenate([params[f"InstanceNorm_{i}"]["scale"] for i in range(3)])
    np.testing.assert_allclose(scales.mean(), 1.0, atol=0.01)
    np.testing.assert_allclose(scales.std(), 0.02, rtol=0.25)


@pytest.mark.parametrize("upsample", ["transposed", "nearest"])
def test_equals_pytorch(upsample):
    """Kernel 4, stride 2 is PyTorch's padding=1; rectifiers stand after the concatenation."""
    torch = pytest.importorskip("torch", reason="parity with PyTorch")
    module = UNet((16, 24, 3), 2, levels=3, features=6, upsample=upsample)
    x = np.random.default_rng(0).uniform(-1, 1, size=(2, 16, 24, 3)).astype(np.float32)
    variables = drawn(module, x)
    p = variables["params"]
    relu, leaky = torch.relu, lambda h: torch.nn.functional.leaky_relu(h, 0.2)

    def up(h, index):
        if upsample == "transposed":
            return transposed(torch, h, p[f"ConvTranspose_{index}"], padding=1)
        h = torch.nn.functional.interpolate(h, scale_factor=2, mode="nearest")
        return conv(torch, h, p[f"Conv_{index + 3}"], padding=1)

    first = conv(torch, images_in(torch, x), p["Conv_0"], 2, 1)
    second = instance_norm(torch, conv(torch, leaky(first), p["Conv_1"], 2, 1), p["InstanceNorm_0"])
    third = conv(torch, leaky(second), p["Conv_2"], 2, 1)
    h = instance_norm(torch, up(relu(third), 0), p["InstanceNorm_1"])
    h = instance_norm(torch, up(relu(torch.cat([h, second], 1)), 1), p["InstanceNorm_2"])
    h = torch.tanh(up(relu(torch.cat([h, first], 1)), 2))
    ours = jax.jit(module.apply)(variables, x)
    assert np.std(ours) > 0.1
    np.testing.assert_allclose(ours, images_out(h), atol=1e-4)


@pytest.mark.parametrize("levels", [1, 2])
def test_dropout_is_of_the_innermost_levels_and_follows_normalization(levels):
    """With a rate near 1 nothing is left of a level but its skip connection: no bias of a norm."""
    x = np.random.default_rng(0).uniform(-1, 1, size=(2, 8, 8, 3)).astype(np.float32)
    module = UNet((8, 8, 3), 3, levels=3, features=6, dropout_levels=levels, dropout=0.999999)
    variables = drawn(module, x)
    apply = jax.jit(module.apply)
    dropped = apply(variables, x, keys=jax.random.split(jax.random.key(1), 2))
    params = dict(variables["params"])
    for index in range(levels):
        # The encoder has one normalization, number 0.
        name = f"InstanceNorm_{index + 1}"
        params[name] = jax.tree.map(jnp.zeros_like, params[name])
    np.testing.assert_allclose(dropped, apply({"params": params}, x), atol=1e-5)
    assert np.std(dropped - apply(variables, x)) > 0.01
