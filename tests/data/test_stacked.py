"""Stacked digits: which digits they are made of, and their labels."""

import numpy as np
import pytest

from gan_jax.data.sources import make_source
from gan_jax.errors import ConfigError


def test_stacked_digits_are_three_digits_of_their_split(data_config):
    def parts(split):
        source = make_source(data_config(name="stacked_digits", split=split))
        digits = make_source(data_config(split=split))
        kind = {image.tobytes(): k for k, image in enumerate(digits.arrays["image"])}
        stacked = np.moveaxis(source.arrays["image"], -1, 1)
        assert stacked.shape == (800, 3, 16, 16)
        drawn = np.array([[kind[channel.tobytes()] for channel in image] for image in stacked])
        classes = digits.arrays["label"][drawn]
        np.testing.assert_array_equal(source.arrays["label"], classes @ [100, 10, 1])
        assert source.class_names[123] == "123"
        return source, drawn, set(kind)

    train, drawn, digits = parts("train")
    test, _, held_out = parts("test")
    assert not digits & held_out
    assert (train.num_classes, train.modes, train.spec) == (1000, 1000, test.spec)
    # Every digit is as likely in each channel, whatever is in the others.
    assert np.bincount(drawn.ravel() // 250, minlength=6).min() > 330
    assert np.abs(np.corrcoef(drawn.T)[np.triu_indices(3, 1)]).max() < 0.1


def test_stacked_digits_do_not_depend_on_their_number(data_config):
    few, many = (
        make_source(data_config(name="stacked_digits", toy_size=size)) for size in (10, 800)
    )
    np.testing.assert_array_equal(few.arrays["image"], many.arrays["image"][:10])
    with pytest.raises(ConfigError, match=r"data\.channels = 1; accepted: 3"):
        make_source(data_config(name="stacked_digits", channels=1))
    with pytest.raises(ConfigError, match=r"data\.toy_size = 0"):
        make_source(data_config(name="stacked_digits", toy_size=0))
