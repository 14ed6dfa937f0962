"""Restoration of image files through a run: holes, degraded images, their scores, and grids."""

import dataclasses
import json
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from gan_jax import errors
from gan_jax.data import device
from gan_jax.data.degrade import Degradation, Degraded
from gan_jax.games import draws
from gan_jax.games.translation import Direction
from gan_jax.inference.translate_request import Request
from gan_jax.inference.translate_run import translate
from tests.inference.convolver import COLOURED, GREY, HOLES, PLAIN, Torn, expected, make_run
from tests.inference.pictures import agree, colour, pixels, save


@dataclasses.dataclass(frozen=True)
class Noisy(Degradation):
    """Adds noise, and keeps every ``factor``-th pixel; refuses very small images."""

    name: ClassVar[str] = "noisy"
    sigma: float = 0.2
    factor: int = 1

    @property
    def scale(self):
        return self.factor

    def check(self, shape):
        if min(shape[:2]) < 2:
            raise errors.ConfigError("degrade.name = 'noisy' with images that are too small")

    def of_one(self, key, image):
        noise = self.sigma * jax.random.normal(key, image.shape)
        return Degraded((image + noise)[:: self.factor, :: self.factor], None)


def test_transparent_pixels_are_holes_and_the_others_stay(tmp_path):
    run = make_run(HOLES, Torn(fill=0.5))
    array = colour(21, 30)
    alpha = np.full((21, 30), 255, np.uint8)
    alpha[5:15, 8:20], alpha[0, 0] = 0, 254
    image = Image.fromarray(array)
    image.putalpha(Image.fromarray(alpha))
    path = save(tmp_path / "a.png", image)
    known = alpha == 255
    wanted = expected(array, HOLES, known, fill=0.5)
    for tile in (512, 16):
        ask = Request(run, path, tmp_path / "out", tile=tile, overlap=8, overwrite=True)
        translate(ask)
        found = pixels(tmp_path / "out" / "a.png")
        assert found.shape == (21, 30, 3)
        np.testing.assert_array_equal(found[known], array[known])
        agree(found, wanted)
    assert (wanted[~known] != array[~known]).mean() > 0.9


def test_masks_may_be_files_and_hide_what_is_below(tmp_path):
    run = make_run(HOLES, Torn())
    arrays = {"a.png": colour(9, 9), "sub/b.jpg": colour(12, 10)}
    for name, array in arrays.items():
        save(tmp_path / "in" / name, array)
        mask = np.zeros(array.shape[:2], np.uint8)
        mask[2:7, 3:6] = 255
        save((tmp_path / "masks" / name).with_suffix(".webp"), mask, lossless=True)
    ask = Request(run, tmp_path / "in", tmp_path / "out", mask=tmp_path / "masks")
    assert len(translate(ask).outputs) == 2
    for name in arrays:
        seen = pixels(tmp_path / "in" / name)
        known = np.ones(seen.shape[:2], bool)
        known[2:7, 3:6] = False
        found = pixels((tmp_path / "out" / name).with_suffix(".png"))
        np.testing.assert_array_equal(found[known], seen[known])
        agree(found, expected(seen, HOLES, known, fill=-1.0))


def test_one_mask_is_for_all_of_its_size(tmp_path, capsys):
    run = make_run(HOLES, Torn())
    save(tmp_path / "in" / "a.png", colour(9, 9))
    save(tmp_path / "in" / "b.png", colour(9, 8))
    hole = np.zeros((9, 9), np.uint8)
    hole[:6] = 1
    mask = save(tmp_path / "mask.png", hole)
    summary = translate(Request(run, tmp_path / "in", tmp_path / "out", mask=mask))
    assert list(summary.outputs) == ["a.png"]
    assert summary.text.endswith(
        "; holes are 67% of the pixels (--invert_mask, if the masks are white elsewhere)"
    )
    assert summary.failures == {"b.png": f"has 9x8 pixels, its mask {mask} 9x9"}


def test_an_image_without_a_hole_fails_beside_others_that_have_one(tmp_path):
    run = make_run(HOLES, Torn())
    save(tmp_path / "in" / "a.png", colour(9, 9))
    save(tmp_path / "in" / "opaque.png", colour(9, 9), mode="RGBA")
    torn = Image.fromarray(colour(9, 9))
    torn.putalpha(Image.fromarray(np.where(np.eye(9), 0, 255).astype(np.uint8)))
    save(tmp_path / "in" / "b.png", torn)
    save(tmp_path / "in" / "gone.png", Image.new("RGBA", (9, 9)))
    summary = translate(Request(run, tmp_path / "in", tmp_path / "out"))
    assert list(summary.outputs) == ["b.png"]
    assert "no transparency" in summary.failures.pop("a.png")
    assert summary.failures == {"gone.png": "is a hole everywhere", "opaque.png": "has no hole"}


def test_inputs_that_all_fail_have_no_mean(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    out = tmp_path / "out"
    summary = translate(Request(make_run(PLAIN, Torn()), tmp_path / "a.png", out, degrade=True))
    assert summary.text == (
        f"translated 0 of 1 image (AtoB) at step 4: {out}; all failed; reasons in scores.json"
    )
    record = json.loads((out / "scores.json").read_text())
    assert (record["images"], record["failures"]) == ({}, {"a.png": "is not an image"})
    assert record["protocol"]["count"] == 0
    assert "mean" not in record


def degraded_by_hand(degradation, array, number, seed):
    key = jax.random.fold_in(draws.named(jax.random.key(seed), "degrade"), number)
    return degradation(key[None], device.to_float(jnp.asarray(array))[None]).input


@pytest.mark.slow
def test_degraded_images_are_restored_and_scored(tmp_path):
    factor = border = 2
    degradation = Noisy(factor=factor)
    direction = Direction(3, 3, 2, scale=factor)
    run = make_run(direction, degradation)
    arrays = {"a.png": colour(33, 31), "b.png": colour(33, 31)}
    for name, array in arrays.items():
        save(tmp_path / "in" / name, array)
    out = tmp_path / "out"
    summary = translate(Request(run, tmp_path / "in", out, degrade=True, seed=5))
    assert "; scores in scores.json" in summary.text
    record = json.loads((out / "scores.json").read_text())
    for number, (name, array) in enumerate(arrays.items()):
        height, width = (side // factor * factor for side in array.shape[:2])
        clean = array[:height, :width]
        noisy = degraded_by_hand(degradation, clean, number, 5)
        variables = {"generator": {"params": {"gain": 1.0}}}
        around = ((0, 0), (0, -noisy.shape[1] % 2), (0, -noisy.shape[2] % 2), (0, 0))
        padded = jnp.pad(noisy, around, mode="reflect")
        made = device.to_uint8(run.game.translate(variables, padded, "AtoB"))
        found = pixels(out / name)
        agree(found, np.asarray(made)[0, :height, :width])
        start = Image.fromarray(np.asarray(device.to_uint8(noisy))[0])
        start = np.array(start.resize((width, height), Image.Resampling.BICUBIC))
        inner = np.s_[border : height - border, border : width - border]
        scores = summary.scores[name]
        assert record["images"][name] == scores
        for prefix, image in (("", found), ("input_", start)):
            one, other = image[inner], clean[inner]
            how = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
            psnr = peak_signal_noise_ratio(other, one, data_range=255)
            assert scores[f"{prefix}psnr"] == pytest.approx(psnr, rel=1e-5)
            ssim = structural_similarity(one, other, data_range=255, channel_axis=2, **how)
            # Scikit-image leaves out the same border as ours: windows that lie in the image.
            assert scores[f"{prefix}ssim"] == pytest.approx(ssim, abs=1e-5)
            one, other = (rgb2ycbcr(x)[..., 0] for x in (one, other))
            psnr = peak_signal_noise_ratio(other, one, data_range=255)
            assert scores[f"{prefix}psnr_y"] == pytest.approx(psnr, rel=1e-5)
            ssim = structural_similarity(one, other, data_range=255, **how)
            assert scores[f"{prefix}ssim_y"] == pytest.approx(ssim, abs=1e-5)
    for name, value in summary.mean.items():
        assert value == pytest.approx(np.mean([s[name] for s in summary.scores.values()]))
    protocol = record["protocol"]
    assert protocol["degradation"] == {"name": "noisy", "sigma": 0.2, "factor": factor}
    assert (protocol["step"], protocol["weights"], protocol["border"]) == (4, "ema", border)
    assert (protocol["seed"], protocol["count"], protocol["variant"]) == (5, 2, "convolver")
    table = summary.table().splitlines()
    assert [line.split()[0] for line in table[1:]] == ["a.png", "b.png", "mean"]
    assert f"{summary.mean['psnr']:.2f} ({summary.mean['input_psnr']:.2f})" in table[3]


def test_grey_images_have_no_luminance_and_small_ones_no_ssim(tmp_path):
    run = make_run(
        COLOURED, dataclasses.make_dataclass("Drained", [], bases=(_Drained,), frozen=True)()
    )
    save(tmp_path / "in" / "a.png", colour(9, 30))
    save(tmp_path / "in" / "b.png", np.zeros((1, 30, 3), np.uint8))
    summary = translate(Request(run, tmp_path / "in", tmp_path / "out", degrade=True, border=2))
    # What is left of a 9x30 image within the border has a PSNR; of 1x30 nothing is.
    grey = np.array(Image.fromarray(pixels(tmp_path / "in" / "a.png")).convert("RGB"))
    scores = summary.scores["a.png"]
    shown = np.asarray(device.to_uint8(_Drained().grey(device.to_float(jnp.asarray(grey)))))
    start, target = (x[2:-2, 2:-2] for x in (shown.repeat(3, 2), grey))
    psnr = peak_signal_noise_ratio(target, start, data_range=255)
    assert scores["input_psnr"] == pytest.approx(psnr, rel=1e-5)
    assert scores["ssim"] is scores["input_ssim"] is scores["ssim_y"] is None
    assert set(summary.scores["b.png"].values()) == {None}
    assert summary.mean["psnr"] == scores["psnr"]
    assert " - (-)" in summary.table()
    run = make_run(GREY, Noisy())
    ask = Request(run, tmp_path / "in", tmp_path / "grey", degrade=True)
    summary = translate(ask)
    assert set(summary.mean) == {"psnr", "ssim", "input_psnr", "input_ssim"}
    assert summary.failures == {"b.png": "degrade.name = 'noisy' with images that are too small"}


@dataclasses.dataclass(frozen=True)
class _Drained(Degradation):
    """The mean of the colours."""

    name: ClassVar[str] = "drained"

    def inputs(self, channels):
        return 1

    def grey(self, image):
        return image.mean(2, keepdims=True)

    def of_one(self, key, image):
        return Degraded(self.grey(image), None)


def test_what_is_restored_perfectly_has_an_infinite_psnr(tmp_path):
    # All is known but the left half, and that is what the network makes of black: grey.
    run = make_run(HOLES, Torn(fill=0.0))
    grey = np.full((32, 32, 3), 100, np.uint8)
    path = save(tmp_path / "a.png", grey)
    summary = translate(Request(run, path, tmp_path / "out", degrade=True))
    found = pixels(tmp_path / "out" / "a.png")
    np.testing.assert_array_equal(found[:, 16:], grey[:, 16:])
    assert summary.scores["a.png"]["psnr"] < 100
    run = make_run(HOLES, _Whole())
    ask = Request(run, path, tmp_path / "whole", degrade=True)
    assert translate(ask).scores["a.png"]["psnr"] == float("inf")
    record = json.loads((tmp_path / "whole" / "scores.json").read_text())
    assert record["mean"]["psnr"] == record["images"]["a.png"]["input_psnr"] == "inf"


class _Whole(Torn):
    """Nothing is gone."""

    def of_one(self, key, image):
        return Degraded(image, jnp.ones((*image.shape[:2], 1), jnp.float32))


@pytest.mark.slow
def test_a_grid_shows_inputs_outputs_and_targets(tmp_path):
    run = make_run(PLAIN, Noisy())
    folder, grid = tmp_path / "in", tmp_path / "grid.png"
    arrays = [colour(40, 50), colour(40, 40)]
    for i, array in enumerate(arrays):
        save(folder / f"{i}.png", array)
    summary = translate(Request(run, folder, tmp_path / "out", grid=grid))
    assert summary.text.endswith(f"; 2 of them, the middle square of each scaled to 40x40: {grid}")
    # Two rows of two tiles and lines of two pixels, to the right of the rows' names.
    shown = pixels(grid)[:, -(2 * 42 + 2) :]
    assert shown.shape == (2 * 42 + 2, 2 * 42 + 2, 3)
    np.testing.assert_array_equal(shown[2:42, 2:42], arrays[0][:, 5:45])
    np.testing.assert_array_equal(shown[2:42, 44:84], arrays[1])
    np.testing.assert_array_equal(shown[44:84, 44:84], pixels(tmp_path / "out" / "1.png"))
    ask = Request(run, folder, tmp_path / "again", grid=grid, degrade=True, overwrite=True)
    translate(ask)
    shown = pixels(grid)[:, -(2 * 42 + 2) :]
    assert shown.shape == (3 * 42 + 2, 2 * 42 + 2, 3)
    np.testing.assert_array_equal(shown[86:126, 44:84], arrays[1])
    noisy = device.to_uint8(degraded_by_hand(Noisy(), arrays[1], 1, 0))
    np.testing.assert_array_equal(shown[2:42, 44:84], np.asarray(noisy)[0])


def test_a_grid_shows_holes_and_no_more_than_eight_images(tmp_path):
    run = make_run(HOLES, Torn())
    for i in range(11):
        save(tmp_path / "in" / f"{i:02d}.png", np.full((32, 32 + i, 3), 20 * i, np.uint8))
    mask = np.zeros((32, 42), np.uint8)
    for i in range(11):
        mask[:, :] = 0
        mask[10:20] = 255
        save(tmp_path / "masks" / f"{i:02d}.png", mask[:, : 32 + i])
    grid = tmp_path / "grid.png"
    translate(Request(run, tmp_path / "in", tmp_path / "out", mask=tmp_path / "masks", grid=grid))
    shown = pixels(grid)[:, -(8 * 34 + 2) :]
    assert shown.shape == (2 * 34 + 2, 8 * 34 + 2, 3)
    for i in range(8):
        tile = shown[2:34, 2 + 34 * i : 34 + 34 * i]
        assert (tile[:10] == 20 * i).all()
        assert (tile[10:20] == 128).all()
