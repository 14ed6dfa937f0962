"""The networks of a pyramid's level: what they see, and what they owe every game."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from gan_jax.errors import ConfigError
from gan_jax.networks.laplacian import LaplacianDiscriminator, LaplacianGenerator
from tests.devices import sharded

SHAPE = (8, 8, 2)
SMALL = {"shape": SHAPE, "features": 6, "kernel_size": 3}
NORMALIZATIONS = [
    (LaplacianGenerator, "none"),
    (LaplacianGenerator, "batch"),
    (LaplacianDiscriminator, "none"),
    (LaplacianDiscriminator, "batch"),
    (LaplacianDiscriminator, "spectral"),
]
CASES = pytest.mark.parametrize(("network", "normalization"), NORMALIZATIONS)


def images(seed, batch=4):
    return jax.random.uniform(jax.random.key(seed), (batch, *SHAPE), minval=-1.0, maxval=1.0)


def inputs(network, batch=4):
    """Return noise or residuals, and blurred images."""
    if network is LaplacianGenerator:
        return jax.random.normal(jax.random.key(1), (batch, 64)), images(2, batch)
    return 0.3 * images(1, batch), images(2, batch)


@functools.cache
def made(network, normalization="none", **fields):
    """Construct and initialize once for all tests: compiling is what takes time here."""
    module = network(**SMALL, normalization=normalization, **fields)
    x, coarse = inputs(network)
    return module, jax.jit(module.init)(jax.random.key(0), x, given(coarse, jnp.arange(4)))


def given(coarse, labels=None):
    return {"coarse": coarse} if labels is None else {"coarse": coarse, "label": labels}


@functools.partial(jax.jit, static_argnames=("module", "train", "mutable"))
def apply(module, variables, x, coarse, labels=None, train=True, mutable=("batch_stats",)):
    return module.apply(variables, x, given(coarse, labels), train=train, mutable=mutable)


@pytest.mark.parametrize("shape", [(8, 8, 1), (14, 14, 3), (64, 64, 3)])
def test_shapes_and_dtypes_at_full_size(shape):
    generator, discriminator = LaplacianGenerator(shape), LaplacianDiscriminator(shape)
    assert generator.latent_dim == shape[0] * shape[1]
    z, x = jnp.zeros((2, generator.latent_dim)), jnp.zeros((2, *shape))
    residual, _ = jax.eval_shape(generator.init_with_output, jax.random.key(0), z, given(x))
    scores, _ = jax.eval_shape(discriminator.init_with_output, jax.random.key(0), x, given(x))
    assert (residual.shape, residual.dtype) == (x.shape, jnp.float32)
    assert (scores.shape, scores.dtype) == ((2,), jnp.float32)


def test_noise_is_a_plane_of_the_image_that_it_belongs_to():
    module, variables = made(LaplacianGenerator)
    z, coarse = inputs(LaplacianGenerator)
    before, _ = apply(module, variables, z, coarse)
    # Noise number 3 * 8 + 5 lies at row 3, column 5; three 3x3 kernels carry it three pixels on.
    after, _ = apply(module, variables, z.at[1, 3 * 8 + 5].add(2.0), coarse)
    touched = np.zeros((4, 8, 8), bool)
    touched[1, 0:7, 2:8] = True
    changed = np.any(np.asarray(before) != np.asarray(after), axis=-1)
    assert not changed[~touched].any()
    assert changed[1, 2:5, 4:7].all()


def test_the_generator_sees_the_blurred_image():
    module, variables = made(LaplacianGenerator)
    z, coarse = inputs(LaplacianGenerator)
    before, _ = apply(module, variables, z, coarse)
    after, _ = apply(module, variables, z, coarse.at[1].multiply(-1.0))
    np.testing.assert_array_equal(before[jnp.array([0, 2, 3])], after[jnp.array([0, 2, 3])])
    assert np.max(np.abs(before[1] - after[1])) > 1e-2


def test_the_first_residuals_are_small_beside_the_images():
    module, variables = made(LaplacianGenerator)
    z, coarse = inputs(LaplacianGenerator)
    residual, _ = apply(module, variables, z, coarse)
    assert 0.01 < np.std(residual) / np.std(coarse) < 0.5


def test_residuals_have_no_bounds():
    module, variables = made(LaplacianGenerator)
    louder = jax.tree.map(lambda leaf: 5.0 * leaf, variables)
    residual, _ = apply(module, louder, *inputs(LaplacianGenerator))
    assert np.max(np.abs(residual)) > 2.0


def test_the_discriminator_adds_the_two_up_and_sees_the_blurred_one_beside_the_sum():
    module, variables = made(LaplacianDiscriminator)
    residual, coarse = inputs(LaplacianDiscriminator)
    scores, _ = apply(module, variables, residual, coarse)
    shift = 0.2 * images(3)
    shifted, _ = apply(module, variables, residual + shift, coarse - shift)
    assert np.max(np.abs(scores - shifted)) > 1e-3
    # The first half of the kernel's inputs is the sum: without the rest, nothing else is seen.
    kernel = variables["params"]["Conv_0"]["kernel"]
    assert kernel.shape == (3, 3, 4, 6)
    params = {**variables["params"]}
    params["Conv_0"] = {**params["Conv_0"], "kernel": kernel.at[:, :, 2:].set(0.0)}
    blind = {"params": params}
    scores, _ = apply(module, blind, residual, coarse)
    shifted, _ = apply(module, blind, residual + shift, coarse - shift)
    np.testing.assert_allclose(scores, shifted, atol=1e-5)
    moved, _ = apply(module, blind, residual + shift, coarse)
    assert np.max(np.abs(scores - moved)) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("normalization", ["none", "spectral"])
def test_an_example_is_judged_without_regard_to_its_neighbours(normalization):
    module, variables = made(LaplacianDiscriminator, normalization)
    residual, coarse = inputs(LaplacianDiscriminator)
    scores, _ = apply(module, variables, residual, coarse)
    alone, _ = apply(module, variables, residual[1:2], coarse[1:2])
    np.testing.assert_allclose(alone, scores[1:2], atol=1e-5)


def test_the_verdict_has_the_score_and_the_hidden_layers():
    module, variables = made(LaplacianDiscriminator)
    pair = inputs(LaplacianDiscriminator)
    judge = jax.jit(functools.partial(module.apply, method="judge"))
    verdict = judge(variables, pair[0], given(pair[1]))
    np.testing.assert_allclose(verdict.scores, apply(module, variables, *pair)[0], atol=1e-6)
    assert [layer.shape for layer in verdict.features] == [(4, 4, 4, 6), (4, 2, 2, 12)]


@CASES
def test_bfloat16_computes_close_to_float32_and_keeps_float32_variables(network, normalization):
    module, variables = made(network, normalization)
    half = module.clone(dtype=jnp.bfloat16)
    exact, _ = apply(module, variables, *inputs(network))
    output, update = apply(half, variables, *inputs(network))
    assert output.dtype == jnp.float32
    x, coarse = inputs(network)
    made_half = jax.eval_shape(half.init, jax.random.key(0), x, given(coarse))
    assert {x.dtype for x in jax.tree.leaves((made_half, update))} == {jnp.dtype(jnp.float32)}
    error = np.sqrt(np.mean(np.square(output - exact)))
    assert 0.0 < error < 0.06 * np.std(exact)


@pytest.mark.parametrize("network", [LaplacianGenerator, LaplacianDiscriminator])
def test_batch_norm_trains_on_the_batch_and_evaluates_on_running_statistics(network):
    module, variables = made(network, "batch")
    pair = inputs(network)
    _, update = apply(module, variables, *pair)
    moved = jax.tree.map(
        lambda old, new: not np.allclose(old, new), variables["batch_stats"], update["batch_stats"]
    )
    assert all(jax.tree.leaves(moved))
    evaluated, unchanged = apply(module, variables, *pair, train=False)
    jax.tree.map(np.testing.assert_array_equal, variables["batch_stats"], unchanged["batch_stats"])
    alone, _ = apply(module, variables, *(x[:2] for x in pair), train=False)
    np.testing.assert_allclose(alone, evaluated[:2], atol=1e-5)


@pytest.mark.parametrize("network", [LaplacianGenerator, LaplacianDiscriminator])
def test_two_devices_share_their_batch_statistics(network):
    module, variables = made(network, "batch")
    shared = module.clone(axis_name="data")
    both = sharded(
        lambda variables, x, coarse: shared.apply(
            variables, x, given(coarse), train=True, mutable=["batch_stats"]
        ),
        (P(), P("data"), P("data")),
        (P("data"), P()),
        count=2,
    )
    pair = inputs(network)
    several, single = both(variables, *pair), apply(module, variables, *pair)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-4), several, single)


def test_spectral_vectors_move_where_they_are_mutable():
    module, variables = made(LaplacianDiscriminator, "spectral")
    pair = inputs(LaplacianDiscriminator)
    _, moved = apply(module, variables, *pair, mutable=("spectral",))
    # Two convolutions and the score.
    assert len(jax.tree.leaves(moved)) == len(jax.tree.leaves(variables["spectral"])) >= 3
    changed = jax.tree.map(
        lambda a, b: not np.allclose(a, b), variables["spectral"], dict(moved)["spectral"]
    )
    assert any(jax.tree.leaves(changed))


@pytest.mark.parametrize("network", [LaplacianGenerator, LaplacianDiscriminator])
def test_labels_matter_with_conditioning_alone(network):
    one, other = jnp.arange(4), jnp.array([0, 1, 2, 0])
    module, variables = made(network)
    first, _ = apply(module, variables, *inputs(network), one)
    second, _ = apply(module, variables, *inputs(network), other)
    np.testing.assert_array_equal(first, second)
    module, variables = made(network, conditioning="concat", num_classes=4)
    first, _ = apply(module, variables, *inputs(network), one)
    second, _ = apply(module, variables, *inputs(network), other)
    np.testing.assert_array_equal(first[:3], second[:3])
    assert np.max(np.abs(first[3] - second[3])) > 1e-3


def test_gradients_of_gradients_are_finite():
    module, variables = made(LaplacianDiscriminator)

    @jax.jit
    def penalty(params):
        def score(residual, coarse):
            return jnp.sum(module.apply({"params": params}, residual, given(coarse)))

        slopes = jax.grad(score, argnums=(0, 1))(*inputs(LaplacianDiscriminator))
        return sum(jnp.sum(jnp.square(slope)) for slope in slopes)

    value, gradients = jax.value_and_grad(penalty)(variables["params"])
    assert value > 0
    kernels = [g for path, g in jax.tree.leaves_with_path(gradients) if path[-1].key == "kernel"]
    assert len(kernels) == 3
    for kernel in kernels:
        assert np.all(np.isfinite(kernel))
        assert np.any(kernel != 0)


@pytest.mark.parametrize(
    ("network", "field", "value", "named"),
    [
        (LaplacianGenerator, "features", 0, "game.laplacian.generator.features = 0"),
        (LaplacianGenerator, "layers", 0, "game.laplacian.generator.layers = 0"),
        (LaplacianGenerator, "normalization", "spectral", "generator.normalization = 'spectral'"),
        (LaplacianGenerator, "conditioning", "batch_norm", "generator.conditioning = 'batch_norm'"),
        (LaplacianGenerator, "conditioning", "concat", "the data have no labels"),
        (LaplacianDiscriminator, "kernel_size", 2.5, "discriminator.kernel_size = 2.5"),
        (LaplacianDiscriminator, "normalization", "layer", "discriminator.normalization = 'layer'"),
        (LaplacianDiscriminator, "conditioning", "projection", "conditioning = 'projection'"),
        (LaplacianDiscriminator, "shape", (2,), r"data.shape = \(2,\)"),
    ],
)
def test_values_that_cannot_work_are_refused_by_name(network, field, value, named):
    with pytest.raises(ConfigError, match=named):
        network(**{"shape": SHAPE, field: value})
