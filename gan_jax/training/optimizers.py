"""Optimizers and learning-rate schedules from configuration, on top of Optax.

A schedule here is a function of the *train step*, not of the optimizer's own count: a critic that
takes five gradient steps per train step decays exactly as fast as its generator.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gan_jax import errors

Schedule = Callable[[jax.Array], jax.Array]


def constant(value: float, *, total_steps: int) -> Schedule:
    """Return the schedule that stays at ``value``."""
    del total_steps
    return optax.constant_schedule(value)


def linear(
    value: float, *, total_steps: int, end_factor: float = 0.0, decay_start: int = 0
) -> Schedule:
    """Return ``value`` until step ``decay_start``, then a line down to ``value * end_factor``.

    WGAN-GP and SNGAN decay from the start; CycleGAN holds for the first half.
    """
    if not 0 <= decay_start < total_steps:
        raise errors.ConfigError(
            f"schedule.linear.decay_start = {decay_start}; "
            f"accepted: 0 <= decay_start < train.steps = {total_steps}"
        )
    return optax.linear_schedule(
        value, value * end_factor, total_steps - decay_start, transition_begin=decay_start
    )


def cosine(value: float, *, total_steps: int, end_factor: float = 0.0) -> Schedule:
    """Return half a cosine wave down to ``value * end_factor`` (Loshchilov 2016, 1608.03983)."""
    return optax.cosine_decay_schedule(value, total_steps, alpha=end_factor)


def step(
    value: float, *, total_steps: int, factor: float = 0.1, boundaries: tuple[int, ...] = ()
) -> Schedule:
    """Return ``value`` times ``factor`` for every boundary (a train step) that has been passed."""
    del total_steps
    return optax.piecewise_constant_schedule(value, {int(b): factor for b in boundaries})


SCHEDULES: Mapping[str, Callable[..., Schedule]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "step": step,
}


def make_schedule(
    name: str, learning_rate: float, *, total_steps: int, warmup_steps: int = 0, **options: Any
) -> Schedule:
    """Return the learning rate as a function of the train step.

    Args:
      name: a key of ``SCHEDULES``.
      learning_rate: the rate after warm-up.
      total_steps: train steps of the whole run.
      warmup_steps: the rate grows linearly from ``1 / warmup_steps`` of its value over these steps;
        the schedule proper runs underneath all the while, counted from step 0.
      **options: the schedule's own.

    Raises:
      ConfigError: unknown name, an option that the schedule does not have, or a bad value.
    """
    if warmup_steps < 0 or warmup_steps > total_steps:
        raise errors.ConfigError(
            f"schedule.warmup_steps = {warmup_steps}; accepted: 0 to train.steps = {total_steps}"
        )
    build = errors.lookup(SCHEDULES, name, "schedule.name")
    errors.check_options(build, options, "schedule", name)
    schedule = build(learning_rate, total_steps=total_steps, **options)
    if not warmup_steps:
        return schedule

    def warmed(count: jax.Array) -> jax.Array:
        ramp = (jnp.asarray(count, jnp.float32) + 1.0) / warmup_steps
        return jnp.minimum(1.0, ramp) * schedule(count)

    return warmed


def _sgd(rate: Schedule) -> optax.GradientTransformation:
    return optax.sgd(rate)


def _momentum(
    rate: Schedule, momentum: float = 0.9, nesterov: bool = False
) -> optax.GradientTransformation:
    return optax.sgd(rate, momentum, nesterov)


def _adam(
    rate: Schedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    return optax.adam(rate, b1, b2, eps)


def _adamw(
    rate: Schedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
) -> optax.GradientTransformation:
    return optax.adamw(rate, b1, b2, eps, weight_decay=weight_decay)


def _rmsprop(
    rate: Schedule, decay: float = 0.99, eps: float = 1e-8, momentum: float | None = None
) -> optax.GradientTransformation:
    # The published WGAN runs divide by sqrt(v) + eps, not by sqrt(v + eps).
    return optax.rmsprop(rate, decay, eps, eps_in_sqrt=False, momentum=momentum)


OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "adam": _adam,
    "adamw": _adamw,
    "rmsprop": _rmsprop,
}


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """A network's optimizer.

    Attributes:
      transformation: from clipped gradients to updates; elementwise, up to its step counts.
      learning_rate: the one that it uses, as a function of the train step.
      clip_norm: gradients whose global L2 norm is larger are scaled down to it; ``None``: never.
    """

    transformation: optax.GradientTransformation
    learning_rate: Schedule
    clip_norm: float | None = None

    def update(self, gradients: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """Return the updates of a network's parameters and the optimizer's new state."""
        if self.clip_norm is not None:
            clip = optax.clip_by_global_norm(self.clip_norm)
            gradients, _ = clip.update(gradients, optax.EmptyState())
        return self.transformation.update(gradients, state, params)


def make_optimizer(
    name: str,
    learning_rate: float,
    *,
    schedule: Mapping[str, Any],
    total_steps: int,
    steps_per_train_step: int = 1,
    clip_norm: float | None = None,
    **options: Any,
) -> Optimizer:
    """Return one network's optimizer.

    Args:
      name: a key of ``OPTIMIZERS``.
      learning_rate: before the schedule.
      schedule: ``name`` and options of the schedule.
      total_steps: train steps of the whole run.
      steps_per_train_step: gradient steps that this network takes in one train step.
      clip_norm: gradients whose global norm is larger are scaled down to it; ``None``: never.
      **options: the optimizer's own, such as ``b1`` and ``b2``.

    Raises:
      ConfigError: an unknown name or option, or a value out of range.
    """
    if not learning_rate > 0:
        raise errors.ConfigError(f"learning_rate = {learning_rate!r}; accepted: a number above 0")
    if clip_norm is not None and not clip_norm > 0:
        raise errors.ConfigError(f"clip_norm = {clip_norm!r}; accepted: a number above 0, or none")
    chosen = dict(schedule)
    rate = make_schedule(chosen.pop("name"), learning_rate, total_steps=total_steps, **chosen)
    build = errors.lookup(OPTIMIZERS, name, "name")
    errors.check_options(build, options, "optimizer", name)
    transformation = build(lambda count: rate(count // steps_per_train_step), **options)
    return Optimizer(transformation, rate, clip_norm)
