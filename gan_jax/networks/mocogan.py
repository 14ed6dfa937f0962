"""MoCoGAN: content and motion in separate parts of the latent vector (Tulyakov 2017, 1707.04993).

The first part, the content code, is the same for all frames of a video. The rest is noise for each
frame, which a gated recurrent unit (Cho et al. 2014, 1406.1078) turns into motion codes: that of a
frame depends on the noise of this frame and of those before. A DCGAN (`gan_jax.networks.dcgan`)
makes each frame from the content code and its motion code.

The discriminator is two networks: one judges single frames, the other whole videos. The loss is the
mean over both scores, half of the paper's sum.
"""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.networks.checks import check_size, check_video_shape, halvings
from gan_jax.networks.condition import Condition
from gan_jax.networks.dcgan import DCGANDiscriminator, DCGANGenerator, flattened, strided
from gan_jax.networks.network import Generator, Normalized, normal_scale
from gan_jax.networks.verdict import VectorDiscriminator, Verdict

_INIT = nn.initializers.normal(0.02)
_KERNEL = 4


class MoCoGANGenerator(Generator):
    """Latent vector to video, frame by frame, from a content code and motion codes.

    The latent vector is the content code, then `motion_dim` numbers for each frame.

    Attributes:
      motion_dim: length of a frame's noise. `latent_dim` less that of all frames is the length of
        the content code; 10, and 50 for the content code, are the paper's.
      motion_features: width of the recurrent unit, and length of a motion code; 10 is the paper's.
      features: width at half the frames' resolution, which doubles with every halving up to
        `max_features`.
      max_features: the largest width.
      normalization: of the frames' network, as in `gan_jax.networks.dcgan.DCGANGenerator`, over all
        frames of a batch; `batch` is the paper's.
      groups: number of groups of group normalization.
      conditioning: `none`, or `concat`: the class beside the content code.
    """

    GROUP: ClassVar[str] = "generator.mocogan"
    TINY: ClassVar[dict[str, int]] = {"features": 2, "motion_dim": 2, "motion_features": 4}

    latent_dim: int = 210
    motion_dim: int = 10
    motion_features: int = 10
    features: int = 64
    max_features: int = 512
    normalization: str = "batch"
    groups: int = 8

    def __post_init__(self) -> None:
        check_video_shape("mocogan", self.shape)
        check_size("generator.latent_dim", self.latent_dim)
        self._check_sizes("motion_dim", "motion_features", "features", "max_features")
        frames = self.shape[0]
        if self.content_dim < 1:
            raise ConfigError(
                f"generator.latent_dim = {self.latent_dim} leaves nothing for the content of "
                f"{frames} frames whose motion has {self.GROUP}.motion_dim = {self.motion_dim} "
                f"numbers each; accepted: more than {frames * self.motion_dim}"
            )
        super().__post_init__()

    @property
    def content_dim(self) -> int:
        """Length of the content code, without the class."""
        return self.latent_dim - self.shape[0] * self.motion_dim

    def setup(self) -> None:
        """Construct the layers, which both methods share."""
        self.recurrent = nn.RNN(nn.GRUCell(self.motion_features, **self._types))
        self.image = DCGANGenerator(
            self.shape[1:],
            features=self.features,
            max_features=self.max_features,
            normalization=self.normalization,
            groups=self.groups,
            axis_name=self.axis_name,
            **self._types,
        )

    def _forward(
        self, z: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        codes = self.codes(z, condition)
        frames = self.image(codes.reshape(-1, codes.shape[-1]), train=train)
        return frames.reshape(-1, *self.shape)

    def codes(self, z: jax.Array, condition: Condition = None) -> jax.Array:
        """Return the code of every frame: the content code, the class, then the motion code.

        Args:
          z: latents `[batch, latent_dim]`.
          condition: as for the module.

        Returns:
          `[batch, frames, n]`.
        """
        content, noise = jnp.split(z.astype(self.dtype), [self.content_dim], axis=-1)
        noise = noise.reshape(-1, self.shape[0], self.motion_dim)
        start = jnp.zeros((z.shape[0], self.motion_features), self.dtype)
        motion: Any = self.recurrent(noise, initial_carry=start)
        content = self._with_class(content, condition)[:, None]
        content = jnp.broadcast_to(content, (*motion.shape[:2], content.shape[-1]))
        return jnp.concatenate([content, motion], axis=-1)


class MoCoGANDiscriminator(Normalized, VectorDiscriminator):
    """Video to two scores, of a frame and of the whole: float32 `[batch, 2]`.

    A DCGAN judges random frames of each video; without keys it judges all. Their mean is the score.
    The other network is convolutions in space and time, of stride 2 in space, then one dense layer;
    it alone has the further outputs. Both are given the class, if there is one.

    Attributes:
      features: width of the network of whole videos at half the resolution, which doubles with
        every halving up to `max_features`.
      image_features: likewise of the network of single frames.
      image_frames: number of random frames of each video that the latter judges, at most all; 1 is
        the paper's.
      max_features: the largest width of both.
      time_stride: of the convolutions along time; 1 is the paper's.
      normalization: of both networks, as in `gan_jax.networks.dcgan.DCGANDiscriminator`; `batch` is
        the paper's.
    """

    GROUP: ClassVar[str] = "discriminator.mocogan"
    TINY: ClassVar[dict[str, int]] = {"features": 2, "image_features": 2}

    features: int = 64
    image_features: int = 64
    image_frames: int = 1
    max_features: int = 512
    time_stride: int = 1

    def __post_init__(self) -> None:
        check_video_shape("mocogan", self.shape)
        self._check_sizes("features", "image_features", "image_frames")
        self._check_sizes("max_features", "time_stride")
        widths = [*self._widths(self.features)[1:], *self._widths(self.image_features)[1:]]
        self._check_normalization(widths, "spectral")
        super().__post_init__()

    def _widths(self, first: int) -> list[int]:
        """Return the widths at half the resolution, a quarter, ... that of the coarsest map."""
        levels = range(halvings(self.shape[1:]))
        return [min(first << level, self.max_features) for level in levels]

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        image = DCGANDiscriminator(
            self.shape[1:],
            features=self.image_features,
            max_features=self.max_features,
            normalization=self.normalization,
            groups=self.groups,
            conditioning=self.conditioning,
            num_classes=self.num_classes,
            axis_name=self.axis_name,
            name="image",
            **self._types,
        )
        frames = x if keys is None else random_frames(keys, x, self.image_frames)
        of_frames = None
        if self.conditioning != "none":
            of_frames = jax.tree.map(lambda y: jnp.repeat(y, frames.shape[1], axis=0), condition)
        scores = image(frames.reshape(-1, *x.shape[2:]), of_frames, train=train)
        frame_scores = jnp.mean(scores.reshape(frames.shape[:2]), axis=1)

        spectral = self.normalization == "spectral"
        size, strides = (_KERNEL,) * 3, (self.time_stride, 2, 2)
        conv = self._convolutions(
            spectral, train, kernel_size=size, strides=strides, kernel_init=_INIT
        )
        widths = self._widths(self.features)
        others = ["none" if spectral else self.normalization] * (len(widths) - 1)
        norm = self._norms(scale_init=normal_scale)
        x = self._with_class(x.astype(self.dtype), condition)
        features = strided(x, widths, conv, norm, ["none", *others], train)
        verdict = self._verdict(
            features[-1],
            flattened,
            features,
            condition,
            train,
            spectral=spectral,
            kernel_init=_INIT,
        )
        scores = jnp.stack([frame_scores, verdict.scores], axis=-1)
        return dataclasses.replace(verdict, scores=scores)


def random_frames(keys: jax.Array, videos: jax.Array, count: int) -> jax.Array:
    """Return frames of each video, drawn by its key, `[batch, count, height, width, channels]`.

    No frame of a video is drawn twice. Of videos that have fewer frames all are returned.

    Args:
      keys: `[batch]` typed keys.
      videos: `[batch, frames, height, width, channels]`.
      count: number of frames of each video.
    """
    frames = jnp.arange(videos.shape[1])
    index = jax.vmap(lambda key: jax.random.permutation(key, frames)[:count])(keys)
    return jnp.take_along_axis(videos, index[:, :, None, None, None], axis=1)
