"""What every network that makes an image of an image owes its users, whatever the architecture."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError
from gan_jax.networks.registry import TRANSLATORS, make
from tests.devices import on_two_devices
from tests.networks.pytorch import drawn, randomized

# That of sounds is tested in test_segan.py.
OF_IMAGES = [name for name in TRANSLATORS if name not in ("hifigan", "segan")]
SHAPE = (8, 16, 3)
BATCH = 4
# Small enough to compile in a second, with every option that changes the graph.
CASES = {
    "unet": ("unet", {"features": 4, "levels": 3}),
    "unet-batch": ("unet", {"features": 4, "levels": 2, "normalization": "batch"}),
    "unet-nearest": (
        "unet",
        {"features": 4, "levels": 2, "upsample": "nearest", "normalization": "none"},
    ),
    "translator": ("translator", {"features": 4, "blocks": 1}),
    "translator-batch": (
        "translator",
        {"features": 4, "blocks": 1, "downsamplings": 1, "normalization": "batch"},
    ),
    "translator-full": (
        "translator",
        {"features": 4, "blocks": 1, "downsamplings": 0, "normalization": "none"},
    ),
    "srresnet": ("srresnet", {"features": 4, "blocks": 1, "factor": 2}),
    "srresnet-none": ("srresnet", {"features": 4, "blocks": 1, "normalization": "none"}),
}
BATCH_NORM = ["unet-batch", "translator-batch", "srresnet"]
# Without normalization, what an output sees has bounds.
LOCAL = ["unet-nearest", "translator-full", "srresnet-none"]
DROPOUT = {
    "unet": {"features": 4, "levels": 3, "dropout_levels": 2},
    "translator": {"features": 4, "blocks": 1, "dropout": 0.5},
}


def _images(*shape):
    return np.random.default_rng(1).uniform(-1.0, 1.0, size=shape).astype(np.float32)


def _inputs(channels=3):
    return _images(BATCH, *SHAPE[:2], channels)


@functools.cache
def _network(case):
    """Return a network that ends in tanh, and variables that are drawn, not its first ones."""
    name, fields = CASES[case]
    module = make("translator", name, shape=SHAPE, outputs=3, output="tanh", **fields)
    return module, drawn(module, _inputs())


@functools.partial(jax.jit, static_argnames=("module", "train"))
def _apply(module, variables, x, keys=None, train=True):
    """Return the output and the new batch statistics."""
    return module.apply(variables, x, keys=keys, train=train, mutable=["batch_stats"])


def test_every_registered_translator_is_under_test():
    assert {name for name, _ in CASES.values()} == set(OF_IMAGES)


SIZES = [
    ("unet", {}, [(16, 16), (64, 96), (112, 48)]),
    ("unet", {"levels": 8, "dropout_levels": 3}, [(256, 256), (512, 256)]),
    ("unet", {"levels": 1}, [(2, 2), (6, 14)]),
    ("unet", {"upsample": "nearest"}, [(32, 16)]),
    ("translator", {}, [(64, 64), (20, 36), (4, 8)]),
    ("translator", {"blocks": 9}, [(256, 256)]),
    ("translator", {"downsamplings": 0}, [(37, 51), (3, 2)]),
    ("translator", {"downsamplings": 3, "blocks": 1}, [(40, 24)]),
    ("srresnet", {}, [(24, 24), (17, 31)]),
    *(("srresnet", {"factor": n, "blocks": 1}, [(24, 24), (5, 9)]) for n in (1, 2, 3, 8)),
]
KINDS = [(3, 3, "tanh"), (1, 3, "residual"), (3, 1, "linear")]


@pytest.mark.parametrize(
    ("name", "fields", "sizes", "channels", "outputs", "output"),
    # Every network in every size, and one of each in every kind.
    [(*network, *KINDS[0]) for network in SIZES]
    + [(name, {}, [(32, 32)], *kind) for name in OF_IMAGES for kind in KINDS[1:]],
)
def test_output_shapes_and_dtypes(name, fields, sizes, channels, outputs, output):
    """At full size: traced, not computed. What a network was made for does not bind it."""
    shape = (*sizes[0], channels)
    module = make("translator", name, shape=shape, outputs=outputs, output=output, **fields)
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    for height, width in sizes:
        assert height % module.multiple == width % module.multiple == 0
        x = jax.ShapeDtypeStruct((2, height, width, channels), jnp.float32)
        y = jax.eval_shape(functools.partial(module.apply, train=False), variables, x)
        expected = (2, module.scale * height, module.scale * width, outputs)
        assert (y.shape, y.dtype) == (expected, jnp.float32)


@pytest.mark.parametrize("case", ["unet", "translator-batch", "srresnet-none"])
def test_bfloat16_computes_close_to_float32_and_keeps_float32_variables(case):
    module, variables = _network(case)
    half = module.clone(dtype=jnp.bfloat16)
    exact, _ = _apply(module, variables, _inputs())
    output, update = _apply(half, variables, _inputs())
    assert output.dtype == jnp.float32
    leaves = jax.tree.leaves((jax.eval_shape(half.init, jax.random.key(0), _inputs()), update))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float32)}
    # The last step is float32: bfloat16 holds none of its results.
    assert np.any(output != output.astype(jnp.bfloat16).astype(jnp.float32))
    error = np.sqrt(np.mean(np.square(output - exact)))
    assert 0.0 < error < 0.06 * np.std(exact)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "channels"),
    [("unet", 3), ("unet-nearest", 1), ("translator", 4), ("translator-full", 1)],
)
def test_residual_networks_start_as_the_identity(case, channels):
    """Of the image's channels, grey as colour; whatever a further channel, a mask, says."""
    name, fields = CASES[case]
    shape = (*SHAPE[:2], channels)
    module = make("translator", name, shape=shape, outputs=3, output="residual", **fields)
    x = _images(BATCH, *shape)
    variables = jax.jit(module.init)(jax.random.key(0), x)
    image = x[..., :3] if channels > 1 else np.repeat(x, 3, axis=-1)
    np.testing.assert_array_equal(_apply(module, variables, x)[0], image)
    # The last layer is what keeps it there.
    assert np.std(_apply(module, randomized(variables), x)[0] - image) > 0.05


@pytest.mark.parametrize("case", ["unet", "translator", "srresnet"])
def test_outputs_differ_by_their_last_step_alone(case):
    module, variables = _network(case)
    tanh, linear, residual = (
        _apply(module.clone(output=output), variables, _inputs())[0]
        for output in ("tanh", "linear", "residual")
    )
    np.testing.assert_allclose(tanh, np.tanh(linear), atol=1e-5)
    start = jax.image.resize(_inputs(), residual.shape, "cubic")
    np.testing.assert_allclose(residual, start + linear, atol=1e-4)
    assert np.abs(linear).max() > 1.0


@pytest.mark.parametrize("case", ["translator", *BATCH_NORM])
def test_evaluated_an_image_does_not_depend_on_the_others(case):
    module, variables = _network(case)
    whole, unchanged = _apply(module, variables, _inputs(), train=False)
    alone, _ = _apply(module, variables, _inputs()[1:2], train=False)
    np.testing.assert_allclose(alone, whole[1:2], atol=1e-4)
    if "batch_stats" in variables:
        old, new = variables["batch_stats"], unchanged["batch_stats"]
        jax.tree.map(np.testing.assert_array_equal, old, new)


@pytest.mark.parametrize("case", BATCH_NORM)
def test_two_devices_equal_one(case):
    module, variables = _network(case)
    several = on_two_devices(module)(variables, _inputs())
    single = _apply(module, variables, _inputs())
    assert not np.allclose(
        single[0], _apply(module, variables, _inputs(), train=False)[0], atol=0.1
    )
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-3), several, single)


@pytest.mark.parametrize("case", LOCAL)
def test_shifted_images_are_translated_to_shifted_images(case):
    """Away from the sides, which are padded."""
    module, variables = _network(case)
    step, margin = module.multiple, 16
    x = _images(1, 48, 48 + step, 3)
    left, _ = _apply(module, variables, x[:, :, :-step])
    right, _ = _apply(module, variables, x[:, :, step:])
    scale = module.scale
    inner = slice(scale * margin, scale * (48 - margin))
    np.testing.assert_allclose(
        right[:, inner, inner],
        left[:, inner, scale * (margin + step) : scale * (48 - margin + step)],
        atol=1e-4,
    )
    assert np.std(left[:, inner, inner]) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "output"),
    [
        ("unet", "tanh"),
        ("translator", "tanh"),
        ("translator-full", "residual"),
        ("srresnet", "linear"),
    ],
)
def test_gradients_are_finite(case, output):
    """And not zero; a residual that starts from zero is learned by its last layer first."""
    name, fields = CASES[case]
    module = make("translator", name, shape=SHAPE, outputs=3, output=output, **fields)
    variables = drawn(module, _inputs())
    if output == "residual":
        variables = jax.jit(module.init)(jax.random.key(0), _inputs())
    stats = {name: value for name, value in variables.items() if name != "params"}

    @jax.jit
    def gradient(params):
        def loss(params):
            y, _ = module.apply({"params": params, **stats}, _inputs(), mutable=["batch_stats"])
            return jnp.mean(jnp.square(y - 0.5))

        return jax.grad(loss)(params)

    gradients = jax.tree_util.tree_leaves_with_path(gradient(variables["params"]))
    largest = {jax.tree_util.keystr(path): np.abs(leaf).max() for path, leaf in gradients}
    assert np.all(np.isfinite(list(largest.values())))
    kernels = [path for path in largest if "kernel" in path]
    alive = [path for path in kernels if largest[path] > 0]
    assert len(alive) == (1 if output == "residual" else len(kernels))


@pytest.mark.slow
@pytest.mark.parametrize("name", DROPOUT)
def test_dropout_of_an_example_is_of_its_own_key_alone(name):
    module = make("translator", name, shape=SHAPE, outputs=3, **DROPOUT[name])
    variables = drawn(module, _inputs())
    keys = jax.random.split(jax.random.key(1), BATCH)
    x = _inputs()
    without = _apply(module, variables, x)[0]
    whole = _apply(module, variables, x, keys)[0]
    assert np.all(np.std(whole - without, axis=(1, 2, 3)) > 0.01)
    # In evaluation, too: there it is the game that decides, by giving keys or not.
    np.testing.assert_array_equal(_apply(module, variables, x, keys, train=False)[0], whole)
    np.testing.assert_allclose(_apply(module, variables, x[2:], keys[2:])[0], whole[2:], atol=1e-4)
    changed = jnp.concatenate([keys[:1], jax.random.split(jax.random.key(2), BATCH - 1)])
    other = _apply(module, variables, x, changed)[0]
    np.testing.assert_array_equal(other[0], whole[0])
    assert np.all(np.std(other - whole, axis=(1, 2, 3))[1:] > 0.01)


@pytest.mark.parametrize("case", ["unet", "translator"])
def test_without_a_rate_keys_change_nothing(case):
    module, variables = _network(case)
    keys = jax.random.split(jax.random.key(1), BATCH)
    whole = _apply(module, variables, _inputs())[0]
    np.testing.assert_array_equal(_apply(module, variables, _inputs(), keys)[0], whole)


@pytest.mark.parametrize(
    ("case", "size"), [("unet", (16, 12)), ("unet", (12, 16)), ("translator", (18, 16))]
)
def test_images_of_another_size_are_refused_with_their_size(case, size):
    module, variables = _network(case)
    multiple = module.multiple
    with pytest.raises(ValueError, match=f"of {size[0]}x{size[1]}.*multiples of {multiple}"):
        module.apply(variables, jnp.zeros((1, *size, 3)), train=False)


@pytest.mark.parametrize("case", OF_IMAGES)
def test_modules_are_hashable_and_clone(case):
    module, _ = _network(case)
    assert hash(module) == hash(module.clone())
    assert module == module.clone()


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        (
            "unt",
            {},
            [
                "generator.name = 'unt' is unknown; accepted: hifigan, segan, srresnet,",
                '"unet"?',
            ],
        ),
        ("unet", {"level": 3}, ["generator.unet.level = 3 is unknown", '"levels"?']),
        ("unet", {"outputs": 0}, ["generator.outputs = 0", "above 0"]),
        (
            "unet",
            {"shape": (16, 24, 3)},
            ["data.resolution = 16x24", "generator.unet.levels = 4", "multiples of 16"],
        ),
        ("unet", {"shape": (2,)}, ["unet is a network for images", "(2,)"]),
        ("unet", {"shape": (16, 0, 3)}, ["data.shape = (16, 0, 3)"]),
        ("unet", {"levels": 0}, ["generator.unet.levels = 0", "above 0"]),
        ("unet", {"features": 0}, ["generator.unet.features = 0"]),
        ("unet", {"dropout_levels": 4}, ["generator.unet.dropout_levels = 4", "0 to 3"]),
        ("unet", {"dropout": 1.0}, ["generator.unet.dropout = 1.0", "from 0 to below 1"]),
        ("unet", {"upsample": "near"}, ["generator.unet.upsample", "transposed, nearest"]),
        ("unet", {"output": "tan"}, ["generator.unet.output = 'tan'", "tanh, residual, linear"]),
        ("unet", {"normalization": "spectral"}, ["generator.unet.normalization = 'spectral'"]),
        (
            "unet",
            {"normalization": "group", "features": 6},
            ["generator.unet.groups = 8", "widths 6, 12, 24", "a divisor of 6"],
        ),
        (
            "unet",
            {"shape": (16, 16, 2), "output": "residual"},
            ["generator.unet.output = 'residual'", "an input of 2", "1 channel, or of 3 or more"],
        ),
        (
            "translator",
            {"shape": (18, 16, 3)},
            ["18x16", "generator.translator.downsamplings = 2", "multiples of 4"],
        ),
        ("translator", {"downsamplings": -1}, ["generator.translator.downsamplings = -1", "0 or"]),
        ("translator", {"downsamplings": 1.5}, ["generator.translator.downsamplings = 1.5"]),
        ("translator", {"shape": (4, 4, 3)}, ["4x4 is halved to a single pixel", "instance"]),
        ("translator", {"blocks": 0}, ["generator.translator.blocks = 0"]),
        ("translator", {"dropout": -0.5}, ["generator.translator.dropout = -0.5"]),
        (
            "translator",
            {"normalization": "group", "features": 12},
            ["generator.translator.groups = 8", "widths 12, 24, 48"],
        ),
        ("srresnet", {"factor": 5}, ["generator.srresnet.factor = 5", "1, 2, 3, 4, 8."]),
        ("srresnet", {"factor": True}, ["generator.srresnet.factor = True", "above 0"]),
        ("srresnet", {"kernel_size": 0}, ["generator.srresnet.kernel_size = 0"]),
        ("srresnet", {"normalization": "spectral"}, ["generator.srresnet.normalization"]),
    ],
)
def test_what_cannot_work_is_refused(name, fields, expected):
    with pytest.raises(ConfigError) as caught:
        make("translator", name, **{"shape": (16, 16, 3), "outputs": 3, **fields})
    message = str(caught.value)
    assert "\n" not in message
    for part in expected:
        assert part in message
