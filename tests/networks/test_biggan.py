"""BigGAN's networks: counts by hand, what reaches each block, the deep blocks, how they start."""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gan_jax.errors import ConfigError
from gan_jax.layers.attention import SelfAttention
from gan_jax.layers.conditional import LinearBatchNorm
from gan_jax.layers.spectral import SpectralDense
from gan_jax.networks.biggan import DeepDownBlock, DeepUpBlock
from gan_jax.networks.network import Network
from gan_jax.networks.registry import make

NAMES = ("biggan", "biggan_deep")
CLASSES = 3
WIDTHS = (16, 16, 8, 4, 2, 1)


# --- The paper's networks for 128x128, 1,000 classes. ---------------------------------------------


@functools.cache
def paper(role, name):
    """Return the variables' shapes, and by name the values of fields that the layers have.

    "maps" are heights and widths before self-attention, and heights before deep blocks.
    """
    channels = {"biggan": 96, "biggan_deep": 128}[name]
    widths = WIDTHS if role == "generator" else WIDTHS[::-1]
    module = make(
        role,
        name,
        shape=(128, 128, 3),
        features=tuple(channels * width for width in widths),
        attention=64,
        conditioning="batch_norm" if role == "generator" else "projection",
        num_classes=1000,
        axis_name="data",
    )
    x = jnp.zeros((1, 128, 128, 3) if role == "discriminator" else (1, module.latent_dim))
    maps, found = [], {}

    def intercept(call, args, kwargs, context):
        if not isinstance(context.module, Network):
            for name in ("kernel_init", "embedding_init", "axis_name", "train"):
                if hasattr(context.module, name):
                    found.setdefault(name, set()).add(getattr(context.module, name))
        if isinstance(context.module, SelfAttention):
            maps.append(args[0].shape[1:3])
        if isinstance(context.module, DeepUpBlock | DeepDownBlock):
            maps.append(args[0].shape[1])
        return call(*args, **kwargs)

    with nn.intercept_methods(intercept):
        label = {"label": jnp.zeros(1, jnp.int32)}
        variables = jax.eval_shape(module.init, jax.random.key(0), x, label)
    return variables, {**found, "maps": maps}


def count(role, name):
    return sum(leaf.size for leaf in jax.tree.leaves(paper(role, name)[0]["params"]))


def conv(inputs, outputs, side=3):
    return side * side * inputs * outputs + outputs


def attention(channels):
    """Queries and keys of an eighth, values of a half, the way back, and gamma."""
    return 2 * channels * (channels // 8) + 2 * channels * (channels // 2) + 1


def generator_with(blocks, dense, channels):
    """Return the count: embedding, dense layer, blocks, attention, and what follows."""
    first = 16 * 16 * channels
    last = 2 * channels + conv(channels, 3)
    return 1000 * 128 + (dense + 1) * first + blocks + attention(2 * channels) + last


def steps(channels, widths):
    wide = [channels * width for width in widths]
    return list(itertools.pairwise(wide))


def test_biggan_has_the_papers_parameters():
    # Scales and biases are linear in 128 numbers of the class and 20 of the latent.
    blocks = sum(
        conv(i, o) + conv(o, o) + conv(i, o, 1) + 2 * 148 * (i + o) for i, o in steps(96, WIDTHS)
    )
    expected = generator_with(blocks, dense=20, channels=96)
    assert count("generator", "biggan") == expected == 70_433_988
    pairs = [(3, 96), *steps(96, WIDTHS[::-1])]
    blocks = sum(conv(i, o) + conv(o, o) for i, o in pairs)
    # The last block keeps width and resolution, and has no convolution in its shortcut.
    blocks += sum(conv(i, o, 1) for i, o in pairs[:-1])
    expected = blocks + attention(96) + 1536 + 1 + 1000 * 1536
    assert count("discriminator", "biggan") == expected == 87_982_370


def test_biggan_deep_has_the_papers_layers():
    def bottleneck(inputs, outputs, hidden):
        return conv(inputs, hidden, 1) + 2 * conv(hidden, hidden) + conv(hidden, outputs, 1)

    blocks = sum(
        bottleneck(i, end, i // 4) + 2 * 256 * (i + 3 * (i // 4))
        for i, o in steps(128, WIDTHS)
        for end in (i, o)
    )
    expected = generator_with(blocks, dense=256, channels=128)
    assert count("generator", "biggan_deep") == expected
    blocks = sum(
        bottleneck(i, o, o // 4) + bottleneck(o, o, o // 4) + (conv(i, o - i, 1) if o > i else 0)
        for i, o in steps(128, WIDTHS[::-1])
    )
    expected = conv(3, 128) + blocks + attention(256) + 2048 + 1 + 1000 * 2048
    assert count("discriminator", "biggan_deep") == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_every_kernel_but_the_class_embedding_is_spectrally_normalized(role, name):
    variables, found = paper(role, name)
    assert found["train"] == {True}
    # Batch normalization of the generator is that of the whole batch.
    assert found.get("axis_name") == ({"data"} if role == "generator" else None)
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(variables["params"])]
    tables = ["kernel", "embedding"] if role == "discriminator" else ["kernel"]
    expected = {tuple(k.key for k in path[:-1]) for path in paths if path[-1].key in tables}
    vectors = jax.tree_util.tree_leaves_with_path(variables["spectral"])
    assert {tuple(k.key for k in path[:-1]) for path, _ in vectors} == expected
    assert ("embedding",) not in expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_every_kernel_starts_orthogonal(role, name):
    found = paper(role, name)[1]
    for init in found["kernel_init"] | found["embedding_init"]:
        kernel = init(jax.random.key(0), (5, 3))
        np.testing.assert_allclose(kernel.T @ kernel, np.eye(3), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_attention_follows_the_blocks_of_its_resolution(role, name):
    twice = [side for side in (4, 8, 16, 32) for _ in range(2)]
    deep = {
        "generator": [*twice, (64, 64), 64, 64],
        "discriminator": [128, 64, (64, 64), 64, 32, 32, 16, 16, 8, 8, 4],
    }
    assert paper(role, name)[1]["maps"] == (deep[role] if name == "biggan_deep" else [(64, 64)])


def test_the_last_blocks_keep_the_resolution():
    x = jnp.zeros((1, 16, 16, 1))
    for flat, sides in ((1, [8, 4, 4]), (2, [8, 8, 8])):
        fields = {"features": 8, "flat": flat, "attention": sides[-1]}
        module = make("discriminator", "biggan", shape=(16, 16, 1), **fields)
        verdict, variables = jax.eval_shape(
            functools.partial(module.init_with_output, method="judge"), jax.random.key(0), x
        )
        assert [features.shape[1] for features in verdict.features] == sides
        # Attention follows the first block of its resolution alone.
        assert len([name for name in variables["params"] if "Attention" in name]) == 1


# --- What layers are given, in small networks. ----------------------------------------------------


def given(role, name):
    """Return inputs, parameters, output and what the layers of a network are given, by path.

    That is the input of each dense layer and the vectors of each normalization. Of a generator the
    output is left out.
    """
    conditioning = "batch_norm" if role == "generator" else "projection"
    fields = {"latent_dim": 12, "embedding": 5} if role == "generator" else {}
    fields |= {"features": 8, "conditioning": conditioning, "num_classes": 3}
    module = make(role, name, shape=(16, 16, 1), **fields)
    rng = np.random.default_rng(0)
    shape = (2, 12) if role == "generator" else (2, 16, 16, 1)
    x, condition = rng.normal(size=shape).astype(np.float32), {"label": np.array([2, 0])}
    variables = jax.eval_shape(module.init, jax.random.key(0), x, condition)
    variables = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), variables)

    @jax.jit
    def run():
        found = {}

        def intercept(call, args, kwargs, context):
            place = {LinearBatchNorm: 1, SpectralDense: 0}.get(type(context.module))
            if place is not None:
                found["/".join(context.module.path)] = args[place]
            return call(*args, **kwargs)

        method = None if role == "generator" else "judge"
        with nn.intercept_methods(intercept):
            output = module.apply(variables, x, condition, method=method, train=False)
        return found, None if role == "generator" else output

    found, output = jax.device_get(run())
    return x, variables["params"], output, found


def blocks_of(found):
    """Return the vectors of the normalizations of each block, in order."""
    blocks = {}
    for path, value in found.items():
        block, _, layer = path.partition("/")
        if layer.startswith("norm_") and "/" not in layer:
            blocks.setdefault(block, []).append(value)
    return [blocks[block] for block in sorted(blocks)]


def test_each_chunk_of_the_latent_reaches_its_block_alone():
    z, params, _, found = given("generator", "biggan")
    chunks = np.split(z, 3, axis=1)
    embedded = params["embedding"]["embedding"][[2, 0]]
    np.testing.assert_array_equal(found["SpectralDense_0"], chunks[0])
    blocks = blocks_of(found)
    assert [len(block) for block in blocks] == [2, 2]
    for chunk, block in zip(chunks[1:], blocks, strict=True):
        for vectors in block:
            np.testing.assert_array_equal(vectors, np.concatenate([embedded, chunk], 1))


def test_the_deep_generator_gives_every_block_the_whole_latent():
    z, params, _, found = given("generator", "biggan_deep")
    expected = np.concatenate([params["embedding"]["embedding"][[2, 0]], z], 1)
    blocks = blocks_of(found)
    assert [len(block) for block in blocks] == [4] * 4
    for vectors in [found["SpectralDense_0"], *itertools.chain(*blocks)]:
        np.testing.assert_array_equal(vectors, expected)


def test_scores_are_of_summed_features_and_the_class():
    _, params, verdict, found = given("discriminator", "biggan")
    summed = np.maximum(verdict.features[-1], 0).sum((1, 2))
    np.testing.assert_allclose(found["SpectralDense_0"], summed, rtol=1e-5)
    # The rest is that of every projection, see `tests/networks/test_verdict.py`.
    assert set(params) >= {"SpectralDense_0", "projection"}


# --- The deep blocks. -----------------------------------------------------------------------------


def convolved(x, layer):
    """Convolve without the library's layers; the layer's kernel has been normalized."""
    dimensions = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(x, layer["kernel"], (1, 1), "SAME", dimension_numbers=dimensions)
    return y + layer["bias"]


def normalized(block, x):
    """Return parameters with biases and kernels of spectral norm 1, and the variables."""
    variables = jax.eval_shape(functools.partial(block.init, train=True), jax.random.key(0), x)
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: rng.normal(size=x.shape).astype(np.float32), variables["params"]
    )
    vectors = {}
    for name, layer in params.items():
        rows = layer["kernel"].reshape(-1, layer["kernel"].shape[-1])
        left, sizes, _ = np.linalg.svd(rows.T, full_matrices=False)
        layer["kernel"] = layer["kernel"] / sizes[0]
        vectors[name] = {"u": left[:, 0]}
    return params, {"params": params, "spectral": vectors}


@pytest.mark.parametrize(("features", "upsample"), [(8, False), (4, True)])
def test_the_deep_generators_block_drops_channels(features, upsample):
    x = np.random.default_rng(1).normal(size=(2, 4, 4, 8)).astype(np.float32)
    shift = {f"norm_{i}": 0.1 * i for i in range(1, 5)}

    def norm(name):
        return lambda x, train: x - shift[name]

    block = DeepUpBlock(features, norm, upsample)
    params, variables = normalized(block, x)

    def double(y):
        return y.repeat(2, axis=1).repeat(2, axis=2) if upsample else y

    y = convolved(nn.relu(x - shift["norm_1"]), params["conv_1"])
    assert y.shape[-1] == 2
    y = convolved(double(nn.relu(y - shift["norm_2"])), params["conv_2"])
    y = convolved(nn.relu(y - shift["norm_3"]), params["conv_3"])
    y = convolved(nn.relu(y - shift["norm_4"]), params["conv_4"])
    expected = double(x[..., :features]) + y
    np.testing.assert_allclose(block.apply(variables, x, False), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("features", "downsample"), [(8, False), (12, True)])
def test_the_deep_discriminators_block_adds_channels(features, downsample):
    x = np.random.default_rng(1).normal(size=(2, 4, 4, 8)).astype(np.float32)
    block = DeepDownBlock(features, downsample)
    params, variables = normalized(block, x)

    def half(y):
        return y.reshape(2, 2, 2, 2, 2, -1).mean((2, 4)) if downsample else y

    y = convolved(nn.relu(x), params["conv_1"])
    assert y.shape[-1] == features // 4
    y = convolved(nn.relu(y), params["conv_2"])
    y = convolved(nn.relu(y), params["conv_3"])
    y = convolved(half(nn.relu(y)), params["conv_4"])
    kept = half(x)
    added = [convolved(kept, params["shortcut"])] if features > 8 else []
    expected = np.concatenate([kept, *added], -1) + y
    np.testing.assert_allclose(block.apply(variables, x, False), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("role", "name", "fields", "message"),
    [
        ("generator", "biggan", {"latent_dim": 16}, "latent_dim = 16 .* 2 blocks; .* of 3$"),
        ("generator", "biggan", {"embedding": 0}, "generator.biggan.embedding = 0"),
        ("generator", "biggan", {"attention": 4}, "biggan.attention = 4: .* 0 .none., 8, 16"),
        ("generator", "biggan_deep", {"features": (8, 8, 16)}, r"\(8, 8, 16\) .* never rising"),
        ("generator", "biggan_deep", {"features": 6}, "= 6 cannot work; accepted: multiples of 4"),
        ("discriminator", "biggan", {"flat": 3}, "discriminator.biggan.flat = 3"),
        ("discriminator", "biggan", {"attention": 8, "flat": 3}, "discriminator.biggan.flat = 3"),
        (
            "discriminator",
            "biggan_deep",
            {"features": (16, 8, 8)},
            r"\(16, 8, 8\) .* never falling",
        ),
    ],
)
def test_a_field_that_cannot_work_is_named(role, name, fields, message):
    with pytest.raises(ConfigError, match=message):
        make(role, name, shape=(16, 16, 1), **fields)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_points_are_refused(role, name):
    with pytest.raises(ConfigError, match=f"{name} is a network for images"):
        make(role, name, shape=(2,))
