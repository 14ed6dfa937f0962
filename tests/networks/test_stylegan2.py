"""StyleGAN2's networks: counts, both written out, styles, mixing, truncation, noise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P

from gan_jax.errors import ConfigError
from gan_jax.layers.modulated import modulated_convolve
from gan_jax.layers.resample import blur_binomial, downsample_binomial, upsample_binomial
from gan_jax.networks.registry import make
from gan_jax.networks.styles import AVERAGE, Noise
from tests.devices import sharded
from tests.games import stub
from tests.training import tiny

WIDTHS = (512, 512, 512, 512, 512, 256, 128, 64, 32)


@pytest.mark.parametrize(
    ("role", "expected"), [("generator", 30_370_060), ("discriminator", 29_012_513)]
)
def test_the_networks_for_1024x1024_have_the_published_number_of_parameters(role, expected):
    module = make(role, "stylegan2", shape=(1024, 1024, 3), features=WIDTHS)
    x = jnp.zeros((1, 512) if role == "generator" else (1, 1024, 1024, 3))
    params = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected


# --- Both networks, written out. ------------------------------------------------------------------

SHAPE, FEATURES = (8, 12, 2), (6, 4)


def randomized(variables, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), variables)


def dense(x, layer, gain=1.0, rate=1.0):
    scale = rate * gain / np.sqrt(len(layer["kernel"]))
    return x @ (scale * layer["kernel"]) + rate * layer.get("bias", 0.0)


def scaled(kernel, gain=1.0):
    return kernel * gain / np.sqrt(np.prod(kernel.shape[:-1]))


def leaky(x):
    return jnp.where(x > 0, x, 0.2 * x)


@functools.cache
def generator(**fields):
    """Return a generator, its variables and latents."""
    fields = {"features": FEATURES, "latent_dim": 3, "style_dim": 5, "mapping_layers": 2, **fields}
    module = make("generator", "stylegan2", shape=SHAPE, **fields)
    z = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    condition = {"label": jnp.zeros((4,), jnp.int32)}
    return module, randomized(jax.eval_shape(module.init, jax.random.key(0), z, condition)), z


def test_the_generator_gives_each_layer_its_style_and_adds_the_images_of_all_resolutions():
    module, variables, _ = generator()
    params = variables["params"]["synthesis"]
    styles = np.random.default_rng(2).normal(size=(2, 4, 5)).astype(np.float32)

    def modulated(x, layer, style, **options):
        s = dense(style, layer["affine"])
        return modulated_convolve(x, scaled(layer["kernel"]), s, **options)

    def styled(x, name, index, **options):
        layer = params[name]
        x = modulated(x, layer["ModulatedConv_0"], styles[:, index], **options)
        return np.sqrt(2) * leaky(x + layer["bias"])

    def colors(x, stage, index):
        layer = params[f"ModulatedConv_{stage}"]
        return modulated(x, layer, styles[:, index], demodulate=False) + params[f"bias_{stage}"]

    assert params["constant"].shape == (4, 6, 6)
    x = jnp.broadcast_to(params["constant"], (2, 4, 6, 6))
    x = styled(x, "StyledConv_0", 0)
    image = colors(x, 0, 1)
    x = styled(x, "StyledConv_1", 1, upsample=True)
    x = styled(x, "StyledConv_2", 2)
    expected = upsample_binomial(image) + colors(x, 1, 3)
    found = module.apply(variables, styles, method="synthesize")
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_the_discriminator_is_residual_and_sees_the_deviation_at_the_coarsest_map():
    module = make("discriminator", "stylegan2", shape=SHAPE, features=FEATURES)
    x = np.random.default_rng(1).normal(size=(4, *SHAPE)).astype(np.float32)
    variables = randomized(jax.eval_shape(module.init, jax.random.key(0), x))
    layers = variables["params"]

    def conv(x, number, gain=2**0.5, padding="SAME", stride=1):
        layer = layers[f"EqualizedConv_{number}"]
        dimensions = ("NHWC", "HWIO", "NHWC")
        kernel, strides = scaled(layer["kernel"], gain), (stride, stride)
        y = lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=dimensions)
        return y + layer.get("bias", 0.0)

    h = leaky(conv(x, 0))
    y = blur_binomial(leaky(conv(h, 1)), 2)
    y = leaky(conv(y, 2, padding="VALID", stride=2))
    assert "bias" not in layers["EqualizedConv_3"]
    last = (y + conv(downsample_binomial(h), 3, gain=1.0)) / np.sqrt(2)
    deviation = np.sqrt(np.var(last, axis=0) + 1e-8).mean()
    y = jnp.concatenate([last, jnp.full((*last.shape[:-1], 1), deviation)], -1)
    y = leaky(conv(y, 4)).reshape(4, -1)
    y = leaky(dense(y, layers["EqualizedDense_0"], np.sqrt(2)))
    verdict = module.apply(variables, x, method="judge")
    np.testing.assert_allclose(verdict.features[-1], last, rtol=1e-3, atol=1e-3)
    scores = dense(y, layers["EqualizedDense_1"])[:, 0]
    np.testing.assert_allclose(verdict.scores, scores, rtol=1e-3, atol=1e-3)


# --- Styles. --------------------------------------------------------------------------------------


def normalized(x):
    return x / np.sqrt(np.mean(np.square(x), -1, keepdims=True) + 1e-8)


def mapped(params, z, *classes):
    """Return the styles of latents."""
    x = np.concatenate(
        [normalized(z), *(normalized(dense(c, params["embedding"])) for c in classes)], 1
    )
    for i in range(2):
        x = leaky(dense(x, params[f"EqualizedDense_{i}"], np.sqrt(2), 0.01))
    return x


def styles(module, variables, z, condition=None, *, mutable=True, **options):
    """Return the styles of layers, and the mean style."""
    apply = functools.partial(module.apply, method="styles", mutable=[AVERAGE] * mutable, **options)
    found, changed = jax.jit(lambda v, z: apply(v, z, condition))(variables, z)
    return np.asarray(found), changed[AVERAGE]["mean"] if mutable else None


def keys(count):
    return jax.random.split(jax.random.key(3), count)


def test_a_style_is_that_of_its_normalized_latent_and_class():
    module, variables, z = generator()
    expected = mapped(variables["params"]["mapping"], z)
    found, _ = styles(module, variables, z)
    np.testing.assert_allclose(found, np.repeat(expected[:, None], 4, 1), rtol=1e-4, atol=1e-6)

    module, variables, z = generator(conditioning="concat", num_classes=3)
    labels = np.array([2, 0, 1, 1])
    one_hot = np.eye(3, dtype=np.float32)[labels]
    expected = mapped(variables["params"]["mapping"], z, one_hot)
    for label in (labels, one_hot):  # Of attributes, too.
        found, _ = styles(module, variables, z, {"label": jnp.asarray(label)})
        np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4, atol=1e-6)


def test_the_mean_style_moves_towards_that_of_the_batch_in_training_alone():
    module, variables, z = generator(average_decay=0.75)
    own = mapped(variables["params"]["mapping"], z)
    before = variables[AVERAGE]["mean"]
    # Of the images' own latents, whatever styles are mixed.
    _, after = styles(module, variables, z, keys=keys(4))
    np.testing.assert_allclose(after, 0.75 * before + 0.25 * own.mean(0), rtol=1e-4)
    np.testing.assert_array_equal(styles(module, variables, z, train=False)[1], before)
    started = module.init(jax.random.key(0), z, method="styles")[AVERAGE]["mean"]
    np.testing.assert_array_equal(started, np.zeros(5))


def test_two_devices_keep_the_mean_style_of_one():
    module, variables, z = generator()

    def share(z):
        changed = module.apply(variables, z, method="styles", mutable=[AVERAGE])[1]
        # As the train step does with all mutable collections.
        return lax.pmean(changed[AVERAGE]["mean"], "data")

    found = sharded(share, P("data"), count=2)(z)
    np.testing.assert_allclose(found, styles(module, variables, z)[1], rtol=1e-5)


@pytest.mark.parametrize("mixing", [0.0, 0.75, 1.0])
def test_layers_from_a_random_one_on_have_the_style_of_a_second_latent(mixing):
    module, variables, _ = generator(mixing=mixing)
    z = np.random.default_rng(4).normal(size=(400, 3)).astype(np.float32)
    own, _ = styles(module, variables, z)
    found, _ = styles(module, variables, z, keys=keys(400))
    same = np.all(found == own, axis=2)
    np.testing.assert_array_equal(same[:, 0], True)
    first = same.sum(1)
    # One style before, one other style from there on.
    np.testing.assert_array_equal(same, np.arange(4) < first[:, None])
    np.testing.assert_array_equal(
        found[:, -1], np.where((first < 4)[:, None], found[:, -1], own[:, -1])
    )
    mixed = first < 4
    assert abs(mixed.mean() - mixing) < 0.06
    if mixing:
        counts = np.bincount(first[mixed], minlength=4) / mixed.sum()
        np.testing.assert_allclose(counts, [0, 1 / 3, 1 / 3, 1 / 3], atol=0.08)
        np.testing.assert_array_equal(found[first == 2][:, 2], found[first == 2][:, 3])
        # The second latents have the distribution of the first.
        spread = found[mixed][:, -1].std(0)
        np.testing.assert_allclose(spread, own[:, 0].std(0), rtol=0.25)


def test_samples_are_not_mixed():
    module, variables, z = generator(mixing=1.0)
    own, _ = styles(module, variables, z)
    for options in ({"train": False}, {"mutable": False}):
        found = module.apply(
            variables, z, keys=keys(4), method="styles", **{"train": True, **options}
        )
        np.testing.assert_allclose(found, own, rtol=1e-5)


def test_truncation_moves_styles_towards_their_mean():
    module, variables, z = generator()
    mean = variables[AVERAGE]["mean"]
    own, _ = styles(module, variables, z, train=False)
    for psi in (0.0, 0.5, 1.0):
        found, _ = styles(module, variables, z, train=False, psi=psi)
        np.testing.assert_allclose(found, mean + psi * (own - mean), rtol=1e-4, atol=1e-6)


def test_noise_is_one_image_for_all_channels_drawn_for_each_layer_and_example():
    x = np.zeros((2, 64, 64, 3), np.float32)
    first, second = (
        Noise(index).apply({"params": {"strength": jnp.float32(2.0)}}, x, keys(2))
        for index in (0, 1)
    )
    np.testing.assert_array_equal(first[..., :1] + x, first)
    np.testing.assert_allclose(np.std(first, (1, 2)), 2.0, rtol=0.05)
    planes = np.stack([first[0], first[1], second[0], second[1]])[..., 0].reshape(4, -1)
    np.testing.assert_allclose(np.corrcoef(planes), np.eye(4), atol=0.06)
    np.testing.assert_array_equal(Noise(0).apply({"params": {"strength": 2.0}}, x, None), x)
    module, variables, z = generator()
    noisy = module.apply(variables, z, keys=keys(4), train=False)
    assert np.abs(noisy - module.apply(variables, z, train=False)).max() > 0.1


# --- In a game. -----------------------------------------------------------------------------------


def test_a_game_truncates_styles_in_place_of_latents():
    config = tiny.point_config()
    config.generator.name = "stylegan2"
    config.generator.stylegan2.update(features=2, style_dim=3, mapping_layers=1)
    game, turn = stub.begin(config, (8, 8, 1), batch=4)
    variables = {**turn.variables, "generator": randomized(turn.variables["generator"])}
    z = game.latents(turn.keys("latent"))
    sample = jax.jit(lambda truncation: game.sample(variables, z, truncation=truncation))
    plain = game.sample(variables, z)
    np.testing.assert_allclose(sample(1.0), plain, rtol=1e-3, atol=1e-4)
    one = np.asarray(sample(0.0))
    np.testing.assert_allclose(one, np.broadcast_to(one[:1], one.shape), rtol=1e-5)
    assert np.abs(plain[0] - plain[1]).max() > 0.01
    module = game.generator
    expected = module.apply(variables["generator"], z, psi=0.5, train=False)
    np.testing.assert_allclose(sample(0.5), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("role", "fields", "message"),
    [
        ("generator", {"mixing": 1.5}, r"generator.stylegan2.mixing = 1.5; accepted: .*\[0, 1\)"),
        ("generator", {"average_decay": -0.5}, "generator.stylegan2.average_decay = -0.5"),
        ("generator", {"mapping_layers": 0}, "generator.stylegan2.mapping_layers = 0"),
        ("generator", {"features": (8, 4, 4)}, r"\(8, 4, 4\) cannot work; accepted: a tuple of 2"),
        (
            "generator",
            {"conditioning": "batch_norm"},
            "'batch_norm' is unknown; accepted: none, co",
        ),
        ("discriminator", {"features": 0}, "discriminator.stylegan2.features = 0"),
    ],
)
def test_a_field_that_cannot_work_is_named(role, fields, message):
    with pytest.raises(ConfigError, match=message):
        make(role, "stylegan2", shape=(8, 8, 1), **fields)
