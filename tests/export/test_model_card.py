"""Model cards: what they say of a run, its data and its scores."""

import hashlib

import jax

from gan_jax.export import model_card
from gan_jax.export.computations import Computation, Input
from gan_jax.report import evaluations
from gan_jax.runs.run import open_run
from tests.pages.directories import PROTOCOL, config, losses, make, started


def evaluated(path, step, protocol, **values):
    row = {"step": step, "kimg": 0.1, **values, "protocol": protocol}
    evaluations.append(path / evaluations.EVALUATIONS, row)


def made(path):
    """Make the directory of a run that was evaluated by two protocols."""
    settings = config(data__path="/home/someone/photographs", loss__name="hinge")
    make(path, losses(4), settings=settings)
    started(path, "main.py")
    evaluated(path, 20, PROTOCOL, fid=12.0, fid_std=0.5)
    evaluated(path, 40, PROTOCOL, fid=9.0)
    evaluated(path, 20, {**PROTOCOL, "seed": 4}, kid=0.25)
    return open_run(path)


def test_a_card_says_what_the_files_are_made_of(tmp_path):
    run = made(tmp_path / "my_run")
    file = tmp_path / "generator.stablehlo"
    file.write_bytes(b"content")
    meaning = "classes: 0 a|b"
    inputs = (
        Input("z", "batch, 3", "float32", "latents"),
        Input("label", "batch", "int32", meaning),
    )
    computation = Computation("generator", inputs, "images in [-1, 1]", jax.numpy.tanh)
    card = model_card.card(run, 20, [model_card.File(file, "StableHLO", computation)], "CC0")
    digest = hashlib.sha256(b"content").hexdigest()
    assert card.startswith("# my_run\n\nThis model makes synthetic images.")
    for row in (
        "| licence | CC0 |",
        "| train step | 20 |",
        "| commit of the training | abc123 |",
        f"| `generator.stablehlo` | StableHLO | 7 | {digest} |",
        r"| `label` | `int32 [batch]` | classes: 0 a\|b |",
        "made = generator.call(z, label)",
        "| name | set |",
        "| examples | 20 |",
        "| train step | fid |\n| --- | --- |\n| 20 | 12 ± 0.5 |\n\n",
        "| train step | kid |\n| --- | --- |\n| 20 | 0.25 |\n\n",
        "| `loss.name` | `hinge` | `non_saturating` |",
        "| `data.path` | `photographs` |",
        "It has learned from the 20 examples",
    ):
        assert row in card, row
    assert "someone" not in card


def test_without_an_evaluation_of_the_step_the_newest_is_given(tmp_path):
    run = made(tmp_path / "run")
    card = model_card.card(run, 30, [], "not stated")
    assert "| 40 | 9 |" in card
    assert "| licence | not stated |" in card


def test_a_run_that_was_not_evaluated_says_so(tmp_path):
    run = open_run(make(tmp_path / "run"))
    assert "The run was not evaluated." in model_card.card(run, 4, [], "not stated")
