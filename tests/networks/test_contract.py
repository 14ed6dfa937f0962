"""What every generator and every discriminator owes its users, whatever the architecture."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.networks.registry import DISCRIMINATORS, GENERATORS, make
from tests.devices import on_two_devices
from tests.networks.shapes import SHAPES

SHAPE = (16, 16, 3)
# Small enough to compile in a second, with every option that changes the graph.
GENERATOR_FIELDS = {
    "mlp": ("mlp", {"features": (12, 12)}),
    "dcgan": ("dcgan", {"features": 6}),
    "dcgan-group": ("dcgan", {"features": 6, "normalization": "group", "groups": 3}),
    "resnet": ("resnet", {"features": 6}),
    "dfgan": ("dfgan", {"features": 1}),
    "fastgan": ("fastgan", {"features": 2, "skip": 2}),
    "r3gan": ("r3gan", {"features": (8, 4, 4), "blocks": 1, "group_size": 4}),
    "progan": ("progan", {"features": 2, "max_features": 8}),
    "biggan": ("biggan", {"features": 8}),
    "biggan_deep": ("biggan_deep", {"features": 8}),
    "stackgan": ("stackgan", {"features": 1, "blocks": 1}),
    "stylegan1": ("stylegan1", {"max_features": 8, "style_dim": 8, "mapping_layers": 2}),
    "stylegan2": ("stylegan2", {"features": 8, "style_dim": 8, "mapping_layers": 2}),
    "midinet": ("midinet", {"features": 6}),
    "mocogan": ("mocogan", {"features": 4, "motion_dim": 2, "motion_features": 4}),
    "textgan": ("textgan", {"features": 6}),
    "videogan": ("videogan", {"features": 4}),
    "wavegan": ("wavegan", {"features": 4}),
}
DISCRIMINATOR_FIELDS = {
    "mlp": ("mlp", {"features": (12, 12)}),
    "dcgan": ("dcgan", {"features": 6}),
    "dcgan-none": ("dcgan", {"features": 6, "normalization": "none"}),
    "dcgan-spectral": ("dcgan", {"features": 6, "normalization": "spectral"}),
    "dcgan-instance": ("dcgan", {"features": 6, "normalization": "instance"}),
    "dcgan-discrimination": (
        "dcgan",
        {"features": 6, "normalization": "none", "minibatch": "discrimination"},
    ),
    "resnet": ("resnet", {"features": 6}),
    "resnet-layer-sum": ("resnet", {"features": 6, "normalization": "layer", "pooling": "sum"}),
    "resnet-spectral": ("resnet", {"features": 6, "normalization": "spectral"}),
    "resnet-stddev": ("resnet", {"features": 6, "minibatch": "stddev"}),
    "dfgan": ("dfgan", {"features": 1}),
    "fastgan": ("fastgan", {"features": 2, "decoder_features": 2}),
    "r3gan": ("r3gan", {"features": (8, 4, 4), "blocks": 1, "group_size": 4}),
    "progan": ("progan", {"features": 2, "max_features": 8}),
    "biggan": ("biggan", {"features": 8}),
    "biggan_deep": ("biggan_deep", {"features": 8}),
    "stackgan": ("stackgan", {"features": 1}),
    "stylegan2": ("stylegan2", {"features": 8}),
    "midinet": ("midinet", {"features": 6}),
    "mocogan": ("mocogan", {"features": 4, "image_features": 4}),
    "segan": ("segan", {"features": (3, 4)}),
    "textgan": ("textgan", {"features": 6}),
    "videogan": ("videogan", {"features": 4}),
    "wavegan": ("wavegan", {"features": 4}),
}
UNLIMITED = ("midinet", "progan", "r3gan", "stylegan1", "stylegan2", "textgan")
COUPLED = [
    "dcgan",
    "dcgan-discrimination",
    "resnet-stddev",
    "fastgan",
    "mocogan",
    "progan",
    "stackgan",
    "stylegan2",
    "videogan",
]
POINTWISE = [name for name in DISCRIMINATOR_FIELDS if name not in COUPLED]
BATCH = 8


def marked(cases):
    """Leave BigGAN-deep to the scheduled job: only its blocks differ, and it compiles slowly."""
    deep = [pytest.mark.exhaustive]
    return [pytest.param(c, marks=deep) if "deep" in c else c for c in cases]


EVERY = marked([f"G-{name}" for name in GENERATORS] + [f"D-{name}" for name in DISCRIMINATORS])


def _module_and_inputs(case):
    role, _, name = case.partition("-")
    if role == "G":
        name, fields = GENERATOR_FIELDS[name]
        shape = SHAPES.get(name, SHAPE)
        module = make("generator", name, shape=shape, latent_dim=6, **fields)
        return module, jax.random.normal(jax.random.key(1), (BATCH, 6))
    name, fields = DISCRIMINATOR_FIELDS[name]
    shape = SHAPES.get(name, SHAPE)
    module = make("discriminator", name, shape=shape, **fields)
    return module, jax.random.uniform(jax.random.key(1), (BATCH, *shape), minval=-1.0, maxval=1.0)


@functools.cache
def _network(case):
    """Construct and initialize once for all tests: compiling is what takes time here."""
    module, inputs = _module_and_inputs(case)
    return module, _init(module, jax.random.key(0), inputs), inputs


@functools.partial(jax.jit, static_argnames="module")
def _init(module, key, inputs):
    return module.init(key, inputs)


@functools.partial(jax.jit, static_argnames=("module", "train"))
def _apply(module, variables, inputs, train=True):
    """Return the output and the new batch statistics."""
    return module.apply(variables, inputs, train=train, mutable=["batch_stats"])


def test_every_registered_network_is_under_test():
    assert {name for name, _ in GENERATOR_FIELDS.values()} == set(GENERATORS)
    assert {name for name, _ in DISCRIMINATOR_FIELDS.values()} == set(DISCRIMINATORS)


@pytest.mark.core
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("mlp", (12, 12, 1)),
        ("mlp", (12, 7, 4)),
        ("dcgan", (8, 8, 1)),
        ("dcgan", (28, 28, 1)),
        ("dcgan", (96, 64, 3)),
        ("dcgan", (128, 128, 3)),
        ("resnet", (16, 16, 4)),
        ("resnet", (48, 80, 3)),
        ("resnet", (512, 512, 3)),
        ("r3gan", (8, 12, 1)),
        ("r3gan", (32, 32, 3)),
        ("stylegan2", (28, 28, 1)),
        ("biggan", (48, 80, 3)),
    ],
)
def test_output_shapes_and_dtypes(name, shape):
    """At full size: traced, not computed."""
    generator, discriminator = (
        make("generator", name, shape=shape),
        make("discriminator", name, shape=shape),
    )
    z, x = jnp.zeros((2, generator.latent_dim)), jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    images, _ = jax.eval_shape(generator.init_with_output, jax.random.key(0), z)
    scores, _ = jax.eval_shape(discriminator.init_with_output, jax.random.key(0), x)
    assert (images.shape, images.dtype) == ((2, *shape), jnp.float32)
    assert (scores.shape, scores.dtype) == ((2,), jnp.float32)


@pytest.mark.parametrize("case", EVERY)
def test_initialization_is_determined_by_the_key_alone(case):
    module, variables, inputs = _network(case)
    again = _init(module, jax.random.key(0), inputs * 0.5)
    jax.tree.map(np.testing.assert_array_equal, variables, again)
    other = _init(module, jax.random.key(7), inputs)
    kernels = [
        not np.array_equal(leaf, changed)
        for (path, leaf), changed in zip(
            jax.tree_util.tree_leaves_with_path(variables), jax.tree.leaves(other), strict=True
        )
        # The last layer of a residual branch may start from zero.
        if "kernel" in jax.tree_util.keystr(path) and np.any(leaf)
    ]
    assert len(kernels) > 2
    assert all(kernels)


@pytest.mark.parametrize("case", EVERY)
def test_a_condition_changes_nothing(case):
    """The traced program is the same, whatever is compiled of it."""
    module, inputs = _module_and_inputs(case)
    variables = jax.eval_shape(module.init, jax.random.key(0), inputs)

    def traced(condition):
        apply = functools.partial(module.apply, condition=condition, mutable=["batch_stats"])
        return str(jax.make_jaxpr(apply)(variables, inputs))

    condition = {"label": np.arange(BATCH), "other": np.ones((BATCH, 2), np.float32)}
    assert traced(condition) == traced(None)


# One-hot vectors and binary neurons are the same in every precision.
GRADED = [case for case in EVERY if case not in ("G-midinet", "G-textgan")]


@pytest.mark.slow
@pytest.mark.parametrize("case", [*GRADED, "D-resnet-spectral"])
def test_bfloat16_computes_close_to_float32_and_keeps_float32_variables(case):
    module, variables, inputs = _network(case)
    half = module.clone(dtype=jnp.bfloat16)
    half_variables = jax.eval_shape(half.init, jax.random.key(0), inputs)
    exact, _ = _apply(module, variables, inputs)
    output, update = _apply(half, variables, inputs)
    assert output.dtype == jnp.float32
    leaves = jax.tree.leaves((half_variables, update))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float32)}
    # The last step, to a score or through tanh, is float32: bfloat16 holds none of its results.
    assert np.any(output != output.astype(jnp.bfloat16).astype(jnp.float32))
    # bfloat16 keeps 8 bits; some tens of roundings add up to a few hundredths of the spread.
    error = np.sqrt(np.mean(np.square(output - exact)))
    assert 0.0 < error < 0.06 * np.std(exact)


@pytest.mark.parametrize(
    "name",
    marked([name for name in GENERATOR_FIELDS if name not in UNLIMITED]),
)
def test_generators_end_in_tanh(name):
    module, variables, z = _network(f"G-{name}")
    # Halved: float32's tanh of a large number is 1.
    images, _ = _apply(module, variables, 0.5 * z)
    assert np.all(np.abs(images) < 1.0)
    assert np.std(images) > 1e-3
    louder = {**variables, "params": jax.tree.map(lambda leaf: 50.0 * leaf, variables["params"])}
    images, _ = _apply(module, louder, z)
    assert np.max(np.abs(images)) <= 1.0
    assert np.mean(np.abs(images)) > 0.8


@pytest.mark.core
@pytest.mark.parametrize("case", ["G-dcgan", "G-mocogan", "G-resnet", "D-dcgan", "D-mocogan"])
def test_batch_norm_trains_on_the_batch_and_evaluates_on_running_statistics(case):
    module, variables, inputs = _network(case)
    _, update = _apply(module, variables, inputs)
    moved = jax.tree.map(
        lambda old, new: not np.allclose(old, new), variables["batch_stats"], update["batch_stats"]
    )
    assert all(jax.tree.leaves(moved))
    evaluated, unchanged = _apply(module, variables, inputs, train=False)
    jax.tree.map(np.testing.assert_array_equal, variables["batch_stats"], unchanged["batch_stats"])
    # Evaluated, an example does not depend on the others; trained, it does.
    alone, _ = _apply(module, variables, inputs[:2], train=False)
    np.testing.assert_allclose(alone, evaluated[:2], atol=1e-5)
    trained, _ = _apply(module, variables, inputs)
    pair, _ = _apply(module, variables, inputs[:2])
    assert not np.allclose(pair, trained[:2], atol=1e-4)


@pytest.mark.parametrize("case", ["G-dcgan"])
def test_evaluation_uses_the_running_statistics_it_is_given(case):
    """After many updates on one batch, running statistics are the batch's, and so the output."""
    module, variables, inputs = _network(case)

    @jax.jit
    def update(stats):
        state = {"params": variables["params"], "batch_stats": stats}
        return module.apply(state, inputs, train=True, mutable=["batch_stats"])[1]["batch_stats"]

    stats = variables["batch_stats"]
    for _ in range(150):
        stats = update(stats)
    converged = {"params": variables["params"], "batch_stats": stats}
    np.testing.assert_allclose(
        _apply(module, converged, inputs, train=False)[0],
        _apply(module, converged, inputs, train=True)[0],
        atol=1e-3,
    )


@pytest.mark.slow
@pytest.mark.parametrize("case", ["G-dcgan", "G-resnet", *(f"D-{name}" for name in COUPLED)])
def test_two_devices_equal_one(case):
    """Every layer that looks at the batch is given the axis, and sees the whole batch."""
    module, variables, inputs = _network(case)
    several, single = on_two_devices(module)(variables, inputs), _apply(module, variables, inputs)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-4), several, single)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["dcgan", "resnet"])
def test_spectral_norm_takes_the_length_of_every_kernel_away(case):
    """Of the last layer's and the shortcuts' too."""
    module, variables, x = _network(f"D-{case}-spectral")
    factors = iter(np.linspace(0.5, 3.0, 20, dtype=np.float32))
    stretched = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf * next(factors) if "kernel" in jax.tree_util.keystr(path) else leaf,
        variables["params"],
    )
    scores, _ = _apply(module, variables, x)
    np.testing.assert_allclose(
        _apply(module, {**variables, "params": stretched}, x)[0], scores, rtol=1e-4, atol=1e-6
    )
    kernels = [
        path
        for path, _ in jax.tree_util.tree_leaves_with_path(variables["params"])
        if "kernel" in jax.tree_util.keystr(path)
    ]
    assert len(jax.tree.leaves(variables["spectral"])) == len(kernels)


@pytest.mark.core
@pytest.mark.parametrize("case", ["dcgan", "resnet"])
def test_spectral_norm_moves_every_vector_in_train_mode_alone(case):
    module, variables, x = _network(f"D-{case}-spectral")
    random = jax.tree.map(
        lambda u: jax.random.normal(jax.random.key(u.size), u.shape), variables["spectral"]
    )
    state = {**variables, "spectral": random}

    @functools.partial(jax.jit, static_argnames="train")
    def update(train):
        return module.apply(state, x, train=train, mutable=["spectral"])[1]["spectral"]

    jax.tree.map(np.testing.assert_array_equal, update(train=False), random)
    for before, after in zip(
        jax.tree.leaves(random), jax.tree.leaves(update(train=True)), strict=True
    ):
        assert not np.allclose(before, after, rtol=1e-2)
        np.testing.assert_allclose(np.linalg.norm(after), 1.0, rtol=1e-5)


def _score_jacobian(case):
    module, variables, x = _network(f"D-{case}")
    scores = lambda x: module.apply(variables, x, train=True, mutable=["batch_stats"])[0]  # noqa: E731
    one = jax.jit(jax.grad(lambda x: jnp.sum(scores(x)[0])))(x)
    return np.abs(one).reshape(BATCH, -1).max(axis=1)


@pytest.mark.parametrize("case", marked(POINTWISE))
def test_score_depends_on_its_own_image_alone(case):
    """What a gradient penalty per image needs (WGAN-GP, section 4: no batch-norm in the critic)."""
    own, *others = _score_jacobian(case)
    assert own > 0.0
    np.testing.assert_array_equal(others, 0.0)


@pytest.mark.parametrize("case", COUPLED)
def test_score_depends_on_the_other_images(case):
    """On those of its own group of 4, with the deviation."""
    slopes = _score_jacobian(case)
    seen = 4 if case in ("resnet-stddev", "progan", "stylegan2") else BATCH
    assert np.all(slopes[:seen] > 0.0)
    np.testing.assert_array_equal(slopes[seen:], 0.0)


@pytest.mark.core
@pytest.mark.parametrize(
    ("case", "dtype"),
    # Each layer alone, in bfloat16 too: tests/layers/test_higher_derivatives.py.
    [
        ("mlp", jnp.float32),
        ("dcgan", jnp.float32),
        ("resnet-spectral", jnp.float32),
        pytest.param("dcgan-discrimination", jnp.float32, marks=pytest.mark.exhaustive),
        pytest.param("resnet-layer-sum", jnp.float32, marks=pytest.mark.exhaustive),
        pytest.param("resnet", jnp.bfloat16, marks=pytest.mark.exhaustive),
    ],
)
def test_gradient_of_the_input_gradient_is_finite_and_not_zero(case, dtype):
    """The parameters' gradient of the penalty of WGAN-GP."""
    module, variables, x = _network(f"D-{case}")
    module = module.clone(dtype=dtype)
    state = {name: value for name, value in variables.items() if name != "params"}

    @jax.jit
    def penalty_gradient(params):
        def penalty(params):
            def total(x):
                outputs, _ = module.apply({"params": params, **state}, x, mutable=["batch_stats"])
                return jnp.sum(outputs)

            slopes = jax.grad(total)(x).reshape(x.shape[0], -1)
            return jnp.mean(jnp.square(jnp.sqrt(jnp.sum(jnp.square(slopes), 1) + 1e-12) - 1.0))

        return jax.grad(penalty)(params)

    gradients = jax.tree_util.tree_leaves_with_path(penalty_gradient(variables["params"]))
    for path, gradient in gradients:
        assert np.isfinite(gradient).all(), path
        if "kernel" in jax.tree_util.keystr(path):
            assert np.abs(gradient).max() > 0.0, path


@pytest.mark.parametrize("case", EVERY)
def test_modules_are_hashable_and_clone(case):
    """Modules are static arguments of jit; Flax clones them, and so constructs them anew."""
    module, _, _ = _network(case)
    assert isinstance(module, nn.Module)
    assert hash(module) == hash(module.clone())
    assert module == module.clone()


@pytest.mark.slow
def test_mlp_serves_points_of_the_plane():
    generator = make("generator", "mlp", shape=(2,), latent_dim=4, features=(8,), output="linear")
    discriminator = make("discriminator", "mlp", shape=(2,), features=(8,))
    z = 100.0 * jax.random.normal(jax.random.key(0), (7, 4))
    points, _ = generator.init_with_output(jax.random.key(1), z)
    scores, _ = discriminator.init_with_output(jax.random.key(2), points)
    assert (points.shape, scores.shape) == ((7, 2), (7,))
    assert np.abs(points).max() > 1.0
