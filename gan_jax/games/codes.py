"""The codes in InfoGAN's latent vector (Chen et al. 2016, 1606.03657).

The latent vector is noise, then the categorical codes as one-hot vectors, then the continuous
codes, uniform in [-1, 1]. `gan_jax.games.terms.information` recovers them from the data.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.errors import ConfigError
from gan_jax.games import draws

CONTINUOUS = "continuous"


@dataclasses.dataclass(frozen=True)
class Codes:
    """The codes in a latent vector.

    Attributes:
      noise: numbers of noise, which come first.
      categorical: values of each categorical code.
      continuous: how many continuous codes.
    """

    noise: int
    categorical: tuple[int, ...] = (10,)
    continuous: int = 2

    def __post_init__(self):
        """Check the fields; raises `ConfigError`."""
        if any(size < 2 for size in self.categorical):
            raise ConfigError(
                f"terms.information.categorical = {self.categorical}; accepted: numbers from 2 on"
            )
        if self.continuous < 0:
            raise ConfigError(
                f"terms.information.continuous = {self.continuous}; accepted: 0 or more"
            )
        if not self.categorical and not self.continuous:
            raise ConfigError(
                "terms.information.categorical = () and terms.information.continuous = 0; "
                "accepted: some code"
            )

    @property
    def latent_dim(self) -> int:
        """Size of the whole latent vector."""
        return self.noise + sum(self.categorical) + self.continuous

    @property
    def slices(self) -> dict[str, slice]:
        """Where each categorical code, and all continuous ones, are in the latent vector."""
        found, start = {}, self.noise
        for index, size in enumerate(self.categorical):
            found[category(index)] = slice(start, start + size)
            start += size
        if self.continuous:
            found[CONTINUOUS] = slice(start, start + self.continuous)
        return found

    def draw(self, keys: jax.Array) -> jax.Array:
        """Return latent vectors, float32 ``[len(keys), latent_dim]``; see `Game.latents`."""
        parts = [draws.latents(keys, self.noise)]
        for name, place in self.slices.items():
            own = jax.vmap(lambda key, name=name: draws.named(key, name))(keys)
            size = place.stop - place.start
            if name == CONTINUOUS:
                draw = lambda key: jax.random.uniform(key, (size,), jnp.float32, -1.0, 1.0)  # noqa: E731, B023
                parts.append(jax.vmap(draw)(own))
            else:
                value = jax.vmap(lambda key: jax.random.randint(key, (), 0, size))(own)  # noqa: B023
                parts.append(jax.nn.one_hot(value, size, dtype=jnp.float32))
        return jnp.concatenate(parts, axis=-1)

    def truncate(self, z: jax.Array, limit: float | jax.Array) -> jax.Array:
        """Return latent vectors with their noise truncated, and their codes unchanged."""
        noise, codes = jnp.split(z, [self.noise], axis=-1)
        return jnp.concatenate([draws.truncate(noise, limit), codes], axis=-1)

    def traverse(self, z: np.ndarray, name: str, steps: int = 10, limit: float = 2.0) -> np.ndarray:
        """Return latent vectors along one code, all else as it is.

        Args:
          z: latent vectors, float32 ``[rows, latent_dim]``.
          name: ``category_0``, ..., or ``continuous_0``, ....
          steps: values of a continuous code, from ``-limit`` to ``limit``; a categorical one takes
            each of its own.
          limit: the training's codes are within 1.

        Returns:
          float32 ``[rows, values, latent_dim]``.

        Raises:
          ConfigError: there is no such code.
        """
        if name not in self.names:
            raise ConfigError(f"code {name!r} is unknown; accepted: {', '.join(self.names)}")
        if name in self.slices:
            place = self.slices[name]
            values = np.eye(place.stop - place.start, dtype=np.float32)
        else:
            start = self.slices[CONTINUOUS].start + int(name.rpartition("_")[2])
            place = slice(start, start + 1)
            values = np.linspace(-limit, limit, steps, dtype=np.float32)[:, None]
        moved = np.repeat(np.asarray(z, np.float32)[:, None], len(values), axis=1)
        moved[:, :, place] = values
        return moved

    @property
    def names(self) -> tuple[str, ...]:
        """The codes' names, for `traverse`."""
        return (
            *(category(i) for i in range(len(self.categorical))),
            *(f"{CONTINUOUS}_{i}" for i in range(self.continuous)),
        )


def category(index: int) -> str:
    """Return the name of a categorical code, and of the head that recovers it."""
    return f"category_{index}"
