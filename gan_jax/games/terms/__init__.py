"""Terms that are added to the players' losses, by name: ``config.terms.<name>``."""

from collections.abc import Mapping
from typing import Any

from gan_jax.games.building import Given
from gan_jax.games.terms.classification import Classification
from gan_jax.games.terms.consistency import Consistency
from gan_jax.games.terms.feature_matching import FeatureMatching
from gan_jax.games.terms.information import Information
from gan_jax.games.terms.lecam import LeCam
from gan_jax.games.terms.term import Added, Context, Term, add_terms
from gan_jax.settings import arguments

TERMS: dict[str, type[Term]] = {
    "classification": Classification,
    "consistency": Consistency,
    "feature_matching": FeatureMatching,
    "information": Information,
    "lecam": LeCam,
}
"""Frozen dataclasses, whose fields are their settings."""

__all__ = ["TERMS", "Added", "Context", "Term", "add_terms", "make_terms"]


def make_terms(config: Any, given: Given) -> Mapping[str, Term]:
    """Return the terms that a configuration switches on, by name.

    Raises:
      ConfigError: a setting cannot work.
    """
    chosen = {}
    for name, entry in TERMS.items():
        term = entry(**arguments(config.terms[name]))
        if term.weight:
            term.check_game(config, given)
            chosen[name] = term
    return chosen
