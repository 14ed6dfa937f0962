"""Evaluation of a run that restores images, while it trains and when it has ended."""

import pytest

from gan_jax import errors
from gan_jax.data import sources
from gan_jax.evaluation import best, translation
from gan_jax.inference import sample_request
from gan_jax.report import evaluations
from gan_jax.runs import loop
from gan_jax.runs.run import open_run
from gan_jax.runs.run_evaluation import RunEvaluator
from tests.training import tiny
from tests.training.images import with_stubs


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a run that removes noise from digits, and its configuration."""
    path = tmp_path_factory.mktemp("runs") / "denoise"
    config = tiny.paired_config()
    config.num_devices = 1
    config.degrade.name = "gaussian"
    config.game.paired.update(adversarial_weight=0.0, pixel="l1")
    config.generator.unet.update(levels=1, output="residual", normalization="none")
    config.generator.unet.dropout_levels = 0
    config.ema.half_life = 50.0
    config.train.update(steps=6, log_every=2, sample_every=6, checkpoint_every=3, keep_latest=1)
    config.eval.update(every=1, split="test", best="psnr")
    loop.train(config, path)
    return path, config


@pytest.mark.slow
def test_the_best_checkpoint_is_that_of_the_highest_psnr(trained):
    path, config = trained
    rows = evaluations.read(path / evaluations.EVALUATIONS)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    values = {row["step"]: row["psnr"] for row in rows}
    assert len(set(values.values())) == 6
    found = best.read(path)
    assert (found.metric, found.step) == ("psnr", max(values, key=values.get))
    assert found.value == max(values.values())
    assert open_run(path).state("best").step == found.step
    # Measured on the split held out, of the moving averages.
    changed = config.data.copy_and_resolve_references()
    changed.split = "test"
    protocol = rows[0]["protocol"]
    assert protocol["data"] == sources.make_source(changed).fingerprint()
    assert (protocol["weights"], protocol["n_real"]) == ("ema", 32)


@pytest.mark.slow
def test_the_best_checkpoint_is_that_of_the_mean_of_both_directions(
    tmp_path, monkeypatch, quarters
):
    # From step 1 to 2 the first direction improves, and the mean does not.
    found = iter([(5.0, 5.0), (1.0, 20.0)])

    def measure(self, variables, seed):
        return dict(zip(("quarters_fid", "quarters_fid_BtoA"), next(found), strict=True))

    monkeypatch.setattr(translation.TranslationEvaluator, "_measure", measure)
    config = with_stubs(tiny.cycle_config(), monkeypatch)
    config.num_devices = 1
    config.train.update(steps=2, log_every=2, sample_every=2, checkpoint_every=2, keep_latest=1)
    config.eval.update(every=1, metrics=("quarters_fid",), num_real=8)
    loop.train(config, tmp_path)
    chosen = best.read(tmp_path)
    words = "mean of quarters_fid and quarters_fid_BtoA"
    assert (chosen.step, chosen.metric, chosen.value) == (1, words, 5.0)
    assert open_run(tmp_path).steps == [1, 2]


@pytest.mark.slow
def test_a_finished_run_is_evaluated_alike(trained, capsys):
    path, _ = trained
    during = evaluations.read(path / evaluations.EVALUATIONS)[5]
    opened = open_run(path)
    run = RunEvaluator(opened, changes={}, data={})
    row = run.record(6, reference=True)
    assert row["protocol"] == during["protocol"]
    assert row["psnr"] == pytest.approx(during["psnr"], abs=1e-3)
    out = capsys.readouterr().out
    assert "psnr" in out
    assert "output" in out
    assert "input" in out
    assert f"32 of {sources.make_source(opened.config.data).fingerprint()[:6]}" in out
    raw = opened.evaluate(step=6, average=False)
    assert raw.protocol["weights"] == "raw"
    assert raw.values["psnr"] != row["psnr"]
    with pytest.raises(errors.ConfigError, match=r"sample\.batch_norm = 'standing'"):
        RunEvaluator(opened, changes={}, data={}, batch_norm="standing")


def test_a_run_that_translates_makes_no_samples(trained, tmp_path):
    path, _ = trained
    with pytest.raises(
        errors.ConfigError,
        match=r"^python -m experiments\.sample is .*see python -m experiments\.trans",
    ) as e:
        sample_request.Request(open_run(path), out=tmp_path / "x.png")
    assert "\n" not in str(e.value)
