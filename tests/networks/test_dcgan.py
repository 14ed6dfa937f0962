"""The DCGAN networks: widths, parameter counts by hand, initialization, parity with PyTorch."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.layers.convolution import ConvTranspose
from gan_jax.layers.normalization import LocalResponseNorm
from gan_jax.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from gan_jax.networks.registry import make


def _params(module, *inputs):
    return jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]


def _count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _widths(module, shape):
    params = _params(module, jnp.zeros((1, *shape)))
    convs = [params[f"Conv_{i}"]["kernel"].shape for i in range(sum("Conv" in k for k in params))]
    return [shape[-1] for shape in convs]


@pytest.mark.parametrize(
    ("resolution", "widths"),
    [
        (8, [64]),
        (16, [64, 128]),
        (32, [64, 128, 256]),
        (64, [64, 128, 256, 512]),
        (128, [64, 128, 256, 512, 512]),
    ],
)
def test_width_doubles_towards_4x4_up_to_the_bound(resolution, widths):
    shape = (resolution, resolution, 3)
    assert _widths(make("discriminator", "dcgan", shape=shape), shape) == widths
    params = _params(make("generator", "dcgan", shape=shape), jnp.zeros((1, 100)))
    kernels = [params[f"ConvTranspose_{i}"]["kernel"].shape[-2:] for i in range(len(widths))]
    mirrored = [*reversed(widths), 3]
    assert kernels == list(itertools.pairwise(mirrored))


def test_the_papers_64_pixel_generator():
    """Figure 1 of 1511.06434: from 100 numbers to 4x4x1024, 512, 256, 128, then 64x64x3; 5x5."""
    module = make(
        "generator", "dcgan", shape=(64, 64, 3), features=128, max_features=1024, kernel_size=5
    )
    kernels = 100 * 16 * 1024 + 25 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3)
    batch_norms = 2 * (1024 + 512 + 256 + 128)
    last_bias = 3
    assert kernels + batch_norms + last_bias == 18_855_043
    assert _count(_params(module, jnp.zeros((1, 100)))) == 18_855_043


def test_discriminators_parameter_count():
    x = jnp.zeros((1, 32, 32, 3))
    kernels = 16 * (3 * 64 + 64 * 128 + 128 * 256) + 16 * 256
    batch = make("discriminator", "dcgan", shape=(32, 32, 3))
    assert _count(_params(batch, x)) == kernels + 64 + 2 * (128 + 256) + 1
    none = make("discriminator", "dcgan", shape=(32, 32, 3), normalization="none")
    assert _count(_params(none, x)) == kernels + 64 + 128 + 256 + 1
    assert "batch_stats" not in jax.eval_shape(none.init, jax.random.key(0), x)


OWN_BIAS = {
    "instance": "InstanceNorm",
    "layer": "LayerNorm",
    "group": "GroupNorm",
    "batch": "BatchNorm",
}


@pytest.mark.parametrize(
    "normalization", [*OWN_BIAS, "none", "pixel", "local_response", "spectral"]
)
def test_every_hidden_layer_has_one_bias_per_channel(normalization):
    """Of its normalization, or its own where that has none; the scales start as batch-norm's."""
    own = OWN_BIAS.get(normalization)
    shape, z = (16, 16, 3), jnp.zeros((2, 100))
    discriminator = make("discriminator", "dcgan", shape=shape, normalization=normalization)
    variables = jax.eval_shape(discriminator.init, jax.random.key(0), jnp.zeros((2, *shape)))
    params = variables["params"]
    first, second = sorted(name for name in params if "Conv" in name)
    assert "bias" in params[first]
    assert ("bias" in params[second]) == (own is None)
    norms = {name for name in params if "Norm" in name}
    assert norms == (set() if own is None else {f"{own}_0"})
    assert ("spectral" in variables) == (normalization == "spectral")
    if normalization == "spectral":
        return
    generator = make("generator", "dcgan", shape=shape, normalization=normalization)
    params = jax.jit(generator.init)(jax.random.key(0), z)["params"]
    assert [len(params[name]) for name in ("Dense_0", "ConvTranspose_0")] == [1 + (own is None)] * 2
    assert {name for name in params if "Norm" in name} == (
        set() if own is None else {f"{own}_0", f"{own}_1"}
    )
    if own is not None:
        np.testing.assert_allclose(np.std(params[f"{own}_0"]["scale"]), 0.02, rtol=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("normalization", ["instance", "layer", "group", "pixel", "local_response"])
def test_generators_normalization_stands_before_each_rectifier(normalization):
    """Naively, layer by layer; an image does not depend on the others of its batch."""
    module = DCGANGenerator(
        (8, 8, 3), latent_dim=6, features=6, normalization=normalization, groups=2
    )
    z = jax.random.normal(jax.random.key(1), (3, 6))
    variables = _randomized(jax.jit(module.init)(jax.random.key(0), z))
    params = variables["params"]
    h = z @ params["Dense_0"]["kernel"] + params["Dense_0"].get("bias", 0.0)
    h = h.reshape(3, 4, 4, 6)
    (norm,) = [params[name] for name in params if "Norm" in name] or [{}]
    if normalization == "pixel":
        h = h / np.sqrt(np.mean(np.square(h), axis=-1, keepdims=True) + 1e-8)
    elif normalization == "local_response":
        h = LocalResponseNorm().apply({}, h)
    else:
        grouped = {
            "instance": h.reshape(3, 16, 6, 1),
            "layer": h.reshape(3, 16, 1, 6),
            "group": h.reshape(3, 16, 2, 3),
        }[normalization]
        mean = grouped.mean(axis=(1, 3), keepdims=True)
        var = grouped.var(axis=(1, 3), keepdims=True)
        h = ((grouped - mean) / np.sqrt(var + 1e-5)).reshape(h.shape)
        h = h * norm["scale"] + norm["bias"]
    last = ConvTranspose(3, (4, 4), (2, 2), "SAME")
    expected = jnp.tanh(last.apply({"params": params["ConvTranspose_0"]}, jax.nn.relu(h)))
    images = jax.jit(module.apply)(variables, z)
    assert np.std(images) > 0.05
    np.testing.assert_allclose(images, expected, atol=1e-4)
    alone = jax.jit(module.apply)(variables, z[:1])
    np.testing.assert_allclose(alone, images[:1], atol=1e-5)


def test_neither_image_is_normalized():
    """No batch-norm on the generator's output nor on the discriminator's input layer."""
    stats = jax.eval_shape(
        make("generator", "dcgan", shape=(32, 32, 3)).init, jax.random.key(0), jnp.zeros((1, 100))
    )["batch_stats"]
    assert [stats[f"BatchNorm_{i}"]["mean"].shape for i in range(len(stats))] == [
        (256,),
        (128,),
        (64,),
    ]
    stats = jax.eval_shape(
        make("discriminator", "dcgan", shape=(32, 32, 3)).init,
        jax.random.key(0),
        jnp.zeros((1, 32, 32, 3)),
    )["batch_stats"]
    assert [stats[f"BatchNorm_{i}"]["mean"].shape for i in range(len(stats))] == [(128,), (256,)]


def test_weights_start_from_the_papers_normal_distributions():
    generator = DCGANGenerator((16, 16, 3), features=64)
    params = jax.jit(generator.init)(jax.random.key(0), jnp.zeros((1, 100)))["params"]
    for layer in ("Dense_0", "ConvTranspose_0"):
        kernel = np.asarray(params[layer]["kernel"])
        np.testing.assert_allclose(kernel.std(), 0.02, rtol=0.02)
        np.testing.assert_allclose(kernel.mean(), 0.0, atol=5e-4)
        # Normal: 4.55% of the numbers lie outside two standard deviations.
        np.testing.assert_allclose(np.mean(np.abs(kernel) > 0.04), 0.0455, atol=0.005)
    scales = np.concatenate([params[f"BatchNorm_{i}"]["scale"] for i in range(2)])
    np.testing.assert_allclose(scales.mean(), 1.0, atol=0.01)
    np.testing.assert_allclose(scales.std(), 0.02, rtol=0.25)


def _randomized(variables):
    rng = np.random.default_rng(3)

    def draw(path, leaf):
        if "kernel" in jax.tree_util.keystr(path):
            return 10.0 * leaf
        return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, variables)


def _tensor(torch, array):
    return torch.from_numpy(np.array(array, np.float32))


def _batch_norm(torch, h, variables, index, train):
    name = f"BatchNorm_{index}"
    stats, params = variables["batch_stats"][name], variables["params"][name]
    return torch.nn.functional.batch_norm(
        h,
        _tensor(torch, stats["mean"]),
        _tensor(torch, stats["var"]),
        _tensor(torch, params["scale"]),
        _tensor(torch, params["bias"]),
        training=train,
    )


@pytest.mark.parametrize("train", [True, False])
def test_generator_equals_pytorch(train):
    """Kernel 4, stride 2 is PyTorch's padding=1, with the kernel turned by half a turn."""
    torch = pytest.importorskip("torch")
    module = DCGANGenerator((16, 16, 3), latent_dim=7, features=6)
    z = np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32)
    variables = _randomized(jax.jit(module.init)(jax.random.key(0), z))
    params = variables["params"]
    h = _tensor(torch, z) @ _tensor(torch, params["Dense_0"]["kernel"])
    h = h.reshape(4, 4, 4, 12).permute(0, 3, 1, 2)
    for index in range(2):
        h = torch.relu(_batch_norm(torch, h, variables, index, train))
        layer = params[f"ConvTranspose_{index}"]
        weight = np.asarray(layer["kernel"])[::-1, ::-1].transpose(2, 3, 0, 1)
        bias = _tensor(torch, layer["bias"]) if "bias" in layer else None
        h = torch.nn.functional.conv_transpose2d(
            h, _tensor(torch, weight), bias, stride=2, padding=1
        )
    apply = functools.partial(module.apply, train=train, mutable=["batch_stats"])
    ours, _ = jax.jit(apply)(variables, z)
    assert np.std(ours) > 0.1
    np.testing.assert_allclose(ours, torch.tanh(h).numpy().transpose(0, 2, 3, 1), atol=1e-4)


@pytest.mark.parametrize("train", [True, False])
def test_discriminator_equals_pytorch(train):
    torch = pytest.importorskip("torch")
    module = DCGANDiscriminator((16, 16, 3), features=6)
    x = np.random.default_rng(0).uniform(-1, 1, size=(4, 16, 16, 3)).astype(np.float32)
    variables = _randomized(jax.jit(module.init)(jax.random.key(0), x))
    params = variables["params"]
    h = _tensor(torch, x.transpose(0, 3, 1, 2))
    for index in range(2):
        layer = params[f"Conv_{index}"]
        weight = _tensor(torch, np.asarray(layer["kernel"]).transpose(3, 2, 0, 1))
        bias = _tensor(torch, layer["bias"]) if "bias" in layer else None
        h = torch.nn.functional.conv2d(h, weight, bias, stride=2, padding=1)
        if index == 1:
            h = _batch_norm(torch, h, variables, 0, train)
        h = torch.nn.functional.leaky_relu(h, 0.2)
    h = h.permute(0, 2, 3, 1).reshape(4, -1) @ _tensor(torch, params["Dense_0"]["kernel"])
    scores = (h + _tensor(torch, params["Dense_0"]["bias"]))[:, 0].numpy()
    apply = functools.partial(module.apply, train=train, mutable=["batch_stats"])
    ours, _ = jax.jit(apply)(variables, x)
    assert np.std(ours) > 0.1
    np.testing.assert_allclose(ours, scores, atol=1e-4, rtol=1e-4)
