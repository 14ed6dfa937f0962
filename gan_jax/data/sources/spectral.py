"""Sound that networks see as spectrograms: the settings, and the scales of a set."""

import dataclasses

import jax
import numpy as np

from gan_jax.data import kinds, order
from gan_jax.data import spec as specs
from gan_jax.data.sources.base import Source
from gan_jax.errors import ConfigError, require

# Sounds from which the scales are computed.
_SCALED = 1024
# The least deviation of a logarithm: a frequency that all sounds lack has none.
_LEAST = 0.01


@dataclasses.dataclass(frozen=True)
class Spectrograms:
    """How networks see sound.

    Attributes:
      window: samples of a window, a power of two of 16 or more; networks see half as many
        frequencies. 0: they see the samples.
      hop: samples from one window to the next: half a window, a quarter, an eighth ....
    """

    window: int = 0
    hop: int = 128

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        window, hop = self.window, self.hop
        if window:
            good = window >= 16 and not window & (window - 1)
            require(good, "data.spectrogram.window", window, "0, or a power of two of 16 or more")
            good = 1 <= hop <= window // 2 and window % hop == 0
            accepted = f"a half, a quarter, ... of the window of {window}"
            require(good, "data.spectrogram.hop", hop, accepted)

    def of(self, source: Source) -> Source:
        """Return a source of which networks see spectrograms, if they are asked for.

        Raises:
          ConfigError: its examples are no sounds of one channel.
        """
        if not self.window:
            return source
        field = source.field
        if field.kind != "audio" or field.shape[1] != 1:
            raise ConfigError(
                f"data.spectrogram.window = {self.window} with data points of kind {field.kind!r} "
                f"and shape {field.shape}; accepted: 0, or sound of one channel"
            )
        chosen = order.subset(len(source), min(len(source), _SCALED))
        stored = specs.data(source.read(chosen.tolist()), source.spec)
        sound = kinds.Audio(field).sound(jax.numpy.asarray(stored))[..., 0]
        make = jax.jit(kinds.log_magnitudes, static_argnums=(1, 2))
        logs = np.asarray(make(sound, self.window, self.hop), np.float64)
        mean, deviation = logs.mean(axis=(0, 1)), np.maximum(logs.std(axis=(0, 1)), _LEAST)
        scales = tuple(zip(mean.tolist(), deviation.tolist(), strict=True))
        seen = dataclasses.replace(
            field, kind="spectrogram", stft=(self.window, self.hop), scales=scales
        )
        source.spec = {**source.spec, specs.data_name(source.spec): seen}
        return source
