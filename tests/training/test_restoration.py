"""That restoration restores, and that anomalies are found: short runs against known bounds."""

import pytest

from configs import denoise, ganomaly, inpaint, srgan
from gan_jax.evaluation import evaluators
from gan_jax.evaluation.settings import make_settings
from gan_jax.runs import loop
from gan_jax.runs.run import open_run
from tests.real_data import find

pytestmark = pytest.mark.exhaustive


def results(config, path, steps):
    """Train some steps; return the metrics of the outputs, and of the inputs."""
    config.num_devices = 1
    config.train.update(steps=steps, log_every=steps, sample_every=steps, checkpoint_every=steps)
    config.eval.every = 0
    assert loop.train(config, path).state == "done"
    run = open_run(path)
    evaluator = evaluators.make_evaluator(
        run.config,
        make_settings(run.config, num_real=64),
        game=run.game,
        source=run.source(),
        devices=None,
        sampling=run.sampling(),
    )
    columns, _ = evaluator.reference(run.variables())
    return [values for _, values, _ in columns]


def small(config):
    """Make the squares smaller, and so the run shorter."""
    config.data.update(resolution=48, crop=32)
    return config


def test_denoising_gains_on_held_out_photographs(tmp_path):
    config = small(denoise.get_config())
    config.generator.unet.update(levels=2, features=16)
    config.discriminator.patchgan.update(features=8, layers=1)
    output, noisy = results(config, tmp_path, 80)
    # That of a standard deviation of 25 is 20.2 dB; clipping makes it a little less noisy.
    assert 20.0 < noisy["psnr"] < 22.0
    assert output["psnr"] > noisy["psnr"] + 3.0
    assert output["ssim"] > noisy["ssim"]


def test_super_resolution_beats_bicubic_on_held_out_photographs(tmp_path):
    config = small(srgan.get_config())
    # What is held out of the embedded photographs is out of focus, or sky: there is little to gain.
    config.data.update(name="folder", path=str(find("bsds500.zip")))
    config.eval.split = "val"
    output, bicubic = results(config, tmp_path, 250)
    assert output["psnr_y"] > bicubic["psnr_y"] + 0.2
    assert output["ssim_y"] > bicubic["ssim_y"]


def test_holes_are_filled_better_than_by_grey(tmp_path):
    output, torn = results(small(inpaint.get_config()), tmp_path, 150)
    assert output["psnr"] > torn["psnr"] + 3.0


def test_a_digit_never_seen_is_an_anomaly(tmp_path):
    config = ganomaly.get_config()
    for network in (config.encoder, config.generator, config.discriminator):
        network.dcgan.features = 16
    (scores,) = results(config, tmp_path, 120)
    assert scores["auroc"] > 0.75
    assert scores["average_precision"] > 0.2  # A tenth of the digits are.
