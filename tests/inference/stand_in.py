"""Base class of the games that tests use in place of trained ones."""

import dataclasses
from typing import Any, ClassVar

from gan_jax.games.translation import A_TO_B, TranslationGame


@dataclasses.dataclass(frozen=True)
class StandIn(TranslationGame):
    """A game that only translates: it is not trained, nor made from a configuration."""

    spoils: Any = dataclasses.field(default=None, kw_only=True)
    networks: ClassVar = {}
    players: ClassVar = ()

    @classmethod
    def from_config(cls, config, given):
        raise NotImplementedError

    @property
    def degradation(self):
        return self.spoils

    def examples(self, batch, keys, direction=A_TO_B):
        raise NotImplementedError
