"""Optimizers and learning-rate schedules from configuration, on top of Optax.

A schedule here is a function of the *train step*, not of the optimizer's own count: a critic that
takes five gradient steps per train step decays exactly as fast as its generator.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gan_jax import errors
from gan_jax.settings import Group, build

Schedule = Callable[[jax.Array], jax.Array]


def constant(value: float, *, total_steps: int) -> Schedule:
    """A constant rate: ``value``."""
    del total_steps
    return optax.constant_schedule(value)


def linear(
    value: float, *, total_steps: int, end_factor: float = 0.0, decay_start: int = 0
) -> Schedule:
    """A rate of ``value`` until step ``decay_start``, then a line down to ``value * end_factor``.

    WGAN-GP and SNGAN decay from the start; CycleGAN holds for the first half.

    Args:
      value: the rate at the start, as for the other schedules.
      total_steps: train steps of the whole run, likewise.
      end_factor: the last rate over the first.
      decay_start: train steps before the decay.
    """
    accepted = f"0 <= decay_start < train.steps = {total_steps}"
    good = 0 <= decay_start < total_steps
    errors.require(good, "schedule.linear.decay_start", decay_start, accepted)
    return optax.linear_schedule(
        value, value * end_factor, total_steps - decay_start, transition_begin=decay_start
    )


def cosine(
    value: float, *, total_steps: int, end_factor: float = 0.0, decay_steps: int | None = None
) -> Schedule:
    """Half a cosine wave down to ``value * end_factor`` (Loshchilov 2016, 1608.03983).

    Args:
      value: as for `linear`.
      total_steps: as for `linear`.
      end_factor: the last rate over the first.
      decay_steps: train steps until then, after which the rate stays; unset: those of the run.
    """
    good = decay_steps is None or decay_steps >= 1
    errors.require(good, "schedule.cosine.decay_steps", decay_steps, "1 or more, or none")
    return optax.cosine_decay_schedule(value, decay_steps or total_steps, alpha=end_factor)


def step(
    value: float, *, total_steps: int, factor: float = 0.1, boundaries: tuple[int, ...] = ()
) -> Schedule:
    """A rate of ``value`` times ``factor`` for every boundary that has been passed.

    Args:
      value: the rate at the start.
      total_steps: train steps of the whole run.
      factor: multiplies the rate at every boundary.
      boundaries: train steps.
    """
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
      warmup_steps: train steps over which the rate grows linearly from ``1 / warmup_steps`` of its
        value; the schedule counts from step 0 nevertheless.
      **options: of the schedule.

    Raises:
      ConfigError: unknown name, an option that the schedule does not have, or a bad value.
    """
    most = f"0 to train.steps = {total_steps}"
    errors.require(0 <= warmup_steps <= total_steps, "schedule.warmup_steps", warmup_steps, most)
    schedule = build(
        SCHEDULES, "schedule", name, value=learning_rate, total_steps=total_steps, **options
    )
    if not warmup_steps:
        return schedule

    def warmed(count: jax.Array) -> jax.Array:
        ramp = (jnp.asarray(count, jnp.float32) + 1.0) / warmup_steps
        return jnp.minimum(1.0, ramp) * schedule(count)

    return warmed


def _sgd(rate: Schedule) -> optax.GradientTransformation:
    """Gradient descent."""
    return optax.sgd(rate)


def _momentum(
    rate: Schedule, momentum: float = 0.9, nesterov: bool = False
) -> optax.GradientTransformation:
    """Gradient descent with momentum.

    Args:
      rate: the learning rate.
      momentum: decay of the sum of gradients.
      nesterov: whether Nesterov's momentum is used.
    """
    return optax.sgd(rate, momentum, nesterov)


def _adam(
    rate: Schedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    end_b2: float | None = None,
    end_b2_steps: int | None = None,
) -> optax.GradientTransformation:
    """Adam (Kingma and Ba 2014, 1412.6980).

    Args:
      rate: the learning rate.
      b1: decay of the gradient's mean.
      b2: decay of the mean of its square.
      eps: added to the root of the latter.
      end_b2: the last value of ``b2``, which it reaches along half a cosine (R3GAN, Huang et al.
        2025, 2501.05441); unset: it stays. The bias is corrected by the present value.
      end_b2_steps: gradient steps until then, after which it stays.
    """
    if end_b2 is None:
        unset = end_b2_steps is None
        errors.require(unset, "adam.end_b2_steps", end_b2_steps, "none, without adam.end_b2")
        return optax.adam(rate, b1, b2, eps)
    accepted = "a number from 0 to below 1, or none"
    errors.require(0 <= end_b2 < 1, "adam.end_b2", end_b2, accepted)
    good = end_b2_steps is not None and end_b2_steps >= 1
    errors.require(good, "adam.end_b2_steps", end_b2_steps, "1 or more, with adam.end_b2")
    fall = optax.cosine_decay_schedule(1.0, end_b2_steps)
    fixed = ("b1", "eps", "eps_root", "nesterov")
    scale = optax.inject_hyperparams(optax.scale_by_adam, static_args=fixed)
    return optax.chain(
        scale(b1, lambda count: end_b2 + (b2 - end_b2) * fall(count), eps),
        optax.scale_by_learning_rate(rate),
    )


def _adamw(
    rate: Schedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2017, 1711.05101).

    Args:
      rate: the learning rate.
      b1: decay of the gradient's mean.
      b2: decay of the mean of its square.
      eps: added to the root of the latter.
      weight_decay: times the learning rate, and the weight, is subtracted.
    """
    return optax.adamw(rate, b1, b2, eps, weight_decay=weight_decay)


def _rmsprop(
    rate: Schedule, decay: float = 0.99, eps: float = 1e-8, momentum: float | None = None
) -> optax.GradientTransformation:
    """RMSprop: gradients divided by the root of their mean square.

    Args:
      rate: the learning rate.
      decay: decay of the mean square.
      eps: added to its root.
      momentum: decay of the sum of the divided gradients; unset: there is no momentum.
    """
    # The published WGAN runs divide by sqrt(v) + eps, not by sqrt(v + eps). The rate comes last,
    # not before the momentum as in `optax.rmsprop`: the state is then the same at any rate.
    return optax.chain(
        optax.scale_by_rms(decay, eps, eps_in_sqrt=False),
        optax.identity() if momentum is None else optax.trace(momentum),
        optax.scale_by_learning_rate(rate),
    )


OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "adam": _adam,
    "adamw": _adamw,
    "rmsprop": _rmsprop,
}


@dataclasses.dataclass(frozen=True)
class Fields:
    """What a configuration says of a network's optimizer, whichever that is.

    Attributes:
      learning_rate: before the schedule.
      clip_norm: gradients whose global norm is larger are scaled down to it; unset: never.
      freeze_first: the first layers or blocks of the network keep their parameters: FreezeD, where
        it is the discriminator that begins from another run (Mo 2020, 2002.10964).
      freeze: names of further layers that keep their parameters, such as "Dense_0" or
        "DownBlock_1/conv_1".
      schedule: of the learning rate, which counts train steps.
    """

    learning_rate: float = 2e-4
    clip_norm: float | None = None
    freeze_first: int = 0
    freeze: tuple[str, ...] = ()
    schedule: Group = Group(make_schedule, SCHEDULES, "constant")


OPTIMIZER = Group(Fields, OPTIMIZERS, "adam")


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """A network's optimizer.

    Attributes:
      transformation: from clipped gradients to updates; elementwise, up to its step counts.
      learning_rate: the one that it uses, as a function of the train step.
      clip_norm: gradients whose global L2 norm is larger are scaled down to it; ``None``: never.
      frozen: the layers whose parameters stay as they are, by their path in the parameters.
    """

    transformation: optax.GradientTransformation
    learning_rate: Schedule
    clip_norm: float | None = None
    frozen: tuple[str, ...] = ()

    def frozen_from(self, tree: Any, other: Any) -> Any:
        """Return ``tree``, shaped as the parameters, with the frozen leaves of ``other``."""
        if not self.frozen:
            return tree
        return jax.tree.map_with_path(
            lambda path, own, kept: kept if self.freezes(path) else own, tree, other
        )

    def freezes(self, path: Any) -> bool:
        """Return whether the parameter of a path stays as it is."""
        name = f"{jax.tree_util.keystr(path, simple=True, separator='/')}/"
        return any(name.startswith(f"{layer}/") for layer in self.frozen)

    def update(self, gradients: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """Return the updates of a network's parameters and the optimizer's new state."""
        if self.clip_norm is not None:
            clip = optax.clip_by_global_norm(self.clip_norm)
            gradients, _ = clip.update(gradients, optax.EmptyState())
        return self.transformation.update(gradients, state, params)


def frozen_layers(layers: Sequence[str], first: int, named: Sequence[str]) -> tuple[str, ...]:
    """Return the layers that are frozen, by their path in the parameters.

    Args:
      layers: all layers of the network and, by their path, all parts of these, in the order in
        which the network applies them.
      first: how many layers are frozen from the input on; a normalization counts as a part of the
        layer before it.
      named: further ones.

    Raises:
      ConfigError: the network has fewer layers, or none of such a name.
    """
    whole = [layer for layer in layers if "/" not in layer]
    # Normalization has scales and biases only.
    starts = [i for i, layer in enumerate(whole) if i == 0 or "Norm" not in layer]
    accepted = f"0 to {len(starts)}, the layers of the network: {', '.join(whole)}"
    errors.require(0 <= first <= len(starts), "freeze_first", first, accepted)
    for layer in named:
        errors.lookup(dict.fromkeys(layers), layer, "freeze")
    return (*whole[: [*starts, len(whole)][first]], *named)


def make_optimizer(
    group: Any, *, total_steps: int, steps_per_train_step: int = 1, layers: Sequence[str] = ()
) -> Optimizer:
    """Return one network's optimizer.

    Args:
      group: of a configuration, with the fields of `OPTIMIZER`.
      total_steps: train steps of the whole run.
      steps_per_train_step: gradient steps that this network takes in one train step.
      layers: of the network, as for `frozen_layers`.

    Raises:
      ConfigError: an unknown name, layer or option, or a value out of range.
    """
    rate, limit, schedule = group.learning_rate, group.clip_norm, group.schedule
    errors.require(rate > 0, "learning_rate", rate, "a number above 0")
    clips = limit is None or limit > 0
    errors.require(clips, "clip_norm", limit, "a number above 0, or none")
    scheduled = make_schedule(
        schedule.name,
        rate,
        total_steps=total_steps,
        warmup_steps=schedule.warmup_steps,
        **schedule.get(schedule.name, {}),
    )
    transformation = build(
        OPTIMIZERS,
        "optimizer",
        group.name,
        rate=lambda count: scheduled(count // steps_per_train_step),
        **group.get(group.name, {}),
    )
    frozen = frozen_layers(layers, group.freeze_first, group.freeze)
    return Optimizer(transformation, scheduled, limit, frozen)
