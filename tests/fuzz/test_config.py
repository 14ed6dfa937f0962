"""Any fields set to anything on the command line: a run can start, or one line says why not."""

import logging
from typing import Any, NamedTuple

import pytest
from absl import flags
from absl import logging as absl_logging
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import config_flags

from configs import base
from experiments import command_line
from gan_jax import errors
from gan_jax.data import sources
from gan_jax.games import registry as games
from gan_jax.losses import adversarial, penalties
from gan_jax.networks import registry
from gan_jax.runs import build, loop, rehearsal
from tests.configs import variants

# ml_collections loads the file by a way that newer Pythons warn of.
pytestmark = pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")

FIELDS = sorted(variants.fields(base.get_config()))
BASES = ("gan.py:smoke", "dcgan.py:smoke", "infogan.py:smoke", "denoise.py:smoke")
EXAMPLES = 30
# What takes memory as soon as it is asked for, is asked for in small numbers.
SMALL = {"data.resolution", "data.toy_size", "data.crop", "train.replicas"}
NAMES = {
    "game.name": [*games.GAMES],
    "generator.name": [*registry.GENERATORS, *registry.TRANSLATORS],
    "discriminator.name": [*registry.DISCRIMINATORS],
    "encoder.name": [*registry.ENCODERS],
    "loss.name": [*adversarial.LOSSES],
    "penalty.name": ["none", *penalties.PENALTIES],
    # Any other would be looked for among those of TFDS, which takes seconds to import.
    "data.name": [*sources.TOYS, "digits", "photos", "folder", "npz"],
}
WHOLE = st.sampled_from([-(2**63), -1, 0, 1, 2, 3, 5, 7, 8, 16, 64, 10**6, 2**31, 2**63]).map(str)
SMALLER = st.sampled_from([-1, 0, 1, 2, 3, 5, 7, 8, 16, 64]).map(str)
BROKEN = st.sampled_from(["0.0", "-1.0", "1e-30", "0.5", "1.0", "1e30", "inf", "-inf", "nan"])
WORDS = st.sampled_from(["", "none", "None", "nonsense", "batch", "true", "False", "ünï", "a,b"])
LISTS = st.sampled_from(["()", "(1,)", "(1, 2)", "(0,)", "(-1, 3)", "('a',)", "[1]", "{1: 1}", "("])
ANYTHING = st.one_of(WHOLE, BROKEN, WORDS, LISTS)


@st.composite
def overrides(draw):
    """Draw a configuration and up to three of its fields, with values of right and wrong types."""
    found = []
    for field in draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3, unique=True)):
        if field in NAMES:
            text = draw(st.sampled_from(NAMES[field]))
        elif field in SMALL:
            text = draw(st.one_of(SMALLER, BROKEN.filter(lambda x: x != "1e30"), WORDS, LISTS))
        else:
            text = draw(ANYTHING)
        found.append(f"--config.{field}={text}")
    return draw(st.sampled_from(BASES)), found


class _Shapes(NamedTuple):
    """A step that is traced as far as its state, and not compiled."""

    state: Any

    def memory_analysis(self):
        return None


def _shapes(training, pipeline):
    return lambda: _Shapes(training.abstract_state)


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Return a function that goes through a start up to what is compiled."""
    level = logging.getLogger("gan_jax").level
    monkeypatch.setattr(build.Training, "lower_step", _shapes)
    monkeypatch.setattr(build.Training, "init_state", lambda _: None)
    monkeypatch.setattr(rehearsal, "rows", lambda *_: [])
    for shown in ("show", "show_parameters"):
        monkeypatch.setattr(rehearsal.plan, shown, lambda *_, **__: None)

    def run(file, options):
        values = flags.FlagValues()
        flags.DEFINE_integer("verbosity", -1, "", flag_values=values)
        argv = ["main", f"--config={variants.FOLDER / file}", *options]
        config_flags.DEFINE_config_file("config", None, "", flag_values=values, sys_argv=argv)
        monkeypatch.setattr(flags, "FLAGS", values)
        command_line._parse(argv)
        config = values["config"].value
        with config.unlocked():
            config.num_devices = 1 if config.num_devices is None else config.num_devices
        loop.train(config, tmp_path, dry_run=rehearsal.DryRun())

    verbosity = absl_logging.get_verbosity()
    yield run
    absl_logging.set_verbosity(verbosity)
    logging.getLogger("gan_jax").setLevel(level)


@pytest.mark.slow
@settings(max_examples=EXAMPLES)
@given(drawn=overrides())
def test_any_fields_with_any_values(start, drawn):
    try:
        start(*drawn)
    except errors.GanJaxError as error:
        message = str(error)
        if not message or "\n" in message:
            pytest.fail(f"not one line: {message!r}")


def test_a_start_without_overrides_is_fine(start):
    for file in BASES:
        start(file, [])
