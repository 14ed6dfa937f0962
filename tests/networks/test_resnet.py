"""The residual networks are the papers': counts by hand, the naive order, parity with PyTorch."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.layers.attention import SelfAttention
from gan_jax.layers.convolution import Conv
from gan_jax.networks.registry import make
from gan_jax.networks.resnet import DownBlock, ResNetDiscriminator, UpBlock


def _params(module, *inputs):
    variables = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def _conv(kernel, inputs, outputs):
    return kernel * kernel * inputs * outputs + outputs


def _generator_count(width):
    """By hand, from the layers of 1704.00028: a bias everywhere, scale and bias per batch-norm."""
    dense = 128 * 4 * 4 * width + 4 * 4 * width
    block = 2 * 2 * width + 2 * _conv(3, width, width) + _conv(1, width, width)
    return dense + 3 * block + 2 * width + _conv(3, width, 3)


def test_generators_of_wgan_gp_and_sngan_have_the_papers_parameter_counts():
    z = jnp.zeros((1, 128))
    assert _generator_count(128) == 1_204_483
    assert _params(make("generator", "resnet", shape=(32, 32, 3)), z) == 1_204_483
    wide = make("generator", "resnet", shape=(32, 32, 3), features=256)
    assert _params(wide, z) == _generator_count(256) == 4_276_739


def test_discriminator_has_the_papers_parameter_count():
    first = _conv(3, 3, 128) + _conv(3, 128, 128) + _conv(1, 3, 128)
    down = 2 * _conv(3, 128, 128) + _conv(1, 128, 128)
    flat = 2 * _conv(3, 128, 128)
    assert first + down + 2 * flat + 128 + 1 == 1_053_825
    discriminator = make("discriminator", "resnet", shape=(32, 32, 3))
    assert _params(discriminator, jnp.zeros((1, 32, 32, 3))) == 1_053_825


@pytest.mark.parametrize(("resolution", "halvings"), [(16, 1), (32, 2), (64, 3), (128, 4)])
def test_one_block_per_halving_then_two_flat_ones(resolution, halvings):
    x = jnp.zeros((1, resolution, resolution, 3))
    module = make("discriminator", "resnet", shape=x.shape[1:], features=4)
    shapes = jax.eval_shape(
        lambda key: module.init_with_output(
            key, x, capture_intermediates=lambda m, _: isinstance(m, DownBlock)
        ),
        jax.random.key(0),
    )[1]["intermediates"]
    sides = [shapes[f"DownBlock_{i}"]["__call__"][0].shape[1] for i in range(len(shapes))]
    assert sides == [resolution >> (i + 1) for i in range(halvings)] + [8, 8]


def test_widths_per_block():
    z, x = jnp.zeros((1, 128)), jnp.zeros((1, 32, 32, 3))
    generator = make("generator", "resnet", shape=(32, 32, 3), features=(7, 6, 5, 4))
    params = jax.eval_shape(generator.init, jax.random.key(0), z)["params"]
    assert params["Dense_0"]["kernel"].shape == (128, 4 * 4 * 7)
    shapes = [params[f"UpBlock_{i}"]["conv_1"]["kernel"].shape for i in range(3)]
    assert shapes == [(3, 3, 7, 6), (3, 3, 6, 5), (3, 3, 5, 4)]
    discriminator = make("discriminator", "resnet", shape=(32, 32, 3), features=(4, 5, 6, 6))
    params = jax.eval_shape(discriminator.init, jax.random.key(0), x)["params"]
    shapes = [params[f"DownBlock_{i}"]["conv_2"]["kernel"].shape for i in range(4)]
    assert shapes == [(3, 3, 4, 4), (3, 3, 4, 5), (3, 3, 6, 6), (3, 3, 6, 6)]
    # A flat block has a shortcut only where its width changes.
    assert ["shortcut" in params[f"DownBlock_{i}"] for i in range(4)] == [True, True, True, False]


@functools.cache
def _generator_params():
    module = make("generator", "resnet", shape=(32, 32, 3), features=64)
    return jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 128)))["params"]


@pytest.mark.parametrize(
    ("path", "gain"),
    [
        (("UpBlock_0", "conv_1"), 2.0),
        (("UpBlock_2", "conv_2"), 2.0),
        (("UpBlock_1", "shortcut"), 1.0),
        (("Dense_0",), 1.0),
    ],
)
def test_residual_branches_start_from_he_and_the_rest_from_glorot(path, gain):
    """Uniform on +-sqrt(3 gain / mean of fans): the bounds are nearly reached, never passed."""
    layer = _generator_params()
    for name in path:
        layer = layer[name]
    kernel = np.asarray(layer["kernel"])
    receptive = math.prod(kernel.shape[:-2])
    fan_avg = receptive * (kernel.shape[-2] + kernel.shape[-1]) / 2
    bound = math.sqrt(3.0 * gain / fan_avg)
    assert 0.99 * bound < np.abs(kernel).max() <= bound
    np.testing.assert_allclose(kernel.std(), bound / math.sqrt(3.0), rtol=0.03)
    np.testing.assert_array_equal(layer["bias"], 0.0)


def _randomized(variables, seed=3):
    """Give every variable, biases and statistics too, a value of its own that is not 0 or 1."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        if "kernel" in jax.tree_util.keystr(path):
            return leaf
        return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, variables)


@functools.partial(jax.jit, static_argnums=0)
def _apply(module, variables, x):
    return module.apply(variables, x)


def _images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _conv_layer(params, x):
    """Return a convolution's output by its parameters."""
    *size, _, features = params["kernel"].shape
    return np.asarray(_apply(Conv(features, tuple(size)), {"params": params}, x))


def _up_block(x):
    init = jax.jit(UpBlock(5).init, static_argnums=2)
    return jax.device_get(_randomized(init(jax.random.key(0), x, True)))


def test_up_block_equals_the_papers_order():
    """The papers up-sample before the shortcut's 1x1 convolution; ours is the other way round."""
    x = _images(2, 4, 4, 3)
    variables = _up_block(x)
    p, s = variables["params"], variables["batch_stats"]

    def norm_relu(y, name):
        y = (y - s[name]["mean"]) / np.sqrt(s[name]["var"] + 1e-5)
        return np.maximum(y * p[name]["scale"] + p[name]["bias"], 0.0)

    def upsample(y):
        return y.repeat(2, axis=1).repeat(2, axis=2)

    y = _conv_layer(p["conv_1"], upsample(norm_relu(x, "norm_1")))
    y = _conv_layer(p["conv_2"], norm_relu(y, "norm_2"))
    expected = _conv_layer(p["shortcut"], upsample(x)) + y
    block = jax.jit(UpBlock(5).apply, static_argnums=2)
    np.testing.assert_allclose(block(variables, x, False), expected, atol=1e-5)


@pytest.mark.parametrize("first", [True, False])
def test_down_block_equals_the_papers_order(first):
    """The papers pool after the shortcut's 1x1 convolution; ours is the other way round."""
    x = _images(2, 8, 8, 3)
    block = DownBlock(5, downsample=True, first=first)
    variables = _randomized(jax.jit(block.init)(jax.random.key(0), x))
    p = variables["params"]

    def pool(y):
        return y.reshape(2, 4, 2, 4, 2, -1).mean((2, 4))

    y = _conv_layer(p["conv_1"], x if first else np.maximum(x, 0.0))
    assert y.shape[-1] == (5 if first else 3)
    y = pool(_conv_layer(p["conv_2"], np.maximum(y, 0.0)))
    expected = pool(_conv_layer(p["shortcut"], x)) + y
    np.testing.assert_allclose(_apply(block, variables, x), expected, atol=1e-5)


def test_flat_block_of_equal_width_has_the_identity_as_shortcut():
    x = _images(2, 8, 8, 5)
    block = DownBlock(5, downsample=False)
    shapes = jax.eval_shape(block.init, jax.random.key(0), x)
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    np.testing.assert_array_equal(_apply(block, params, x), x)


def test_layer_norm_stands_before_each_rectifier_after_the_first_block():
    module = make("discriminator", "resnet", shape=(32, 32, 3), normalization="layer")
    params = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    norms = [
        {name for name in params[f"DownBlock_{i}"] if name.startswith("norm")} for i in range(4)
    ]
    assert norms == [set()] + 3 * [{"norm_1", "norm_2"}]


def test_sum_pooling_is_64_means():
    """At 8x8, up to the last layer's bias, which starts at 0."""
    x = _images(2, 16, 16, 3)
    mean = ResNetDiscriminator((16, 16, 3), features=4)
    variables = jax.jit(mean.init)(jax.random.key(0), x)
    total = _apply(mean.clone(pooling="sum"), variables, x)
    np.testing.assert_allclose(total, 64.0 * _apply(mean, variables, x), rtol=1e-4)


def _load(torch, layer, params):
    """Copy Flax parameters (HWIO kernels) into a PyTorch convolution or batch-norm."""
    weight = params["kernel"].transpose(3, 2, 0, 1) if "kernel" in params else params["scale"]
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.array(weight)))
        layer.bias.copy_(torch.from_numpy(np.array(params["bias"])))
    return layer


def _nchw(torch, x):
    return torch.from_numpy(np.array(x).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("train", [True, False])
def test_up_block_equals_pytorch(train):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x = _images(3, 4, 4, 6)
    variables = _up_block(x)
    p, s = variables["params"], variables["batch_stats"]

    def norm(name, width):
        layer = _load(torch, torch.nn.BatchNorm2d(width), p[name]).train(train)
        layer.running_mean.copy_(torch.from_numpy(s[name]["mean"]))
        layer.running_var.copy_(torch.from_numpy(s[name]["var"]))
        return layer

    def conv(name, inputs, size):
        return _load(torch, torch.nn.Conv2d(inputs, 5, size, padding="same"), p[name])

    with torch.no_grad():
        t = _nchw(torch, x)
        h = functional.interpolate(functional.relu(norm("norm_1", 6)(t)), scale_factor=2)
        h = functional.relu(norm("norm_2", 5)(conv("conv_1", 6, 3)(h)))
        h = conv("conv_2", 5, 3)(h)
        h = h + conv("shortcut", 6, 1)(functional.interpolate(t, scale_factor=2))
    apply = functools.partial(UpBlock(5).apply, mutable=["batch_stats"])
    ours, _ = jax.jit(apply, static_argnums=2)(variables, x, train)
    np.testing.assert_allclose(ours, h.numpy().transpose(0, 2, 3, 1), atol=1e-4)


@pytest.mark.slow
def test_discriminator_equals_pytorch_with_its_second_order_gradient():
    """Scores, and the input gradient's squared norm differentiated for a kernel, as in WGAN-GP."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x = _images(2, 32, 32, 3)
    module = ResNetDiscriminator((32, 32, 3), features=6)
    variables = _randomized(jax.jit(module.init)(jax.random.key(0), x))
    p = variables["params"]

    def conv(block, name):
        size, _, inputs, outputs = p[block][name]["kernel"].shape
        return _load(torch, torch.nn.Conv2d(inputs, outputs, size, padding="same"), p[block][name])

    t = _nchw(torch, x).requires_grad_()
    first = conv("DownBlock_0", "conv_1")
    h = functional.avg_pool2d(conv("DownBlock_0", "conv_2")(functional.relu(first(t))), 2)
    h = h + functional.avg_pool2d(conv("DownBlock_0", "shortcut")(t), 2)
    for block in ("DownBlock_1", "DownBlock_2", "DownBlock_3"):
        y = conv(block, "conv_1")(functional.relu(h))
        y = conv(block, "conv_2")(functional.relu(y))
        if block == "DownBlock_1":
            h = functional.avg_pool2d(conv(block, "shortcut")(h), 2)
            y = functional.avg_pool2d(y, 2)
        h = h + y
    h = functional.relu(h).mean(dim=(2, 3))
    dense = p["Dense_0"]
    scores = h @ torch.from_numpy(np.array(dense["kernel"])) + torch.from_numpy(dense["bias"])
    (slope,) = torch.autograd.grad(scores.sum(), t, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), first.weight)

    def squared_slope(params):
        slope = jax.grad(lambda x: jnp.sum(module.apply({"params": params}, x)))(x)
        return jnp.sum(jnp.square(slope))

    ours = jax.jit(module.apply)(variables, x)
    np.testing.assert_allclose(ours, scores[:, 0].detach().numpy(), rtol=1e-4)
    ours = jax.jit(jax.grad(squared_slope))(p)["DownBlock_0"]["conv_1"]["kernel"]
    theirs = second.numpy().transpose(2, 3, 1, 0)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())


def _sides_before_attention(module, *inputs):
    """Return the sides of the maps that self-attention is given."""
    captured = jax.eval_shape(
        lambda key: module.init_with_output(
            key, *inputs, capture_intermediates=lambda m, _: isinstance(m, SelfAttention)
        ),
        jax.random.key(0),
    )[1].get("intermediates", {})
    return [layer["__call__"][0].shape[1:3] for layer in captured.values()]


@pytest.mark.parametrize(("generator", "discriminator"), [(0, 0), (8, 8), (16, 16), (32, None)])
def test_attention_stands_once_at_its_resolution(generator, discriminator):
    module = make("generator", "resnet", shape=(32, 32, 3), features=8, attention=generator)
    expected = [(generator, generator)] if generator else []
    assert _sides_before_attention(module, jnp.zeros((1, 128))) == expected
    if discriminator is not None:
        module = make("discriminator", "resnet", shape=(32, 32, 3), features=8, attention=generator)
        assert _sides_before_attention(module, jnp.zeros((1, 32, 32, 3))) == expected


def test_attention_of_images_that_are_not_square_stands_at_its_height():
    for role, x in (
        ("generator", jnp.zeros((1, 128))),
        ("discriminator", jnp.zeros((1, 48, 32, 3))),
    ):
        module = make(role, "resnet", shape=(48, 32, 3), features=8, attention=24)
        assert _sides_before_attention(module, x) == [(24, 16)]


@pytest.mark.slow
@pytest.mark.parametrize("normalization", ["none", "spectral"])
def test_attention_changes_nothing_until_gamma_grows(normalization):
    """And is spectrally normalized with the rest."""
    x = _images(2, 16, 16, 3)
    plain = ResNetDiscriminator((16, 16, 3), features=8, normalization=normalization)
    module = plain.clone(attention=8)
    apply = functools.partial(_apply, module)
    variables = jax.jit(module.init)(jax.random.key(0), x)
    attention = variables["params"]["SelfAttention_0"]
    assert ("SelfAttention_0" in variables.get("spectral", {})) == (normalization == "spectral")
    scores = apply(variables, x)
    rest = {
        collection: {name: leaf for name, leaf in layers.items() if name != "SelfAttention_0"}
        for collection, layers in variables.items()
    }
    np.testing.assert_allclose(scores, jax.jit(plain.apply)(rest, x), rtol=1e-5)
    grown = {**attention, "gamma": jnp.ones(())}
    variables = {**variables, "params": {**variables["params"], "SelfAttention_0": grown}}
    changed = apply(variables, x)
    assert np.all(np.abs(changed - scores) > 1e-3 * np.abs(scores))


@pytest.mark.slow
def test_generator_takes_another_normalization_throughout():
    module = make("generator", "resnet", shape=(16, 16, 3), features=8, normalization="instance")
    variables = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 128)))
    assert "batch_stats" not in variables
    assert "InstanceNorm_0" in variables["params"]
    z = jax.random.normal(jax.random.key(1), (3, 128))
    variables = jax.jit(module.init)(jax.random.key(0), z)
    apply = jax.jit(module.apply)
    images = apply(variables, z)
    # No image depends on the others of its batch.
    np.testing.assert_allclose(apply(variables, z[1:2]), images[1:2], atol=1e-5)
    assert np.abs(images[0] - images[1]).max() > 0.05
