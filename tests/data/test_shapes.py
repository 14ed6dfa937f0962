"""Captions, and the source of pictures of shapes that have them."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.data import attributes, captions, kinds
from gan_jax.data.sources import make_source
from gan_jax.data.sources.shapes import (
    COMBINATIONS,
    FACTORS,
    factors,
    is_held_out,
    render,
    shapes,
)
from gan_jax.errors import ConfigError

FIELD = shapes("train", 1).spec["label"]


def asked(*texts):
    return np.stack([captions.tokens(FIELD, text) for text in texts])


def test_combinations_held_out_are_in_the_test_split_alone():
    held_out = COMBINATIONS[is_held_out(COMBINATIONS)]
    assert len(held_out) == 12
    # Every value is held out as often as the others of its factor.
    for column, count in zip(held_out.T, (2, 4, 4, 3), strict=True):
        np.testing.assert_array_equal(np.bincount(column), [12 // count] * count)
    for split, present in (("train", 84), ("test", 96)):
        source = shapes(split, 300)
        values = factors(FIELD, source.arrays["label"])
        assert len(np.unique(values, axis=0)) == present
        assert is_held_out(values).any() == (split == "test")


def test_a_picture_is_what_its_caption_says():
    still = np.zeros(len(COMBINATIONS))
    pictures = render(COMBINATIONS, radius=still, column=still, row=still).astype(float)
    coverage = np.abs(pictures - 80.0).max(axis=3)
    coverage /= coverage.max(axis=(1, 2), keepdims=True)
    columns = (coverage.sum(axis=1) @ np.arange(16)) / coverage.sum(axis=(1, 2))
    colours = [
        picture[part == 1].mean(axis=0) for picture, part in zip(pictures, coverage, strict=True)
    ]
    widths = (coverage.max(axis=1) > 0).sum(axis=1)
    for values, width, column, (red, green, blue) in zip(
        COMBINATIONS, widths, columns, colours, strict=True
    ):
        size, colour, form, place = (
            words[value][0] for words, value in zip(FACTORS.values(), values, strict=True)
        )
        assert (width > 7) == (size == "large"), (form, width)
        assert abs(column - {"left": 4.5, "centre": 7.5, "right": 10.5}[place]) < 1e-3
        brightest = {"red": red, "green": green, "blue": blue, "yellow": min(red, green)}
        others = {"yellow": [blue]}.get(
            colour, [brightest[k] for k in ("red", "green", "blue") if k != colour]
        )
        assert brightest[colour] > 2 * max(others)
    # Of their bounding squares a square fills all, and a triangle is wider below.
    form = COMBINATIONS[:, 2]
    filled = (coverage > 0.5).sum(axis=2)
    for mask, expected in ((form == 1, 0), (form == 3, 1)):
        above, below = filled[mask][:, :8].sum(1), filled[mask][:, 8:].sum(1)
        assert ((below > above) == expected).all()


def test_pictures_do_not_depend_on_how_many_are_drawn_at_a_time(monkeypatch):
    found = shapes("train", 10).arrays["image"]
    monkeypatch.setattr(sys.modules[shapes.__module__], "_TOGETHER", 3)
    np.testing.assert_array_equal(shapes("train", 10).arrays["image"], found)


def test_pictures_stay_those_of_earlier_versions():
    """Runs are continued, and compared, on the same data: values of commit 302a581."""
    found = shapes("train", 12).arrays["image"][[0, 11], 8, :, 0].astype(int)
    grey, red, green = [80], [220], [50]
    expected = [
        5 * grey + [171] + 3 * red + [198] + 6 * grey,
        5 * grey + [76] + 4 * green + [65] + 5 * grey,
    ]
    np.testing.assert_allclose(found, expected, atol=1)


def test_larger_pictures_show_the_same_in_more_pixels(data_config):
    small = make_source(data_config(name="shapes", toy_size=96)).arrays
    source = make_source(data_config(name="shapes", toy_size=96, resolution=32))
    assert source.spec["image"].shape == (32, 32, 3)
    np.testing.assert_array_equal(source.arrays["label"], small["label"])
    means = source.arrays["image"].reshape(96, 16, 2, 16, 2, 3).mean((2, 4))
    difference = np.abs(means - small["image"])
    assert difference.mean() < 1.5
    # An edge is sharper, and in the same place.
    assert difference.max() < 45
    for side in (15, (32, 32)):
        with pytest.raises(
            ConfigError, match=r"data\.resolution = .*; accepted: a whole number, 16"
        ):
            make_source(data_config(name="shapes", resolution=side))


def test_captions_have_several_phrasings_and_agree_with_the_factors_of_their_pictures():
    source = shapes("train", 2000)
    lines = kinds.of(FIELD).lines(source.arrays["label"])
    assert len(set(lines)) > 500
    assert {line.split()[0] for line in lines[:84]} >= {"a", "the", "at"}
    values = factors(FIELD, source.arrays["label"])
    present = COMBINATIONS[~is_held_out(COMBINATIONS)]
    np.testing.assert_array_equal(values, present[np.arange(2000) % 84])
    for line, each in zip(lines[:84], values, strict=False):
        for words, value in zip(FACTORS.values(), each, strict=True):
            assert sum(word in line.split() for word in words[value]) == 1


def test_captions_agree_whatever_their_words_and_order():
    first = asked("a small red cross left", "a small red cross left", "a small red cross left")
    second = asked(
        "Left, a plus which is TINY and crimson.", "the red cross left", "a small red cross right"
    )
    np.testing.assert_array_equal(captions.agree(FIELD, first, second), [True, False, False])
    np.testing.assert_array_equal(captions.agree(FIELD, second, first), [True, False, False])
    # Neither words that mean nothing nor the end of a text make a difference.
    field = captions.field(2, {"the": 0, "red": 1}, np.zeros((1, 2), np.int32))
    assert captions.agree(field, np.array([2, 2]), np.array([2, 0]))
    assert captions.agree(field, np.array([2, 2]), np.array([1, 2]))


def test_captions_that_cannot_be_read_are_refused():
    with pytest.raises(ConfigError, match=r"unknown word 'purple'; accepted: a, and, at, azure"):
        captions.tokens(FIELD, "a small purple cross left")
    with pytest.raises(ConfigError, match='Did you mean "cross"'):
        captions.tokens(FIELD, "a small red crosss left")
    with pytest.raises(ConfigError, match="has 10 words; accepted: 1 to 9"):
        captions.tokens(FIELD, "red " * 10)
    with pytest.raises(ConfigError, match="has 0 words"):
        attributes.asked(FIELD, " . ")


def test_a_caption_that_is_asked_for_comes_back_as_its_words():
    text = "a small red cross left"
    tokens = attributes.asked(FIELD, text)
    assert (tokens.shape, tokens.dtype) == ((1, 9), np.int32)
    kind = kinds.of(FIELD)
    assert kind.lines(tokens) == [text]
    np.testing.assert_array_equal(kind.to_network(jnp.asarray(tokens)), tokens)


def test_splits_differ_and_mistakes_are_named(data_config):
    train, test = (make_source(data_config(name="shapes", split=s)) for s in ("train", "test"))
    assert train.fingerprint().startswith("shapes:train:800:16x16x3:")
    assert train.spec == train.spec | {"label": train.spec["label"]}
    assert (train.read([0])["image"] != test.read([0])["image"]).any()
    with pytest.raises(ConfigError, match=r"data\.split = 'val'"):
        make_source(data_config(name="shapes", split="val"))
    with pytest.raises(ConfigError, match=r"data\.toy_size = 0; accepted: 1 or more"):
        make_source(data_config(name="shapes", toy_size=0))
