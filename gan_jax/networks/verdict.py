"""What a discriminator says of its input, and the layers that say it, alike for every architecture.

A discriminator's trunk ends in a vector phi(x) per example. From it come

- the score, by one dense layer; with ``projection`` (Miyato and Koyama 2018, 1802.05637) the inner
  product of phi(x) with a learned vector of the class is added;
- the outputs of further heads, which a game asks for: the classes of an auxiliary classifier
  (Odena 2016, 1610.09585), or what recovers the codes of InfoGAN (Chen 2016, 1606.03657).

The score may also look at the other examples of the batch (`scored_vector`), against collapse of
the generator; projection and heads depend on the example alone.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.errors import ConfigError
from gan_jax.layers.minibatch import MinibatchDiscrimination, MinibatchStddev
from gan_jax.layers.spectral import SpectralDense, SpectralEmbed
from gan_jax.networks.condition import LABEL, Condition, required

MINIBATCH = ("none", "stddev", "discrimination")
"""What the score sees of the other examples: nothing, their deviation, how near they are."""

_SLOPE = 0.2
# As in Karras et al. 2017.
_GROUP = 4
# The authors of Salimans et al. 2016 compare 100 learned views of 5 numbers each, of an image's 192
# features. Sixteen keep the table small where the trunk ends in thousands of features.
_VIEWS = 16
_VIEW_DIMS = 5


@flax.struct.dataclass
class Verdict:
    """What a discriminator says of a batch.

    Attributes:
      scores: float32 ``[batch]``; of what judges patches ``[batch, height, width]``.
      features: the activations of its hidden layers, ``[batch, ...]`` each, from the input on.
      heads: the further outputs by name, float32 ``[batch, size]``.
    """

    scores: jax.Array
    features: tuple[jax.Array, ...]
    heads: dict[str, jax.Array]


class Discriminator(nn.Module):
    """A network with a method ``judge`` that returns a `Verdict`; called, it returns the scores."""

    def __call__(
        self,
        x: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
    ) -> jax.Array:
        """Return float32 scores of ``x``; see `judge`."""
        return self.judge(x, condition, keys=keys, train=train).scores

    def judge(
        self,
        x: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
    ) -> Verdict:
        """Return the whole verdict.

        Args:
          x: data, or fakes, ``[batch, ...]``.
          condition: what they were made for, by field.
          keys: ``[batch]``, for what is random in the network; ``None``: nothing is.
          train: whether the network is in train mode.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Head:
    """A further output of a discriminator.

    Attributes:
      name: of the output.
      size: numbers that it gives for each example.
      hidden: width of a hidden layer of its own; 0: it is linear in the trunk's features.
    """

    name: str
    size: int
    hidden: int = 0


def scored_vector(
    x: jax.Array,
    phi: jax.Array,
    pool: Callable[[jax.Array], jax.Array],
    *,
    minibatch: str,
    field: str,
    train: bool,
    initializing: bool,
    axis_name: str | None = None,
    param_dtype: Any = jnp.float32,
) -> jax.Array:
    """Return what the score is made from, by layers of the module whose compact method calls this.

    With ``stddev`` (Karras et al. 2017, 1710.10196) the trunk's last map has a further channel: the
    standard deviation over groups of 4 consecutive examples, or over all if there are fewer. With
    ``discrimination`` (Salimans et al. 2016, 1606.03498) the vector has 16 further numbers: how
    near all other examples of the batch are, in learned views of 5 numbers each. The table of the
    views is not spectrally normalized.

    Scores then depend on which examples are judged together. Judged in one pass (``joint_batch`` of
    the adversarial game), real and generated examples are near to each other, too; with ``stddev``
    they stay apart if a device's share of the batch is a multiple of 4. A penalty on an image's
    gradient holds what that image does to its neighbours' scores, too. When gradients are
    accumulated, each part of the batch is a batch of its own.

    Args:
      x: the trunk's last activations ``[batch, ..., channels]``.
      phi: the same as vectors, float32 ``[batch, n]``.
      pool: by which such activations became vectors.
      minibatch: one of `MINIBATCH`.
      field: the configuration field that ``minibatch`` is, for the message.
      train: False compares the examples of this call alone, on whatever device.
      initializing: whether parameters are being made, of an example or two.
      axis_name: mapped axis whose devices share one batch.
      param_dtype: of the parameters.

    Raises:
      ConfigError: a (device's share of the) batch cannot be divided into groups.
    """
    if minibatch == "none":
        return phi
    # Outside training, and when parameters are made, there is no mapped axis.
    axis_name = axis_name if train and not initializing else None
    if minibatch == "discrimination":
        compare = MinibatchDiscrimination(
            _VIEWS, _VIEW_DIMS, axis_name=axis_name, param_dtype=param_dtype
        )
        return compare(phi)
    share = x.shape[0]
    devices = 1 if axis_name is None else lax.axis_size(axis_name)
    group = min(_GROUP, share * devices)
    if share % group:
        raise ConfigError(
            f"{field} = 'stddev': {share} examples at once on each of {devices} devices are no "
            f"whole groups of {group}; accepted: a multiple of {_GROUP} (see train.batch_size and "
            "train.accumulate), or another minibatch: none, discrimination."
        )
    return pool(MinibatchStddev(group)(x.astype(jnp.float32)))


def verdict(
    phi: jax.Array,
    features: tuple[jax.Array, ...],
    condition: Condition,
    *,
    scored: jax.Array | None = None,
    conditioning: str = "none",
    num_classes: int | None = None,
    heads: tuple[Head, ...] = (),
    spectral: bool = False,
    train: bool = True,
    kernel_init: Any = None,
    param_dtype: Any = jnp.float32,
) -> Verdict:
    """Return the verdict on ``phi``, by layers of the module whose compact method calls this.

    Args:
      phi: the trunk's features, ``[batch, n]``; float32 from here on, since a bfloat16 score has
        three digits, too few for the difference of two critic scores.
      features: as `Verdict.features`.
      condition: needs ``label`` with ``projection`` alone.
      scored: what the score's dense layer sees, float32 ``[batch, m]``; ``None``: ``phi``.
      conditioning: one of `DISCRIMINATOR_CONDITIONING`.
      num_classes: of the labels.
      heads: further outputs.
      spectral: normalize the kernels of score and projection.
      train: moves spectral normalization's vectors on, where they are mutable.
      kernel_init: of the dense layers; ``None``: Flax's.
      param_dtype: of the parameters.
    """
    phi = phi.astype(jnp.float32)
    init = {} if kernel_init is None else {"kernel_init": kernel_init}
    types = {"dtype": jnp.float32, "param_dtype": param_dtype}
    dense = partial(SpectralDense, train=train) if spectral else nn.Dense
    scores = dense(1, **init, **types)(phi if scored is None else scored)[:, 0]
    if conditioning == "projection":
        assert num_classes is not None  # Checked by `check_conditioning`.
        embed = partial(SpectralEmbed, train=train) if spectral else nn.Embed
        classes = embed(num_classes, phi.shape[-1], name="projection", **types)
        vectors = classes(required(condition, LABEL))
        scores = scores + jnp.sum(vectors * phi, axis=-1)
    outputs = {}
    for head in heads:
        x = phi
        if head.hidden:
            hidden = nn.Dense(head.hidden, name=f"{head.name}_hidden", **init, **types)
            x = nn.leaky_relu(hidden(x), _SLOPE)
        outputs[head.name] = nn.Dense(head.size, name=f"{head.name}_head", **init, **types)(x)
    return Verdict(scores, features, outputs)
