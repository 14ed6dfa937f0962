"""Path length regularisation of generators with styles (Karras et al. 2019, 1912.04958)."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from typing_extensions import override

from gan_jax.errors import ConfigError
from gan_jax.games.apply import apply
from gan_jax.games.building import Given
from gan_jax.games.terms.term import Added, Context, Term
from gan_jax.losses.path_length import moved_mean, path_lengths
from gan_jax.networks.registry import GENERATORS
from gan_jax.networks.styles import StyleGenerator


@dataclasses.dataclass(frozen=True)
class PathLength(Term):
    """Have steps of one length in the styles change images by one amount, its running mean.

    "Analyzing and Improving the Image Quality of StyleGAN", Karras et al. 2019,
    https://arxiv.org/abs/1912.04958, section 3.2; weight 2 every 4 steps. The value is the mean of
    ``(length - mean)^2``, see `gan_jax.losses.path_length`. The paper's program takes half of the
    batch, this one all of it. The mean is logged as ``path_length_mean``.

    Attributes:
      decay: of the running mean at each computation, in [0, 1). It begins at 0.
    """

    decay: float = 0.99

    name: ClassVar[str] = "path_length"
    players: ClassVar[tuple[str, ...]] = ("generator",)

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(0 <= self.decay < 1, "decay", "a number in [0, 1)")

    @override
    def check_game(self, config: Any, given: Given) -> None:
        name = config.generator.name
        styled = [key for key, entry in GENERATORS.items() if issubclass(entry, StyleGenerator)]
        if name not in styled:
            raise ConfigError(
                f"terms.path_length.weight = {self.weight} needs a generator with styles, but "
                f"generator.name = {name!r}; accepted: {', '.join(styled)}, or weight 0"
            )

    @override
    def init(self) -> jax.Array:
        return jnp.zeros((), jnp.float32)

    @override
    def __call__(self, context: Context) -> Added:
        turn, module = context.turn, context.game.networks["generator"].module
        own, keys = context.own["generator"], turn.keys("path_length")
        assert context.z is not None
        styles, _ = apply(module, own, context.z, turn.condition, keys=keys, method="styles")

        def synthesize(styles: jax.Array) -> jax.Array:
            images = module.apply(own, styles, keys, method="synthesize")
            assert isinstance(images, jax.Array)
            return images

        shape = context.fake.data.shape[1:]
        drawn = turn.keys("path_length/pixels")
        noise = jax.vmap(lambda key: jax.random.normal(key, shape, jnp.float32))(drawn)
        lengths = path_lengths(synthesize, styles, noise)
        mean = moved_mean(context.memory, lengths, self.decay, turn.axis_name)
        value = jnp.mean(jnp.square(lengths - mean))
        return Added(value, {"path_length_mean": mean}, mean)
