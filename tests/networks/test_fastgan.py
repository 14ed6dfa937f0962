"""FastGAN's networks: sizes of all maps, parity of their parts with PyTorch, quarters by key."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError
from gan_jax.networks.fastgan import PART, WHOLE, Excitation, quarters
from gan_jax.networks.registry import make
from gan_jax.networks.verdict import Head
from tests.networks import pytorch


def shaped(role, shape, **fields):
    """Return a module and the shapes of its variables, at full size: traced, not computed."""
    module = make(role, "fastgan", shape=shape, **fields)
    x = jnp.zeros((1, *shape) if role == "discriminator" else (1, module.latent_dim))
    return module, jax.eval_shape(module.init, jax.random.key(0), x)


@pytest.mark.parametrize(
    ("shape", "scores", "whole", "part"),
    [
        ((16, 16, 1), (5, 5), (16, 16), (8, 8)),
        ((64, 96, 3), (5, 9), (64, 96), (32, 48)),
        ((256, 256, 3), (5, 5), (128, 128), (128, 128)),
        ((1024, 1024, 3), (5, 5), (128, 128), (128, 128)),
    ],
)
def test_sizes_of_scores_and_reconstructions(shape, scores, whole, part):
    module, variables = shaped("discriminator", shape)
    x = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    judge = lambda v, x: module.apply(v, x, method="judge", mutable=["batch_stats"])[0]  # noqa: E731
    verdict = jax.eval_shape(judge, variables, x)
    assert verdict.scores.shape == (2, *scores)
    assert verdict.heads[WHOLE].shape == (2, *whole, shape[-1])
    assert verdict.heads[PART].shape == (2, *part, shape[-1])
    assert min(verdict.features[0].shape[1:3]) == min(*shape[:2], 256)


@pytest.mark.parametrize(
    ("side", "fields", "scaled"),
    [
        (32, {}, {32: 4}),
        (32, {"skip": 4}, {16: 4, 32: 8}),
        (256, {}, {64: 4, 128: 8, 256: 16}),
    ],
)
def test_the_generator_scales_fine_maps_by_those_that_are_smaller_by_skip(side, fields, scaled):
    module, variables = shaped("generator", (side, side, 3), **fields)
    images = jax.eval_shape(
        lambda v, z: module.apply(v, z, mutable=["batch_stats"])[0], variables, jnp.zeros((2, 256))
    )
    assert images.shape == (2, side, side, 3)
    width = lambda side: min(64 * 64 // side, 1024)  # noqa: E731
    found = [
        layer["Dense_0"]["kernel"].shape
        for name, layer in sorted(variables["params"].items())
        if name.startswith("Excitation")
    ]
    assert found == [(16 * width(coarse), width(fine)) for fine, coarse in scaled.items()]
    # Twice the width that the gated unit leaves; one convolution per resolution, and the image's.
    kernels = [v["kernel"].shape for k, v in variables["params"].items() if k.startswith("Conv")]
    sides = [4 * 2**i for i in range(side.bit_length() - 2)]
    pairs = itertools.pairwise(sides)
    assert sorted(kernels) == sorted(
        [*((3, 3, width(a), 2 * width(b)) for a, b in pairs), (3, 3, width(side), 3)]
    )


@pytest.mark.parametrize("size", [(4, 4), (7, 7), (8, 12), (6, 4)])
def test_excitation_computes_what_pytorch_does(size):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference (extra: parity)")
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(2, *size, 3)).astype(np.float32)
    fine = rng.normal(size=(2, 10, 10, 5)).astype(np.float32)
    variables = pytorch.drawn(Excitation(), coarse, fine)
    first, second = (variables["params"][f"Dense_{i}"]["kernel"] for i in range(2))
    h = torch.nn.functional.adaptive_avg_pool2d(pytorch.images_in(torch, coarse), 4)
    h = pytorch.conv(torch, h, {"kernel": first.reshape(4, 4, 3, 5)})
    h = torch.nn.functional.leaky_relu(h, 0.1)
    h = torch.sigmoid(pytorch.conv(torch, h, {"kernel": second[None, None]}))
    expected = pytorch.images_out(pytorch.images_in(torch, fine) * h)
    np.testing.assert_allclose(Excitation().apply(variables, coarse, fine), expected, atol=1e-5)


def test_images_are_those_of_pytorch():
    """But for the excitations, which the test above compares."""
    torch = pytest.importorskip("torch", reason="parity with PyTorch")
    module = make(
        *("generator", "fastgan"), shape=(16, 16, 3), features=2, skip=4, normalization="none"
    )
    z = np.random.default_rng(0).normal(size=(2, module.latent_dim)).astype(np.float32)
    variables = pytorch.drawn(module, z)
    params = variables["params"]

    def convolved(h, name):
        return pytorch.conv(torch, h, params[name], padding=1)

    coarse = (z @ params["Dense_0"]["kernel"]).reshape(2, 4, 4, -1)
    h = coarsest = torch.nn.functional.glu(pytorch.images_in(torch, coarse), dim=1)
    for i in range(2):
        h = torch.nn.functional.interpolate(h, scale_factor=2, mode="nearest")
        h = torch.nn.functional.glu(convolved(h, f"Conv_{i}"), dim=1)
    maps = [pytorch.images_out(x) for x in (coarsest, h)]
    scaled = Excitation().apply({"params": params["Excitation_0"]}, *maps)
    image = torch.tanh(convolved(pytorch.images_in(torch, scaled), "Conv_2"))
    ours = jax.jit(module.apply)(variables, z)
    assert np.std(ours) > 0.1
    np.testing.assert_allclose(ours, pytorch.images_out(image), atol=1e-4)


def test_scores_and_reconstructions_are_those_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is the reference (extra: parity)")
    functional = torch.nn.functional
    fields = {"features": 1, "decoder_features": 1, "normalization": "none"}
    module = make("discriminator", "fastgan", shape=(16, 16, 2), **fields)
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (3, 16, 16, 2)).astype(np.float32)
    keys = jax.random.split(jax.random.key(5), 3)
    variables = pytorch.drawn(module, x)
    # A decoded map of 16x16 has 64 / 16 times the features, twice as many before the gated unit.
    assert variables["params"]["Conv_6"]["kernel"].shape[-1] == 2 * 4
    layers = iter(variables["params"][f"Conv_{i}"] for i in range(10))

    def conv(h, **options):
        return pytorch.conv(torch, h, next(layers), **options)

    def activated(h):
        return functional.leaky_relu(h, 0.2)

    before = activated(conv(pytorch.images_in(torch, x), padding=1))
    deep = activated(conv(before, stride=2, padding=1))
    deep = activated(conv(deep, padding=1))
    last = (deep + activated(conv(functional.avg_pool2d(before, 2)))) / 2
    scores = conv(activated(conv(last)))
    doubled = functional.interpolate(last, scale_factor=2)
    whole = torch.tanh(conv(functional.glu(conv(doubled, padding=1), 1), padding=1))
    quarter = quarters(keys, pytorch.images_out(before))
    part = torch.tanh(conv(pytorch.images_in(torch, quarter), padding=1))

    verdict = jax.jit(lambda v: module.apply(v, x, keys=keys, method="judge"))(variables)
    np.testing.assert_allclose(verdict.scores, scores.numpy()[:, 0], atol=1e-4)
    np.testing.assert_allclose(verdict.heads[WHOLE], pytorch.images_out(whole), atol=1e-4)
    np.testing.assert_allclose(verdict.heads[PART], pytorch.images_out(part), atol=1e-4)


def test_a_key_draws_one_quarter_and_all_four_are_drawn():
    marks = np.kron([[0.0, 1.0], [2.0, 3.0]], np.ones((4, 3))).astype(np.float32)
    images = np.broadcast_to(marks[None, ..., None], (40, 8, 6, 2))
    keys = jax.random.split(jax.random.key(0), 40)
    cut = quarters(keys, images)
    assert cut.shape == (40, 4, 3, 2)
    first = cut[:, :1, :1, :1]
    np.testing.assert_array_equal(cut, np.broadcast_to(first, cut.shape))
    assert set(np.unique(first)) == {0.0, 1.0, 2.0, 3.0}
    # The same key cuts the same quarter of another size.
    np.testing.assert_array_equal(quarters(keys, images[:, ::2])[:, :1, :1, :1], first)
    np.testing.assert_array_equal(quarters(None, images), 0.0)


@pytest.mark.parametrize(
    ("role", "fields", "message"),
    [
        ("generator", {"skip": 3}, "generator.fastgan.skip = 3; accepted: a power of 2"),
        ("generator", {"skip": 0}, "generator.fastgan.skip = 0 cannot work; accepted: "),
        ("discriminator", {"shape": (8, 8, 1)}, "data.resolution = 8 cannot be made by fastgan"),
        ("discriminator", {"decoder_features": -1}, "decoder_features = -1 cannot work"),
        ("discriminator", {"normalization": "spectral"}, "normalization = 'spectral' is unknown"),
    ],
)
def test_fields_that_cannot_work(role, fields, message):
    with pytest.raises(ConfigError, match=message):
        make(role, "fastgan", **{"shape": (16, 16, 1), **fields})


def test_a_discriminator_that_predicts_is_refused():
    with pytest.raises(ConfigError, match="'fastgan' cannot predict classes; accepted: "):
        make("discriminator", "fastgan", shape=(16, 16, 1), heads=(Head("classes", 10),))
