"""Sentences of a probabilistic grammar: text whose distribution is known, for lessons and tests.

A sentence has a subject, a verb that agrees with it, maybe an object, and maybe an adverb: "the
small cat sees two dogs today". The grammar is right-linear: from a state, a rule emits a word and
leads to the next state. A sentence has one derivation, so that the probability of any text, whether
it is valid, and the entropy of the source are computed exactly.
"""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from gan_jax.data.sources.base import ArraySource
from gan_jax.data.sources.draws import uniform
from gan_jax.data.spec import text
from gan_jax.errors import lookup, require

# A rule's probability, its word, and the next state, by state.
Rules = Mapping[str, list[tuple[float, str, str]]]

# The seeds of the splits: sentences of one are drawn apart from those of the other.
SPLITS = {"train": 0, "test": 1}
_NUMBERS = {"singular": 0.6, "plural": 0.4}
_DETERMINERS = {
    "singular": {"the": 0.4, "a": 0.4, "this": 0.2},
    "plural": {"the": 0.4, "some": 0.4, "two": 0.2},
}
_ADJECTIVES = {"small": 0.4, "black": 0.3, "red": 0.2, "quiet": 0.1}
# The probability of another adjective after none and after one; after two there is no other.
_MORE = (0.4, 0.25, 0.0)
_NOUNS = {
    "singular": {"cat": 0.4, "dog": 0.3, "bird": 0.2, "horse": 0.1},
    "plural": {"cats": 0.4, "dogs": 0.3, "birds": 0.2, "horses": 0.1},
}
_TRANSITIVE = {
    "singular": {"sees": 0.7, "hears": 0.3},
    "plural": {"see": 0.7, "hear": 0.3},
}
_INTRANSITIVE = {
    "singular": {"sleeps": 0.6, "runs": 0.4},
    "plural": {"sleep": 0.6, "run": 0.4},
}
_OBJECT = 0.7
_ADVERBS = {"today": 0.5, "often": 0.3, "never": 0.2}
_ADVERB = 0.3
_END = ""


def _rules() -> Rules:
    """Return the rules by state, that of the beginning first."""
    rules: dict[str, list[tuple[float, str, str]]] = {"subject": [], "object": []}

    def add(state: str, weight: float, words: Mapping[str, float], after: str) -> None:
        if weight:
            rules.setdefault(state, []).extend((weight * p, w, after) for w, p in words.items())

    for role in ("subject", "object"):
        for number, share in _NUMBERS.items():
            phrase = [f"{role} {number} {count}" for count in range(len(_MORE))]
            after = f"verb {number}" if role == "subject" else "adverb"
            add(role, share, _DETERMINERS[number], phrase[0])
            for i, more in enumerate(_MORE):
                add(phrase[i], more, _ADJECTIVES, phrase[min(i + 1, len(phrase) - 1)])
                add(phrase[i], 1.0 - more, _NOUNS[number], after)
    for number in _NUMBERS:
        add(f"verb {number}", _OBJECT, _TRANSITIVE[number], "object")
        add(f"verb {number}", 1.0 - _OBJECT, _INTRANSITIVE[number], "adverb")
    add("adverb", _ADVERB, _ADVERBS, "last")
    add("adverb", 1.0 - _ADVERB, {_END: 1.0}, "end")
    add("last", 1.0, {_END: 1.0}, "end")
    add("end", 1.0, {_END: 1.0}, "end")
    return rules


@dataclasses.dataclass(frozen=True, eq=False)
class Grammar:
    """A right-linear grammar whose sentences have one derivation each.

    Attributes:
      words: the vocabulary; the first word is the end, and follows itself for ever.
      transitions: probabilities, float64 ``[words, states, states]``: of each word and the next
        state, given a state. Sentences begin in state 0, and are complete in the last one.
      length: tokens of every text: the most words of a sentence, and the end.
    """

    words: tuple[str, ...]
    transitions: np.ndarray
    length: int

    def draw(self, draws: np.ndarray) -> np.ndarray:
        """Return sentences, int32 ``[n, length]``, from numbers in [0, 1) of that shape."""
        states = self.transitions.shape[1]
        cumulative = self.transitions.transpose(1, 0, 2).reshape(states, -1).cumsum(axis=1)
        tokens = np.zeros(draws.shape, np.int32)
        state = np.zeros(len(draws), int)
        for i, column in enumerate(draws.T):
            rule = np.zeros(len(draws), int)
            for each in np.unique(state):
                chosen = state == each
                # Rounding may leave the sum below 1; rules of no width are never chosen.
                share = column[chosen] * cumulative[each, -1]
                rule[chosen] = np.searchsorted(cumulative[each], share, side="right")
            tokens[:, i], state = np.divmod(rule, states)
        return tokens

    def log_probability(self, tokens: np.ndarray) -> np.ndarray:
        """Return the natural logarithm of the probability of texts; ``-inf``: one is not valid.

        Args:
          tokens: integers ``[n, length]``.

        Returns:
          float64 ``[n]``.
        """
        reached = np.zeros((len(tokens), self.transitions.shape[1]))
        reached[:, 0] = 1.0
        for column in tokens.T:
            reached = np.einsum("ns,nst->nt", reached, self.transitions[column])
        with np.errstate(divide="ignore"):
            return np.log(reached[:, -1])

    @functools.cached_property
    def _visits(self) -> np.ndarray:
        """The probability of each state before each token, float64 ``[length, states]``."""
        visits = [np.eye(self.transitions.shape[1])[0]]
        for _ in range(self.length - 1):
            visits.append(visits[-1] @ self.transitions.sum(axis=0))
        return np.stack(visits)

    @property
    def entropy(self) -> float:
        """The entropy of a sentence, in nats: that of its derivation."""
        used = self.transitions[self.transitions > 0]
        spread = np.zeros_like(self.transitions)
        spread[self.transitions > 0] = -used * np.log(used)
        return float(self._visits.sum(axis=0) @ spread.sum(axis=(0, 2)))

    @property
    def mean_tokens(self) -> float:
        """The expected number of a sentence's tokens, with the end that closes it."""
        return float(self._visits[:, :-1].sum())

    @property
    def bigrams(self) -> np.ndarray:
        """The distribution of two tokens in succession, float64 ``[words, words]``.

        Of a sentence, the pairs are those that `gan_jax.metrics.text.bigrams` counts: the first
        word follows an end, and the last pair is the last word and the end.
        """
        visits = self._visits[:, :-1].sum(axis=0)
        first, second = self.transitions[:, :-1], self.transitions.sum(axis=2)
        joint = np.einsum("s,ast,bt->ab", visits, first, second)
        # A pair of two ends is behind the sentence.
        joint[0] = self.transitions[:, 0].sum(axis=1)
        return joint / joint.sum()


def make_grammar(rules: Rules) -> Grammar:
    """Return the grammar of rules, whose sentences have a bounded length."""
    states = list(rules)
    words = dict.fromkeys([_END, *(word for each in rules.values() for _, word, _ in each)])
    number = {word: i for i, word in enumerate(words)}
    transitions = np.zeros((len(words), len(states), len(states)))
    for state, each in rules.items():
        for probability, word, after in each:
            transitions[number[word], states.index(state), states.index(after)] += probability
    reached, length = np.eye(len(states))[0], 0
    while reached[:-1].any():
        reached, length = reached @ transitions.sum(axis=0), length + 1
    return Grammar(tuple(words), transitions, length)


@functools.cache
def sentences() -> Grammar:
    """Return the grammar of the data set: 29 tokens, texts of 11, 1.51 nats per token."""
    return make_grammar(_rules())


class GrammarSource(ArraySource):
    """Texts of a grammar, int32 ``[length]``.

    Args:
      split: "train" or "test".
      size: number of sentences.
      grammar: what they are drawn from.
    """

    def __init__(self, split: str, size: int, grammar: Grammar):
        seed = lookup(SPLITS, split, "data.split")
        require(size >= 1, "data.toy_size", size, "1 or more")
        self.grammar = grammar
        tokens = grammar.draw(uniform(seed, (size, grammar.length)))
        spec = {"text": text(grammar.length, grammar.words[1:], " ")}
        super().__init__("grammar", split, {"text": tokens}, spec)


def grammar(split: str, size: int) -> GrammarSource:
    """Draw sentences; the same on every machine.

    Args:
      split: "train" or "test".
      size: number of sentences.

    Raises:
      ConfigError: the split is unknown, or the size is not positive.
    """
    return GrammarSource(split, size, sentences())
