"""Penalties on a discriminator's gradient, lazy application, and weight clipping as a projection.

A penalty takes the critic as a callable ``images -> scores`` with its parameters bound, and returns
one float32 value per image, shape ``[batch]``; the caller takes the mean and multiplies by the
penalty's weight. Scores may be ``[batch]`` or patch maps ``[batch, ...]``: the scores of one image
are summed before the gradient, so the gradient of a map grows with the number of its patches.

One backward pass gives the gradients of all images because each image is taken to influence its own
score only. A critic with batch-norm in train mode breaks that, in every implementation of these
penalties: give it none. The gradient is cast to float32 before its norm, so that a critic in bf16
squares and sums in full precision.

Papers (each function cites its own):

- ``wgan_gp``: Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028
- ``dragan``: Kodali et al. 2017, https://arxiv.org/abs/1705.07215
- ``r1``, ``r2``: Mescheder et al. 2018, https://arxiv.org/abs/1801.04406
- ``r1_r2``: their sum, as in R3GAN, Huang et al. 2025, https://arxiv.org/abs/2501.05441

Randomness comes in as arrays with one entry per image, never as a key: the caller draws them from
keys that depend on the example's place in the global batch, so that the penalty is the same on one
device and on many.
"""

import dataclasses
import math
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from gan_jax.errors import ConfigError
from gan_jax.losses.adversarial import check_number
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


def safe_norm(x: jax.Array, axes: int | tuple[int, ...]) -> jax.Array:
    """Euclidean norm over ``axes`` whose gradient at 0 is 0 instead of NaN.

    The derivative of ``sqrt`` at 0 is infinite, and ``inf * 0`` poisons the gradient even where a
    single ``where`` discards the value; so the zero is also replaced *before* the root. Elsewhere
    value and gradient are exact, down to norms of about 1e-19, whose squares float32 can no longer
    hold: those count as 0.

    Args:
      x: any floating array.
      axes: the dimensions to reduce.

    Returns:
      The norms, in the dtype of ``x`` and without ``axes``.
    """
    squares = jnp.sum(jnp.square(x), axis=axes)
    is_zero = squares == 0.0
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squares)))


def interpolate(real: ArrayLike, fake: ArrayLike, epsilon: ArrayLike) -> jax.Array:
    """Points on straight lines from fakes to reals: ``epsilon real + (1 - epsilon) fake``.

    Args:
      real: real images, ``[batch, ...]``, floating.
      fake: generated images, of the same shape.
      epsilon: the share of the real image, ``[batch]``, floating: one per image, not per pixel.

    Returns:
      The points, with shape and dtype of ``real``; mixed in float32.

    Raises:
      ValueError: shapes or dtypes do not fit.
    """
    real, fake = _images("real", real), _images("fake", fake)
    if real.shape != fake.shape:
        raise ValueError(
            f"real images have shape {real.shape} and fake images {fake.shape}; "
            "accepted: equal shapes."
        )
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

    Raises:
      ValueError: shapes or dtypes do not fit.
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

    Raises:
      ValueError: shapes or dtypes do not fit.
    """
    real, noise = _images("real", real), _images("noise", noise)
    if noise.shape != real.shape:
        raise ValueError(
            f"noise has shape {noise.shape} and real images {real.shape}; accepted: equal shapes."
        )
    share = _per_image("alpha", alpha, real)
    points = real.astype(jnp.float32)
    deviation = jnp.sqrt(
        _global_mean(jnp.square(points - _global_mean(points, axis_name)), axis_name)
    )
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

    Raises:
      ValueError: shapes or dtypes do not fit.
    """
    return _half_squared_norm(_input_gradient(critic, _images("real", real)))


def r2(critic: Critic, fake: ArrayLike) -> jax.Array:
    """Half the squared gradient norm at generated images: ``||grad D(G(z))||^2 / 2``.

    "Which Training Methods for GANs do actually Converge?", Mescheder et al. 2018,
    https://arxiv.org/abs/1801.04406.

    Args:
      critic: images ``[batch, ...]`` to scores ``[batch]`` or ``[batch, ...]``.
      fake: generated images, ``[batch, ...]``, floating.

    Returns:
      The penalty of each image, ``[batch]`` float32.

    Raises:
      ValueError: shapes or dtypes do not fit.
    """
    return _half_squared_norm(_input_gradient(critic, _images("fake", fake)))


def lazy(penalty: Callable[[], T], step: int | jax.Array, every: int) -> T:
    """Apply a penalty at every ``every``-th step, that many times stronger, and nothing in between.

    Lazy regularisation: "Analyzing and Improving the Image Quality of StyleGAN", Karras et al.
    2019, section 3.1, https://arxiv.org/abs/1912.04958. The average over ``every`` steps of value
    and gradient is that of the eager penalty.

    The choice is a ``lax.cond``, so that one compiled program serves all steps.

    Args:
      penalty: without arguments; what it differentiates it closes over. It returns an array or a
        pytree of arrays.
      step: scalar integer, the steps done so far; the penalty applies where ``step % every == 0``.
        Must agree on all devices when the penalty communicates.
      every: a positive Python integer; 1 calls ``penalty`` and adds nothing.

    Returns:
      What ``penalty`` returns, times ``every``, or zeros of that shape.

    Raises:
      ConfigError: ``every`` is not a positive integer.
    """
    is_integer = isinstance(every, numbers.Integral) and not isinstance(every, bool)
    if not (is_integer and every >= 1):
        raise ConfigError(f"penalty.every = {every!r}; accepted: an integer >= 1.")
    if every == 1:
        return penalty()

    def apply() -> T:
        return jax.tree.map(lambda value: value * every, penalty())

    def skip() -> T:
        shapes = jax.eval_shape(penalty)
        return jax.tree.map(lambda value: jnp.zeros(value.shape, value.dtype), shapes)

    return lax.cond(step % every == 0, apply, skip)


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
      **options: ``target`` and ``one_sided`` for ``wgan_gp``, ``scale`` for ``dragan``. An option
        that is None counts as not given. The weight and the interval are no options: the caller
        applies them.

    Returns:
      The penalty.

    Raises:
      ConfigError: the name, an option or its value is unknown; names the field
        ``penalty.<name>.<option>``.
    """
    return build(PENALTIES, "penalty", name, axis_name=axis_name, **options)


def _images(name: str, value: ArrayLike | None) -> jax.Array:
    if value is None:
        raise ValueError(f"this penalty needs {name} images, got None.")
    images = jnp.asarray(value)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"{name} images have dtype {images.dtype}; accepted: a floating dtype.")
    if images.ndim < 2:
        raise ValueError(f"{name} images have shape {images.shape}; accepted: [batch, ...].")
    return images


def _per_image(name: str, value: ArrayLike, images: jax.Array) -> jax.Array:
    """Return one float32 number per image, shaped to broadcast over the image's dimensions."""
    amounts = jnp.asarray(value)
    if amounts.shape != images.shape[:1]:
        raise ValueError(
            f"{name} has shape {amounts.shape} for images {images.shape}; "
            f"accepted: one number per image, shape {images.shape[:1]}."
        )
    return amounts.astype(jnp.float32).reshape(-1, *(1,) * (images.ndim - 1))


def _input_gradient(critic: Critic, images: jax.Array) -> jax.Array:
    """Gradient of each image's summed score with respect to that image, float32."""

    def total(points: jax.Array) -> jax.Array:
        scores = critic(points)
        if scores.ndim < 1 or scores.shape[0] != images.shape[0]:
            raise ValueError(
                f"the critic gave scores of shape {scores.shape} for images "
                f"{images.shape}; accepted: [batch] or [batch, ...] with batch {images.shape[0]}."
            )
        return jnp.sum(scores.astype(jnp.float32))

    return jax.grad(total)(images).astype(jnp.float32)


def _squared_excess(gradient: jax.Array, target: float, one_sided: bool) -> jax.Array:
    excess = safe_norm(gradient, tuple(range(1, gradient.ndim))) - target
    return jnp.square(jax.nn.relu(excess) if one_sided else excess)


def _half_squared_norm(gradient: jax.Array) -> jax.Array:
    # Without a root there is nothing to guard at 0.
    return 0.5 * jnp.sum(jnp.square(gradient), axis=tuple(range(1, gradient.ndim)))


def _global_mean(values: jax.Array, axis_name: str | None) -> jax.Array:
    mean = jnp.mean(values)
    return mean if axis_name is None else lax.pmean(mean, axis_name)


def _no_draws(key: jax.Array, shape: tuple[int, ...]) -> tuple[()]:
    return ()


def _make_wgan_gp(
    *, axis_name: str | None = None, target: float = 1.0, one_sided: bool = False
) -> Penalty:
    """The gradient norm between real and generated data is held at 1 (Gulrajani 2017, 1704.00028).

    Args:
      axis_name: the mapped axis over devices.
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
      axis_name: the mapped axis over devices.
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


def _make_r1(*, axis_name: str | None = None) -> Penalty:
    """Half the squared gradient norm at real data (Mescheder 2018, 1801.04406)."""
    return Penalty(compute=lambda critic, real, fake, draws: r1(critic, real), draw=_no_draws)


def _make_r2(*, axis_name: str | None = None) -> Penalty:
    """Half the squared gradient norm at generated data (Mescheder 2018, 1801.04406)."""
    return Penalty(compute=lambda critic, real, fake, draws: r2(critic, fake), draw=_no_draws)


def _make_r1_r2(*, axis_name: str | None = None) -> Penalty:
    """The sum of R1 and R2 (Huang 2025, 2501.05441)."""
    return Penalty(
        compute=lambda critic, real, fake, draws: r1(critic, real) + r2(critic, fake),
        draw=_no_draws,
    )


PENALTIES: dict[str, Callable[..., Penalty]] = {
    "wgan_gp": _make_wgan_gp,
    "dragan": _make_dragan,
    "r1": _make_r1,
    "r2": _make_r2,
    "r1_r2": _make_r1_r2,
}
