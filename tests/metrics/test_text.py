"""Statistics of texts: by hand, and on the grammar itself."""

import numpy as np
import pytest

from gan_jax.data.sources.grammar import grammar
from gan_jax.errors import MetricError
from gan_jax.metrics import names, text
from gan_jax.metrics.compare import compare_texts

#: "a b", "b b a" without an end, "" and "a" with something behind its end.
TEXTS = np.array([[1, 2, 0], [2, 2, 1], [0, 0, 0], [1, 0, 2]])


def test_pairs_begin_and_end_with_the_end():
    np.testing.assert_array_equal(text.lengths(TEXTS), [3, 3, 1, 2])
    expected = np.zeros((3, 3))
    for pair in ((0, 1), (1, 2), (2, 0), (0, 2), (2, 2), (2, 1), (0, 0), (0, 1), (1, 0)):
        expected[pair] += 1
    np.testing.assert_array_equal(text.bigrams(TEXTS, 3), expected)


def test_the_divergence_by_hand():
    # (end, a) and (a, end), once each; the distribution has (end, b) and (b, end), too.
    texts = np.array([[1, 0]])
    real = np.zeros((3, 3))
    real[0, 1] = real[1, 0] = 3.0
    real[0, 2] = real[2, 0] = 1.0
    total = 2 + 9 * 0.1
    expected = 0.75 * np.log(0.375 / (1.1 / total)) + 0.25 * np.log(0.125 / (0.1 / total))
    assert text.bigram_kl(texts, real) == pytest.approx(expected)
    # The direction: what texts have in addition costs little.
    more = np.array([[1, 0]] * 300 + [[2, 0]] * 100)
    real[0, 2] = real[2, 0] = 0.0
    assert text.bigram_kl(more, real) == pytest.approx(np.log(4 / 3), rel=0.01)


def test_texts_of_the_grammar_are_those_of_the_grammar():
    source = grammar("train", 10_000)
    known, tokens = source.grammar, source.arrays["text"]
    logs = known.log_probability(tokens)
    metrics = [names.parse(name, ()) for name in names.TEXT_STATISTICS]
    test = grammar("test", 10_000).arrays["text"]
    found = compare_texts(metrics, tokens, test, known.bigrams, logs)
    assert found["valid"] == 1.0
    assert found["nll"] == pytest.approx(known.entropy / known.mean_tokens, abs=0.01)
    # 200 possible pairs, 65,500 pairs in all.
    assert 0.0 < found["bigram_kl"] < 3 * 200 / (2 * 65_500)
    assert 0.5 < found["unique"] < 0.7
    # Subjects and objects differ by what is more than three tokens before.
    assert 0.05 < found["reverse_nll"] - known.entropy / known.mean_tokens < 0.15
    # One text alone is valid and probable, but neither varied nor distributed alike.
    one = np.tile(tokens[logs.argmax()], (100, 1))
    found = compare_texts(metrics, one, test, known.bigrams, known.log_probability(one))
    assert (found["valid"], found["unique"]) == (1.0, 0.01)
    assert found["nll"] < 1.3
    assert found["bigram_kl"] > 1.0
    assert found["reverse_nll"] > 2.0


def test_impossible_texts_count_as_invalid_alone():
    logs = np.array([-1.0, -np.inf, -2.0, -np.inf])
    assert text.validity(logs) == 0.5
    assert text.nll(TEXTS, logs) == pytest.approx(3.0 / (3 + 1))
    assert text.nll(TEXTS, np.full(4, -np.inf)) == 745.0


def test_the_language_model_by_hand():
    # Taught "a b" twice and "a" once: after the beginning always a, after a twice b, once an end.
    taught = np.array([[1, 2, 0], [1, 2, 0], [1, 0, 0]])
    real = np.array([[1, 2, 0], [2, 1, 0]])
    # Of eight tokens: three ends, three a, two b.
    alone = (np.array([3, 3, 2]) + 3 / 3) / (8 + 3)

    def after(counts, shorter):
        counts = np.array(counts)
        kinds, total = np.count_nonzero(counts), counts.sum()
        return (counts + kinds * shorter) / (total + kinds)

    end, a, b = after([0, 3, 0], alone), after([1, 0, 2], alone), after([2, 0, 0], alone)
    two = -np.log([end[1], a[2], b[0], end[2], b[1], a[0]]).mean()
    assert text.reverse_nll(taught, real, 3, order=2) == pytest.approx(two)
    # Contexts of two: (end, end), (end, a), (a, b); (end, b) and (b, a) are not known.
    three = [after([0, 3, 0], end)[1], after([1, 0, 2], a)[2], after([2, 0, 0], b)[0]]
    three += [after([0, 3, 0], end)[2], b[1], a[0]]
    assert text.reverse_nll(taught, real, 3, order=3) == pytest.approx(-np.log(three).mean())


def test_the_language_model_is_a_distribution():
    rng = np.random.default_rng(0)
    taught = rng.integers(0, 4, (30, 5))
    for context in ([1, 2], [3, 3], [2, 1]):
        asked = np.array([[*context, token, 0] for token in range(4)])
        # All but the last of four tokens are alike; an end ends the text before it.
        total = 0.0
        for row in asked:
            nll = text.reverse_nll(taught, row[None], 4) * text.lengths(row[None])[0]
            before = text.reverse_nll(taught, row[None, :2], 4) * 2
            after = 0.0 if row[2] == 0 else _last(taught, row)
            total += np.exp(-(nll - before - after))
        assert total == pytest.approx(1.0)


def _last(taught, row):
    """Return the negative log-probability of the last token of a row."""
    whole, without = row[None], row[None, :-1]
    return text.reverse_nll(taught, whole, 4) * 4 - text.reverse_nll(taught, without, 4) * 3


def test_what_follows_an_end_is_no_difference():
    texts = np.array([[1, 0, 2], [1, 0, 0], [1, 2, 0]])
    assert text.unique(texts) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (np.zeros((2, 3)), r"texts are float64\[2, 3\]; accepted: integers \[n, length\]"),
        (np.zeros(3, int), r"texts are int64\[3\]"),
        (np.zeros((0, 3), int), r"texts are int64\[0, 3\]"),
        (np.full((1, 1), 3), "tokens from 3 to 3; accepted: 0 to 2"),
        (np.full((1, 1), -1), "tokens from -1 to -1; accepted: 0 to 2"),
    ],
)
def test_what_is_no_text_is_refused(texts, message):
    with pytest.raises(MetricError, match=message):
        text.bigrams(texts, 3)
