"""The residual translator: layers and parameters by hand, reflection, parity with PyTorch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.layers.normalization import make_norm
from gan_jax.networks.registry import make
from gan_jax.networks.translator import ResNetTranslator, TranslatorBlock
from tests.networks.pytorch import (
    batch_norm,
    conv,
    drawn,
    half_turn,
    images_in,
    images_out,
    instance_norm,
    randomized,
    transposed,
)


def _params(module, *shape):
    return jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, *shape)))["params"]


@pytest.mark.parametrize(("blocks", "size"), [(6, 128), (9, 256)])
def test_the_papers_networks(blocks, size):
    """Appendix 7.2 of 1703.10593: c7s1-64, d128, d256, R256 x 6 or 9, u128, u64, c7s1-3."""
    module = make("translator", "translator", shape=(size, size, 3), outputs=3, blocks=blocks)
    params = _params(module, size, size, 3)
    assert [params[f"Conv_{i}"]["kernel"].shape for i in range(4)] == [
        (7, 7, 3, 64),
        (3, 3, 64, 128),
        (3, 3, 128, 256),
        (7, 7, 64, 3),
    ]
    assert [params[f"ConvTranspose_{i}"]["kernel"].shape for i in range(2)] == [
        (3, 3, 256, 128),
        (3, 3, 128, 64),
    ]
    kernels = 49 * 2 * 3 * 64 + 9 * 2 * (64 * 128 + 128 * 256) + blocks * 2 * 9 * 256 * 256
    channels = 2 * (64 + 128) + 256 + blocks * 2 * 256
    # A scale and a bias per normalized channel; the authors' layers have biases alone.
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == kernels + 2 * channels + 3
    if blocks == 9:
        assert kernels + channels + 3 == 11_378_179


@pytest.mark.slow
def test_weights_start_from_the_papers_normal_distributions():
    module = ResNetTranslator((8, 8, 3), 3, features=32, blocks=1)
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]
    for layer in (params["Conv_1"], params["ConvTranspose_0"], params["block_1"]["conv_2"]):
        kernel = np.asarray(layer["kernel"])
        np.testing.assert_allclose(kernel.std(), 0.02, rtol=0.03)
        np.testing.assert_allclose(kernel.mean(), 0.0, atol=5e-4)
    scales = np.concatenate([params["block_1"][f"norm_{i}"]["scale"] for i in (1, 2)])
    np.testing.assert_allclose(scales.mean(), 1.0, atol=0.01)
    np.testing.assert_allclose(scales.std(), 0.02, rtol=0.25)


def _block(torch, h, layers, norm):
    pad = torch.nn.ReflectionPad2d(1)
    y = torch.relu(norm(conv(torch, pad(h), layers["conv_1"]), layers["norm_1"]))
    return h + norm(conv(torch, pad(y), layers["conv_2"]), layers["norm_2"])


@pytest.mark.parametrize("train", [True, False])
def test_a_residual_block_equals_pytorch(train):
    torch = pytest.importorskip("torch", reason="parity with PyTorch")
    module = TranslatorBlock(functools.partial(make_norm, "batch"))
    x = np.random.default_rng(0).normal(size=(3, 5, 7, 6)).astype(np.float32)
    key = jax.random.key(0)
    variables = randomized(jax.eval_shape(lambda: module.init(key, x, None, True)))
    stats = iter([variables["batch_stats"][name] for name in ("norm_1", "norm_2")])
    norm = lambda h, layer: batch_norm(torch, h, layer, next(stats), train)  # noqa: E731
    expected = _block(torch, images_in(torch, x), variables["params"], norm)
    apply = functools.partial(module.apply, mutable=["batch_stats"])
    ours, _ = jax.jit(apply, static_argnums=3)(variables, x, None, train)
    np.testing.assert_allclose(ours, images_out(expected), atol=1e-4)


@pytest.mark.parametrize(
    ("size", "downsamplings", "upsample"),
    [((16, 24), 2, "transposed"), ((16, 24), 2, "nearest"), ((9, 13), 0, "transposed")],
)
def test_equals_pytorch(size, downsamplings, upsample):
    """Strided layers take the other of two middles: PyTorch sees all turned by half a turn."""
    torch = pytest.importorskip("torch", reason="parity with PyTorch")
    module = ResNetTranslator(
        (*size, 3),
        2,
        features=6,
        blocks=2,
        downsamplings=downsamplings,
        output="linear",
        upsample=upsample,
    )
    x = np.random.default_rng(0).uniform(-1, 1, size=(2, *size, 3)).astype(np.float32)
    variables = drawn(module, x)
    p = half_turn(variables)["params"]
    pad, norm = torch.nn.ReflectionPad2d(3), functools.partial(instance_norm, torch)
    h = images_in(torch, x[:, ::-1, ::-1])
    h = torch.relu(norm(conv(torch, pad(h), p["Conv_0"]), p["InstanceNorm_0"]))
    count = 1
    for _ in range(downsamplings):
        h = conv(torch, h, p[f"Conv_{count}"], stride=2, padding=1)
        h = torch.relu(norm(h, p[f"InstanceNorm_{count}"]))
        count += 1
    for index in (1, 2):
        h = _block(torch, h, p[f"block_{index}"], norm)
    for index in range(downsamplings):
        if upsample == "nearest":
            h = torch.nn.functional.interpolate(h, scale_factor=2, mode="nearest")
            h = conv(torch, torch.nn.ReflectionPad2d(1)(h), p[f"Conv_{count + index}"])
        else:
            h = transposed(torch, h, p[f"ConvTranspose_{index}"], padding=1, output_padding=1)
        h = torch.relu(norm(h, p[f"InstanceNorm_{count + index}"]))
    last = count + downsamplings if upsample == "nearest" else count
    h = conv(torch, pad(h), p[f"Conv_{last}"])
    ours = jax.jit(module.apply)(variables, x)
    assert np.std(ours) > 0.1
    np.testing.assert_allclose(ours, images_out(h)[:, ::-1, ::-1], atol=2e-4)


def test_a_constant_image_has_no_rim():
    """Reflection pads with the image's own pixels; zeros would change the values near the sides."""
    module = ResNetTranslator(
        (12, 12, 3), 3, features=4, blocks=2, downsamplings=0, normalization="none", output="linear"
    )
    x = jnp.full((1, 12, 12, 3), 0.7)
    variables = drawn(module, x)
    image = np.asarray(jax.jit(module.apply)(variables, x))
    np.testing.assert_allclose(image, np.broadcast_to(image[:, :1, :1], image.shape), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(4, 8, 3), (8, 4, 3)])
def test_images_smaller_than_their_padding_are_translated(shape):
    module = make("translator", "translator", shape=shape, outputs=3, features=4, blocks=1)
    x = np.random.default_rng(0).uniform(-1, 1, size=(1, *shape)).astype(np.float32)
    image = jax.jit(module.apply)(drawn(module, x), x)
    assert image.shape == (1, *shape)
    assert np.std(image) > 0.1


def test_every_block_drops_numbers_of_its_own():
    """Blocks that add the mask they draw: where masks differ, one of two is added."""
    module = ResNetTranslator(
        (8, 8, 3),
        3,
        features=3,
        blocks=2,
        downsamplings=0,
        normalization="none",
        dropout=0.5,
        output="linear",
    )
    x = jnp.zeros((2, 8, 8, 3))
    params = jax.tree.map(np.zeros_like, drawn(module, x)["params"])
    for block in ("block_1", "block_2"):
        params[block]["conv_1"]["bias"][:] = 1.0
        params[block]["conv_2"]["kernel"][1, 1] = np.eye(3)
    params["Conv_1"]["kernel"][3, 3] = np.eye(3)
    keys = jax.random.split(jax.random.key(0), 2)
    image = module.apply({"params": params}, x, keys=keys)
    values, counts = np.unique(np.round(image, 4), return_counts=True)
    np.testing.assert_array_equal(values, [0.0, 2.0, 4.0])
    np.testing.assert_allclose(counts / image.size, [0.25, 0.5, 0.25], atol=0.1)
