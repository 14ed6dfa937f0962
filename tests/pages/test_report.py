"""A report says what the files of a run say, of any run, and contains nothing that runs."""

import base64
import json
import re

import numpy as np
import pytest

from gan_jax import errors
from gan_jax.data import spec as specs
from gan_jax.data.sources import image_source
from gan_jax.report import evaluations, grids, writers
from gan_jax.runs.run import open_run
from tests.pages.directories import PROTOCOL, Page, config, draw, finish, losses, make, started

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
from gan_jax.pages import panels, pictures, report


def page(path):
    return Page(report.page(open_run(path)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run with everything that a report shows."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    settings = config(train__seed=5, optimizer__generator__learning_rate=0.25)
    make(path, losses(6), settings=settings)
    finish(path, 60)
    for step in (0, 20, 60):
        draw(path, step)
    other = {**PROTOCOL, "weights": "raw"}
    rows = [
        {"step": 40, "kimg": 0.32, "fid": 9.123456789, "fid_std": 0.5, "protocol": PROTOCOL},
        {"step": 20, "kimg": 0.16, "fid": 12.5, "recall": 0.25, "protocol": PROTOCOL},
        {"step": 40, "kimg": 0.32, "fid": 33.0, "protocol": other},
    ]
    for row in rows:
        evaluations.append(path / "eval.jsonl", row)
    best = {"step": 40, "metric": "fid", "value": 9.123456789, "protocol": PROTOCOL}
    (path / "best.json").write_text(json.dumps(best))
    started(path, "/somewhere/experiments/main.py", "--config=configs/gan.py", "--x=a b")
    grids.save_png(path / "neighbours-pixels-step00000060-seed0.png", np.zeros((9, 9), np.uint8))
    grids.save_png(path / "slerp-step00000060-seed0.png", np.zeros((5, 5), np.uint8))
    return path, page(path)


def test_numbers_are_those_of_the_files(whole):
    path, found = whole
    rows = writers.read_rows(path / "metrics.jsonl")
    for name in ("discriminator/loss", "generator/loss", "discriminator/fake_score"):
        values = [row[name] for row in rows]
        assert found.titles(name) == [values[-1], min(values), max(values)]
        least, most = np.argmin(values), np.argmax(values)
        cells = found.row(name)
        assert cells[2::2] == [str(rows[least]["step"]), str(rows[most]["step"])]
        assert float(cells[0]) == pytest.approx(values[-1], rel=1e-3)


def test_evaluations_are_grouped_by_protocol_in_the_order_of_steps(whole):
    _, found = whole
    measured = [row for row in found.rows if row[0][1].split()[:1] in (["20"], ["40"])]
    texts = [[" ".join(text.split()) for _, text in row] for row in measured]
    assert texts == [
        ["20", "0.16", "12.5", "0.25"],
        ["40 best", "0.32", "9.123 ± 0.5", ""],
        ["40", "0.32", "33"],
    ]
    assert measured[1][2][0]["title"] == "9.123456789"
    assert "50 generated against 20 of set:train:20; weights ema" in found.text
    assert "weights raw" in found.text
    assert "Only numbers of equal protocols are comparable." in found.text
    best = [attributes for attributes in found.all("tr") if attributes.get("class") == "best"]
    assert len(best) == 1


def test_pictures_are_the_files_in_the_order_of_steps(whole):
    path, found = whole
    images = found.all("img")
    contents = [base64.b64decode(one["src"].partition(",")[2]) for one in images]
    names = [
        *("samples/00000000.png", "samples/00000020.png", "samples/00000060.png"),
        *("neighbours-pixels-step00000060-seed0.png", "slerp-step00000060-seed0.png"),
    ]
    assert contents == [(path / name).read_bytes() for name in names]
    labels = ["step 0", "step 20, 0.2 kimg", "step 60, 0.5 kimg"]
    assert [one["alt"] for one in images[:3]] == labels
    assert [(one["width"], one["height"]) for one in images[3:]] == [("9", "9"), ("5", "5")]
    (slider,) = found.all("input")
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "2", "2")


def test_changed_fields_are_beside_their_defaults(whole):
    _, found = whole
    assert found.row("train.seed") == ["5", "0"]
    assert found.row("optimizer.generator.learning_rate") == ["0.25", "0.0002"]
    assert found.row("generator.mlp.features")[0].endswith(")")
    # The value of a field at its default alone.
    assert found.row("game.name") == ["adversarial"]


def test_headline_environment_and_command(whole):
    _, found = whole
    text = " ".join(found.text.split())
    for words in ("state done", "step 60 of 60", "best fid 9.123 at step 40", "20 examples"):
        assert words in text
    assert "python -m experiments.main --config=configs/gan.py '--x=a b'" in found.text
    assert "It ran from commit abc123." in text
    assert found.row("packages") == ["jax 0.10.2, grain None"]
    assert found.row("field image") == ["image, 8x8x1, uint8"]
    assert found.row("field label") == ["label, one number, int32, 2 classes (0, 1)"]
    assert "Notes" not in found.text


def test_a_page_needs_no_other_file_and_no_network(whole):
    _, found = whole
    for _, attributes in found.elements:
        for name in ("src", "href", "xlink:href", "action", "srcset", "data", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))
    assert not {"link", "iframe", "object", "form", "base"} & {tag for tag, _ in found.elements}
    raw = report.page(open_run(whole[0]))
    assert "@import" not in raw
    assert all(place.startswith("#") for place in re.findall(r"url\(([^)]*)", raw))
    (policy,) = [a["content"] for a in found.all("meta") if "http-equiv" in a]
    assert policy.startswith("default-src 'none'; img-src data:;")
    anchors = {a["href"] for a in found.all("a")}
    assert anchors <= {f"#{a['id']}" for a in found.all("section") if "id" in a}


def test_a_run_in_progress_has_a_report(tmp_path):
    found = page(make(tmp_path / "young"))
    text = " ".join(found.text.split())
    for words in (
        "No metrics are recorded yet (metrics.jsonl).",
        "The starts of the run are not recorded (environment.json).",
        "There are no pictures of samples.",
        "The run was not evaluated.",
        "They were not computed: python -m experiments.report --run=DIR --neighbours=5",
        "state unknown",
    ):
        assert words in text
    assert found.all("svg") == found.all("img") == []


def test_what_is_damaged_is_left_out_and_said(tmp_path):
    path = make(tmp_path / "run", losses(3))
    with (path / "metrics.jsonl").open("a") as file:
        file.write('\nnot a row\n{"step": 40, "discriminator/loss": "Infinity", "x": "text"}\n')
        file.write('{"step": Infinity}\n{"step": 50, "discriminator/lo')
    (path / "eval.jsonl").write_text('{"step": 1, "protocol": {"seed": 1}, "fid": 2.5}\n{"st')
    (path / "status.json").write_text("{")
    (path / "best.json").write_text("[]")
    (path / "environment.json").write_text('{"argv": 1')
    draw(path, 10)
    draw(path, 20)
    file = path / "samples" / "00000020.png"
    file.write_bytes(file.read_bytes()[:-5])
    found = page(path)
    for words in (
        "3 lines are incomplete or damaged in metrics.jsonl, and left out.",
        "1 line is incomplete or damaged in eval.jsonl, and left out.",
        "status.json",
        "best.json is damaged",
        "environment.json is damaged",
        "00000020.png is no complete PNG file and is left out.",
        "1 value is not finite and not drawn",
        '{"seed": 1}.',
    ):
        assert words in found.text
    assert [one["alt"] for one in found.all("img")] == ["step 10, 0.1 kimg"]
    assert found.row("discriminator/loss")[0] == "inf"
    assert found.row("1") == ["", "2.5"]


def test_of_many_pictures_some_are_shown_with_the_first_and_the_last(tmp_path):
    path = make(tmp_path / "run")
    for step in range(100, 200):
        draw(path, step)
    found = page(path)
    labels = [one["alt"] for one in found.all("img")]
    assert len(labels) == pictures.MOST
    assert (labels[0], labels[-1]) == ("step 100", "step 199")
    assert "24 of 100 pictures of samples are shown" in found.text


def test_large_pictures_are_shown_as_far_as_they_fit(tmp_path):
    files = [tmp_path / f"{i}" for i in range(10)]
    for file in files:
        file.write_bytes(b"12345")
    assert pictures.spread(files, budget=26) == [files[i] for i in (0, 2, 4, 7, 9)]
    assert pictures.spread(files, budget=1) == [files[0], files[9]]
    assert pictures.spread(files[:1], budget=1) == files[:1]
    assert pictures.spread([]) == []


def test_thinning_is_said_where_it_happens(tmp_path, whole):
    assert panels.THINNING not in whole[1].text
    found = page(make(tmp_path / "long", losses(panels.MOST_POINTS + 1)))
    assert panels.THINNING in found.text


def test_values_of_a_run_are_text_in_the_page(tmp_path):
    bad = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    path = tmp_path / "<script>alert(0)<"
    rows = [{"step": 1, "kimg": 0.1, f"{bad}/loss": 1.0, bad: 2.0}]
    make(path, rows, settings=config(variant=bad))
    row = {"step": 1, bad: 1.0, "protocol": {**PROTOCOL, "data": bad, bad: bad}}
    evaluations.append(path / "eval.jsonl", row)
    status = {"state": "failed", "reason": bad, "step": bad, "total_steps": bad}
    (path / "status.json").write_text(json.dumps(status))
    (path / "best.json").write_text(
        json.dumps({"step": 1, "metric": bad, "value": bad, "protocol": bad})
    )
    started(path, bad, bad, commit=bad)
    (path / "origin.json").write_text(json.dumps({"run": bad, "step": bad}))
    grids.save_png(path / "neighbours-<b>.png", np.zeros((2, 2), np.uint8))
    (path / "samples").mkdir()
    (path / "samples" / "00000001.txt").write_text(bad)
    found = page(path)
    assert len(found.all("script")) == 1
    assert [one["alt"] for one in found.all("img")] == ["neighbours-<b>.png"]
    assert not [a for _, a in found.elements if any(name.startswith("on") for name in a)]
    assert not found.all("b") or all(not a for a in found.all("b"))
    assert found.text.count(bad) >= 10
    assert "<script>alert(0)<: report" in found.text


def test_samples_of_text_are_shown_as_text(tmp_path):
    path = make(tmp_path / "run")
    (path / "samples").mkdir()
    (path / "samples" / "00000005.txt").write_text("one\ntwo & three\n")
    (path / "samples" / "00000009.txt").write_text("x" * 30_000)
    found = page(path)
    assert "one\ntwo & three\n" in found.text
    assert "(10000 characters more)" in found.text
    assert "step 5" in found.text


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"audio": specs.Field("audio", (64,), "float32", sample_rate=8000)}, "holds no sound"),
        ({"video": specs.Field("video", (2, 4, 4, 1), "uint8")}, "holds no video"),
        ({"music": specs.music((16, 12), 60)}, "Piano rolls"),
        (specs.pairs((4, 4, 3)), "Of the same latents or inputs"),
        (specs.points(), "red, over real ones"),
        ({"text": specs.text(4, ["a", "b"])}, "2 tokens"),
    ],
)
def test_runs_of_every_kind_have_a_report(tmp_path, spec, words):
    path = make(tmp_path / "run", losses(2))
    draw(path, 20)
    record = json.loads((path / "data.json").read_text()) | {"spec": specs.to_json(spec)}
    (path / "data.json").write_text(json.dumps(record))
    assert words in " ".join(page(path).text.split())


def test_a_run_with_a_part_of_its_own_asks_for_its_file(tmp_path):
    path = make(tmp_path / "run")
    record = json.loads((path / "config.json").read_text())
    record["loss"]["name"] = "mine"
    (path / "config.json").write_text(json.dumps(record))
    with pytest.raises(errors.ConfigError, match=r"loss\.name = 'mine' is unknown.*--import=FILE"):
        page(path)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["/x/experiments/main.py", "--a=1"], "python -m experiments.main --a=1"),
        (["my_run.py", "a;b"], "python my_run.py 'a;b'"),
        (["gan-jax", "train", "--a=1"], "gan-jax train --a=1"),
        ([], "The command is not recorded."),
    ],
)
def test_commands_are_as_they_are_typed(tmp_path, argv, words):
    path = make(tmp_path / "run")
    started(path, *argv, commit="abc+")
    found = page(path)
    assert words in found.text
    assert "commit abc with local changes" in " ".join(found.text.split())


def test_names_of_many_classes_are_cut(tmp_path):
    data = image_source("set", "train", np.zeros((30, 4, 4, 1), np.uint8), np.arange(30))
    found = page(make(tmp_path / "run", data=data))
    assert "30 classes (0, 1, 2" in found.row("field label")[0]
    assert found.row("field label")[0].endswith("19, ...)")


def test_the_report_changes_nothing_in_the_run(whole):
    path, _ = whole
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    page(path)
    assert before == {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_a_directory_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(errors.WorkdirError, match="is no run directory"):
        page(tmp_path)
