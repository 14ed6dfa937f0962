"""The toy table has a row per loss and a column per penalty; what diverges is shown."""

import math

import pytest

from gan_jax.losses.adversarial import LOSSES
from gan_jax.losses.penalties import PENALTIES
from scripts import toy_table


def test_the_script_prints_a_markdown_table(capsys, monkeypatch):
    measured = []

    def measure(config, seeds):
        measured.append((config.loss.name, config.penalty.name, config.train.steps, len(seeds)))
        return [{"modes": 8.0, "high_quality": 0.5}]

    monkeypatch.setattr(toy_table, "measure", measure)
    arguments = ["--steps=3", "--seeds=2", "--only=hinge", "--penalty=r1", "--penalty=none"]
    assert toy_table.main([*arguments, "--penalty=clipping"]) == 0
    # In the order of the registries, whatever that of the arguments; clipping is not for the hinge.
    assert measured == [("hinge", "none", 3, 2), ("hinge", "r1", 3, 2)]
    assert capsys.readouterr().out.splitlines() == [
        "| loss | none | clipping | r1 |",
        "| --- | --- | --- | --- |",
        "| `hinge` | 8 / 0.50 | - | 8 / 0.50 |",
    ]


def test_every_loss_and_penalty_has_a_cell():
    cells = toy_table.combinations()
    assert len(cells) == len(set(cells)) == len(LOSSES) * (1 + len(PENALTIES)) + 1
    assert {cell for cell in cells if "clipping" in cell} == {("wasserstein", "clipping")}


@pytest.mark.parametrize(
    ("loss", "penalty"), [("wasserstein", "clipping"), ("hinge", "none"), ("minimax", "r2")]
)
def test_a_cell_trains_what_it_is_named_after(loss, penalty):
    config = toy_table.make_config(loss, penalty, 10, weight=0.25)
    assert config.loss.name == loss
    assert (config.game.clip is not None) == (penalty == "clipping")
    assert config.penalty.name == (penalty if penalty in PENALTIES else "none")
    assert penalty not in PENALTIES or config.penalty.weight == 0.25


@pytest.mark.slow
def test_seeds_differ_and_repeat():
    config = toy_table.make_config("hinge", "none", 1)
    config.generator.mlp.features = config.discriminator.mlp.features = (4,)
    first, second, again = toy_table.measure(config, [0, 1, 0])
    assert first == again
    assert first != second


def test_a_cell_is_the_mean_over_seeds_or_reports_divergence():
    good, poor = {"modes": 8.0, "high_quality": 0.5}, {"modes": 7.0, "high_quality": 0.25}
    lost = {"modes": math.nan, "high_quality": math.nan}
    assert toy_table.format_cell([good]) == "8 / 0.50"
    assert toy_table.format_cell([good, poor]) == "7.5 / 0.38"
    assert toy_table.format_cell([good, lost, poor]) == "diverged (1 of 3)"


@pytest.mark.parametrize("argument", ["--steps=0", "--seeds=0"])
def test_a_mistake_is_reported(argument, capsys):
    arguments = [argument, "--only=hinge", "--penalty=none"]
    if argument == "--seeds=0":
        with pytest.raises(SystemExit):
            toy_table.main(arguments)
    else:
        assert toy_table.main(arguments) == 1
    error = capsys.readouterr().err
    assert argument.split("=")[0].lstrip("-") in error
    assert "accepted: 1 or more" in error
