"""Networks of text and images in several stages (StackGAN-v2, Zhang et al. 2017, 1710.10916).

"StackGAN++: Realistic Image Synthesis with Stacked Generative Adversarial Networks", after StackGAN
(Zhang et al. 2016, 1612.03242). Each stage of the generator makes an image of twice the side of
that before, from its map and the caption; a discriminator for each stage has a score of the image
and its caption, and one of the image alone.

Conditioning augmentation: the generator is given a draw from a normal distribution whose mean and
variance are functions of the sentence vector, so that it sees more conditions than there are
captions. `gan_jax.games.stacked` keeps that distribution near the standard one.

The images of all stages are one array for the discriminator: each is brought to the side of the
finest by repeating pixels, and they are concatenated in the channels, the finest first.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.layers.convolution import Conv
from gan_jax.layers.resample import mean_pool, upsample_nearest
from gan_jax.losses.variational import reparameterize
from gan_jax.networks.captioned import SENTENCE, Captioned, SentenceEncoder
from gan_jax.networks.checks import check_count, check_size, halvings
from gan_jax.networks.condition import LABEL, Condition, required
from gan_jax.networks.network import Generator, Normalized, he_leaky, normal_scale, wants_bias
from gan_jax.networks.verdict import SLOPE, Discriminator, Head, Verdict

UNCONDITIONAL = "unconditional"
"""Name of the output that scores images without their captions."""

_INIT = nn.initializers.normal(0.02)


def joined(images: Sequence[jax.Array]) -> jax.Array:
    """Return one array of the images of all stages.

    Args:
      images: from coarse to fine, `[batch, height, width, channels]`, each of twice the side of
        that before.

    Returns:
      `[batch, height, width, stages * channels]` of the finest side, the finest first.
    """
    views = []
    for times, view in enumerate(reversed(images)):
        for _ in range(times):
            view = upsample_nearest(view)
        views.append(view)
    return jnp.concatenate(views, axis=-1)


def separated(x: jax.Array, channels: int, stages: int) -> list[jax.Array]:
    """Return the images of all stages, from coarse to fine.

    Args:
      x: what `joined` returns; or images `[batch, height, width, channels]`, whose coarser versions
        are their means over squares of pixels.
      channels: of an image.
      stages: how many there are.
    """
    views = [x] * stages if x.shape[-1] == channels else jnp.split(x, stages, axis=-1)
    images = []
    for times, view in enumerate(views):
        for _ in range(times):
            view = mean_pool(view)
        images.append(view)
    return images[::-1]


def _with_vectors(x: jax.Array, vectors: jax.Array) -> jax.Array:
    """Return a map with vectors `[batch, n]` as further channels of every pixel."""
    planes = jnp.broadcast_to(
        vectors.astype(x.dtype)[:, None, None], (*x.shape[:3], vectors.shape[-1])
    )
    return jnp.concatenate([x, planes], axis=-1)


class ConditionStatistics(nn.Module):
    """Caption to the distribution of the vectors that the generator is conditioned on.

    Attributes:
      tokens: size of the vocabulary.
      sentence_dim: length of the sentence vector.
      size: of the vectors.
      param_dtype: of the parameters.
    """

    tokens: int
    sentence_dim: int
    size: int
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, captions: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns mean and log-variance, float32 [batch, size], of `captions` [batch, length]."""
        encoder = SentenceEncoder(
            self.tokens, self.sentence_dim, param_dtype=self.param_dtype, name="encoder"
        )
        both = nn.Dense(2 * self.size, param_dtype=self.param_dtype)(encoder(captions))
        mean, log_variance = jnp.split(both, 2, axis=-1)
        return mean, log_variance


class _Staged(Normalized, Captioned):
    """What both networks share.

    Attributes:
      stages: resolutions of which images are made and judged, each twice that before.
      normalization: `none`, `batch` (the paper's), `instance`, `layer`, `group`, `pixel` or
        `local_response`.
    """

    max_features: int = 1024
    stages: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        most = halvings(self.shape) + 1
        if self.stages not in range(1, most + 1):
            raise ConfigError(
                f"{self.GROUP}.stages = {self.stages}; accepted for images of "
                f"{self.shape[0]}x{self.shape[1]}: 1 to {most}"
            )
        self._check_normalization(self._widths)

    @property
    def _options(self) -> dict[str, Any]:
        """Of convolutions and dense layers."""
        plain = self.normalization == "none"
        init = he_leaky(SLOPE) if plain else _INIT
        return {"kernel_init": init, "use_bias": wants_bias(self.normalization), **self._types}

    def _norm(self, x: jax.Array, train: bool) -> jax.Array:
        return self._norms(scale_init=normal_scale)(self.normalization)(x, train)


class StackGANGenerator(_Staged, Generator):
    """Latent vector and caption to image: upsampling, a 3x3 convolution and a gated unit per side.

    Each further stage convolves the last map beside the condition, has residual blocks, and doubles
    the side.

    Attributes:
      condition_dim: length of the vector that is drawn by conditioning augmentation.
      blocks: residual blocks of each further stage.
    """

    GROUP: ClassVar[str] = "generator.stackgan"

    latent_dim: int = 100
    features: int = 64
    sentence_dim: int = 1024
    condition_dim: int = 128
    blocks: int = 2

    def __post_init__(self) -> None:
        check_size("generator.latent_dim", self.latent_dim)
        self._check_sizes("condition_dim")
        check_count(f"{self.GROUP}.blocks", self.blocks)
        super().__post_init__()

    def setup(self) -> None:
        """Construct what the condition's distribution is computed by."""
        if self.conditioning == "text":
            assert self.num_classes is not None  # Checked in `Conditioned`.
            self.augmentation = ConditionStatistics(
                self.num_classes, self.sentence_dim, self.condition_dim, self.param_dtype
            )

    def __call__(
        self,
        z: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
    ) -> jax.Array:
        """Return images of the last stage, float32 `[batch, *shape]`; see `images`."""
        return self.images(z, condition, keys=keys, train=train)[-1]

    def statistics(self, condition: Condition) -> tuple[jax.Array, jax.Array]:
        """Return mean and log-variance of `vectors`, float32 `[batch, condition_dim]`."""
        mean, log_variance = self.augmentation(required(condition, LABEL))
        return mean, log_variance

    def vectors(self, condition: Condition, keys: jax.Array | None) -> jax.Array:
        """Return what images are conditioned on, float32 `[batch, condition_dim]`.

        They are draws, by a key for each; without keys they are the mean.
        """
        mean, log_variance = self.statistics(condition)
        if keys is None:
            return mean
        noise = jax.vmap(lambda key: jax.random.normal(key, mean.shape[1:]))(keys)
        return reparameterize(mean, log_variance, noise)

    @nn.compact
    def images(
        self,
        z: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
    ) -> tuple[jax.Array, ...]:
        """Return the images of all stages, from coarse to fine, float32.

        Args:
          z: latents, `[batch, latent_dim]`.
          condition: with the conditioning `text` it needs `label`, the caption.
          keys: `[batch]` typed keys of conditioning augmentation; None: the mean is taken.
          train: whether the network is in train mode.
        """
        conv: Callable[..., nn.Module] = partial(Conv, **self._options)

        def gated(x: jax.Array) -> jax.Array:
            return nn.glu(self._norm(x, train))

        height, width = (side >> halvings(self.shape) for side in self.shape[:2])
        first, *widths = self._widths[::-1]
        refined = len(widths) - self.stages + 1

        def doubled(x: jax.Array, features: int) -> jax.Array:
            return gated(conv(2 * features, (3, 3), upsample=True)(x))

        def residual(x: jax.Array) -> jax.Array:
            y = gated(conv(2 * x.shape[-1], (3, 3))(x))
            return x + self._norm(conv(x.shape[-1], (3, 3))(y), train)

        def image(x: jax.Array) -> jax.Array:
            return jnp.tanh(conv(self.shape[-1], (3, 3))(x).astype(jnp.float32))

        text = self.conditioning == "text"
        given = self.vectors(condition, keys) if text else jnp.zeros((z.shape[0], 0))
        x = jnp.concatenate([z.astype(self.dtype), given.astype(self.dtype)], axis=-1)
        x = nn.Dense(height * width * 2 * first, **self._options)(x)
        x = gated(x.reshape(-1, height, width, 2 * first))
        for features in widths[:refined]:
            x = doubled(x, features)
        images = [image(x)]
        for features in widths[refined:]:
            x = gated(conv(2 * x.shape[-1], (3, 3))(_with_vectors(x, given)))
            for _ in range(self.blocks):
                x = residual(x)
            x = doubled(x, features)
            images.append(image(x))
        return tuple(images)


class StackGANDiscriminator(_Staged, Discriminator):
    """Images of all stages to two scores for each: halvings to a side of 4 to 7, then the sentence.

    It judges what `joined` returns, or plain images. With captions the scores depend on them, and
    the verdict has the outputs `unconditional`, scores `[batch, stages]` that do not, and
    `sentence`, see `gan_jax.networks.captioned`.
    """

    GROUP: ClassVar[str] = "discriminator.stackgan"

    features: int = 32
    sentence_dim: int = 128
    heads: tuple[Head, ...] = ()

    def __post_init__(self) -> None:
        if self.heads:
            raise ConfigError(
                f"discriminator.name = 'stackgan' cannot predict {self.heads[0].name}; accepted: a "
                "discriminator with a vector for each image, such as dcgan or resnet"
            )
        super().__post_init__()

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        conv: Callable[..., nn.Module] = partial(Conv, **self._options)
        activations, outputs = [], {}
        if self.conditioning == "text":
            outputs[SENTENCE] = self._sentence(condition)

        def activated(x: jax.Array) -> jax.Array:
            return nn.leaky_relu(self._norm(x, train), SLOPE)

        def score(x: jax.Array) -> jax.Array:
            # A convolution of the whole map to a single pixel is a dense layer.
            x = x.astype(jnp.float32).reshape(x.shape[0], -1)
            dense = nn.Dense(1, kernel_init=_INIT, param_dtype=self.param_dtype)
            return dense(x)[:, 0]

        plain, given = [], []
        for index, image in enumerate(separated(x, self.shape[-1], self.stages)):
            first, *widths = self._widths[self.stages - 1 - index :]
            y = nn.leaky_relu(conv(first, (3, 3))(image.astype(self.dtype)), SLOPE)
            activations.append(y)
            for features in widths:
                y = activated(conv(features, (4, 4), (2, 2))(y))
                activations.append(y)
            plain.append(score(y))
            if self.conditioning == "text":
                y = conv(y.shape[-1], (3, 3))(_with_vectors(y, outputs[SENTENCE]))
                given.append(score(activated(y)))
        scores = jnp.stack(plain, axis=1)
        if given:
            outputs[UNCONDITIONAL], scores = scores, jnp.stack(given, axis=1)
        return Verdict(scores, tuple(activations), outputs)
