"""InfoGAN (Chen et al. 2016, 1606.03657): codes in the latent vector that can be read off images.

The latent vector is noise, then the categorical codes as one-hot vectors, then the continuous
codes, uniform in [-1, 1]. Heads of the discriminator (the paper's Q, which shares its trunk)
recover the codes; both players minimise the codes' negative log-likelihood.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.errors import ConfigError
from gan_jax.games import building, draws
from gan_jax.games.adversarial import AdversarialGame, Terms, adversarial_fields
from gan_jax.games.game import Turn, Variables
from gan_jax.losses import classification, information
from gan_jax.networks.verdict import Head, Verdict
from gan_jax.settings import options

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
                f"game.info.categorical = {self.categorical}; accepted: numbers from 2 on"
            )
        if self.continuous < 0:
            raise ConfigError(f"game.info.continuous = {self.continuous}; accepted: 0 or more")
        if not self.categorical and not self.continuous:
            raise ConfigError(
                "game.info.categorical = () and game.info.continuous = 0; accepted: some code"
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

    def heads(self, hidden: int) -> tuple[Head, ...]:
        """Return the outputs that recover the codes, each with a layer of ``hidden`` units."""
        return tuple(
            Head(name, place.stop - place.start, hidden) for name, place in self.slices.items()
        )

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


@dataclasses.dataclass(frozen=True)
class InfoGame(AdversarialGame):
    """The adversarial game, with the codes' likelihood in both losses.

    Metrics of both players: ``code_<name>``, the negative log-likelihood of a code in nats, and
    ``accuracy_<name>``, the share of categorical codes that are recovered from generated images.

    Attributes:
      categorical: number of values of each categorical code.
      continuous: number of continuous codes, uniform in [-1, 1].
      hidden: width of the layer between the discriminator's trunk and a head that recovers a code;
        0: there is none.
      categorical_weight: the paper's lambda for categorical codes.
      continuous_weight: the same for continuous codes.
    """

    categorical: tuple[int, ...] = (10,)
    continuous: int = 2
    hidden: int = 128
    categorical_weight: float = 1.0
    continuous_weight: float = 0.1

    @classmethod
    def from_config(cls, config: Any, given: building.Given) -> "InfoGame":
        """Return the game that a configuration describes; raises `ConfigError`."""
        building.refuse_conditioning(config, "generator", "discriminator")
        own = options(config.game, cls)
        if own["hidden"] < 0:
            raise ConfigError(f"game.info.hidden = {own['hidden']}; accepted: 0 or more")
        building.check_weights({k: own[k] for k in own if k.endswith("_weight")}, "game.info")
        codes = Codes(config.generator.latent_dim, own["categorical"], own["continuous"])
        return cls(
            generator=building.make_network(
                "generator", config, given, latent_dim=codes.latent_dim
            ),
            discriminator=building.make_network(
                "discriminator", config, given, heads=codes.heads(own["hidden"])
            ),
            **own | adversarial_fields(config, given),
        )

    @property
    def codes(self) -> Codes:
        """The codes in a latent vector, behind the noise."""
        noise = self.latent_dim - sum(self.categorical) - self.continuous
        return Codes(noise, self.categorical, self.continuous)

    def latents(self, keys: jax.Array) -> jax.Array:
        """Return noise and codes; see `Game.latents`."""
        return self.codes.draw(keys)

    def truncated(self, z: jax.Array, truncation: float | jax.Array | None) -> jax.Array:
        """Return latents with their noise within a limit; see `AdversarialGame.truncated`."""
        return z if truncation is None else self.codes.truncate(z, truncation)

    def discriminator_terms(self, real: Verdict, fake: Verdict, z: jax.Array, turn: Turn) -> Terms:
        """Return the code terms on generated data; see `AdversarialGame.discriminator_terms`."""
        return self._terms(fake, z)

    def generator_terms(self, fake: Verdict, z: jax.Array, turn: Turn) -> Terms:
        """Return the code terms; see `AdversarialGame.generator_terms`."""
        return self._terms(fake, z)

    def recover(
        self, variables: Mapping[str, Variables], images: jax.Array
    ) -> dict[str, jax.Array]:
        """Return what the heads read off images: logits of categories, means of continuous codes.

        Args:
          variables: by network.
          images: float32 ``[batch, *shape]``.

        Returns:
          float32 ``[batch, size]`` by head.
        """
        verdict = self.discriminator.apply(
            variables["discriminator"], images, train=False, method="judge"
        )
        assert isinstance(verdict, Verdict)
        return verdict.heads

    def _terms(self, fake: Verdict, z: jax.Array) -> Terms:
        terms: Terms = {}
        for name, place in self.codes.slices.items():
            found, code = fake.heads[name], z[:, place]
            if name == CONTINUOUS:
                loss = jnp.mean(information.gaussian_code(found, code))
                terms[f"code_{name}"] = (self.continuous_weight, loss)
                continue
            value = jnp.argmax(code, axis=-1)
            loss = jnp.mean(classification.cross_entropy(found, value))
            right = jnp.mean(classification.accuracy(found, value))
            terms[f"code_{name}"] = (self.categorical_weight, loss)
            terms[f"accuracy_{name}"] = (0.0, right)
        return terms
