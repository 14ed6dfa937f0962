"""The discriminator of patches: what a score sees, sizes, parameters by hand, PyTorch, mistakes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError
from gan_jax.networks.patchgan import PatchGAN, receptive_field
from gan_jax.networks.registry import DISCRIMINATORS, PATCH_DISCRIMINATORS, make
from gan_jax.networks.verdict import Verdict
from tests.devices import on_two_devices
from tests.networks.pytorch import batch_norm, conv, drawn, images_in, instance_norm
from tests.networks.shapes import SHAPES

# 1611.07004, section 6.1.2: the names of its discriminators are the squares that they see.
FIELDS = {0: 1, 1: 16, 2: 34, 3: 70, 5: 286}
NORMALIZATIONS = ["instance", "batch", "none", "spectral", "group", "layer"]


def _images(*shape):
    return np.random.default_rng(1).uniform(-1.0, 1.0, size=shape).astype(np.float32)


def _network(shape, **fields):
    """Return a network and variables that are drawn; spectral norm's vectors are the kernels'."""
    module = PatchGAN(shape, **{"features": 6, "groups": 3, **fields})
    x = _images(2, *shape)
    if module.normalization == "spectral":
        return module, jax.jit(module.init)(jax.random.key(0), x)
    return module, drawn(module, x)


@functools.partial(jax.jit, static_argnames=("module", "train"))
def _apply(module, variables, x, train=True):
    return module.apply(variables, x, train=train, mutable=["batch_stats"])


def test_every_registered_patch_discriminator_is_under_test():
    assert set(PATCH_DISCRIMINATORS) - {"hifigan"} == {"patchgan"}


@pytest.mark.parametrize(("layers", "side"), FIELDS.items())
def test_receptive_field_is_the_papers(layers, side):
    assert PatchGAN((256, 256, 3), layers=layers).receptive_field == side


@pytest.mark.parametrize(
    ("sizes", "side"),
    [([], 1), ([(3, 1)], 3), ([(3, 1), (3, 1)], 5), ([(3, 2), (3, 1)], 7), ([(1, 2), (2, 1)], 3)],
)
def test_receptive_field_by_hand(sizes, side):
    assert receptive_field(sizes) == side


@pytest.mark.parametrize("layers", FIELDS)
def test_a_score_depends_on_its_square_and_on_all_of_it(layers):
    """Measured: the pixels for which the derivative of one score is not zero."""
    side, step = FIELDS[layers], 2**layers
    places = (3, 4)
    # The zeros round the layers' inputs are seen by the first scores; PixelGAN has none.
    start = [step * (place - 3) + 1 if layers else place for place in places]
    shape = tuple(first + side + 1 for first in start)
    module, variables = _network((*shape, 2), features=2, layers=layers, normalization="none")
    x = _images(1, *shape, 2)

    @jax.jit
    def slopes(x):
        return jax.grad(lambda x: module.apply(variables, x)[(0, *places)])(x)

    seen = np.any(np.asarray(slopes(x))[0] != 0, axis=-1)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (side, side)
    assert seen.sum() == side**2
    np.testing.assert_array_equal([rows[0], columns[0]], start)
    # Inside, so that no side of the image has cut it.
    assert min(start) > 0
    assert rows[-1] < shape[0] - 1
    assert columns[-1] < shape[1] - 1


@pytest.mark.parametrize(
    ("layers", "shape", "scores"),
    [
        (3, (256, 256, 6), (30, 30)),
        (3, (40, 97, 1), (3, 10)),
        (0, (7, 9, 3), (7, 9)),
        (5, (256, 256, 3), (6, 6)),
    ],
)
def test_output_shapes_and_dtypes(layers, shape, scores):
    """At full size: traced, not computed."""
    module = make("patch_discriminator", "patchgan", shape=shape, layers=layers)
    x = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    said = jax.eval_shape(module.apply, variables, x)
    assert (said.shape, said.dtype) == ((2, *scores), jnp.float32)
    # What it was made for does not bind it.
    wide = jax.ShapeDtypeStruct((2, shape[0], shape[1] + 2**layers, shape[2]), jnp.float32)
    said = jax.eval_shape(module.apply, variables, wide)
    assert said.shape == (2, scores[0], scores[1] + 1)


def test_the_papers_discriminator_of_70_pixels():
    """C64-C128-C256-C512 and one more layer, of an image beside its condition."""
    module = make("patch_discriminator", "patchgan", shape=(256, 256, 6))
    x = jax.ShapeDtypeStruct((1, 256, 256, 6), jnp.float32)
    params = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    kernels = 16 * (6 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count == kernels + 64 + 2 * (128 + 256 + 512) + 1 == 2_768_705


def test_pixelgan_is_the_papers():
    """C64-C128 of 1x1 convolutions: a score sees one pixel."""
    module = make("patch_discriminator", "patchgan", shape=(8, 8, 3), layers=0)
    x = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    params = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    kernels = [params[f"Conv_{i}"]["kernel"].shape for i in range(3)]
    assert kernels == [(1, 1, 3, 64), (1, 1, 64, 128), (1, 1, 128, 1)]


def test_verdict_has_the_map_and_the_hidden_activations():
    module, variables = _network((32, 48, 3), layers=2)
    x = _images(2, 32, 48, 3)
    said = jax.jit(functools.partial(module.apply, method="judge"))(variables, x)
    assert isinstance(said, Verdict)
    np.testing.assert_array_equal(said.scores, _apply(module, variables, x)[0])
    assert [f.shape for f in said.features] == [(2, 16, 24, 6), (2, 8, 12, 12), (2, 7, 11, 24)]
    assert said.heads == {}
    assert said.scores.shape == (2, 6, 10)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_neither_the_first_layer_nor_the_last_is_normalized(normalization):
    module = PatchGAN((32, 32, 3), layers=2, normalization=normalization)
    x = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    params = variables["params"]
    own = normalization not in ("none", "spectral")
    assert sum("Norm" in name for name in params) == (2 if own else 0)
    convs = sorted(name for name in params if "Conv" in name)
    assert [("bias" in params[name]) for name in convs] == [True, not own, not own, True]
    assert len(jax.tree.leaves(variables.get("spectral", {}))) == 4 * (normalization == "spectral")


@pytest.mark.slow
@pytest.mark.parametrize("normalization", ["instance", "batch", "spectral"])
def test_scores_depend_on_other_images_with_batch_norm_alone(normalization):
    module, variables = _network((12, 12, 3), layers=1, normalization=normalization)
    x = _images(3, 12, 12, 3)

    @jax.jit
    def slopes(x):
        said = lambda x: _apply(module, variables, x)[0][0].sum()  # noqa: E731
        return jnp.max(jnp.abs(jax.grad(said)(x)), axis=(1, 2, 3))

    own, *others = np.asarray(slopes(x))
    assert own > 0
    assert (np.max(others) > 0) == (normalization == "batch")
    whole, alone = (_apply(module, variables, x[:n], train=False)[0] for n in (3, 1))
    np.testing.assert_allclose(alone, whole[:1], rtol=1e-4, atol=1e-5)


def test_scores_of_shifted_images_are_shifted():
    module, variables = _network((64, 64, 3), layers=2, normalization="none")
    x = _images(1, 64, 68, 3)
    left, right = (
        _apply(module, variables, x[:, :, :-4])[0],
        _apply(module, variables, x[:, :, 4:])[0],
    )
    np.testing.assert_allclose(right[:, 4:-4, 4:-4], left[:, 4:-4, 5:-3], atol=1e-5)
    assert np.std(left) > 0.01


@pytest.mark.parametrize("normalization", ["spectral"])
def test_bfloat16_computes_close_to_float32_and_scores_in_float32(normalization):
    module, variables = _network((16, 16, 3), layers=1, normalization=normalization)
    x = _images(4, 16, 16, 3)
    exact, _ = _apply(module, variables, x)
    scores, _ = _apply(module.clone(dtype=jnp.bfloat16), variables, x)
    assert scores.dtype == jnp.float32
    assert np.any(scores != scores.astype(jnp.bfloat16).astype(jnp.float32))
    assert 0.0 < np.sqrt(np.mean(np.square(scores - exact))) < 0.06 * np.std(exact)


def test_two_devices_equal_one():
    module, variables = _network((16, 16, 3), layers=1, normalization="batch")
    x = _images(4, 16, 16, 3)
    several, single = on_two_devices(module)(variables, x), _apply(module, variables, x)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), several, single)


@pytest.mark.parametrize("normalization", ["instance", "spectral"])
def test_gradient_of_the_input_gradient_is_finite_and_not_zero(normalization):
    """A penalty on an image's gradient may be asked of patches, too."""
    module, variables = _network((16, 16, 3), layers=1, normalization=normalization)
    x = _images(2, 16, 16, 3)
    state = {name: value for name, value in variables.items() if name != "params"}

    @jax.jit
    def penalty_gradient(params):
        def penalty(params):
            total = lambda x: jnp.sum(module.apply({"params": params, **state}, x))  # noqa: E731
            return jnp.mean(jnp.square(jax.grad(total)(x)))

        return jax.grad(penalty)(params)

    for path, leaf in jax.tree_util.tree_leaves_with_path(penalty_gradient(variables["params"])):
        assert np.all(np.isfinite(leaf)), path
        if "kernel" in jax.tree_util.keystr(path):
            assert np.abs(leaf).max() > 0, path


@pytest.mark.slow
def test_spectral_norm_takes_the_length_of_every_kernel_away():
    module, variables = _network((16, 16, 3), layers=1, normalization="spectral")
    x = _images(2, 16, 16, 3)
    factors = iter(np.linspace(0.5, 3.0, 9, dtype=np.float32))
    stretched = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf * next(factors) if "kernel" in jax.tree_util.keystr(path) else leaf,
        variables["params"],
    )
    np.testing.assert_allclose(
        _apply(module, {**variables, "params": stretched}, x)[0],
        _apply(module, variables, x)[0],
        rtol=1e-4,
        atol=1e-6,
    )
    apply = functools.partial(module.apply, mutable=["spectral"])
    moved, still = (
        jax.jit(functools.partial(apply, train=train))(variables, x)[1]["spectral"]
        for train in (True, False)
    )
    jax.tree.map(np.testing.assert_array_equal, still, variables["spectral"])
    for before, after in zip(
        jax.tree.leaves(variables["spectral"]), jax.tree.leaves(moved), strict=True
    ):
        assert after.size == 1 or np.any(before != after)


def test_weights_start_from_the_papers_normal_distributions():
    module = PatchGAN((12, 12, 3), layers=2)
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 12, 12, 3)))["params"]
    for layer in ("Conv_1", "Conv_2"):
        kernel = np.asarray(params[layer]["kernel"])
        np.testing.assert_allclose(kernel.std(), 0.02, rtol=0.02)
        np.testing.assert_allclose(kernel.mean(), 0.0, atol=5e-4)
    scales = np.concatenate([params[f"InstanceNorm_{i}"]["scale"] for i in range(2)])
    np.testing.assert_allclose(scales.mean(), 1.0, atol=0.01)
    np.testing.assert_allclose(scales.std(), 0.02, rtol=0.25)


@pytest.mark.parametrize(
    ("layers", "normalization", "train", "shape"),
    [
        (3, "instance", True, (24, 32, 6)),
        (1, "batch", False, (9, 16, 3)),
        (0, "batch", True, (5, 4, 3)),
    ],
)
def test_equals_pytorch(layers, normalization, train, shape):
    """Of odd sizes, too: the 4x4 convolutions have padding=1 there."""
    torch = pytest.importorskip("torch", reason="parity with PyTorch")
    module, variables = _network(shape, layers=layers, normalization=normalization)
    x = _images(3, *shape)
    p = variables["params"]
    strides, padding = ([2] * layers + [1, 1], 1) if layers else ([1, 1, 1], 0)
    h = images_in(torch, x)
    for index, stride in enumerate(strides):
        h = conv(torch, h, p[f"Conv_{index}"], stride=stride, padding=padding)
        if index == len(strides) - 1:
            break
        if index > 0 and normalization == "instance":
            h = instance_norm(torch, h, p[f"InstanceNorm_{index - 1}"])
        elif index > 0:
            name = f"BatchNorm_{index - 1}"
            h = batch_norm(torch, h, p[name], variables["batch_stats"][name], train)
        h = torch.nn.functional.leaky_relu(h, 0.2)
    ours, _ = _apply(module, variables, x, train=train)
    assert np.std(ours) > 0.1
    np.testing.assert_allclose(ours, h.numpy()[:, 0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminators_of_whole_images_are_made_alike(name):
    shape = SHAPES.get(name, (16, 16, 3))
    module = make("patch_discriminator", name, shape=shape)
    assert module == make("discriminator", name, shape=shape)


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        (
            "patchgn",
            {},
            [
                "discriminator.name = 'patchgn' is unknown",
                "patchgan, ",
                'Did you mean "patchgan"?',
            ],
        ),
        ("patchgan", {"layer": 2}, ["discriminator.patchgan.layer = 2", 'Did you mean "layers"?']),
        ("dcgan", {"layers": 2}, ["discriminator.dcgan.layers = 2 is unknown"]),
        (
            "patchgan",
            {"shape": (23, 64, 3)},
            ["data.resolution = 23x64", "patchgan.layers = 3", "24 or more, or fewer layers"],
        ),
        ("patchgan", {"shape": (8, 5, 3), "layers": 1}, ["data.resolution = 8x5", "6 or more"]),
        ("patchgan", {"shape": (2,)}, ["patchgan is a network for images", "(2,)"]),
        ("patchgan", {"shape": (32, 32, 0)}, ["data.shape = (32, 32, 0)"]),
        ("patchgan", {"layers": -1}, ["discriminator.patchgan.layers = -1", "0 or more"]),
        ("patchgan", {"features": 0}, ["discriminator.patchgan.features = 0"]),
        (
            "patchgan",
            {"normalization": "spectrl"},
            ["discriminator.patchgan.normalization = 'spectrl'", 'Did you mean "spectral"?'],
        ),
        (
            "patchgan",
            {"normalization": "group", "features": 6},
            ["discriminator.patchgan.groups = 8", "widths 12, 24, 48", "a divisor of 12"],
        ),
    ],
)
def test_what_cannot_work_is_refused(name, fields, expected):
    with pytest.raises(ConfigError) as caught:
        make("patch_discriminator", name, **{"shape": (32, 32, 3), **fields})
    message = str(caught.value)
    assert "\n" not in message
    for part in expected:
        assert part in message


@pytest.mark.parametrize(("layers", "smallest"), [(0, 1), (1, 6), (2, 12), (3, 24), (5, 96)])
def test_the_smallest_image_leaves_one_score(layers, smallest):
    module = PatchGAN((smallest, smallest, 1), layers=layers, normalization="none")
    x = jax.ShapeDtypeStruct((1, smallest, smallest, 1), jnp.float32)
    said, _ = jax.eval_shape(module.init_with_output, jax.random.key(0), x)
    assert said.shape == (1, 1, 1)
    if smallest > 1:
        with pytest.raises(ConfigError):
            PatchGAN((smallest - 1, smallest, 1), layers=layers)
