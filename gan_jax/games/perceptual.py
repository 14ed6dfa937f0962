"""The perceptual term of games with target images: distances of an extractor's features."""

import dataclasses
import functools
from collections.abc import Callable

import jax

from gan_jax import errors
from gan_jax.games import building
from gan_jax.losses import perceptual
from gan_jax.metrics import extractors

# (images, reference) -> one value per image, [batch].
Compare = Callable[..., jax.Array]


@dataclasses.dataclass(frozen=True)
class Perceptual:
    """Settings of the perceptual term.

    Attributes:
      extractor: the extractor of the features that are compared: "inception"; unset: there is no
        such term.
      layers: the extractor's layers that are compared; (): its default layer.
      weight: weight of the term in the generator's loss.
    """

    extractor: str | None = None
    layers: tuple[str, ...] = ()
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Check the weight; raises `ConfigError`."""
        building.check_weights({"weight": self.weight}, "game.paired.perceptual")

    def make(self, inception: str | None) -> Compare | None:
        """Return the function that compares features; ``None``: there is no term.

        Args:
          inception: the path of the Inception network's weights; ``None``: the default.

        Raises:
          ConfigError: the extractor is unknown, or cannot be loaded.
        """
        if self.extractor is None:
            return None
        errors.lookup(extractors.EXTRACTORS, self.extractor, "game.paired.perceptual.extractor")
        extractor = extractors.make_extractor(self.extractor, extractors.Setting(None, inception))
        extract = perceptual.from_extractor(extractor, self.layers or None)
        return functools.partial(perceptual.perceptual, extract)
