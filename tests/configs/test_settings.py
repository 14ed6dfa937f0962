"""From the parameters and docstrings of entries to groups of a configuration, and back."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import pytest

from gan_jax import settings
from gan_jax.errors import ConfigError
from gan_jax.settings import Group


class Wide(nn.Module):
    """A network.

    Attributes:
      shape: of its output.
      latent_dim: size of its input.
      widths: of its layers.
    """

    TINY: ClassVar[dict[str, int]] = {"widths": 4}

    shape: tuple[int, ...]
    latent_dim: int = 10
    widths: tuple[int, ...] = (8, 2)
    num_classes: int | None = None


def narrow(*, axis_name: str | None = None, rate: float | None = None) -> dict[str, object]:
    """A function.

    Args:
      axis_name: given.
      rate: a number that
        may be unset.
    """
    return {"axis_name": axis_name, "rate": rate}


@dataclasses.dataclass(frozen=True)
class Term:
    """A term.

    Attributes:
      weight: of the term.
      decay: of its average.
    """

    weight: float = 0.0
    decay: float = 0.9


CHOICES = {"wide": Wide, "narrow": narrow}
CHOICE = Group(Term, CHOICES, "wide", shared=("latent_dim",))


def test_a_group_has_the_settings_of_its_entries():
    assert settings.create(CHOICE).to_dict() == {
        "name": "wide",
        "weight": 0.0,
        "decay": 0.9,
        "latent_dim": 10,
        "wide": {"widths": (8, 2)},
        "narrow": {"rate": None},
    }


def test_only_fields_of_what_is_chosen_apply():
    config = settings.create(CHOICE)
    paths = [field.path for field in settings.walk(CHOICE, config, "net.")]
    expected = ["net.name", "net.weight", "net.decay", "net.latent_dim", "net.wide.widths"]
    assert paths == expected
    assert "narrow" not in settings.chosen(CHOICE, config)
    config.name = "narrow"
    *_, last = settings.walk(CHOICE, config, "net.")
    assert (last.path, last.meaning) == ("net.narrow.rate", "a number that may be unset.")
    assert last.accepted == "a number, or None"
    assert "latent_dim" not in [field.name for field in settings.walk(CHOICE, config)]
    config.name = "wild"
    with pytest.raises(ConfigError, match=r"net\.name = 'wild' is unknown; .* \"wide\""):
        list(settings.walk(CHOICE, config, "net."))


def test_a_group_without_a_name_has_all_entries_and_hides_those_that_are_off():
    group = Group(choices={"one": Term, "two": Term})
    config = settings.create(group)
    config.two.weight = 0.5
    paths = [field.path for field in settings.walk(group, config)]
    assert paths == ["one.weight", "two.weight", "two.decay"]


def test_arguments_are_those_of_the_chosen_entry():
    config = settings.create(CHOICE)
    config.wide.widths = [3, 3]
    module = settings.build(
        CHOICES, "net", "wide", **settings.options(config, Wide), shape=(2,), axis_name="data"
    )
    assert module == Wide((2,), 10, (3, 3))
    config.name = "narrow"
    assert settings.options(config, narrow) == {}
    assert settings.build(CHOICES, "net", "narrow", axis_name="data")["axis_name"] == "data"
    with pytest.raises(ConfigError, match=r"net\.narrow\.rat = 1 is unknown; accepted: rate\. Did"):
        settings.build(CHOICES, "net", "narrow", rat=1)


def test_smoke_bounds_settings_one_by_one():
    config = settings.create(CHOICE)
    settings.shrink(CHOICE, config)
    assert config.wide.widths == (4, 2)
    assert config.latent_dim == 10
