"""Discriminators: what they return, and the last layers that most of them share.

A discriminator's trunk ends in a vector phi(x) per example. From it come

- the score, by one dense layer; with ``projection`` (Miyato and Koyama 2018, 1802.05637) the inner
  product of phi(x) with a learned vector of the class is added;
- the outputs of further heads, which a game asks for: the classes of an auxiliary classifier
  (Odena 2016, 1610.09585), the estimated codes of InfoGAN (Chen 2016, 1606.03657), or the direction
  of SAN (Takida 2023, 2301.12811), with which the score's layer is another one.

The score may also depend on the other examples of the batch, against mode collapse; projection and
heads depend on the example alone.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.errors import ConfigError
from gan_jax.layers.convolution import Conv
from gan_jax.layers.direction import DirectionDense
from gan_jax.layers.minibatch import MinibatchDiscrimination, MinibatchStddev
from gan_jax.layers.spectral import SpectralConv, SpectralDense, SpectralEmbed
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import Conditioned, Network

SLOPE = 0.2
"""The slope of discriminators' LeakyReLU."""

DIRECTION = "direction"
"""The head of SAN, see `gan_jax.layers.direction`."""

# As in Karras et al. 2017.
_GROUP = 4
# The authors of Salimans et al. 2016 compare 100 learned views of 5 numbers each, of an image's 192
# features. Sixteen keep the table small where the trunk ends in thousands of features.
_VIEWS = 16
_VIEW_DIMS = 5


@flax.struct.dataclass
class Verdict:
    """What a discriminator returns for a batch.

    Attributes:
      scores: float32 ``[batch]``; of a discriminator of patches ``[batch, height, width]``, of one
        of several sizes of an image ``[batch, stages]``, and of parts of a sound ``[batch, n]``.
      features: the activations of its hidden layers, ``[batch, ...]`` each, from the input on.
      heads: the further outputs by name, float32 ``[batch, size]``.
    """

    scores: jax.Array
    features: tuple[jax.Array, ...]
    heads: dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Head:
    """A further output of a discriminator.

    Attributes:
      name: of the output.
      size: length of the output for each example.
      hidden: width of a hidden layer of its own; 0: it is linear in the trunk's features.
    """

    name: str
    size: int
    hidden: int = 0


class Discriminator(Network):
    """A network with a method `judge` that returns a `Verdict`; called, it returns the scores.

    A subclass implements `_judge`.
    """

    ROLE: ClassVar[str] = "discriminator"

    def __call__(
        self,
        x: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
    ) -> jax.Array:
        """Return the scores of `judge`."""
        return self.judge(x, condition, keys=keys, train=train).scores

    @nn.compact
    def judge(
        self,
        x: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
    ) -> Verdict:
        """Return scores, features and heads of data points; see `Network.__call__`.

        Args:
          x: real or generated data points, `[batch, *shape]`; images in [-1, 1].
          condition: the fields that they were generated from; a conditional network needs `label`.
          keys: `[batch]` typed keys of what is random in the network; None: nothing is.
          train: whether the network is in train mode. With `minibatch`, False compares the examples
            of this call alone, without those on other devices.
        """
        return self._judge(x, condition, keys, train)

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        """Return the verdict; a subclass constructs its layers here."""
        raise NotImplementedError

    def _convolutions(
        self, spectral: bool, train: bool, **options: Any
    ) -> Callable[..., nn.Module]:
        """Return what makes a convolution, spectrally normalized or not."""
        conv = partial(SpectralConv, train=train) if spectral else Conv
        return partial(conv, **{**self._types, **options})


class VectorDiscriminator(Conditioned, Discriminator):
    """A discriminator whose trunk ends in a vector per example.

    Attributes:
      minibatch: `none`, or what the score is given of the batch's other examples: `stddev` (their
        standard deviation, Karras et al. 2017, 1710.10196) or `discrimination` (how near they are,
        Salimans et al. 2016, 1606.03498).
      conditioning: `none`, `concat` (a plane per class beside the input), or `projection`.
      heads: further outputs.
    """

    CONDITIONING: ClassVar[tuple[str, ...]] = ("none", "concat", "projection")

    _: dataclasses.KW_ONLY
    minibatch: str = "none"
    heads: tuple[Head, ...] = ()

    def __post_init__(self) -> None:
        self._check_choice("minibatch", ("none", "stddev", "discrimination"))
        super().__post_init__()

    def _verdict(
        self,
        x: jax.Array,
        pool: Callable[[jax.Array], jax.Array],
        features: Sequence[jax.Array],
        condition: Condition,
        train: bool,
        *,
        spectral: bool = False,
        layer: Callable[..., nn.Module] = nn.Dense,
        appended: bool = False,
        embedding_init: Any = None,
        **options: Any,
    ) -> Verdict:
        """Return the verdict on the trunk's output.

        From here on all is float32: a bfloat16 score has three digits, too few for the difference
        of two critic scores.

        Args:
          x: the trunk's last map, `[batch, ..., channels]`.
          pool: maps such a map to vectors `[batch, n]`.
          features: as `Verdict.features`.
          condition: needs `label` with `projection` alone.
          train: whether the network is in train mode.
          spectral: normalize the kernels of score and projection.
          layer: makes a dense layer of a width that is not spectrally normalized.
          appended: with `stddev`, the network has appended the deviation itself, at another place.
          embedding_init: initializer of the classes' vectors; None: that of the layer.
          **options: of the dense layers.
        """
        x = x.astype(jnp.float32)
        phi = pool(x)
        types = {"dtype": jnp.float32, "param_dtype": self.param_dtype}
        dense = partial(SpectralDense, train=train) if spectral else layer
        done = appended and self.minibatch == "stddev"
        scored = phi if done else self._scored(x, phi, pool, train)
        outputs: dict[str, jax.Array] = {}
        heads = {head.name: head for head in self.heads}
        if heads.pop(DIRECTION, None):
            split = DirectionDense(unit=spectral, **options, **types)
            scores, outputs[DIRECTION] = split(scored)
        else:
            scores = dense(1, **options, **types)(scored)
        scores = scores[:, 0]
        if self.conditioning == "projection":
            labels, count = self._classes(condition)
            name, width = "projection", phi.shape[-1]
            if jnp.issubdtype(labels.dtype, jnp.integer):
                embed = partial(SpectralEmbed, train=train) if spectral else nn.Embed
                init = {} if embedding_init is None else {"embedding_init": embedding_init}
                vectors = embed(count, width, name=name, **init, **types)(labels)
            else:
                vectors = dense(width, use_bias=False, name=name, **types)(labels)
            scores = scores + jnp.sum(vectors * phi, axis=-1)
        for head in heads.values():
            y = phi
            if head.hidden:
                hidden = layer(head.hidden, name=f"{head.name}_hidden", **options, **types)
                y = nn.leaky_relu(hidden(y), SLOPE)
            last = layer(head.size, name=f"{head.name}_head", **options, **types)
            outputs[head.name] = last(y)
        return Verdict(scores, tuple(features), outputs)

    def _scored(
        self,
        x: jax.Array,
        phi: jax.Array,
        pool: Callable[[jax.Array], jax.Array],
        train: bool,
    ) -> jax.Array:
        """Return the vectors that the score is computed from, float32 `[batch, m]`.

        With `stddev` the trunk's last map has a further channel: the standard deviation over groups
        of 4 consecutive examples, or over all if there are fewer. With `discrimination` the vector
        has 16 further numbers: how near all other examples of the batch are, in learned views of 5
        numbers each. The table of the views is not spectrally normalized.

        Scores then depend on which examples are judged together. Judged in one pass (`joint_batch`
        of the adversarial game), real and generated examples are compared with each other, too;
        with `stddev` they are separate if a device's share of the batch is a multiple of 4. A
        penalty on an image's gradient includes its effect on the other scores. When gradients are
        accumulated, each part of the batch is a batch of its own.
        """
        if self.minibatch == "none":
            return phi
        if self.minibatch == "discrimination":
            compare = MinibatchDiscrimination(
                _VIEWS, _VIEW_DIMS, axis_name=self._axis(train), param_dtype=self.param_dtype
            )
            return compare(phi)
        return pool(self._with_deviation(x, train))

    def _axis(self, train: bool) -> str | None:
        """Return the mapped axis: none outside training, and when parameters are made."""
        return self.axis_name if train and not self.is_initializing() else None

    def _with_deviation(self, x: jax.Array, train: bool) -> jax.Array:
        """Return a map with one more channel: the standard deviation over groups of examples.

        Raises:
          ConfigError: a (device's share of the) batch cannot be divided into groups.
        """
        axis_name, share = self._axis(train), x.shape[0]
        devices = 1 if axis_name is None else lax.axis_size(axis_name)
        group = min(_GROUP, share * devices)
        if share % group:
            raise ConfigError(
                f"{self.GROUP}.minibatch = 'stddev': {share} examples at once on each of {devices} "
                f"devices cannot be divided into groups of {group}; accepted: a multiple of "
                f"{_GROUP} (see train.batch_size and train.accumulate), or another minibatch: "
                "none, discrimination."
            )
        return MinibatchStddev(group)(x)
