"""The mutual information of codes and data in InfoGAN (Chen et al. 2016, 1606.03657)."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
from typing_extensions import override

from gan_jax.errors import ConfigError
from gan_jax.games import building
from gan_jax.games.building import Given
from gan_jax.games.codes import CONTINUOUS, Codes
from gan_jax.games.terms.term import Added, Context, Term
from gan_jax.losses import classification, information
from gan_jax.networks.verdict import Head


@dataclasses.dataclass(frozen=True)
class Information(Term):
    """Recover codes in the latent vector from generated data, by heads of the discriminator.

    "InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial
    Nets", Chen et al. 2016, https://arxiv.org/abs/1606.03657 (weight 1). The latent vector is noise
    of ``generator.latent_dim`` numbers, then the codes. Both players minimise the codes' negative
    log-likelihood. Metrics: ``code_<name>``, in nats, and ``accuracy_<name>``, the share of
    categorical codes that are recovered.

    Attributes:
      categorical: number of values of each categorical code.
      continuous: number of continuous codes, uniform in [-1, 1].
      hidden: width of the layer between the discriminator's features and each head; 0: none.
      categorical_weight: of categorical codes in the term, the paper's lambda.
      continuous_weight: of continuous codes in the term.
    """

    categorical: tuple[int, ...] = (10,)
    continuous: int = 2
    hidden: int = 128
    categorical_weight: float = 1.0
    continuous_weight: float = 0.1

    name: ClassVar[str] = "information"
    players: ClassVar[tuple[str, ...]] = ("discriminator", "generator")

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("hidden", "categorical_weight", "continuous_weight"):
            self.check(getattr(self, field) >= 0, field, "0 or more")
        self.codes(1)

    @override
    def check_game(self, config: Any, given: Given) -> None:
        for role in ("generator", "discriminator"):
            if (conditioning := config[role].conditioning) != "none":
                raise ConfigError(
                    f"{role}.conditioning = {conditioning!r}; accepted with terms.information, "
                    "which finds classes itself: 'none'"
                )
        building.refuse_mixing(
            config, "an image of two styles has the codes of two latents", "terms.information"
        )
        if config.fakes.history:
            raise ConfigError(
                f"fakes.history = {config.fakes.history}: past fakes are stored without their "
                "codes; accepted with terms.information: 0"
            )

    def codes(self, noise: int) -> Codes:
        """Return the codes of a latent vector whose first ``noise`` numbers are noise."""
        return Codes(noise, self.categorical, self.continuous)

    @override
    def heads(self, num_classes: int | None) -> tuple[Head, ...]:
        return tuple(
            Head(name, place.stop - place.start, self.hidden)
            for name, place in self.codes(0).slices.items()
        )

    @override
    def __call__(self, context: Context) -> Added:
        assert context.z is not None
        value, metrics = jnp.float32(0.0), {}
        noise = context.z.shape[-1] - self.codes(0).latent_dim
        for name, place in self.codes(noise).slices.items():
            found, code = context.fake.verdict.heads[name], context.z[:, place]
            if name == CONTINUOUS:
                loss, weight = information.gaussian_code(found, code), self.continuous_weight
            else:
                index = jnp.argmax(code, axis=-1)
                loss, weight = classification.cross_entropy(found, index), self.categorical_weight
                right = classification.accuracy(found, index)
                metrics[f"accuracy_{name}"] = jnp.mean(right)
            metrics[f"code_{name}"] = jnp.mean(loss)
            value = value + weight * metrics[f"code_{name}"]
        return Added(value, metrics)
