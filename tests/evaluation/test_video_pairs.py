"""Metrics of predicted videos: which frames they measure, and what is chosen and refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import predict
from gan_jax import errors
from gan_jax.data import sources
from gan_jax.evaluation import evaluators, videos
from gan_jax.evaluation.settings import make_settings
from gan_jax.games.registry import make_game
from gan_jax.training.sampling import make_sampling
from tests.games import stub


def psnr(made, clean):
    error = (made.astype(np.float64) - clean) / 255
    return -10 * np.log10(np.mean(np.square(error), axis=(-3, -2, -1)))


def noisy(frames=3):
    rng = np.random.default_rng(0)
    clean = rng.integers(60, 190, (4, frames, 12, 12, 1), np.uint8)
    noise = rng.normal(0, 1, clean.shape) * np.arange(8, 8 + 4 * frames, 4)[:, None, None, None]
    return np.clip(clean + noise, 0, 255).astype(np.uint8), clean


def test_a_videos_psnr_is_the_mean_of_its_frames():
    made, clean = noisy()
    expected = psnr(made, clean)
    for name, value in {
        "psnr": expected.mean(axis=1),
        "psnr_first": expected[:, 0],
        "psnr_last": expected[:, 2],
    }.items():
        found = videos.pair_values(name, made, clean, 100.0)
        np.testing.assert_allclose(found, value, rtol=1e-5, err_msg=name)
    made[:, 0] = clean[:, 0]
    found = videos.pair_values("psnr", made, clean, 90.0)
    np.testing.assert_allclose(found, (90.0 + expected[:, 1:].sum(axis=1)) / 3, rtol=1e-5)
    assert videos.pair_values("ssim", clean, clean, 100.0) == pytest.approx(np.ones(4))


def config(**changes):
    c = predict.get_config("smoke")
    c.num_devices, c.data.toy_size, c.eval.every = 1, 12, 2
    c.eval.update(metrics=("auto",), num_real=8, batch_size=8)
    c.generator.unet.update(levels=1, features=2, stem=2)
    c.update_from_flattened_dict(changes)
    return c


def evaluator(c):
    source = sources.make_source(c.data)
    game = make_game(c, source.spec, None)
    how = {"devices": jax.devices()[:1], "sampling": make_sampling(c)}
    moment = stub.turn(game, {"video": jnp.zeros((2, 8, 16, 16, 1))})
    made = evaluators.make_evaluator(c, make_settings(c), game=game, source=source, **how)
    return made, moment.variables


def test_an_untrained_residual_is_measured_as_a_copy_of_the_last_given_frame():
    made, variables = evaluator(config())
    (output, found, _), (given, before, _) = made.reference(variables)[0]
    assert (output, given) == ("output", "input")
    assert list(found) == ["psnr", "ssim", "psnr_first", "psnr_last"]
    assert found == pytest.approx(before)
    clean = made._points["video"]
    expected = psnr(np.repeat(clean[:, 3:4], 4, axis=1), clean[:, 4:])
    for name, value in {
        "psnr": expected.mean(),
        "psnr_first": expected[:, 0].mean(),
        "psnr_last": expected[:, 3].mean(),
    }.items():
        assert before[name] == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eval.metrics": ("fid",)}, r"'fid', but these are pairs of videos; accepted: psnr, "),
        ({"eval.metrics": ("si_sdr",)}, r"'si_sdr', but these are pairs of videos"),
        ({"eval.metrics": ("ms_ssim",)}, r"eval\.metrics has 'ms_ssim': "),
        ({"eval.border": 2}, r"eval\.border = 2; accepted: unset, for videos"),
    ],
)
def test_metrics_that_do_not_suit_are_refused(changes, message):
    with pytest.raises(errors.ConfigError, match=message):
        evaluator(config(**changes))
