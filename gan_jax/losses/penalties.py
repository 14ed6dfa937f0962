"""Penalties on a discriminator's gradient, and weight clipping as a projection.

A penalty takes the critic as a callable ``images -> scores`` with its parameters bound, and returns
one float32 value per image, shape ``[batch]``; the caller takes the mean and multiplies by the
penalty's weight. Images are floating, ``[batch, ...]``; a ``ValueError`` is raised where shapes or
dtypes do not fit. Scores may be ``[batch]`` or patch maps ``[batch, ...]``: the scores of one image
are summed before the gradient, so the gradient of a map grows with the number of its patches.

One backward pass gives the gradients of all images because each image is assumed to influence its
own score only. A critic with batch-norm in train mode violates that, in every implementation of
these penalties. The gradient is cast to float32 before its norm, so that a critic in bf16 squares
and sums in full precision.

Randomness is passed as arrays with one entry per image, never as a key: the caller draws them from
keys that depend on the example's position in the global batch, so that the penalty is the same on
one device and on many.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gan_jax.errors import ConfigError
from gan_jax.losses.guards import (
    check_equal_shapes,
    check_number,
    floating,
    global_mean,
    safe_norm,
)
from gan_jax.settings import build

Critic = Callable[[jax.Array], jax.Array]
PyTree = Any
T = TypeVar("T")


class DraganDraws(NamedTuple):
    """The random draws of DRAGAN for one image, or stacked over a batch."""

    noise: jax.Array
    alpha: jax.Array


@dataclasses.dataclass(frozen=True)
class Penalty:
    """One penalty, in the form in which a game can call any of them.

    For a batch: ``draws = jax.vmap(lambda key: penalty.draw(key, shape))(keys)``, then
    ``penalty(critic, real, fake, draws)``.

    Attributes:
      compute: ``(critic, real, fake, draws) -> [batch]``; what a penalty does not look at may be
        None.
      draw: ``(key, shape of one data point) -> pytree`` of the random draws of ONE example; ``()``
        if there are none.
    """

    compute: Callable[[Critic, Any, Any, PyTree], jax.Array]
    draw: Callable[[jax.Array, tuple[int, ...]], PyTree]

    def __call__(
        self, critic: Critic, real: ArrayLike | None, fake: ArrayLike | None, draws: PyTree
    ) -> jax.Array:
        """Return the penalty of each image, ``[batch]`` float32."""
        return self.compute(critic, real, fake, draws)


def interpolate(real: ArrayLike, fake: ArrayLike, epsilon: ArrayLike) -> jax.Array:
    """Points on straight lines from fakes to reals: ``epsilon real + (1 - epsilon) fake``.

    Args:
      real: real images, ``[batch, ...]``, floating.
      fake: generated images, of the same shape.
      epsilon: the share of the real image, ``[batch]``, floating: one per image, not per pixel.

    Returns:
      The points, with shape and dtype of ``real``; mixed in float32.
    """
    real, fake = floating("real images", real), floating("fake images", fake)
    check_equal_shapes("real images", real, "fake images", fake)
    share = _per_image("epsilon", epsilon, real)
    mixed = share * real.astype(jnp.float32) + (1.0 - share) * fake.astype(jnp.float32)
    return mixed.astype(real.dtype)


def wgan_gp(
    critic: Critic,
    real: ArrayLike,
    fake: ArrayLike,
    epsilon: ArrayLike,
    *,
    target: float = 1.0,
    one_sided: bool = False,
) -> jax.Array:
    """Squared distance of the critic's gradient norm from its target, between real and fake.

    ``(||grad D(x^)|| - target)^2`` at ``x^ = epsilon real + (1 - epsilon) fake``: "Improved
    Training of Wasserstein GANs", Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028 (weight
    10). The one-sided form penalises norms above the target only, as the paper discusses and Petzka
    et al. 2017, https://arxiv.org/abs/1709.08894, recommend.

    Args:
      critic: images ``[batch, ...]`` to scores ``[batch]`` or ``[batch, ...]``.
      real: real images, ``[batch, ...]``, floating.
      fake: generated images, of the same shape.
      epsilon: uniform draws in [0, 1), ``[batch]``: one per image.
      target: the norm that costs nothing.
      one_sided: whether norms below the target cost nothing either.

    Returns:
      The penalty of each image, ``[batch]`` float32.
    """
    gradient = _input_gradient(critic, interpolate(real, fake, epsilon))
    return _squared_excess(gradient, target, one_sided)


def dragan(
    critic: Critic,
    real: ArrayLike,
    noise: ArrayLike,
    alpha: ArrayLike,
    *,
    scale: float = 0.5,
    axis_name: str | None = None,
) -> jax.Array:
    """Squared distance of the gradient norm from 1, in a neighbourhood of the data.

    ``(||grad D(x + alpha scale std(x) noise)|| - 1)^2``: "On Convergence and Stability of GANs",
    Kodali et al. 2017, https://arxiv.org/abs/1705.07215 (weight 10), with the perturbation of the
    authors' program, where noise and alpha are uniform in [0, 1) and scale is 0.5. ``std`` is one
    number: the population standard deviation over all entries of the global batch. It is computed
    in two passes (the mean, then the mean square about it), each averaged over the devices before
    it is used, because an average of the devices' own deviations would depend on their number.

    Args:
      critic: images ``[batch, ...]`` to scores ``[batch]`` or ``[batch, ...]``.
      real: real images, ``[batch, ...]``, floating.
      noise: random directions, of the shape of ``real``.
      alpha: how far to go along them, uniform draws in [0, 1), ``[batch]``: one per image.
      scale: size of the perturbation in standard deviations of the data.
      axis_name: the mapped axis that splits the batch over devices in equal parts, or None.

    Returns:
      The penalty of each image, ``[batch]`` float32.
    """
    real, noise = floating("real images", real), floating("noise images", noise)
    check_equal_shapes("real images", real, "noise images", noise)
    share = _per_image("alpha", alpha, real)
    points = real.astype(jnp.float32)
    centered = points - global_mean(points, axis_name)
    deviation = jnp.sqrt(global_mean(jnp.square(centered), axis_name))
    perturbed = points + share * (scale * deviation) * noise.astype(jnp.float32)
    return _squared_excess(_input_gradient(critic, perturbed.astype(real.dtype)), 1.0, False)


def r1(critic: Critic, real: ArrayLike) -> jax.Array:
    """Half the squared gradient norm at real images: ``||grad D(x)||^2 / 2``.

    "Which Training Methods for GANs do actually Converge?", Mescheder et al. 2018,
    https://arxiv.org/abs/1801.04406. The paper's weight gamma multiplies this value.

    Args:
      critic: images ``[batch, ...]`` to scores ``[batch]`` or ``[batch, ...]``.
      real: real images, ``[batch, ...]``, floating.

    Returns:
      The penalty of each image, ``[batch]`` float32.
    """
    return _half_squared_norm(_input_gradient(critic, floating("real images", real)))


def r2(critic: Critic, fake: ArrayLike) -> jax.Array:
    """Half the squared gradient norm at generated images: ``||grad D(G(z))||^2 / 2``.

    "Which Training Methods for GANs do actually Converge?", Mescheder et al. 2018,
    https://arxiv.org/abs/1801.04406.

    Args:
      critic: images ``[batch, ...]`` to scores ``[batch]`` or ``[batch, ...]``.
      fake: generated images, ``[batch, ...]``, floating.

    Returns:
      The penalty of each image, ``[batch]`` float32.
    """
    return _half_squared_norm(_input_gradient(critic, floating("fake images", fake)))


def directional(
    critic: Critic, images: ArrayLike, direction: ArrayLike, *, step: float
) -> jax.Array:
    """Half the squared derivative along a direction, scaled to ``||grad D(x)||^2 / 2`` on average.

    ``((D(x + step v) - D(x - step v)) / (2 step))^2 / 2`` with ``v = sqrt(d) u`` for images of d
    entries and a random unit vector ``u``: the mean of ``(u g)^2`` is ``||g||^2 / d``. The standard
    deviation of a value is about 1.4 times its mean. So R1 and R2 are approximated in "Adversarial
    Flow Models", Lin et al. 2025, https://arxiv.org/abs/2511.22475, there with a one-sided
    difference, normal ``v`` and a step of 0.01.

    No derivative of a derivative is needed. `jax.jvp` would give the derivative without an error,
    but the convolution of this project has no forward mode on CPU. The central difference works
    everywhere, with an error of second order in the step, 0 for a quadratic critic. Rounding of the
    scores is divided by ``2 step``: bfloat16 is too coarse. On CPU the exact gradient is faster.

    Args:
      critic: images ``[batch, ...]`` to scores ``[batch]`` or ``[batch, ...]``.
      images: real or generated images, ``[batch, ...]``, floating.
      direction: of the same shape, not 0; its length is of no effect. Normal draws give uniformly
        distributed directions.
      step: root mean square over an image's entries of the distance to either point, > 0.

    Returns:
      The penalty of each image, ``[batch]`` float32.
    """
    images, direction = floating("images", images), floating("directions", direction)
    check_equal_shapes("images", images, "directions", direction)
    v = direction.astype(jnp.float32)
    axes = tuple(range(1, v.ndim))
    v = v / jnp.sqrt(jnp.mean(jnp.square(v), axis=axes, keepdims=True))
    ahead, behind = (
        _scores(critic, (images + sign * step * v).astype(images.dtype)) for sign in (1.0, -1.0)
    )
    return 0.5 * jnp.square((ahead - behind) / (2.0 * step))


def matching_aware(
    critic: Callable[[jax.Array, jax.Array], jax.Array],
    real: ArrayLike,
    sentence: ArrayLike,
    *,
    power: float = 6.0,
) -> jax.Array:
    """A power of the gradient norm at real images and the vectors of their captions.

    ``||(grad_x D(x, e), grad_e D(x, e))||^p``, both gradients together as one vector: "DF-GAN: A
    Simple and Effective Baseline for Text-to-Image Synthesis", Tao et al. 2020,
    https://arxiv.org/abs/2008.05865 (weight 2, power 6).

    Args:
      critic: images ``[batch, ...]`` and vectors ``[batch, n]`` to scores ``[batch]``.
      real: real images, ``[batch, ...]``, floating.
      sentence: the vectors that match them, ``[batch, n]``, floating.
      power: of the norm, at least 1.

    Returns:
      The penalty of each image, ``[batch]`` float32.
    """
    real, sentence = floating("real images", real), floating("sentence vectors", sentence)
    gradients = jax.grad(lambda x, e: jnp.sum(_scores(lambda y: critic(y, e), x)), argnums=(0, 1))
    flat = [g.astype(jnp.float32).reshape(len(g), -1) for g in gradients(real, sentence)]
    return safe_norm(jnp.concatenate(flat, axis=1), 1) ** power


def clip_weights(params: T, limit: float) -> T:
    """Project parameters onto the cube ``[-limit, limit]``, after an optimizer's step.

    "Wasserstein GAN", Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875 (limit 0.01).

    Args:
      params: pytree of floating arrays.
      limit: largest absolute value that remains.

    Returns:
      The same tree, shapes and dtypes.

    Raises:
      ConfigError: the limit is not a positive finite number.
    """
    if check_number("weight clipping limit", limit, 0.0) == 0.0:
        raise ConfigError(f"weight clipping limit = {limit!r}; accepted: a number > 0.")
    return jax.tree.map(lambda leaf: jnp.clip(leaf, -limit, limit), params)


def make(name: str, *, axis_name: str | None = None, **options: Any) -> Penalty:
    """Return the penalty of that name with its options set.

    Args:
      name: a key of ``PENALTIES``.
      axis_name: the mapped axis over devices; only penalties with statistics of the batch use it.
      **options: ``target`` and ``one_sided`` for ``wgan_gp``, ``scale`` for ``dragan``, ``step``
        for the others. An option that is None counts as not given. The weight and the interval are
        no options: the caller applies them.

    Returns:
      The penalty.

    Raises:
      ConfigError: the name, an option or its value is unknown; names the field
        ``penalty.<name>.<option>``.
    """
    return build(PENALTIES, "penalty", name, axis_name=axis_name, **options)


def _per_image(name: str, value: ArrayLike, images: jax.Array) -> jax.Array:
    """Return one float32 number per image, shaped to broadcast over the image's dimensions."""
    amounts = jnp.asarray(value)
    if amounts.shape != images.shape[:1]:
        raise ValueError(
            f"{name} has shape {amounts.shape} for images {images.shape}; "
            f"accepted: one number per image, shape {images.shape[:1]}."
        )
    return amounts.astype(jnp.float32).reshape(-1, *(1,) * (images.ndim - 1))


def _scores(critic: Critic, images: jax.Array) -> jax.Array:
    """Each image's summed score, ``[batch]`` float32."""
    scores = critic(images)
    if scores.ndim < 1 or scores.shape[0] != images.shape[0]:
        raise ValueError(
            f"the critic gave scores of shape {scores.shape} for images {images.shape}; accepted: "
            f"[batch] or [batch, ...] with batch {images.shape[0]}."
        )
    return jnp.sum(scores.astype(jnp.float32), axis=tuple(range(1, scores.ndim)))


def _input_gradient(critic: Critic, images: jax.Array) -> jax.Array:
    """Gradient of each image's summed score with respect to that image, float32."""
    gradient = jax.grad(lambda points: jnp.sum(_scores(critic, points)))(images)
    return gradient.astype(jnp.float32)


def _squared_excess(gradient: jax.Array, target: float, one_sided: bool) -> jax.Array:
    excess = safe_norm(gradient, tuple(range(1, gradient.ndim))) - target
    return jnp.square(jax.nn.relu(excess) if one_sided else excess)


def _half_squared_norm(gradient: jax.Array) -> jax.Array:
    # Without a root there is nothing to guard at 0.
    return 0.5 * jnp.sum(jnp.square(gradient), axis=tuple(range(1, gradient.ndim)))


def _zero_centered(name: str, step: float | None, *exact: Callable[..., jax.Array]) -> Penalty:
    """Return the sum of `r1` or `r2`, or both, estimated by `directional` if there is a step."""
    if step is not None and check_number(f"penalty.{name}.step", step, 0.0) == 0.0:
        raise ConfigError(f"penalty.{name}.step = {step!r}; accepted: a number > 0, or None.")

    def compute(critic: Critic, real: Any, fake: Any, directions: PyTree) -> jax.Array:
        images = [real if penalty is r1 else fake for penalty in exact]
        if step is None:
            values = [penalty(critic, x) for penalty, x in zip(exact, images, strict=True)]
        else:
            values = [
                directional(critic, x, directions[:, i], step=step) for i, x in enumerate(images)
            ]
        return sum(values[1:], values[0])

    def draw(key: jax.Array, shape: tuple[int, ...]) -> PyTree:
        return () if step is None else jax.random.normal(key, (len(exact), *shape), jnp.float32)

    return Penalty(compute=compute, draw=draw)


def _make_wgan_gp(
    *, axis_name: str | None = None, target: float = 1.0, one_sided: bool = False
) -> Penalty:
    """The gradient norm between real and generated data is held at 1 (Gulrajani 2017, 1704.00028).

    Args:
      target: the gradient norm to reach.
      one_sided: whether norms below the target are not penalised.
    """
    target = check_number("penalty.wgan_gp.target", target, 0.0, math.inf)
    if not isinstance(one_sided, bool):
        raise ConfigError(f"penalty.wgan_gp.one_sided = {one_sided!r}; accepted: True, False.")
    return Penalty(
        compute=lambda critic, real, fake, epsilon: wgan_gp(
            critic, real, fake, epsilon, target=target, one_sided=one_sided
        ),
        draw=lambda key, shape: jax.random.uniform(key, (), jnp.float32),
    )


def _make_dragan(*, axis_name: str | None = None, scale: float = 0.5) -> Penalty:
    """The gradient norm around real data is held at 1 (Kodali 2017, 1705.07215).

    Args:
      scale: size of the perturbation, in standard deviations of the data.
    """
    scale = check_number("penalty.dragan.scale", scale, 0.0, math.inf)

    def draw(key: jax.Array, shape: tuple[int, ...]) -> DraganDraws:
        noise_key, alpha_key = jax.random.split(key)
        return DraganDraws(
            noise=jax.random.uniform(noise_key, shape, jnp.float32),
            alpha=jax.random.uniform(alpha_key, (), jnp.float32),
        )

    return Penalty(
        compute=lambda critic, real, fake, draws: dragan(
            critic, real, draws.noise, draws.alpha, scale=scale, axis_name=axis_name
        ),
        draw=draw,
    )


def _make_r1(*, axis_name: str | None = None, step: float | None = None) -> Penalty:
    """Half the squared gradient norm at real data (Mescheder 2018, 1801.04406).

    Args:
      step: unset: by the exact gradient; else by the derivative along a random direction, from
        scores at two points whose root mean square distance to the image is this (such as 0.01).
    """
    return _zero_centered("r1", step, r1)


def _make_r2(*, axis_name: str | None = None, step: float | None = None) -> Penalty:
    """Half the squared gradient norm at generated data (Mescheder 2018, 1801.04406).

    Args:
      step: unset: by the exact gradient; else by the derivative along a random direction, from
        scores at two points whose root mean square distance to the image is this (such as 0.01).
    """
    return _zero_centered("r2", step, r2)


def _make_r1_r2(*, axis_name: str | None = None, step: float | None = None) -> Penalty:
    """The sum of R1 and R2 (Huang 2025, 2501.05441).

    Args:
      step: unset: by the exact gradient; else by the derivative along a random direction, from
        scores at two points whose root mean square distance to the image is this (such as 0.01).
    """
    return _zero_centered("r1_r2", step, r1, r2)


PENALTIES: dict[str, Callable[..., Penalty]] = {
    "wgan_gp": _make_wgan_gp,
    "dragan": _make_dragan,
    "r1": _make_r1,
    "r2": _make_r2,
    "r1_r2": _make_r1_r2,
}
