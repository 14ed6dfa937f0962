"""A comparison says what differs between runs, and puts comparable numbers beside each other."""

import re

import pytest

from gan_jax import errors
from gan_jax.pages import comparison, panels
from gan_jax.report import evaluations
from gan_jax.runs.run import open_run
from tests.pages.directories import PROTOCOL, Page, config, draw, finish, losses, make, started


def compared(*paths):
    return comparison.compare([open_run(path) for path in paths])


def cells(lines):
    return {line.name: line.cells for line in lines}


def evaluated(path, *rows, **protocol):
    for row in rows:
        evaluations.append(path / "eval.jsonl", {**row, "protocol": {**PROTOCOL, **protocol}})
    return path


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    a = make(folder / "a", losses(3), settings=config(train__seed=1))
    changes = {"loss__name": "hinge", "generator__mlp__features": (7, 8), "train__log_every": 77}
    other = config(train__seed=1, **changes)
    b = make(folder / "b", losses(5, every=20), settings=other)
    finish(a, 30)
    started(a, "main.py", commit="0123456789abcdef+")
    draw(a, 30)
    return a, b


def test_fields_that_differ_are_listed_with_both_values(two):
    found = cells(compared(*two).differing)
    assert found == {
        "loss.name": ("non_saturating", "hinge"),
        "generator.mlp.features": (str(config().generator.mlp.features), "(7, 8)"),
        "loss.non_saturating.smoothing": ("0.0", ""),
        "train.log_every": (str(config().train.log_every), "77"),
    }
    # Fields that do not apply to all come last.
    everywhere = [line.everywhere for line in compared(*two).differing]
    assert everywhere == [True, True, True, False]


def test_equal_runs_do_not_differ(two, tmp_path):
    again = make(tmp_path / "again", settings=config(train__seed=1))
    assert compared(two[0], again).differing == []


def test_a_field_that_differs_in_the_third_run_alone_is_listed(two, tmp_path):
    one, other = (make(tmp_path / f"{i}", settings=config(train__seed=i)) for i in (1, 3))
    assert cells(compared(two[0], one, other).differing) == {"train.seed": ("1", "1", "3")}


def test_how_far_the_runs_are(two):
    about = cells(compared(*two).about)
    assert about["state"] == ("done", "")
    assert about["step"] == ("30", "100")
    assert about["kimg"] == ("0.2", "0.8")
    assert about["commit"] == ("0123456789ab+", "")
    assert about["devices"] == ("2 x cpu", "")


def test_results_of_one_protocol_are_beside_each_other(tmp_path):
    a, b = make(tmp_path / "a"), make(tmp_path / "b")
    rows = [
        {"step": 20, "kimg": 0.2, "fid": 4.0, "recall": 0.5, "own": 1.0},
        {"step": 10, "kimg": 0.1, "fid": 3.0, "recall": 0.75, "fid_std": 0.25, "own": 2.0},
    ]
    evaluated(a, *rows)
    evaluated(b, {"step": 5, "kimg": 0.4, "fid": 9.0})
    (one,) = compared(a, b).results
    assert cells(one.lines) == {
        "fid, last": ("4 at 20", "9 at 5"),
        "fid, best": ("3 ± 0.25 at 10", "9 at 5"),
        "recall, last": ("0.5 at 20", ""),
        "recall, best": ("0.75 at 10", ""),
        "own, last": ("1 at 20", ""),
    }
    assert [panel.title for panel in one.panels] == ["fid", "recall", "own"]
    fid = one.panels[0]
    assert [(c.name, c.x.tolist(), c.y.tolist(), c.colour) for c in fid.curves] == [
        ("a", [0.1, 0.2], [3.0, 4.0], 0),
        ("b", [0.4], [9.0], 1),
    ]
    assert compared(a, b).common


def test_the_best_of_runs_that_translate_both_ways_is_that_of_the_mean(tmp_path):
    a, b = make(tmp_path / "a"), make(tmp_path / "b")
    rows = [(1, 5.0, 5.0), (2, 1.0, 20.0), (3, 7.0, 4.0)]
    for name in ("fid", "recall", "kid_standard_error"):
        for step, first, second in rows:
            evaluated(a, {"step": step, name: first, f"{name}_BtoA": second}, of=name)
    evaluated(b, {"step": 9, "fid": 2.0, "fid_std": 0.5, "fid_BtoA": 3.0}, of="fid")
    fid, recall, error = (cells(one.lines) for one in compared(a, b).results)
    assert list(error) == ["kid_standard_error, last", "kid_standard_error_BtoA, last"]
    assert fid == {
        "fid, last": ("7 at 3", "2 ± 0.5 at 9"),
        "fid_BtoA, last": ("4 at 3", "3 at 9"),
        "mean of fid and fid_BtoA, last": ("5.5 at 3", "2.5 at 9"),
        "mean of fid and fid_BtoA, best": ("5 at 1", "2.5 at 9"),
    }
    assert recall["mean of recall and recall_BtoA, best"] == ("10.5 at 2", "")


def test_other_protocols_are_apart(tmp_path):
    a, b, c = (make(tmp_path / name) for name in "abc")
    row = {"step": 1, "fid": 4.0}
    evaluated(a, row, n_fake=1)
    evaluated(a, row, batch_norm="ema")
    evaluated(b, row, batch_norm="standing")
    evaluated(c, row, batch_norm="standing")
    found = compared(a, b, c)
    assert [cells(one.lines)["fid, last"] for one in found.results] == [
        ("", "4 at 1", "4 at 1"),
        ("4 at 1", "", ""),
        ("4 at 1", "", ""),
    ]
    assert found.common
    assert not compared(a, b).common


def test_a_generator_without_batch_normalization_compares(tmp_path):
    a, b, c = (make(tmp_path / name) for name in "abc")
    evaluated(a, {"step": 1, "fid": 4.0}, batch_norm="none")
    evaluated(b, {"step": 1, "fid": 5.0}, batch_norm="ema")
    evaluated(c, {"step": 1, "fid": 6.0}, batch_norm="none", seed=4)
    first, second = compared(a, b, c).results
    assert cells(first.lines)["fid, last"] == ("4 at 1", "5 at 1", "")
    assert cells(second.lines)["fid, last"] == ("", "", "6 at 1")
    assert "batch-norm none or ema" in first.protocol
    evaluated(a, {"step": 1, "fid": 7.0}, batch_norm="ema")
    merged = [cells(one.lines)["fid, last"] for one in compared(a, b).results]
    assert merged == [("7 at 1", "5 at 1"), ("4 at 1", "")]


def test_a_run_has_one_colour_and_a_curve_where_it_has_values():
    rows = [
        [{"step": 1, "kimg": 0.1, "g/loss": 1.0, "d/loss": 2.0}],
        [{"step": 2, "kimg": 0.4, "g/loss": 3.0}],
    ]
    made = comparison.over_each_other(rows, ["one", "two"])
    assert [panel.title for panel in made] == ["d/loss", "g/loss"]
    assert [(c.name, c.colour) for c in made[0].curves] == [("one", 0)]
    assert [(c.name, c.colour, c.x[0]) for c in made[1].curves] == [
        ("one", 0, 0.1),
        ("two", 1, 0.4),
    ]
    del rows[1][0]["kimg"]
    assert {panel.axis for panel in comparison.over_each_other(rows, ["one", "two"])} == {"step"}


def test_names_are_as_short_as_they_can_be(tmp_path):
    paths = [tmp_path / name for name in ("x/a", "x/b")]
    assert comparison.short_names(paths) == ["a", "b"]
    paths = [tmp_path / name for name in ("x/a", "y/a", "y/b")]
    assert comparison.short_names(paths) == ["x/a", "y/a", "y/b"]


def test_too_few_runs_and_one_twice_are_refused(two, tmp_path):
    with pytest.raises(errors.ConfigError, match="accepted: two or more"):
        compared(two[0])
    (tmp_path / "link").symlink_to(two[0])
    with pytest.raises(errors.ConfigError, match="is given twice; accepted: different runs"):
        compared(*two, tmp_path / "link")


def test_the_text_holds_every_value_whole(tmp_path, capsys):
    settings = config(data__name="x" * 100, train__steps=123456)
    a, b = make(tmp_path / "a", settings=settings), make(tmp_path / "b")
    evaluated(a, {"step": 1, "fid": 4.5})
    comparison.show(compared(a, b))
    out = capsys.readouterr().out
    assert re.search(r"train\.steps +123456 +\d+", out)
    assert out.count("x") >= 100
    assert "…" not in out
    assert re.search(r"fid, last +4\.5 at 1 +-", out)
    assert "No two runs were evaluated by one protocol: their numbers do not compare." in out
    assert "note: b: No metrics are recorded yet (metrics.jsonl)." in out


def page(*paths, samples=(), left=()):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    from gan_jax.pages import compare

    return Page(compare.page(compared(*paths), list(samples), list(left)))


def test_the_page_has_the_tables_the_curves_and_the_last_pictures(two):
    found = page(*two, left=["why not"])
    assert found.row("loss.name") == ["non_saturating", "hinge"]
    assert found.row("loss.non_saturating.smoothing") == ["0.0", "\u2013"]
    assert len(found.all("svg")) == 4
    assert [one["alt"] for one in found.all("img")] == ["step 30"]
    text = " ".join(found.text.split())
    for words in ("a and b", "There is none.", "why not", "No run was evaluated."):
        assert words in text
    assert panels.THINNING not in text
    keys = [one["class"] for one in found.all("span") if one.get("class", "").startswith("key ")]
    assert set(keys) == {"key c0 d0", "key c1 d0"}
    for _, attributes in found.elements:
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))


def test_what_is_missing_is_said_with_the_name_of_its_run(tmp_path):
    a, b = make(tmp_path / "a", losses(3)), make(tmp_path / "b", losses(3))
    with (b / "metrics.jsonl").open("a") as file:
        file.write("\nnot a row\n")
    assert "b: 1 line is incomplete or damaged in metrics.jsonl" in page(a, b).text


def test_values_of_runs_are_text_in_the_page(tmp_path):
    bad = '"><script>alert(1)</script>'
    a = make(tmp_path / "<script>x<", [{"step": 1, bad: 2.0}], settings=config(variant=bad))
    evaluated(a, {"step": 1, bad: 2.0}, data=bad)
    started(a, bad, commit=bad)
    found = page(a, make(tmp_path / "b"), left=[bad])
    assert len(found.all("script")) == 1
    assert found.text.count(bad) >= 5


def test_more_runs_than_colours_are_dashed():
    pytest.importorskip("matplotlib")
    from gan_jax.pages import charts

    keys = [charts.key(i) for i in range(3 * charts.COLOURS)]
    assert len(set(keys)) == len(keys)
    assert keys[0] == "c0 d0"
    rows = [[{"step": 1, "x": 1.0}, {"step": 2, "x": float(i)}] for i in range(charts.COLOURS + 1)]
    (panel,) = comparison.over_each_other(rows, list(map(str, range(len(rows)))))
    assert charts.svg(panel).count("stroke-dasharray") == 1
