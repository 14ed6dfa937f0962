"""Convolution layers: the CPU lowering against XLA's convolution, Flax's layers and PyTorch."""

import itertools
from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from gan_jax.errors import ConfigError
from gan_jax.layers.convolution import (
    Conv,
    ConvTranspose,
    convolve,
    convolve_pooled,
    convolve_transpose,
    convolve_upsampled,
    implemented,
)
from gan_jax.layers.resample import mean_pool, upsample_nearest
from tests.devices import sharded

# Compiled whole: one by one, their operations take longer to compile.
compiled = partial(jax.jit, static_argnames=("strides", "padding", "implementation"))
FUNCTIONS = (compiled(convolve), compiled(convolve_transpose))
# (kernel, stride, height, in, out, batch): every size of kernel, stride, parity and special channel
# count; of batches from 8 on, kernels' gradients have another form.
CASES = [
    (1, 1, 4, 8, 3, 2),
    (1, 2, 5, 3, 8, 2),
    (3, 1, 5, 8, 1, 2),
    (3, 1, 6, 1, 8, 2),
    (3, 2, 7, 3, 8, 2),
    (4, 1, 5, 3, 3, 2),
    (4, 1, 5, 3, 2, 2),
    (4, 2, 8, 8, 3, 2),
    (5, 2, 6, 3, 8, 2),
    (3, 1, 5, 8, 1, 8),
    (4, 2, 8, 8, 3, 8),
    (5, 2, 6, 8, 9, 8),
    (3, 2, 6, 32, 9, 8),
]


def draw(kernel, height, inputs, outputs, dtype=np.float64, *, batch=2, seed=0):
    """An image batch, wider than high, and a kernel of unit output variance."""
    random = np.random.RandomState(seed)
    x = random.randn(batch, height, height + 1, inputs)
    w = random.randn(kernel, kernel, inputs, outputs) / (kernel * inputs**0.5)
    return jnp.asarray(x, dtype), jnp.asarray(w, dtype)


def penalty_gradients(function, x, w):
    """Gradients of a gradient penalty plus a loss: every derivative that WGAN-GP takes."""

    def objective(x, w):
        slope = jax.grad(lambda x: jnp.sum(jnp.tanh(function(jnp.sin(x), w))))(x)
        return jnp.sum(slope**3) + jnp.sum(function(x, w) ** 2)

    return jax.jit(jax.grad(objective, (0, 1)))(x, w)


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_first_and_second_order_gradients_equal_xla(function, case):
    kernel, stride, *sizes, batch = case
    with jax.enable_x64(True):
        x, w = draw(kernel, *sizes, batch=batch)
        padding = "SAME"
        fast, plain = (
            partial(function, strides=(stride, stride), padding=padding, implementation=name)
            for name in ("cpu", "xla")
        )
        np.testing.assert_allclose(jax.jit(fast)(x, w), plain(x, w), rtol=0, atol=1e-12)
        for got, expected in zip(
            penalty_gradients(fast, x, w), penalty_gradients(plain, x, w), strict=True
        ):
            scale = float(jnp.max(jnp.abs(expected)))
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * max(scale, 1.0))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("image", "kernel", "strides"),
    [((9, 3), (5,), 2), ((6, 9), (4,), 2), ((6, 4, 5, 9), (4, 3, 2), (2, 1, 3))],
    ids=["sound", "wide_sound", "video"],
)
@pytest.mark.parametrize("batch", [2, 8])
def test_one_and_three_axes_of_space_equal_xla(function, image, kernel, strides, batch):
    random = np.random.RandomState(0)
    with jax.enable_x64(True):
        x = jnp.asarray(random.randn(batch, *image))
        w = jnp.asarray(random.randn(*kernel, image[-1], 5) / 8)
        fast, plain = (
            partial(function, strides=strides, implementation=name) for name in ("cpu", "xla")
        )
        np.testing.assert_allclose(fast(x, w), plain(x, w), rtol=0, atol=1e-12)
        for got, expected in zip(
            penalty_gradients(fast, x, w), penalty_gradients(plain, x, w), strict=True
        ):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11)


def test_layers_take_sounds_and_videos_and_refuse_strides_of_other_axes():
    x = jnp.ones((2, 3, 4, 6, 5, 2))  # Two batch axes.
    layer = Conv(3, (3, 3, 3), (1, 2, 2))
    assert layer.init_with_output(jax.random.key(0), x)[0].shape == (2, 3, 4, 3, 3, 3)
    sound = jnp.ones((4, 6, 2))
    layer = ConvTranspose(3, (5,), 4)
    assert layer.init_with_output(jax.random.key(0), sound)[0].shape == (4, 24, 3)
    with pytest.raises(ValueError, match=r"strides \(2, 2\); accepted: one number, or 1"):
        ConvTranspose(3, (5,), (2, 2)).init(jax.random.key(0), sound)


def test_groups_equal_xla():
    with jax.enable_x64(True):
        x, _ = draw(3, 6, 6, 1)
        _, w = draw(3, 6, 2, 9)  # Three groups, from 2 to 3 channels each.
        fast, plain = (
            partial(convolve, strides=(2, 2), implementation=name, groups=3)
            for name in ("cpu", "xla")
        )
        np.testing.assert_allclose(jax.jit(fast)(x, w), plain(x, w), rtol=0, atol=1e-12)
        chex.assert_trees_all_close(
            penalty_gradients(fast, x, w), penalty_gradients(plain, x, w), rtol=1e-10
        )


def test_grouped_layers_parameters_are_flax_s_and_groups_must_divide():
    x, _ = draw(3, 4, 6, 1, np.float32)
    layer = Conv(9, groups=3, implementation="cpu")
    variables = layer.init(jax.random.key(0), x)
    expected = nn.Conv(9, (3, 3), feature_group_count=3).apply(variables, x)
    np.testing.assert_allclose(layer.apply(variables, x), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="groups = 4 for 6 input and 8 output channels"):
        Conv(8, groups=4).init(jax.random.key(0), x)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_valid_padding_and_unequal_strides_equal_xla(function):
    for kernel, strides in itertools.product((1, 3, 4), ((1, 2), (3, 1))):
        x, w = draw(kernel, 7, 3, 2, np.float32)

        def value_and_gradients(name, x=x, w=w, strides=strides):
            def total(x, w):
                y = function(x, w, strides, "VALID", name)
                return jnp.sum(jnp.sin(y)), y

            return jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))(x, w)

        got, expected = value_and_gradients("cpu"), value_and_gradients("xla")
        chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-5)


def test_third_order_gradient_equals_xla():
    with jax.enable_x64(True):
        x, w = draw(3, 4, 2, 2)

        def third(name):
            def curve(t):
                return jnp.sum(jnp.tanh(convolve(jnp.tanh(t * x), t * w, (2, 2), "SAME", name)))

            return jax.jit(jax.grad(jax.grad(jax.grad(curve))))(0.7)

        np.testing.assert_allclose(third("cpu"), third("xla"), rtol=1e-10)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_vmap_over_images_and_over_kernels(function):
    x, w = draw(3, 4, 3, 2, np.float32)
    xs, ws = jnp.stack([x, 2 * x, -x]), jnp.stack([w, w + 1, 3 * w])
    fast = partial(function, strides=(2, 2), implementation="cpu")
    plain = partial(function, strides=(2, 2), implementation="xla")
    for axes in ((0, 0), (0, None), (None, 0)):
        arguments = [
            mapped if axis == 0 else one
            for axis, mapped, one in zip(axes, (xs, ws), (x, w), strict=True)
        ]

        def gradients(f, axes=axes, arguments=arguments):
            loss = jax.grad(lambda x, w: jnp.sum(f(x, w) ** 2), (0, 1))
            return jax.jit(jax.vmap(loss, axes))(*arguments)

        for got, expected in zip(gradients(fast), gradients(plain), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_shard_map_over_eight_devices_equals_one(function):
    random = np.random.RandomState(1)
    x = jnp.asarray(random.randn(16, 4, 4, 3), jnp.float32)
    w = jnp.asarray(random.randn(4, 4, 3, 2) / 7, jnp.float32)
    fast = partial(function, strides=(2, 2), implementation="cpu")

    def mean_gradient(x, w):
        def objective(w):
            slope = jax.grad(lambda x: jnp.sum(jnp.tanh(fast(x, w))))(x)
            return jnp.mean(jnp.sum(slope**2, (1, 2, 3)))

        return jax.grad(objective)(w)

    split = sharded(lambda x, w: jax.lax.pmean(mean_gradient(x, w), "data"), (P("data"), P()))
    np.testing.assert_allclose(split(x, w), jax.jit(mean_gradient)(x, w), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("implementation", ["cpu", "xla"])
@pytest.mark.parametrize(
    ("layer", "reference"),
    [(Conv, nn.Conv), (ConvTranspose, nn.ConvTranspose)],
    ids=["Conv", "ConvTranspose"],
)
@pytest.mark.parametrize("dtype", [None, jnp.bfloat16], ids=["float32", "bfloat16"])
def test_layers_are_drop_in_for_flax(layer, reference, implementation, dtype):
    x = jnp.asarray(np.random.RandomState(0).randn(2, 3, 6, 6, 5), jnp.float32)  # two batch axes
    fields = {"features": 4, "kernel_size": (4, 4), "strides": (2, 2), "dtype": dtype}
    fields["bias_init"] = nn.initializers.normal(1.0)
    ours = layer(**fields, implementation=implementation)
    theirs = reference(**fields)
    variables = jax.jit(theirs.init)(jax.random.key(0), x)
    jax.tree.map(
        np.testing.assert_array_equal, jax.jit(ours.init)(jax.random.key(0), x), variables
    )  # the same names, shapes and initial values
    got, expected = (jax.jit(module.apply)(variables, x) for module in (ours, theirs))
    assert got.dtype == expected.dtype
    tolerance = 1e-5 if dtype is None else 0.03  # bfloat16 keeps 8 bits of values up to 4
    np.testing.assert_allclose(
        got.astype(jnp.float32), expected.astype(jnp.float32), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize(("batch", "kernel"), [(4, 1), (8, 3)])
def test_bfloat16_kernel_gradient_accumulates_in_float32(batch, kernel):
    # 1024 pixels of ones per image: a bfloat16 accumulator would stop counting at 256.
    x = jnp.ones((batch, 32, 32, 1), jnp.bfloat16)
    w = jnp.zeros((kernel, kernel, 1, 1), jnp.bfloat16)
    total = jax.grad(lambda w: jnp.sum(convolve(x, w, implementation="cpu"), dtype=jnp.float32))(w)
    assert total.dtype == jnp.bfloat16
    assert float(total[kernel // 2, kernel // 2, 0, 0]) == batch * 1024


def test_bfloat16_convolution_of_few_outputs_accumulates_in_float32():
    x = jnp.ones((1, 32, 32, 2), jnp.bfloat16)
    w = jnp.ones((25, 25, 2, 1), jnp.bfloat16)
    y = convolve(x, w, padding="VALID", implementation="cpu")
    assert float(y[0, 0, 0, 0]) == 1248  # 1250 in bfloat16's 8 bits


@pytest.mark.parametrize("batch", [2, 8])
def test_all_convolutions_have_the_axes_of_a_forward_one(batch):
    # What the CPU lowering is for: in another order of axes they are slow inside loops.
    x, w = draw(4, 8, 5, 6, np.float32, batch=batch)
    for function in FUNCTIONS:
        fast = partial(function, strides=(2, 2), implementation="cpu")
        jaxpr = str(jax.make_jaxpr(lambda x, w, f=fast: penalty_gradients(f, x, w))(x, w))
        number = jaxpr.count("conv_general_dilated[")
        assert number >= 5  # Those that are alike are written once.
        for axes in ("lhs_spec=(0, 3, 1, 2)", "rhs_spec=(3, 2, 0, 1)", "out_spec=(0, 3, 1, 2)"):
            assert jaxpr.count(axes) == number


def test_backend_chooses_the_implementation(monkeypatch):
    x, w = draw(4, 8, 3, 2, np.float32)

    def strides_of(implementation):
        call = partial(convolve, strides=(2, 2), implementation=implementation)
        return "window_strides=(2, 2)" in str(jax.make_jaxpr(call)(x, w))

    assert not strides_of(None)
    assert strides_of("xla")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert strides_of(None)
    assert not strides_of("cpu")


def test_unknown_implementation_is_named():
    x, w = draw(3, 4, 3, 2, np.float32)
    with pytest.raises(ConfigError, match=r"implementation = 'cuda'.*cpu, xla"):
        convolve(x, w, implementation="cuda")


@pytest.mark.slow
@pytest.mark.parametrize("stride", [1, 2])
def test_penalty_gradient_equals_pytorch(stride):
    torch = pytest.importorskip("torch")
    x, w = draw(3 if stride == 1 else 4, 8, 3, 4, np.float32)
    x = x[:, :, :8]
    fast = partial(convolve, strides=(stride, stride), implementation="cpu")
    slope = jax.grad(lambda x, w: jnp.sum(jnp.tanh(fast(x, w))))
    got = jax.jit(jax.grad(lambda w: jnp.sum(slope(x, w) ** 2)))(w)
    tx = torch.tensor(np.asarray(x).transpose(0, 3, 1, 2).copy(), requires_grad=True)
    tw = torch.tensor(np.asarray(w).transpose(3, 2, 0, 1).copy(), requires_grad=True)
    scores = torch.tanh(torch.nn.functional.conv2d(tx, tw, stride=stride, padding=1)).sum()
    (slope,) = torch.autograd.grad(scores, tx, create_graph=True)
    (expected,) = torch.autograd.grad((slope**2).sum(), tw)
    np.testing.assert_allclose(got, expected.numpy().transpose(2, 3, 1, 0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("implementation", ["xla", "cpu"])
@pytest.mark.parametrize(("size", "kernel"), [((8, 6), 3), ((4, 4), 1), ((8, 8), 5)])
@pytest.mark.parametrize("fused", [convolve_pooled, convolve_upsampled])
def test_fused_convolutions_are_two_steps_in_one(fused, implementation, size, kernel):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, *size, 3)), jnp.float32)
    w = jnp.asarray(rng.normal(size=(kernel, kernel, 3, 5)) / kernel**2, jnp.float32)

    def one(x, w):
        return fused(x, w, implementation)

    def two(x, w):
        if fused is convolve_pooled:
            return mean_pool(convolve(x, w, implementation="xla"))
        return convolve(upsample_nearest(x), w, implementation="xla")

    def penalty(function):
        slope = jax.grad(lambda x, w: jnp.sum(jnp.tanh(function(x, w))))
        gradient = jax.grad(lambda x, w: jnp.sum(jnp.square(slope(x, w))), argnums=(0, 1))
        return jax.jit(lambda x, w: (function(x, w), gradient(x, w)))(x, w)

    (value, ours), (reference, theirs) = penalty(one), penalty(two)
    np.testing.assert_allclose(value, reference, rtol=1e-4, atol=1e-5)
    for got, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("size", "kernel"), [((7, 8), 3), ((8, 8), 4)])
def test_pooled_convolution_refuses_what_it_cannot_halve(size, kernel):
    with pytest.raises(ValueError, match="accepted: an even height and width, and a kernel of odd"):
        convolve_pooled(jnp.zeros((1, *size, 2)), jnp.zeros((kernel, kernel, 2, 2)))


def test_upsampled_convolution_refuses_kernels_without_a_middle():
    with pytest.raises(ValueError, match="a kernel of 3x2; accepted: one of odd size"):
        convolve_upsampled(jnp.zeros((1, 4, 4, 2)), jnp.zeros((3, 2, 2, 2)))


def test_layers_that_resample_have_the_parameters_of_one_that_does_not():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)), jnp.float32)
    plain = Conv(4)
    variables = plain.init(jax.random.key(0), x)
    pairs = [
        (Conv(4, pool=True), mean_pool(plain.apply(variables, x))),
        (Conv(4, upsample=True), plain.apply(variables, upsample_nearest(x))),
    ]
    for layer, expected in pairs:
        np.testing.assert_allclose(layer.apply(variables, x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("rank", "fields"),
    [
        (2, {"strides": (2, 2), "pool": True}),
        (2, {"padding": "VALID", "upsample": True}),
        (2, {"groups": 2, "upsample": True}),
        (2, {"pool": True, "upsample": True}),
        (1, {"pool": True}),
        (3, {"upsample": True}),
    ],
    ids=str,
)
def test_convolutions_resample_images_in_one_way_without_other_fields(rank, fields):
    accepted = rf"along {rank} axes; accepted: one of both, with 1, 'SAME' and 1, along 2 axes"
    with pytest.raises(ValueError, match=accepted):
        convolve(jnp.ones((2, *(8,) * rank, 4)), jnp.ones((*(3,) * rank, 4, 4)), **fields)


@pytest.mark.parametrize("fields", [{}, {"pool": True}, {"upsample": True}], ids=str)
def test_layers_pass_the_implementation_on(fields):
    with pytest.raises(ConfigError, match="implementation = 'fast'"):
        Conv(4, implementation="fast", **fields).init(jax.random.key(0), jnp.ones((2, 8, 8, 4)))


def test_a_context_chooses_the_implementation_where_none_is_given():
    x, w = draw(4, 6, 8, 8, np.float32)

    def is_one_dilated(**options):
        def function(x, w):
            return convolve_transpose(x, w, **options)

        return "lhs_dilation=(2, 2)" in str(jax.make_jaxpr(function)(x, w))

    with implemented("xla"):
        assert is_one_dilated()
        assert not is_one_dilated(implementation="cpu")
        with implemented("cpu"):
            assert not is_one_dilated()
        assert is_one_dilated()
    assert not is_one_dilated()
    with pytest.raises(ConfigError, match="implementation = 'gpu' is unknown"), implemented("gpu"):
        pass
