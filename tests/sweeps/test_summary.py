"""The table: means over seeds, ranks, and protocols that are never mixed."""

import csv
import dataclasses
import io
import json

import pytest

from gan_jax.report import evaluations, lock, status
from gan_jax.sweeps import summary, tables
from gan_jax.sweeps.definition import Run
from gan_jax.sweeps.summary import Spread, State
from tests.sweeps.conftest import make_sweep

ONE, OTHER = {"n_fake": 8, "x": {"weights": "a" * 40}}, {"n_fake": 9, "x": {"weights": "a" * 40}}


def lower_is_better(metric):
    return {"fid": True, "is": False}.get(metric)


def state(group, seed, values, *, how="done", protocol=ONE, metric="fid", seconds=30.0):
    rows = [
        {"step": 10 * i, "kimg": i, metric: value, f"{metric}_std": 9.0, "protocol": protocol}
        for i, value in enumerate(values, 1)
    ]
    run = Run(f"{group}_seed={seed}", group, {"rate": float(len(group)), "train.seed": seed})
    return State(run, how, "" if how == "done" else "why", 10 * len(rows), seconds, 1, rows)


def summarise(*states, metric=None):
    return summary.summarise(states, metric, lower_is_better)


def test_a_group_is_mean_and_deviation_of_its_seeds():
    found = summarise(state("a", 0, [5.0, 2.0, 3.0]), state("a", 1, [9.0, 4.0, 7.0]))
    (table,) = found.tables
    (line,) = table.lines
    assert line.last == {"fid": Spread(5.0, pytest.approx(8**0.5))}
    assert line.best == {"fid": Spread(3.0, pytest.approx(2**0.5))}
    assert (line.rank, line.seeds, line.steps, line.seconds) == (1, 2, (30, 30), 60.0)
    assert line.states == {"done": 2}
    assert line.overrides == {"rate": 1.0}


def test_one_seed_has_no_deviation():
    (table,) = summarise(state("a", 0, [5.0])).tables
    assert table.lines[0].last == {"fid": Spread(5.0, None)}
    assert tables.as_markdown(summarise(state("a", 0, [5.0]))).count("±") == 1  # In the note.


@pytest.mark.parametrize(("metric", "order"), [("fid", ["b", "a", "c"]), ("is", ["a", "b", "c"])])
def test_the_better_side_is_that_of_the_metric(metric, order):
    states = [state("a", 0, [3.0], metric=metric), state("b", 0, [2.0], metric=metric)]
    states.append(state("c", 0, [9.0 if metric == "fid" else 1.0], metric=metric))
    (table,) = summarise(*states).tables
    assert [line.group for line in table.lines] == order
    assert [line.rank for line in table.lines] == [1, 2, 3]


def test_equal_numbers_have_equal_ranks():
    states = [state(name, 0, [value]) for name, value in zip("abc", (2.0, 1.0, 1.0), strict=True)]
    (table,) = summarise(*states).tables
    assert [(li.group, li.rank) for li in table.lines] == [("b", 1), ("c", 1), ("a", 3)]


@pytest.mark.parametrize("how", ["diverged", "failed", "preempted", "running", "stopped"])
def test_a_group_with_a_hole_is_shown_and_not_ranked(how):
    holed = [state("holed", 0, [0.1]), state("holed", 1, [0.1], how=how)]
    found = summarise(*holed, state("whole", 0, [5.0]))
    (table,) = found.tables
    assert [(li.group, li.rank) for li in table.lines] == [("whole", 1), ("holed", None)]
    assert f"1 done, 1 {how}" in tables.as_markdown(found)


def test_a_seed_that_was_not_measured_is_a_hole():
    found = summarise(state("a", 0, [0.1]), state("a", 1, []), state("b", 0, [5.0]))
    assert [(li.group, li.rank) for li in found.tables[0].lines] == [("b", 1), ("a", None)]


def test_numbers_of_two_protocols_never_share_a_table():
    states = [state("a", 0, [5.0]), state("b", 0, [1.0], protocol=OTHER), state("c", 0, [6.0])]
    # One run that was measured by both, as by a later evaluation of its checkpoint.
    states.append(state("d", 0, [7.0, 8.0]))
    states[-1].rows[-1]["protocol"] = OTHER
    found = summarise(*states)
    assert [[li.group for li in table.lines] for table in found.tables] == [
        ["a", "c", "d"],
        ["b", "d"],
    ]
    assert found.tables[0].lines[2].last["fid"].mean == 7.0
    assert found.tables[1].lines[1].last["fid"].mean == 8.0
    text = tables.as_markdown(found)
    first, second = (table.identity for table in found.tables)
    assert first != second
    assert f"Protocol {first}: n_fake 8; x.weights aaaaaaaaaaaa..." in text
    assert f"Not comparable with protocol {first}: n_fake differ." in text


def test_seeds_of_two_protocols_are_no_group():
    found = summarise(state("a", 0, [5.0]), state("a", 1, [1.0], protocol=OTHER))
    assert [table.lines[0].seeds for table in found.tables] == [1, 1]
    assert [table.lines[0].rank for table in found.tables] == [None, None]


def test_the_last_word_on_a_step_counts():
    one = state("a", 0, [5.0, 2.0])
    one.rows[1]["step"] = 10
    (table,) = summarise(one).tables
    assert table.lines[0].last["fid"].mean == 2.0


def test_the_metric_that_is_asked_for_ranks_and_comes_first():
    rows = [{"step": 1, "fid": 1.0, "is": 2.0, "other": 3.0, "protocol": ONE}]
    one = State(Run("a", "a", {}), "done", rows=rows)
    assert summarise(one).tables[0].metric == "fid"
    table = summarise(one, metric="is").tables[0]
    assert (table.metric, list(table.lines[0].last)) == ("is", ["is", "fid", "other"])
    assert "other" not in table.lines[0].best  # Nobody knows which side is better.
    found = summarise(one, metric="kid")
    assert found.tables == []
    assert "No run has been measured by kid; measured: fid, is, other." in tables.as_markdown(found)


def both_ways(group, *pairs):
    rows = [
        {"step": i, "is": 1.0, "fid": first, "fid_BtoA": second, "protocol": ONE}
        for i, (first, second) in enumerate(pairs)
    ]
    return State(Run(group, group, {}), "done", rows=rows)


def test_runs_that_translate_both_ways_are_ranked_by_the_mean():
    # By the first direction alone, or by the second, "b" is not the first one.
    states = [both_ways("a", (1.0, 9.0)), both_ways("b", (6.0, 1.0), (2.0, 3.0), (3.0, 4.0))]
    states.append(both_ways("c", (9.0, 2.0)))
    found = summarise(*states, metric="fid")
    (table,) = found.tables
    words = "mean of fid and fid_BtoA"
    assert table.metric == words
    assert [(li.group, li.rank, li.last[words].mean) for li in table.lines] == [
        ("b", 1, 3.5),
        ("a", 2, 5.0),
        ("c", 3, 5.5),
    ]
    assert list(table.lines[0].last) == [words, "is", "fid", "fid_BtoA"]
    assert (table.lines[0].last["fid_BtoA"].mean, table.lines[0].best[words].mean) == (4.0, 2.5)
    (first, *_) = csv.DictReader(io.StringIO(tables.as_csv(found)))
    assert (first["ranked_by"], first[f"{words}_last"], first["fid_last"]) == (words, "3.5", "3.0")
    assert f"| rank | run | {words} | its best | is | fid | fid_BtoA |" in tables.as_markdown(found)


def test_without_measurements_nothing_is_ranked():
    found = summarise(state("a", 0, []), state("b", 0, [], how="failed"))
    assert found.tables == []
    text = tables.as_markdown(found)
    assert "No run has been measured, so nothing is ranked" in text
    assert "b_seed=0: failed at step 0: why" in text


def test_csv_has_every_number_in_full():
    found = summarise(
        state("a", 0, [5.0, 1 / 3]), state("a", 1, [2 / 3]), state("b", 0, [], how="failed")
    )
    rows = list(csv.DictReader(io.StringIO(tables.as_csv(found))))
    assert [row["group"] for row in rows] == ["a", "b"]
    assert float(rows[0]["fid_last"]) == 0.5
    assert float(rows[0]["fid_last_std"]) == pytest.approx(1 / 18**0.5)
    assert json.loads(rows[0]["protocol_in_full"]) == ONE
    assert (rows[0]["rate"], rows[0]["first_step"], rows[0]["last_step"]) == ("1.0", "10", "20")
    assert (rows[1]["fid_last"], rows[1]["states"], rows[1]["rank"]) == ("", "failed", "")


def test_the_table_in_a_terminal_is_whole(capsys):
    tables.show(summarise(state("a" * 90, 0, [1234.5]), state("b", 0, [], how="diverged")))
    out = capsys.readouterr().out
    assert "a" * 90 + "  " in out
    assert "1234" in out
    assert "b_seed=0: diverged at step 0: why" in out


def test_how_a_run_stands_is_read_from_what_it_has_left(folder):
    names = ["waiting", "done", "killed", "refused", "stopped", "lost"]
    sweep = make_sweep(lambda add: [add(n, rate=i + 2.0) for i, n in enumerate(names)])
    for name, word in [("done", "done"), ("killed", "running"), ("stopped", "preempted")]:
        folder.run(name).mkdir(parents=True)
        status.Status(folder.run(name)).write(word, "", 3)
    (folder.path / "logs").mkdir()
    attempt(folder, "refused", "1", seconds=2.0, state="refused", reason="no such loss")
    with folder.attempts("refused").open("a") as file:
        file.write('{"cut')
    folder.run("lost").mkdir()
    (folder.run("lost") / "status.json").write_text("{")
    (folder.run("done") / evaluations.EVALUATIONS).write_text("{")
    states = {s.run.name: s for s in summary.look(sweep.stopping("stopped"), folder)}
    assert {name: (s.state, s.reason) for name, s in states.items()} == {
        "waiting": ("waiting", ""),
        "done": ("done", ""),
        "killed": ("failed", "it was killed"),
        "refused": ("failed", "no such loss"),
        "stopped": ("stopped", "early, by the search"),
        "lost": ("waiting", ""),
    }
    assert (states["refused"].seconds, states["refused"].attempts) == (2.0, 1)
    assert states["killed"].step == 3


def attempt(folder, name, started, **ended):
    row = {"started": started, "pid": 7, "host": "a", **ended}
    folder.attempts(name).parent.mkdir(parents=True, exist_ok=True)
    evaluations.append(folder.attempts(name), row)


def test_an_earlier_attempt_says_nothing_of_a_later_one(folder):
    names = ["removed", "saved", "cut_off"]
    sweep = make_sweep(lambda add: [add(n, rate=i + 2.0) for i, n in enumerate(names)])
    # Its directory was removed, to have it made again.
    attempt(folder, "removed", "1", seconds=3.0, state="done", reason="")
    # The sweep was killed during their second attempts: the one saved, the other could not.
    for name, word in [("saved", "preempted"), ("cut_off", "running")]:
        attempt(folder, name, "1", seconds=3.0, state="failed", reason="the disk is full")
        attempt(folder, name, "2")
        folder.run(name).mkdir(parents=True)
        status.Status(folder.run(name)).write(word, "SIGTERM", 3)
    states = {s.run.name: s for s in summary.look(sweep, folder)}
    assert {name: (s.state, s.reason) for name, s in states.items()} == {
        "removed": ("waiting", ""),
        "saved": ("preempted", "SIGTERM"),
        "cut_off": ("failed", "it was killed"),
    }
    assert (states["saved"].attempts, states["saved"].seconds) == (2, 3.0)


def test_runs_that_are_no_longer_defined_are_in_no_group():
    old = [
        dataclasses.replace(state("a", seed, [value]), defined=False)
        for seed, value in ((0, 5.0), (1, 9.0))
    ]
    waiting = dataclasses.replace(state("a", 2, [], how="waiting"), defined=False)
    found = summarise(*old, waiting, state("a", 3, [5.0]), state("b", 0, [6.0]))
    (table,) = found.tables
    assert [(li.group, li.rank, li.seeds) for li in table.lines] == [("a", 1, 1), ("b", 2, 1)]
    assert table.lines[0].last["fid"] == Spread(5.0, None)
    text = tables.as_markdown(found)
    assert "no longer defined, so left out: a_seed=0, a_seed=1." in text
    assert "have not been started" not in text
    assert "a_seed=0" not in tables.as_csv(found)


def test_a_run_that_is_going_on_is_running(folder):
    sweep = make_sweep(lambda add: add("one"))
    folder.run("one").mkdir(parents=True)
    held = lock.acquire(folder.run("one"))
    status.Status(folder.run("one")).write("running", "")
    assert summary.look(sweep, folder)[0].state == "running"
    held.release()
