"""Which run is next, after whatever has happened before."""

import pytest

from gan_jax import errors
from gan_jax.report import evaluations, status
from gan_jax.sweeps import execution, search
from gan_jax.sweeps.agenda import Agenda
from tests.sweeps import fake_config
from tests.sweeps.conftest import make_sweep

DONE = execution.Outcome("done")


def finish(folder, run, value, state="done", metric="fid", **others):
    """Leave behind what a run leaves that ended so."""
    path = folder.run(run.name)
    path.mkdir(parents=True, exist_ok=True)
    row = {"step": 4, metric: value, **others, "protocol": {}}
    evaluations.append(path / evaluations.EVALUATIONS, row)
    status.Status(path).write(state, "")


def take_all(agenda):
    runs = []
    while (run := agenda.next()) is not None:
        runs.append(run)
    return runs


def test_a_grid_hands_out_what_is_not_settled_once(folder):
    sweep = make_sweep(lambda add: fake_config.sweep(add, ""))
    first, second, third, fourth = sweep.runs
    finish(folder, first, 1.0)
    finish(folder, second, 1.0, state="diverged")
    finish(folder, third, 1.0, state="preempted")
    agenda = Agenda(sweep, folder, report=lambda line: None)
    assert (agenda.left, agenda.total) == (2, 4)
    assert take_all(agenda) == [third, fourth]


def test_nothing_is_handed_out_after_a_stop(folder):
    agenda = Agenda(make_sweep(lambda add: fake_config.sweep(add, "")), folder)
    assert agenda.next() is not None
    agenda.stopped = True
    assert agenda.next() is None


def test_a_suggestion_is_recorded_before_it_is_handed_out(folder):
    plan = {"method": "random", "num_samples": 3, "seed": 5}
    agenda = Agenda(make_sweep(search=plan), folder, report=lambda line: None)
    first, second = agenda.next(), agenda.next()
    assert folder.read().runs == [first, second]
    assert [first.name, second.name] == ["trial-0000", "trial-0001"]
    # Killed here: the same runs come first, then the suggestion that would have come.
    finish(folder, second, 1.0)
    again = take_all(Agenda(folder.read(), folder, report=lambda line: None))
    uninterrupted = agenda.next()
    assert again == [first, uninterrupted]
    assert folder.read().runs == [first, second, uninterrupted]


def test_every_seed_of_a_suggestion_counts(folder, monkeypatch):
    asked = []

    def suggest(parameters, trials, **settings):
        asked.append(list(trials))
        return {"rate": 0.5 / (1 + len(trials)), "flip": True}

    monkeypatch.setattr(search, "suggest", suggest)
    plan = {"method": "tpe", "num_samples": 4}
    agenda = Agenda(make_sweep(search=plan, seeds=2), folder, report=lambda line: None)
    a0, a1, b0, b1 = (agenda.next() for _ in range(4))
    assert (a0.name, a1.overrides["train.seed"], b1.group) == (
        "trial-0000_seed=0",
        1,
        "trial-0001",
    )
    finish(folder, a0, 1.0)
    finish(folder, a1, 3.0)
    finish(folder, b0, 1.0)
    c0, c1 = agenda.next(), agenda.next()
    finish(folder, b1, 0.0, state="diverged")
    agenda.end(c0, execution.Outcome("failed", "it broke"))
    agenda.next()
    values = {"rate": 0.5, "flip": True}
    assert asked[2] == [
        search.Trial(values, "done", 2.0),
        search.Trial({**values, "rate": 0.25}, "running"),
    ]
    assert [trial.state for trial in asked[3]] == ["done", "diverged", "failed"]
    assert c1.group == c0.group


def test_a_run_that_translates_both_ways_counts_by_the_mean(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(search, "suggest", lambda _, trials, **__: asked.append(trials) or {})
    plan = {"method": "tpe", "num_samples": 2}
    said = []
    agenda = Agenda(make_sweep(search=plan), folder, report=said.append)
    run = agenda.next()
    finish(folder, run, 1.0, fid_BtoA=4.0)
    agenda.end(run, DONE)
    agenda.next()
    assert said == ["[1/2] trial-0000: done, mean of fid and fid_BtoA 2.5"]
    assert [trial.value for trial in asked[1]] == [2.5]


def test_an_early_stop_is_recorded(folder):
    plan = {"method": "asha", "num_samples": 1}
    message = []
    agenda = Agenda(make_sweep(search=plan), folder, report=message.append)
    run = agenda.next()
    finish(folder, run, 7.5, state="preempted")
    agenda.end(run, None)
    assert message == ["[1/1] trial-0000: stopped early, fid 7.5"]
    after = Agenda(folder.read(), folder)
    assert (after.left, after.next()) == (0, None)


def test_a_metric_that_is_not_measured_ends_a_search(folder):
    plan = {"method": "random", "num_samples": 5}
    agenda = Agenda(make_sweep(search=plan), folder, report=lambda line: None)
    run = agenda.next()
    finish(folder, run, 1.0, metric="kid")
    with pytest.raises(errors.SweepError, match="--metric=fid: trial-0000 was not measured"):
        agenda.end(run, DONE)
