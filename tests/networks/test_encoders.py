"""Encoders: shapes, parameters by hand, the discriminator's trunk, batch statistics, mistakes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import ConfigError
from gan_jax.networks.registry import ENCODERS, make
from tests.devices import on_two_devices

SHAPE = (16, 16, 3)
CASES = {
    "mlp": ("mlp", {"features": (12, 12)}),
    "dcgan": ("dcgan", {"features": 6}),
    "dcgan-none": ("dcgan", {"features": 6, "normalization": "none"}),
}


def images(count=5):
    return jax.random.uniform(jax.random.key(1), (count, *SHAPE), minval=-1.0, maxval=1.0)


@functools.cache
def network(case):
    name, fields = CASES[case]
    module = make("encoder", name, shape=SHAPE, outputs=7, **fields)
    return module, jax.jit(module.init)(jax.random.key(0), images())


@functools.partial(jax.jit, static_argnames=("module", "train"))
def apply(module, variables, x, train=True, condition=None):
    """Return the output and the new batch statistics."""
    return module.apply(variables, x, condition, train=train, mutable=["batch_stats"])


def test_every_registered_encoder_is_under_test():
    assert {name for name, _ in CASES.values()} == set(ENCODERS)


@pytest.mark.parametrize(
    ("name", "resolution"),
    [("mlp", 12)] + [("dcgan", resolution) for resolution in (8, 16, 32, 64, 128)],
)
def test_output_shapes_and_dtypes(name, resolution):
    """At full size: traced, not computed."""
    shape = (resolution, resolution, 3)
    module = make("encoder", name, shape=shape, outputs=256)
    x = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    told, _ = jax.eval_shape(module.init_with_output, jax.random.key(0), x)
    assert (told.shape, told.dtype) == ((2, 256), jnp.float32)


def test_perceptron_takes_points_of_the_plane():
    module = make("encoder", "mlp", shape=(2,), outputs=4, features=(8,))
    told, variables = module.init_with_output(jax.random.key(0), jnp.ones((3, 2)))
    assert told.shape == (3, 4)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 2 * 8 + 8 + 8 * 4 + 4


def test_parameters_of_the_convolutions_are_the_discriminators():
    """The trunk of 64, 128, 256 of kernel 5 is the paper's; only the first layer has batch-norm."""
    shape = (32, 32, 3)
    fields = {"features": 64, "max_features": 256, "kernel_size": 5}
    encoder = make("encoder", "dcgan", shape=shape, outputs=256, **fields)
    params = jax.eval_shape(encoder.init, jax.random.key(0), jnp.zeros((1, *shape)))["params"]
    kernels = [params[f"Conv_{i}"]["kernel"].shape for i in range(3)]
    assert kernels == [(5, 5, 3, 64), (5, 5, 64, 128), (5, 5, 128, 256)]
    count = 25 * (3 * 64 + 64 * 128 + 128 * 256) + 2 * (64 + 128 + 256) + 4096 * 256 + 256
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


@pytest.mark.slow
def test_without_normalization_it_is_the_discriminator_with_more_outputs():
    module, variables = network("dcgan-none")
    fields = CASES["dcgan-none"][1]
    discriminator = make("discriminator", "dcgan", shape=SHAPE, **fields)
    params = dict(variables["params"])
    last = params["Dense_0"]
    params["Dense_0"] = {"kernel": last["kernel"][:, 2:3], "bias": last["bias"][2:3]}
    scores = discriminator.apply({"params": params}, images(), train=False)
    told, _ = apply(module, variables, images())
    assert np.std(scores) > 0
    np.testing.assert_allclose(told[:, 2], scores, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_posterior_starts_near_the_standard_normal(case):
    """Told by mean and logarithm of the variance, both near 0, so that training begins softly."""
    module, variables = network(case)
    told, _ = apply(module, variables, images())
    assert 0.0 < np.abs(told).max() < 1.0


@pytest.mark.parametrize("case", CASES)
def test_a_condition_changes_nothing(case):
    module, variables = network(case)
    without, _ = apply(module, variables, images())
    told, _ = apply(module, variables, images(), condition={"label": jnp.arange(5)})
    np.testing.assert_array_equal(told, without)


@pytest.mark.parametrize("case", CASES)
def test_bfloat16_computes_close_to_float32_and_keeps_float32_variables(case):
    module, variables = network(case)
    half = module.clone(dtype=jnp.bfloat16)
    exact, _ = apply(module, variables, images())
    told, update = apply(half, variables, images())
    assert told.dtype == jnp.float32
    leaves = jax.tree.leaves((jax.eval_shape(half.init, jax.random.key(0), images()), update))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float32)}
    assert np.any(told != told.astype(jnp.bfloat16).astype(jnp.float32))
    error = np.sqrt(np.mean(np.square(told - exact)))
    assert 0.0 < error < 0.06 * np.std(exact)


def test_batch_norm_trains_on_the_batch_and_evaluates_on_running_statistics():
    module, variables = network("dcgan")
    _, update = apply(module, variables, images())
    for old, new in zip(
        jax.tree.leaves(variables["batch_stats"]),
        jax.tree.leaves(update["batch_stats"]),
        strict=True,
    ):
        assert not np.allclose(old, new)
    # Evaluated, an example does not depend on the others; trained, it does.
    whole, _ = apply(module, variables, images(), train=False)
    alone, unchanged = apply(module, variables, images()[:2], train=False)
    np.testing.assert_allclose(alone, whole[:2], atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, variables["batch_stats"], unchanged["batch_stats"])
    trained, _ = apply(module, variables, images())
    pair, _ = apply(module, variables, images()[:2])
    assert np.abs(pair - trained[:2]).max() > 1e-3


def test_two_devices_equal_one():
    module, variables = network("dcgan")
    several = on_two_devices(module)(variables, images(4))
    single = apply(module, variables, images(4))
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), several, single)


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("dcgn", {}, ["encoder.name = 'dcgn' is unknown; accepted: dcgan, mlp.", '"dcgan"?']),
        ("dcgan", {"featurs": 8}, ["encoder.dcgan.featurs = 8 is unknown", '"features"?']),
        ("dcgan", {"heads": ()}, ["encoder.dcgan.heads = () is unknown"]),
        ("dcgan", {"features": 0}, ["encoder.dcgan.features = 0", "above 0"]),
        ("dcgan", {"normalization": "spectral"}, ["'spectral' is unknown; accepted: batch, none"]),
        ("dcgan", {"outputs": 0}, ["encoder.outputs = 0"]),
        (
            "dcgan",
            {"shape": (30, 30, 1)},
            ["data.resolution = 30", "multiples of 4, such as 28 or 32"],
        ),
        ("dcgan", {"shape": (2,)}, ["dcgan is a network for images"]),
        ("mlp", {"features": (8, 0)}, ["encoder.mlp.features = (8, 0)", "above 0"]),
        ("mlp", {"outputs": 2.5}, ["encoder.outputs = 2.5"]),
    ],
)
def test_what_cannot_work_is_refused(name, fields, expected):
    with pytest.raises(ConfigError) as caught:
        make("encoder", name, **{"shape": SHAPE, "outputs": 7, **fields})
    for part in expected:
        assert part in str(caught.value)


def test_lists_are_taken_as_tuples():
    module = make("encoder", "mlp", shape=[8, 8, 1], outputs=2, features=[4, 4])
    assert module == make("encoder", "mlp", shape=(8, 8, 1), outputs=2, features=(4, 4))
    assert isinstance(hash(module), int)
