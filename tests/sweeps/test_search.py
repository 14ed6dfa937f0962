"""Spaces, and what is suggested from them."""

import importlib.util
import math

import pytest

from gan_jax import errors
from gan_jax.sweeps import search, space
from tests.sweeps import fake_config

needs_optuna = pytest.mark.skipif(
    importlib.util.find_spec("optuna") is None, reason="Optuna is not installed (extra: sweep)"
)


def collect(describe, common=()):
    return space.collect(describe, fake_config.get_config(), common)


def all_kinds(s):
    s.uniform("clip", 0, 1)
    s.log_uniform("rate", 1e-4, 1.0)
    s.integers("train.steps", 1, 3)
    s.choice("policy", [("a",), ("b", "c")])


@pytest.mark.parametrize(
    ("describe", "message"),
    [
        (lambda s: s.uniform("rat", 0.0, 1.0), 'rat is not a field. Did you mean "rate"?'),
        (lambda s: s.uniform("rate", 1.0, 1.0), "uniform from 1.0 to 1.0; accepted"),
        (lambda s: s.log_uniform("rate", 0.0, 1.0), "accepted: low < high and above 0"),
        (lambda s: s.uniform("train.steps", 1, 3), "accepted for this field: integers, choice"),
        (lambda s: s.integers("rate", 1, 3), "accepted for this field: uniform, log_uniform"),
        (lambda s: s.uniform("mode", "a", "b"), "accepted for this field: choice"),
        (lambda s: s.uniform("flip", False, True), "accepted for this field: choice"),
        (lambda s: s.choice("mode", ["a", "a"]), "accepted: two or more that differ"),
        (lambda s: s.choice("mode", ["a", 1]), "mode = 1; accepted: str"),
        (lambda s: (s.uniform("rate", 0, 1), s.choice("rate", [1, 2])), "rate is named twice"),
        (lambda s: s.integers("train.seed", 0, 5), "--seeds=N repeats every run"),
        (lambda s: None, "search(space) has added no field"),
    ],
)
def test_a_space_that_cannot_be_is_reported(describe, message):
    with pytest.raises(errors.ConfigError) as error:
        collect(describe)
    assert message in str(error.value)


def test_random_suggestions_are_inside_spread_and_the_same_again():
    parameters = collect(all_kinds)
    tried: list[search.Trial] = []
    for _ in range(200):
        values = search.suggest(parameters, tried, method="random", lower_is_better=True, seed=1)
        tried.append(search.Trial(values, "running"))
    assert {trial.values["train.steps"] for trial in tried} == {1, 2, 3}
    assert {tuple(trial.values["policy"]) for trial in tried} == {("a",), ("b", "c")}
    logs = sorted(math.log10(trial.values["rate"]) for trial in tried)
    assert -4 <= logs[0] < -3.8
    assert -0.2 < logs[-1] <= 0
    assert abs(logs[100] + 2) < 0.5  # Even in the logarithm.
    # The number of a suggestion is all that it depends on, so a search can go on.
    again = search.suggest(parameters, tried[:7], method="random", lower_is_better=False, seed=1)
    assert again == tried[7].values
    other = search.suggest(parameters, tried[:7], method="random", lower_is_better=True, seed=2)
    assert other != again


@needs_optuna
@pytest.mark.parametrize("lower", [True, False])
def test_the_model_finds_the_better_side(lower):
    parameters = collect(all_kinds)
    tried: list[search.Trial] = []
    for number in range(40):
        values = search.suggest(parameters, tried, method="tpe", lower_is_better=lower, seed=3)
        loss = (math.log10(values["rate"]) + 2) ** 2 + (values["policy"] == ["a"])
        state = "running" if number == 11 else "failed" if number == 12 else "done"
        value = (loss if lower else -loss) if state == "done" else None
        tried.append(search.Trial(values, state, value))
    late = [(math.log10(t.values["rate"]) + 2) ** 2 for t in tried[25:]]
    early = [(math.log10(t.values["rate"]) + 2) ** 2 for t in tried[:10]]
    assert sum(late) / len(late) < 0.5 * sum(early) / len(early)
    assert sum(t.values["policy"] == ["b", "c"] for t in tried[25:]) > 11
    again = search.suggest(parameters, tried[:20], method="tpe", lower_is_better=lower, seed=3)
    assert again == tried[20].values


@needs_optuna
def test_the_model_avoids_where_runs_diverge():
    parameters = collect(lambda s: s.uniform("rate", 0.0, 1.0))
    tried: list[search.Trial] = []
    for _ in range(40):
        values = search.suggest(parameters, tried, method="tpe", lower_is_better=True, seed=0)
        bad = values["rate"] > 0.3
        # All that do not diverge are equally good.
        tried.append(search.Trial(values, "diverged" if bad else "done", None if bad else 1.0))
    assert sum(trial.state == "diverged" for trial in tried[15:]) <= 12  # of 25; blindly 17
