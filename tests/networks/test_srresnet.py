"""The super-resolution network: layers by hand, its bicubic start, parity with PyTorch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gan_jax.networks.registry import make
from gan_jax.networks.srresnet import FACTORS, SRResNet
from tests.networks.pytorch import batch_norm, conv, drawn, images_in, images_out, tensor


def _params(module, *shape):
    return jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, *shape)))["params"]


def test_the_papers_network():
    """Figure 4 of 1609.04802: k9n64, 16 blocks of k3n64, k3n64, two of k3n256, k9n3; 4x."""
    module = make("translator", "srresnet", shape=(24, 24, 3), outputs=3)
    params = _params(module, 24, 24, 3)
    square = 9 * 64 * 64
    convs = 2 * 81 * 3 * 64 + 33 * square + 2 * 4 * square
    biases, norms, slopes = 64 + 2 * 256 + 3, 2 * 33 * 64, 64 * (1 + 16 + 2)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == convs + biases + norms + slopes
    stats = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 24, 24, 3)))["batch_stats"]
    assert len(jax.tree.leaves(stats)) == 2 * 33


@pytest.mark.parametrize(
    ("factor", "stages"), [(1, []), (2, [2]), (3, [3]), (4, [2, 2]), (8, [2, 2, 2])]
)
def test_enlargement_is_by_doublings_or_one_tripling(factor, stages):
    params = _params(SRResNet((8, 8, 3), 3, factor=factor, features=6, blocks=1), 8, 8, 3)
    made = [params[f"enlarge_{i + 1}"]["kernel"].shape for i in range(len(stages))]
    assert made == [(3, 3, 6, 6 * times**2) for times in stages]
    assert f"enlarge_{len(stages) + 1}" not in params


def test_the_factors_that_there_are():
    assert FACTORS == (1, 2, 3, 4, 8)


def _bicubic(images, factor):
    """Enlarge by Pillow, which goes by Keys' cubic with a = -0.5 and leaves out what is beyond."""
    size = (images.shape[2] * factor, images.shape[1] * factor)
    planes = [
        [np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC))]
        for image in images
        for plane in image.transpose(2, 0, 1)
    ]
    planes = np.concatenate(planes).reshape(*images.shape[::3], *size[::-1])
    return planes.transpose(0, 2, 3, 1)


@pytest.mark.parametrize(
    ("factor", "channels", "outputs"),
    [(1, 3, 3), (2, 1, 3), (3, 4, 3), (4, 3, 3)],
)
def test_residual_networks_start_as_bicubic_enlargement(factor, channels, outputs):
    module = make(
        "translator",
        "srresnet",
        shape=(6, 9, channels),
        outputs=outputs,
        factor=factor,
        features=4,
        blocks=1,
        output="residual",
    )
    x = np.random.default_rng(0).uniform(-1, 1, size=(2, 6, 9, channels)).astype(np.float32)
    image, _ = jax.jit(module.init_with_output)(jax.random.key(0), x)
    same = x[..., :outputs] if channels > 1 else np.repeat(x, outputs, axis=-1)
    # Pillow's weights have some six digits.
    np.testing.assert_allclose(image, _bicubic(same, factor), atol=1e-5)
    if factor == 1:
        np.testing.assert_array_equal(image, same)


@pytest.mark.slow
def test_a_new_network_keeps_the_size_of_its_signal():
    """Sixteen unnormalized blocks of He's weights would make 65,536 times the variance."""
    module = SRResNet((8, 8, 3), 3, factor=1, features=8, normalization="none")
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
    image, _ = jax.jit(module.init_with_output)(jax.random.key(0), x)
    assert 0.3 < np.std(image) < 5.0


def test_weights_start_from_hes_normal_distribution():
    module = SRResNet((8, 8, 3), 3, factor=2, features=32, blocks=2, normalization="none")
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))["params"]
    he = np.sqrt(2.0 / (9 * 32))
    for layer, std in (
        (params["enlarge_1"], he),
        (params["block_2"]["conv_1"], he),
        (params["block_2"]["conv_2"], he / np.sqrt(2.0)),
        (params["last"], np.sqrt(2.0 / (81 * 32))),
    ):
        np.testing.assert_allclose(np.std(layer["kernel"]), std, rtol=0.05)
    np.testing.assert_array_equal(params["first_prelu"]["slope"], 0.25)


@pytest.mark.parametrize(("factor", "train"), [(3, True), (4, False)])
def test_equals_pytorch(factor, train):
    torch = pytest.importorskip("torch", reason="parity with PyTorch")
    module = SRResNet((6, 8, 3), 2, factor=factor, features=6, blocks=2)
    x = np.random.default_rng(0).uniform(-1, 1, size=(3, 6, 8, 3)).astype(np.float32)
    variables = drawn(module, x)
    p, stats = variables["params"], variables["batch_stats"]

    def prelu(h, layer):
        return torch.nn.functional.prelu(h, tensor(torch, layer["slope"]))

    def block(h, layers, running):
        y = conv(torch, h, layers["conv_1"], padding=1)
        y = prelu(batch_norm(torch, y, layers["norm_1"], running["norm_1"], train), layers["prelu"])
        y = conv(torch, y, layers["conv_2"], padding=1)
        return h + batch_norm(torch, y, layers["norm_2"], running["norm_2"], train)

    first = prelu(conv(torch, images_in(torch, x), p["first"], padding=4), p["first_prelu"])
    h = first
    for name in ("block_1", "block_2"):
        h = block(h, p[name], stats[name])
    h = conv(torch, h, p["after_blocks"], padding=1)
    name = "after_blocks_norm"
    h = first + batch_norm(torch, h, p[name], stats[name], train)
    for index, times in enumerate([3] if factor == 3 else [2, 2]):
        h = conv(torch, h, p[f"enlarge_{index + 1}"], padding=1)
        h = torch.nn.functional.pixel_shuffle(h, times)
        h = prelu(h, p[f"enlarge_{index + 1}_prelu"])
    h = conv(torch, h, p["last"], padding=4)
    apply = functools.partial(module.apply, train=train, mutable=["batch_stats"])
    ours, _ = jax.jit(apply)(variables, x)
    assert np.std(ours) > 0.1
    np.testing.assert_allclose(ours, images_out(h), atol=2e-4, rtol=1e-4)
