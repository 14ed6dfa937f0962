"""Optimizers against PyTorch's, schedules against their closed forms."""

import dataclasses
import math

import chex
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gan_jax import errors
from gan_jax.training.optimizers import frozen_layers, make_schedule
from tests.training.tiny import make_optimizer

CASES = {
    "sgd": ({}, "SGD", {}),
    "momentum": ({"momentum": 0.8}, "SGD", {"momentum": 0.8}),
    "nesterov": ({"momentum": 0.8, "nesterov": True}, "SGD", {"momentum": 0.8, "nesterov": True}),
    "adam": ({"b1": 0.5, "b2": 0.9}, "Adam", {"betas": (0.5, 0.9)}),
    "adamw": (
        {"b1": 0.5, "b2": 0.9, "weight_decay": 0.1},
        "AdamW",
        {"betas": (0.5, 0.9), "weight_decay": 0.1},
    ),
    "rmsprop": ({}, "RMSprop", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_takes_the_same_steps_as_pytorch(case):
    torch = pytest.importorskip("torch")
    options, theirs, their_options = CASES[case]
    name = "momentum" if case == "nesterov" else case
    start = np.array([1.0, -2.0, 3.0], np.float32)
    curvature = np.array([1.0, 0.3, 5.0], np.float32)

    weights = torch.nn.Parameter(torch.tensor(start))
    reference = getattr(torch.optim, theirs)([weights], lr=0.05, **their_options)
    optimizer = make_optimizer(name, 0.05, **options)
    params = jnp.asarray(start)
    state = optimizer.transformation.init(params)
    for _ in range(8):
        reference.zero_grad()
        (0.5 * torch.tensor(curvature) * weights**2).sum().backward()
        reference.step()
        gradient = jnp.asarray(curvature) * params
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params, weights.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_adam_with_a_second_decay_that_changes_takes_the_same_steps_as_pytorch():
    torch = pytest.importorskip("torch")
    start, steps = np.array([1.0, -2.0, 3.0], np.float32), 6
    weights = torch.nn.Parameter(torch.tensor(start))
    reference = torch.optim.Adam([weights], lr=0.05, betas=(0.0, 0.9))
    optimizer = make_optimizer("adam", 0.05, b1=0.0, b2=0.9, end_b2=0.99, end_b2_steps=4)
    params = jnp.asarray(start)
    state = optimizer.transformation.init(params)
    for step in range(steps):
        # Half a cosine from 0.9 to 0.99 in four steps.
        share = (1 - math.cos(math.pi * min(step / 4, 1))) / 2
        reference.param_groups[0]["betas"] = (0.0, 0.9 + 0.09 * share)
        reference.zero_grad()
        (0.5 * weights**2).sum().backward()
        reference.step()
        updates, state = optimizer.update(params, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params, weights.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", [*CASES, "rmsprop of momentum", "adam of another decay"])
def test_the_rate_scales_the_update_and_is_in_no_state(case):
    """A replica's factor on its rate multiplies the update of the configured one."""
    name = {"nesterov": "momentum"}.get(case, case.split()[0])
    options = {
        "rmsprop of momentum": {"momentum": 0.9},
        "adam of another decay": {"end_b2": 0.99, "end_b2_steps": 1},
    }
    options = options[case] if case in options else CASES[case][0]
    each = [make_optimizer(name, rate, **options) for rate in (0.1, 0.4)]
    params = np.array([1.0, -2.0, 3.0], np.float32)
    states = [optimizer.transformation.init(params) for optimizer in each]
    for gradient in np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32):
        made = [o.update(gradient, s, params) for o, s in zip(each, states, strict=True)]
        (one, four), states = zip(*made, strict=True)
        np.testing.assert_allclose(four, 4 * one, rtol=1e-5)
    chex.assert_trees_all_equal(*states)


def rates(name, steps, **options):
    schedule = make_schedule(name, 2.0, total_steps=10, **options)
    return [float(schedule(jnp.int32(s))) for s in steps]


def test_schedules_in_closed_form():
    assert rates("constant", [0, 5, 10]) == [2.0, 2.0, 2.0]
    np.testing.assert_allclose(rates("linear", [0, 5, 10, 20]), [2.0, 1.0, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(
        rates("linear", [0, 6, 8, 10], decay_start=6, end_factor=0.5), [2.0, 2.0, 1.5, 1.0]
    )
    half = 0.5 * (1 + np.cos(np.pi * 0.3))
    np.testing.assert_allclose(rates("cosine", [0, 3, 10]), [2.0, 2 * half, 0.0], atol=1e-6)
    shorter = rates("cosine", [0, 2, 4, 9], decay_steps=4, end_factor=0.5)
    np.testing.assert_allclose(shorter, [2.0, 1.5, 1.0, 1.0])
    np.testing.assert_allclose(
        rates("step", [0, 3, 4, 7, 9], boundaries=(4, 7), factor=0.5), [2.0, 2.0, 1.0, 0.5, 0.5]
    )


def test_warm_up_grows_from_a_first_share_to_the_schedule():
    np.testing.assert_allclose(
        rates("constant", [0, 1, 3, 4, 9], warmup_steps=4), [0.5, 1.0, 2.0, 2.0, 2.0]
    )
    np.testing.assert_allclose(
        rates("linear", [0, 4, 5], warmup_steps=2), [1.0, 1.2, 1.0], rtol=1e-6
    )


def test_a_player_of_many_steps_decays_with_the_train_steps():
    optimizer = make_optimizer(
        "sgd", 1.0, schedule={"name": "linear"}, total_steps=2, steps_per_train_step=5
    )
    params, taken = jnp.zeros(()), []
    state = optimizer.transformation.init(params)
    for _ in range(10):
        updates, state = optimizer.update(jnp.ones(()), state, params)
        taken.append(-float(updates))
    np.testing.assert_allclose(taken, [1.0] * 5 + [0.5] * 5)


def test_clipping_scales_the_whole_gradient_down_and_leaves_small_ones():
    optimizer = make_optimizer("sgd", 1.0, clip_norm=5.0)
    params = {"a": jnp.zeros(()), "b": jnp.zeros(())}
    state = optimizer.transformation.init(params)
    large = {"a": jnp.float32(6.0), "b": jnp.float32(8.0)}
    updates, _ = optimizer.update(large, state, params)
    np.testing.assert_allclose([updates["a"], updates["b"]], [-3.0, -4.0], rtol=1e-6)
    small = {"a": jnp.float32(3.0), "b": jnp.float32(-4.0)}
    updates, _ = optimizer.update(small, state, params)
    np.testing.assert_allclose([updates["a"], updates["b"]], [-3.0, 4.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "adamm"}, 'adamm.*accepted: adam, adamw.*Did you mean "adam'),
        ({"beta1": 0.5}, "optimizer.adam.beta1 = 0.5 is unknown; accepted: b1, b2, end_b2, "),
        ({"name": "sgd", "b1": 0.5}, "optimizer.sgd.b1 = 0.5 is unknown; accepted: none"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0; accepted: a number above 0"),
        ({"clip_norm": -1.0}, "clip_norm = -1.0; accepted"),
        ({"schedule": {"name": "linaer"}}, 'schedule.name.*Did you mean "linear"'),
        ({"end_b2": 1.0}, "adam.end_b2 = 1.0; accepted: a number from 0 to below 1, or none"),
        ({"end_b2": 0.9}, "adam.end_b2_steps = None; accepted: 1 or more, with adam.end_b2"),
        ({"end_b2_steps": 9}, "adam.end_b2_steps = 9; accepted: none, without adam.end_b2"),
        ({"schedule": {"name": "cosine", "factor": 1}}, "schedule.cosine.factor = 1 is unknown"),
        (
            {"schedule": {"name": "linear", "decay_start": 9}},
            "schedule.linear.decay_start = 9; accepted: 0 <=",
        ),
        ({"schedule": {"name": "constant", "warmup_steps": 10}}, "warmup_steps = 10; accepted"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(errors.ConfigError, match=message):
        make_optimizer(**({"name": "adam", "learning_rate": 0.1} | arguments))


def test_the_first_layers_are_counted_with_their_normalization():
    layers = ["Conv_0", "Conv_0/kernel", "Conv_1", "BatchNorm_0", "DownBlock_2", "Dense_0"]
    frozen = [frozen_layers(layers, k, ()) for k in range(5)]
    assert [len(own) for own in frozen] == [0, 1, 3, 4, 5]
    assert frozen[2] == ("Conv_0", "Conv_1", "BatchNorm_0")
    assert frozen_layers(layers, 1, ("Conv_0/kernel",)) == ("Conv_0", "Conv_0/kernel")
    with pytest.raises(errors.ConfigError, match="freeze_first = 5; accepted: 0 to 4, the layers"):
        frozen_layers(layers, 5, ())
    with pytest.raises(errors.ConfigError, match=r'freeze = .Conv_9. is unknown.*"Conv_'):
        frozen_layers(layers, 0, ("Conv_9",))


def test_leaves_of_frozen_layers_alone_come_from_the_other_tree():
    tree = {"a": {"x": 1, "y": 2}, "ab": {"x": 3}, "b": {"x": 4}}
    other = {"a": {"x": 5, "y": 6}, "ab": {"x": 7}, "b": {"x": 8}}
    optimizer = dataclasses.replace(make_optimizer("sgd", 1.0), frozen=("a", "b/x"))
    assert optimizer.frozen_from(tree, other) == {**other, "ab": {"x": 3}}
