"""Terms that are added to the players' losses, by name: ``config.terms.<name>``."""

from collections.abc import Mapping
from typing import Any

from gan_jax.games.building import Given
from gan_jax.games.terms.ambiguity import Ambiguity
from gan_jax.games.terms.classification import Classification
from gan_jax.games.terms.consistency import Consistency
from gan_jax.games.terms.drift import Drift
from gan_jax.games.terms.feature_matching import FeatureMatching
from gan_jax.games.terms.gradient_penalty import GradientPenalty, make_penalty
from gan_jax.games.terms.information import Information
from gan_jax.games.terms.lecam import LeCam
from gan_jax.games.terms.logit_centering import LogitCentering
from gan_jax.games.terms.matching import Matching
from gan_jax.games.terms.orthogonal import Orthogonal
from gan_jax.games.terms.path_length import PathLength
from gan_jax.games.terms.san import San
from gan_jax.games.terms.self_supervision import SelfSupervision
from gan_jax.games.terms.term import Added, Context, Term, add_terms
from gan_jax.games.terms.transport import Transport
from gan_jax.networks.verdict import Head
from gan_jax.settings import arguments

TERMS: dict[str, type[Term]] = {
    "ambiguity": Ambiguity,
    "classification": Classification,
    "consistency": Consistency,
    "drift": Drift,
    "feature_matching": FeatureMatching,
    "information": Information,
    "lecam": LeCam,
    "logit_centering": LogitCentering,
    "matching": Matching,
    "orthogonal": Orthogonal,
    "path_length": PathLength,
    "san": San,
    "self_supervision": SelfSupervision,
    "transport": Transport,
}
"""Frozen dataclasses, whose fields are their settings."""

__all__ = [
    "TERMS",
    "Added",
    "Context",
    "GradientPenalty",
    "Term",
    "add_terms",
    "make_heads",
    "make_terms",
]


def make_terms(config: Any, given: Given) -> dict[str, Any]:
    """Return the penalty and the terms that a configuration switches on, by name.

    Raises:
      ConfigError: a setting cannot work.
    """
    penalty = make_penalty(config, given)
    chosen: dict[str, Term] = {} if penalty is None else {"penalty": penalty}
    for name, entry in TERMS.items():
        term = entry(**arguments(config.terms[name]))
        if term.weight:
            term.check_game(config, given)
            chosen[name] = term
    return chosen


def make_heads(terms: Mapping[str, Term], given: Given) -> tuple[Head, ...]:
    """Return the outputs that terms need of the discriminator."""
    return tuple(head for term in terms.values() for head in term.heads(given.num_classes))
