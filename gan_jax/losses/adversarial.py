"""The two players' adversarial losses, as pure functions of the discriminator's scores.

Every function maps scores to one float32 value per example, shape ``[batch]``; the caller takes the
mean. Scores are floating, of shape ``[batch]``, or ``[batch, ...]`` for a discriminator of patches,
whose values are averaged over the trailing dimensions. Every function raises a ``ValueError`` if
scores are not floating or have no batch dimension, or if the shapes of real and fake scores differ:
a column ``[batch, 1]`` beside a row ``[batch]`` would otherwise broadcast to a matrix.

Logarithms of probabilities are written with ``softplus``, which neither overflows nor loses its
gradient at large logits: ``-log sigmoid(x) = softplus(-x)`` and ``-log(1 - sigmoid(x)) =
softplus(x)``.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gan_jax.errors import ConfigError
from gan_jax.losses.guards import (
    as_pair,
    as_scores,
    check_number,
    global_mean,
    mean_over_patches,
)
from gan_jax.settings import build


@dataclasses.dataclass(frozen=True)
class AdversarialLoss:
    """The losses of a discriminator and of the generator that plays against it.

    Attributes:
      discriminator: ``(real, fake) -> [batch]``, both score arrays of one shape.
      generator: ``(fake, real) -> [batch]``; ``real`` is ignored, and may be None, unless
        ``generator_needs_real``.
      generator_needs_real: whether the generator's loss also looks at the scores of real images.
    """

    discriminator: Callable[[ArrayLike, ArrayLike], jax.Array]
    generator: Callable[[ArrayLike, ArrayLike | None], jax.Array]
    generator_needs_real: bool = False


def minimax_discriminator(real: ArrayLike, fake: ArrayLike, *, smoothing: float = 0.0) -> jax.Array:
    """Cross-entropy of classifying real and fake: ``-log D(x) - log(1 - D(G(z)))``.

    The loss of the discriminator in the minimax and in the non-saturating game alike.

    "Generative Adversarial Nets", Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661.
    Smoothing follows "Improved Techniques for Training GANs", Salimans et al. 2016,
    https://arxiv.org/abs/1606.03498: real images get the target ``1 - smoothing`` while fakes keep
    0, which makes ``sigmoid(real) = 1 - smoothing`` the best answer.

    Args:
      real: logits of real images, ``[batch]`` or ``[batch, ...]``.
      fake: logits of generated images, of the same shape.
      smoothing: one-sided label smoothing, in ``[0, 0.5)``.

    Returns:
      The loss of each example, in nats, ``[batch]`` float32; ``2 log 2`` where both logits are 0.

    Raises:
      ConfigError: ``smoothing`` is out of its range.
    """
    real, fake = as_pair("real", real, "fake", fake)
    return mean_over_patches(_real_entropy(real, smoothing) + jax.nn.softplus(fake))


def minimax_generator(fake: ArrayLike) -> jax.Array:
    """The generator's side of the zero-sum game: ``log(1 - D(G(z)))``, which saturates when D wins.

    "Generative Adversarial Nets", Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661.

    Args:
      fake: logits of generated images, ``[batch]`` or ``[batch, ...]``.

    Returns:
      The loss of each example, in nats and never positive, ``[batch]`` float32.
    """
    return mean_over_patches(-jax.nn.softplus(as_scores("fake", fake)))


def non_saturating_generator(fake: ArrayLike) -> jax.Array:
    """The generator raises the probability that its images are taken for real: ``-log D(G(z))``.

    "Generative Adversarial Nets", Goodfellow et al. 2014, section 3,
    https://arxiv.org/abs/1406.2661.

    Args:
      fake: logits of generated images, ``[batch]`` or ``[batch, ...]``.

    Returns:
      The loss of each example, in nats, ``[batch]`` float32.
    """
    return mean_over_patches(jax.nn.softplus(-as_scores("fake", fake)))


def least_squares_discriminator(
    real: ArrayLike, fake: ArrayLike, *, a: float = 0.0, b: float = 1.0
) -> jax.Array:
    """Regression of the scores to labels: ``(D(x) - b)^2 / 2 + (D(G(z)) - a)^2 / 2``.

    "Least Squares Generative Adversarial Networks", Mao et al. 2016,
    https://arxiv.org/abs/1611.04076, with the paper's names for the labels and its factor 1/2. Many
    programs leave the factor out: their loss is twice this one, so a penalty weight tuned there
    halves here.

    Args:
      real: scores of real images, ``[batch]`` or ``[batch, ...]``, not passed through a sigmoid.
      fake: scores of generated images, of the same shape.
      a: label of generated images.
      b: label of real images.

    Returns:
      The loss of each example, ``[batch]`` float32.
    """
    real, fake = as_pair("real", real, "fake", fake)
    return mean_over_patches(0.5 * jnp.square(real - b) + 0.5 * jnp.square(fake - a))


def least_squares_generator(fake: ArrayLike, *, c: float = 1.0) -> jax.Array:
    """Regression of the fakes' scores to what the generator wants: ``(D(G(z)) - c)^2 / 2``.

    "Least Squares Generative Adversarial Networks", Mao et al. 2016,
    https://arxiv.org/abs/1611.04076. The paper's two choices for (a, b, c) are (0, 1, 1), the
    default, and (-1, 1, 0), which minimises a Pearson divergence.

    Args:
      fake: scores of generated images, ``[batch]`` or ``[batch, ...]``.
      c: the score that the generator wants for its images.

    Returns:
      The loss of each example, ``[batch]`` float32.
    """
    return mean_over_patches(0.5 * jnp.square(as_scores("fake", fake) - c))


def wasserstein_discriminator(real: ArrayLike, fake: ArrayLike) -> jax.Array:
    """The critic widens the gap between the scores: ``D(G(z)) - D(x)``.

    "Wasserstein GAN", Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875. The negated mean
    estimates, for a critic kept 1-Lipschitz (clipping, gradient penalty), the earth mover's
    distance between data and generator.

    Args:
      real: scores of real images, ``[batch]`` or ``[batch, ...]``.
      fake: scores of generated images, of the same shape.

    Returns:
      The loss of each example, in units of the score, ``[batch]`` float32.
    """
    real, fake = as_pair("real", real, "fake", fake)
    return mean_over_patches(fake - real)


def wasserstein_generator(fake: ArrayLike) -> jax.Array:
    """The generator raises the critic's score of its images: ``-D(G(z))``.

    "Wasserstein GAN", Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875; also the generator's
    loss beside the hinge ("Geometric GAN", Lim and Ye 2017, https://arxiv.org/abs/1705.02894).

    Args:
      fake: scores of generated images, ``[batch]`` or ``[batch, ...]``.

    Returns:
      The loss of each example, in units of the score, ``[batch]`` float32.
    """
    return mean_over_patches(-as_scores("fake", fake))


def hinge_discriminator(real: ArrayLike, fake: ArrayLike) -> jax.Array:
    """Scores inside the margin are pushed out: ``max(0, 1 - D(x)) + max(0, 1 + D(G(z)))``.

    "Geometric GAN", Lim and Ye 2017, https://arxiv.org/abs/1705.02894, and "Spectral Normalization
    for Generative Adversarial Networks", Miyato et al. 2018, https://arxiv.org/abs/1802.05957.

    Args:
      real: scores of real images, ``[batch]`` or ``[batch, ...]``.
      fake: scores of generated images, of the same shape.

    Returns:
      The loss of each example, ``[batch]`` float32; 0 where ``real >= 1`` and ``fake <= -1``.
    """
    real, fake = as_pair("real", real, "fake", fake)
    return mean_over_patches(jax.nn.relu(1.0 - real) + jax.nn.relu(1.0 + fake))


def relativistic_pairing_discriminator(
    real: ArrayLike, fake: ArrayLike, *, smoothing: float = 0.0
) -> jax.Array:
    """A real image should look more real than its paired fake: ``-log sigmoid(D(x) - D(G(z)))``.

    "The relativistic discriminator", Jolicoeur-Martineau 2018, https://arxiv.org/abs/1807.00734
    (RpGAN with the logistic function), the loss of R3GAN, Huang et al. 2025,
    https://arxiv.org/abs/2501.05441. Patch i of a real image is paired with patch i of the fake.

    Args:
      real: scores of real images, ``[batch]`` or ``[batch, ...]``.
      fake: scores of generated images, of the same shape; example i is paired with real example i.
      smoothing: one-sided label smoothing of the pair's target, in ``[0, 0.5)``.

    Returns:
      The loss of each pair, in nats, ``[batch]`` float32; ``log 2`` where the scores agree.

    Raises:
      ConfigError: ``smoothing`` is out of its range.
    """
    real, fake = as_pair("real", real, "fake", fake)
    return mean_over_patches(_real_entropy(real - fake, smoothing))


def relativistic_pairing_generator(fake: ArrayLike, real: ArrayLike) -> jax.Array:
    """The mirror image: the fake should look more real: ``-log sigmoid(D(G(z)) - D(x))``.

    "The relativistic discriminator", Jolicoeur-Martineau 2018, https://arxiv.org/abs/1807.00734.

    Args:
      fake: scores of generated images, ``[batch]`` or ``[batch, ...]``.
      real: scores of real images, of the same shape.

    Returns:
      The loss of each pair, in nats, ``[batch]`` float32; ``log 2`` where the scores agree.
    """
    real, fake = as_pair("real", real, "fake", fake)
    return mean_over_patches(jax.nn.softplus(real - fake))


def relativistic_average_discriminator(
    real: ArrayLike, fake: ArrayLike, *, smoothing: float = 0.0, axis_name: str | None = None
) -> jax.Array:
    """A real image should score above the average fake, and a fake below the average real.

    ``-log sigmoid(D(x) - mean D(G(z))) - log(1 - sigmoid(D(G(z)) - mean D(x)))``: "The relativistic
    discriminator", Jolicoeur-Martineau 2018, https://arxiv.org/abs/1807.00734 (RaGAN with the
    logistic function, without the factor 1/2 that the author's program has). The means are over all
    scores of the global batch, patches included.

    With ``axis_name`` the means are ``pmean``s inside the differentiated function. Under ``pmap``
    and ``shard_map(check_vma=False)`` a ``psum`` transposes to a ``psum``: each device's gradient
    then holds the parts that all devices' losses send through its own scores, and the caller's
    ``pmean`` of gradients (the rule of this project) gives exactly the gradient of one device that
    holds the whole batch. Under ``check_vma=True`` that ``pmean`` would be wrong for any loss.

    Args:
      real: scores of real images, ``[batch]`` or ``[batch, ...]``.
      fake: scores of generated images, of the same shape.
      smoothing: one-sided label smoothing of the real term, in ``[0, 0.5)``.
      axis_name: the mapped axis that splits the batch over devices in equal parts, or None.

    Returns:
      The loss of each example, in nats, ``[batch]`` float32; ``2 log 2`` where all scores agree.

    Raises:
      ConfigError: ``smoothing`` is out of its range.
    """
    real, fake = as_pair("real", real, "fake", fake)
    mean_real, mean_fake = global_mean(real, axis_name), global_mean(fake, axis_name)
    return mean_over_patches(
        _real_entropy(real - mean_fake, smoothing) + jax.nn.softplus(fake - mean_real)
    )


def relativistic_average_generator(
    fake: ArrayLike, real: ArrayLike, *, axis_name: str | None = None
) -> jax.Array:
    """The mirror image of ``relativistic_average_discriminator``, with real and fake exchanged.

    "The relativistic discriminator", Jolicoeur-Martineau 2018, https://arxiv.org/abs/1807.00734.

    Args:
      fake: scores of generated images, ``[batch]`` or ``[batch, ...]``.
      real: scores of real images, of the same shape.
      axis_name: the mapped axis that splits the batch over devices in equal parts, or None.

    Returns:
      The loss of each example, in nats, ``[batch]`` float32.
    """
    real, fake = as_pair("real", real, "fake", fake)
    mean_real, mean_fake = global_mean(real, axis_name), global_mean(fake, axis_name)
    return mean_over_patches(jax.nn.softplus(mean_real - fake) + jax.nn.softplus(real - mean_fake))


def make(name: str, *, axis_name: str | None = None, **options: Any) -> AdversarialLoss:
    """Return the loss of that name with its options set.

    Args:
      name: a key of ``LOSSES``.
      axis_name: the mapped axis over devices; only losses with statistics of the batch use it.
      **options: ``smoothing`` for the logistic losses, ``a``, ``b``, ``c`` for ``least_squares``.
        An option that is None counts as not given, so that a config may hold unset fields.

    Returns:
      The pair of losses.

    Raises:
      ConfigError: the name, an option or its value is unknown; names the field
        ``loss.<name>.<option>``.
    """
    return build(LOSSES, "loss", name, axis_name=axis_name, **options)


def _real_entropy(logits: jax.Array, smoothing: float) -> jax.Array:
    """Cross-entropy of logits with the target ``1 - smoothing``.

    ``(1 - s) softplus(-x) + s softplus(x) = softplus(-x) + s x``: one softplus instead of two, and
    exact.
    """
    smoothing = check_number("smoothing", smoothing, 0.0, 0.5)
    entropy = jax.nn.softplus(-logits)
    return entropy + smoothing * logits if smoothing else entropy


def _required(real: ArrayLike | None) -> ArrayLike:
    if real is None:
        raise ValueError("the relativistic generator losses need the real scores, got None.")
    return real


def _minimax(*, axis_name: str | None = None, smoothing: float = 0.0) -> AdversarialLoss:
    """The cross-entropy of the zero-sum game (Goodfellow 2014, 1406.2661).

    Args:
      smoothing: one-sided label smoothing, in [0, 0.5).
    """
    check_number("loss.minimax.smoothing", smoothing, 0.0, 0.5)
    return AdversarialLoss(
        partial(minimax_discriminator, smoothing=smoothing),
        lambda fake, real: minimax_generator(fake),
    )


def _non_saturating(*, axis_name: str | None = None, smoothing: float = 0.0) -> AdversarialLoss:
    """The cross-entropy with the non-saturating generator loss (Goodfellow 2014, 1406.2661).

    Args:
      smoothing: one-sided label smoothing, in [0, 0.5).
    """
    check_number("loss.non_saturating.smoothing", smoothing, 0.0, 0.5)
    return AdversarialLoss(
        partial(minimax_discriminator, smoothing=smoothing),
        lambda fake, real: non_saturating_generator(fake),
    )


def _least_squares(
    *, axis_name: str | None = None, a: float = 0.0, b: float = 1.0, c: float = 1.0
) -> AdversarialLoss:
    """Regression of the scores to labels (Mao 2016, 1611.04076).

    Args:
      a: the label of fakes.
      b: the label of real data.
      c: the score that the generator wants for its fakes.
    """
    a, b, c = (
        check_number(f"loss.least_squares.{k}", v) for k, v in (("a", a), ("b", b), ("c", c))
    )
    if a == b:
        raise ConfigError(f"loss.least_squares.b = {b!r} equals a; accepted: two different labels.")
    return AdversarialLoss(
        partial(least_squares_discriminator, a=a, b=b),
        lambda fake, real: least_squares_generator(fake, c=c),
    )


def _wasserstein(*, axis_name: str | None = None) -> AdversarialLoss:
    """The difference of mean scores of a critic (Arjovsky 2017, 1701.07875)."""
    return AdversarialLoss(
        wasserstein_discriminator, lambda fake, real: wasserstein_generator(fake)
    )


def _hinge(*, axis_name: str | None = None) -> AdversarialLoss:
    """Scores inside a margin are pushed out (Lim and Ye 2017, 1705.02894)."""
    return AdversarialLoss(hinge_discriminator, lambda fake, real: wasserstein_generator(fake))


def _relativistic_pairing(
    *, axis_name: str | None = None, smoothing: float = 0.0
) -> AdversarialLoss:
    """A real image should score above its paired fake (Jolicoeur-Martineau 2018, 1807.00734).

    Args:
      smoothing: one-sided label smoothing, in [0, 0.5).
    """
    check_number("loss.relativistic_pairing.smoothing", smoothing, 0.0, 0.5)
    return AdversarialLoss(
        partial(relativistic_pairing_discriminator, smoothing=smoothing),
        lambda fake, real: relativistic_pairing_generator(fake, _required(real)),
        generator_needs_real=True,
    )


def _relativistic_average(
    *, axis_name: str | None = None, smoothing: float = 0.0
) -> AdversarialLoss:
    """A real image should score above the mean fake (Jolicoeur-Martineau 2018, 1807.00734).

    Args:
      smoothing: one-sided label smoothing, in [0, 0.5).
    """
    check_number("loss.relativistic_average.smoothing", smoothing, 0.0, 0.5)
    return AdversarialLoss(
        partial(relativistic_average_discriminator, smoothing=smoothing, axis_name=axis_name),
        lambda fake, real: relativistic_average_generator(
            fake, _required(real), axis_name=axis_name
        ),
        generator_needs_real=True,
    )


LOSSES: dict[str, Callable[..., AdversarialLoss]] = {
    "minimax": _minimax,
    "non_saturating": _non_saturating,
    "least_squares": _least_squares,
    "wasserstein": _wasserstein,
    "hinge": _hinge,
    "relativistic_pairing": _relativistic_pairing,
    "relativistic_average": _relativistic_average,
}
