"""Text through the whole of the data path, the grammar's exact distribution, and text files."""

import itertools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.data import device, kinds
from gan_jax.data import spec as specs
from gan_jax.data.pipeline import make_pipeline
from gan_jax.data.sources import make_source
from gan_jax.data.sources.draws import random_arrays
from gan_jax.data.sources.grammar import grammar, make_grammar, sentences
from gan_jax.data.sources.text import UNKNOWN
from gan_jax.errors import ConfigError, DataError


def lines(source, count=None):
    return kinds.of(source.field).lines(source.arrays["text"][:count])


def tokens_of(words):
    number = {word: i for i, word in enumerate(sentences().words)}
    rows = [[number[word] for word in line.split()] for line in words]
    return np.array([row + [0] * (sentences().length - len(row)) for row in rows])


def small_grammar():
    """Return a grammar of four texts: aa and ab, or a alone, or b alone."""
    return make_grammar(
        {
            "first": [(0.5, "a", "second"), (0.2, "a", "last"), (0.3, "b", "last")],
            "second": [(0.75, "a", "last"), (0.25, "b", "last")],
            "last": [(1.0, "", "end")],
            "end": [(1.0, "", "end")],
        }
    )


def test_a_small_grammar_has_the_distribution_of_its_rules():
    found = small_grammar()
    assert (found.words, found.length) == (("", "a", "b"), 3)
    every = np.array(list(itertools.product(range(3), repeat=3)))
    probability = np.exp(found.log_probability(every))
    expected = {(1, 1, 0): 0.375, (1, 2, 0): 0.125, (1, 0, 0): 0.2, (2, 0, 0): 0.3}
    np.testing.assert_allclose(probability, [expected.get(tuple(x), 0.0) for x in every.tolist()])
    shares = np.array(list(expected.values()))
    assert found.entropy == pytest.approx(-(shares * np.log(shares)).sum())
    assert found.mean_tokens == pytest.approx(2.5)
    pairs = np.zeros((3, 3))
    for text, share in expected.items():
        for pair in itertools.pairwise([0, *(t for t in text if t), 0]):
            pairs[pair] += share
    np.testing.assert_allclose(found.bigrams, pairs / pairs.sum(), atol=1e-12)


def test_drawn_sentences_have_the_probabilities_of_the_grammar():
    source = grammar("train", 20_000)
    found, tokens = source.grammar, source.arrays["text"]
    negative = -found.log_probability(tokens)
    error = negative.std() / np.sqrt(len(tokens))
    assert abs(negative.mean() - found.entropy) < 4 * error < 0.1
    assert abs(((tokens > 0).sum(axis=1) + 1).mean() - found.mean_tokens) < 0.05
    # The least number that is drawn takes the first possible rule.
    assert np.isfinite(found.log_probability(found.draw(np.zeros((1, found.length)))))
    # The frequent sentences are as frequent as they are probable.
    texts, counts = np.unique(tokens, axis=0, return_counts=True)
    frequent = counts > 50
    expected = len(tokens) * np.exp(found.log_probability(texts[frequent]))
    assert frequent.sum() > 10
    assert (np.abs(counts[frequent] - expected) < 4 * np.sqrt(expected)).all()


def test_verbs_agree_with_subjects_and_determiners_with_nouns():
    valid = ["the cat sees two dogs today", "some small small birds sleep", "this horse runs"]
    invalid = [
        "the cat see two dogs",
        "a dogs sleep",
        "the small small small cat runs",
        "the cat sleeps a dog",
        "cat sees a dog",
        "the cat sees",
        "",
        "the cat runs today today",
    ]
    found = sentences()
    assert np.isfinite(found.log_probability(tokens_of(valid))).all()
    assert np.isneginf(found.log_probability(tokens_of(invalid))).all()
    # A sentence without its end is not complete, and nothing follows the end.
    assert np.isneginf(found.log_probability(tokens_of(["the cats run"])[:, :3]))
    late = tokens_of(["the cats run"])
    late[0, 5] = 1
    assert np.isneginf(found.log_probability(late)).all()
    # A determiner, no adjective, a noun, a verb without object, no adverb.
    share = (0.6 * 0.4) * 0.6 * 0.4 * (0.3 * 0.6) * 0.7
    assert np.exp(found.log_probability(tokens_of(["the cat sleeps"]))) == pytest.approx(share)


def test_sentences_are_the_same_everywhere_and_differ_between_splits(data_config):
    train, test = (make_source(data_config(name="grammar", split=s)) for s in ("train", "test"))
    assert lines(train, 2) == [
        "the black black dog hears the horses never",
        "the cat sees some dogs",
    ]
    assert train.fingerprint().startswith("grammar:train:800:11:")
    assert lines(train) != lines(test)
    assert specs.from_json(specs.to_json(train.spec)) == train.spec
    with pytest.raises(ConfigError, match=r"data\.split = 'val' is unknown; accepted: test, train"):
        make_source(data_config(name="grammar", split="val"))
    with pytest.raises(ConfigError, match=r"data\.toy_size = 0"):
        make_source(data_config(name="grammar", toy_size=0))


def test_networks_see_one_hot_vectors_and_make_the_largest():
    source = grammar("train", 40)
    kind, stored = kinds.of(source.field), source.arrays["text"]
    seen = kind.to_network(stored)
    assert (seen.shape, seen.dtype) == ((40, *kind.shape), jnp.float32)
    assert kind.shape == (11, 29)
    np.testing.assert_array_equal(seen.sum(axis=-1), 1.0)
    back = kind.to_stored(0.4 * seen - 2.0)
    assert back.dtype == jnp.int32
    np.testing.assert_array_equal(back, stored)
    drawn = random_arrays(source.spec, 500)["text"]
    assert set(drawn.ravel().tolist()) == set(range(29))


def test_resident_sentences_are_those_streamed():
    source = grammar("train", 40)
    shared = {"seed": 3, "global_batch": 6, "batches_per_step": 1, "steps_per_call": 1}
    got = []
    for resident in (True, False):
        pipe = make_pipeline(source, **shared, resident=resident)
        with pipe.batches(0) as batches:
            calls = list(itertools.islice(batches, 4))
        got.append([jax.tree.map(np.asarray, device.fetch(pipe.data, call)) for call in calls])
    jax.tree.map(np.testing.assert_array_equal, *got)
    assert got[0][0]["text"].shape == (1, 1, 6, 11)


def test_a_text_ends_at_its_first_end_and_its_file_is_one_line():
    kind = kinds.of(specs.text(4, ["\n", "a", "é"]))
    assert kind.lines(np.array([[2, 0, 2, 3], [0, 2, 2, 2], [2, 1, 3, 2]])) == ["a", "", "a\\néa"]
    content = kind.file(np.array([2, 3, 0, 0]))
    assert content == "aé\n".encode()
    assert kind.is_complete(content)
    assert not kind.is_complete(content[:-1])
    assert kind.facts()["vocabulary"].tolist() == ["", "\n", "a", "é"]


@pytest.fixture
def text_source(tmp_path, data_config):
    def make(content, split="all", **options):
        path = tmp_path / "a.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return make_source(data_config(name="text", split=split, path=str(path), text=options))

    return make


def test_lines_of_a_file_are_examples(text_source):
    source = text_source("\ufeffbad \r\n\n  abé\rlonger line\n", length=3)
    assert source.field.vocabulary == ("", "a", "b", "d", "é")
    assert lines(source) == ["bad", "abé"]
    assert source.notes == ("1 of 3 lines are longer than 3 characters, and left out",)
    assert source.read([1])["text"].tolist() == [[1, 2, 4]]
    again = pickle.loads(pickle.dumps(source))
    assert again.fingerprint() == source.fingerprint()


def test_windows_cover_the_file_and_words_are_tokens(text_source):
    source = text_source("ab\ncd\ne", length=3, windows=True)
    assert lines(source) == ["ab\\n", "cd\\n"]
    source = text_source("to be or\nnot to be", length=2, windows=True, tokens="words")
    assert lines(source) == ["to be", "or not", "to be"]
    assert source.field.vocabulary == ("", "be", "not", "or", "to")


def test_rare_tokens_are_replaced_and_reported(text_source):
    source = text_source("aab\nabc\nad", vocabulary=2)
    assert lines(source) == ["aab", f"ab{UNKNOWN}", f"a{UNKNOWN}"]
    assert source.notes == (
        "2 of 4 different characters are replaced by U+FFFD (25.0% of the text)",
    )


def test_every_tenth_example_is_held_out_and_the_vocabulary_is_shared(text_source):
    content = "\n".join("abcdefghijklmnopqrst")
    train, test = (text_source(content, split) for split in ("train", "test"))
    assert lines(test) == ["j", "t"]
    assert sorted(lines(train) + lines(test)) == list("abcdefghijklmnopqrst")
    assert train.spec == test.spec
    assert train.fingerprint() != test.fingerprint()


@pytest.mark.parametrize(
    ("content", "options", "error", "message"),
    [
        (b"good\nb\xe4d\n", {}, DataError, r"is not UTF-8: byte 0xe4 in line 2; accepted: text"),
        (b"", {}, DataError, r"a\.txt has no text; accepted: a line or more"),
        (b" \n\n", {}, DataError, r"has no text"),
        (b"abcde\nabcd", {"length": 3}, DataError, r"length = 3 characters; accepted: 4 or more"),
        (b"ab", {"length": 3, "windows": True}, DataError, r"has 2 characters; .*: 3 or more"),
        (b"a", {"split": "test"}, DataError, r"has 1 examples; .* = 'test': 10 or more"),
        (b"a", {"split": "val"}, ConfigError, r"data\.split = 'val' is unknown; accepted: all, "),
        (b"a", {"tokens": "bytes"}, ConfigError, r"data\.text\.tokens = 'bytes' is unknown"),
        (b"a", {"length": 0}, ConfigError, r"data\.text\.length = 0; accepted: 1 or more"),
        (b"a", {"vocabulary": 0}, ConfigError, r"data\.text\.vocabulary = 0; accepted: 1 or"),
    ],
)
def test_unfit_text_is_refused_in_one_line(text_source, content, options, error, message):
    with pytest.raises(error, match=message) as caught:
        text_source(content, **options)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(data_config, tmp_path):
    with pytest.raises(DataError, match=r"none\.txt \(data\.path\) does not exist"):
        make_source(data_config(name="text", path=str(tmp_path / "none.txt")))
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        make_source(data_config(name="text", path=str(tmp_path)))
    with pytest.raises(ConfigError, match=r"data\.path is not set; accepted for data\.name = 'tex"):
        make_source(data_config(name="text"))
