"""What a specification says of the data."""

import pytest

from gan_jax.data import spec as specs
from gan_jax.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "expected"), [("cat", 0), ("2", 1), ("1", 1), (2, 2), ("10", 2), (0, 0)]
)
def test_a_class_is_found_by_its_name_or_else_by_its_number(name, expected):
    assert specs.class_number(("cat", "2", "10"), name, "label") == expected


@pytest.mark.parametrize(("name", "accepted"), [("dog", "0, 1, 10, 2, cat"), (3, "0 to 2")])
def test_an_unknown_class_is_named(name, accepted):
    with pytest.raises(ConfigError, match=rf"label = {name!r}.*; accepted: {accepted}"):
        specs.class_number(("cat", "2", "10"), name, "label")
