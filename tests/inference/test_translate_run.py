"""Image files through a run: what is written, scored and shown, and what is refused or reported."""

import dataclasses
import json
import zipfile
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
from gan_jax.inference import translate_run
from gan_jax.inference.translate_request import Request
from gan_jax.inference.translate_run import translate
from tests.inference.convolver import Convolver, OpenConvolver

RNG = np.random.default_rng(0)
PLAIN = Direction(3, 3, 4)
GREY = Direction(1, 1, 4)
COLOURED = Direction(1, 3, 4)
DOUBLE = Direction(3, 3, 2, scale=2)
HOLES = Direction(3, 3, 4, masked=True)


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


@dataclasses.dataclass(frozen=True)
class Torn(Degradation):
    """The left half is gone."""

    name: ClassVar[str] = "torn"
    masked: ClassVar[bool] = True
    fill: float = -1.0

    def of_one(self, key, image):
        known = (jnp.arange(image.shape[1]) >= image.shape[1] // 2).astype(jnp.float32)
        known = jnp.broadcast_to(known[None, :, None], (*image.shape[:2], 1))
        return Degraded(jnp.where(known > 0, image, jnp.float32(self.fill)), known)


def make_run(direction=PLAIN, degradation=None, **others):
    """Return a run of a game of these directions."""
    return OpenConvolver(Convolver({"AtoB": direction, **others}, degradation))


def save(path, array, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


def colour(height, width):
    return RNG.integers(0, 256, (height, width, 3)).astype(np.uint8)


def pixels(path):
    with Image.open(path) as image:
        return np.array(image)


def expected(array, direction=PLAIN, known=None, fill=0.0, gain=1.0):
    """Return what the game makes of an image that is padded and cut by hand."""
    height, width = array.shape[:2]
    around = ((0, -height % direction.multiple), (0, -width % direction.multiple), (0, 0))
    x = device.to_float(jnp.asarray(np.pad(array, around, mode="reflect")))[None]
    if known is not None:
        known = np.pad(known.astype(np.float32)[:, :, None], around, mode="reflect")[None]
        x = jnp.where(known > 0.5, x, fill)
    variables = {"generator": {"params": {"gain": gain}}}
    game = Convolver({"AtoB": direction})
    made = jax.jit(lambda x: game.translate(variables, x, "AtoB", known=known))(x)
    made = np.asarray(device.to_uint8(made))[0]
    return made[: direction.scale * height, : direction.scale * width]


def agree(found, wanted, off=1):
    """Assert equality but for rounding: XLA may order sums in another way at another size."""
    assert found.shape == wanted.shape
    difference = np.abs(found.astype(int) - wanted.astype(int))
    assert difference.max() <= off
    assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize(
    ("direction", "size"),
    [(PLAIN, (17, 23)), (PLAIN, (1, 1)), (DOUBLE, (5, 30)), (DOUBLE, (24, 24)), (DOUBLE, (3, 2))],
)
def test_an_image_of_any_size_comes_out_in_its_size(size, direction, tmp_path):
    run = make_run(direction)
    array = colour(*size)
    path = save(tmp_path / "a.png", array)
    summary = translate(Request(run, path, tmp_path / "out"))
    assert summary.text == f"translated 1 of 1 image (AtoB) at step 4: {tmp_path / 'out'}"
    assert summary.outputs == {"a.png": tmp_path / "out" / "a.png"}
    assert not summary.failures
    assert not summary.scores
    agree(pixels(tmp_path / "out" / "a.png"), expected(array, direction))


def test_tiles_make_the_same_file_as_the_whole_image(tmp_path):
    run = make_run(DOUBLE)
    path = save(tmp_path / "a.png", colour(50, 83))
    translate(Request(run, path, tmp_path / "whole"))
    translate(Request(run, path, tmp_path / "tiles", tile=24, overlap=8))
    agree(pixels(tmp_path / "tiles" / "a.png"), pixels(tmp_path / "whole" / "a.png"))


@pytest.mark.parametrize("direction", [PLAIN, GREY, COLOURED])
def test_files_become_what_the_network_takes_and_keep_their_alpha(direction, tmp_path):
    rgb, grey = colour(9, 14), RNG.integers(0, 256, (9, 14)).astype(np.uint8)
    alpha = RNG.integers(1, 256, (9, 14)).astype(np.uint8)
    faded = Image.fromarray(grey)
    faded.putalpha(Image.fromarray(alpha))
    save(tmp_path / "in" / "la.png", faded)
    save(tmp_path / "in" / "sub" / "rgb.png", rgb)
    out = tmp_path / "out"
    summary = translate(Request(make_run(direction), tmp_path / "in", out))
    assert list(summary.outputs) == ["la.png", "sub/rgb.png"]

    def made(array):
        taken = Image.fromarray(array).convert("L" if direction.inputs == 1 else "RGB")
        return expected(np.array(taken).reshape(9, 14, -1), direction)

    found = pixels(out / "sub" / "rgb.png").reshape(9, 14, -1)
    agree(found, made(rgb))
    found = pixels(out / "la.png")
    agree(found[:, :, :-1], made(grey))
    np.testing.assert_array_equal(found[:, :, -1], alpha)


def test_alpha_is_enlarged_with_the_image(tmp_path):
    run = make_run(DOUBLE)
    image = Image.fromarray(colour(6, 7))
    alpha = Image.fromarray(RNG.integers(0, 256, (6, 7)).astype(np.uint8))
    image.putalpha(alpha)
    translate(Request(run, save(tmp_path / "a.png", image), tmp_path / "out"))
    found = pixels(tmp_path / "out" / "a.png")
    assert found.shape == (12, 14, 4)
    np.testing.assert_array_equal(
        found[..., 3], np.array(alpha.resize((14, 12), Image.Resampling.BICUBIC))
    )


def test_bad_files_are_reported_and_the_others_translated(tmp_path, capsys):
    run = make_run()
    good = {name: colour(9, 9) for name in ("a.png", "sub/c.png", "z.png")}
    for name, array in good.items():
        save(tmp_path / "in" / name, array)
    (tmp_path / "in" / "b.png").write_text("no image")
    whole = (tmp_path / "in" / "z.png").read_bytes()
    (tmp_path / "in" / "cut.png").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "out"
    summary = translate(Request(run, tmp_path / "in", out))
    assert summary.text == f"translated 3 of 5 images (AtoB) at step 4: {out}"
    assert list(summary.outputs) == ["a.png", "sub/c.png", "z.png"]
    assert list(summary.failures) == ["b.png", "cut.png"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"failed: {tmp_path / 'in' / 'b.png'}: is not an image"
    assert lines[1].startswith(f"failed: {tmp_path / 'in' / 'cut.png'}: cannot be decoded: ")
    assert len(lines) == 2
    for name, array in good.items():
        agree(pixels(out / name), expected(array))
    assert sorted(p.name for p in out.iterdir()) == ["a.png", "sub", "z.png"]


def test_what_a_format_cannot_hold_is_reported_as_well(tmp_path, capsys, monkeypatch):
    run = make_run()
    save(tmp_path / "in" / "a.png", colour(1, 17000))
    save(tmp_path / "in" / "b.png", colour(9, 9))
    summary = translate(Request(run, tmp_path / "in", tmp_path / "out", suffix="webp"))
    assert list(summary.outputs) == ["b.png"]
    assert summary.failures["a.png"].startswith("cannot be written as webp: ")
    assert "a.png: cannot be written" in capsys.readouterr().err
    with Image.open(tmp_path / "out" / "b.webp") as image:
        assert (image.format, image.size) == ("WEBP", (9, 9))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_batch_size_does_not_show(batch_size, tmp_path):
    run = make_run()
    arrays = [colour(9, 11), colour(9, 11), colour(30, 9), colour(10, 10), colour(12, 12)]
    for i, array in enumerate(arrays):
        save(tmp_path / "in" / f"{i}.png", array)
    ask = Request(run, tmp_path / "in", tmp_path / "out", tile=16, overlap=8)
    translate(dataclasses.replace(ask, batch_size=batch_size))
    for i, array in enumerate(arrays):
        agree(pixels(tmp_path / "out" / f"{i}.png"), expected(array))


def test_a_zip_is_translated_in_place(tmp_path):
    run = make_run()
    array = colour(9, 9)
    path = save(tmp_path / "a.png", array)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(path, "set/b/a.png")
        archive.write(path, "other/c.png")
    summary = translate(Request(run, tmp_path / "set.zip" / "set", tmp_path / "out"))
    assert list(summary.outputs) == ["b/a.png"]
    agree(pixels(tmp_path / "out" / "b" / "a.png"), expected(array))


def test_the_weights_asked_for_are_used(tmp_path):
    run = make_run()
    path = save(tmp_path / "a.png", array := colour(9, 9))
    translate(Request(run, path, tmp_path / "out", raw=True, checkpoint="7"))
    agree(pixels(tmp_path / "out" / "a.png"), expected(array, gain=0.5))
    assert run.restored == ["7"]


def test_the_direction_asked_for_is_taken(tmp_path):
    run = make_run(BtoA=DOUBLE)
    path = save(tmp_path / "a.png", array := colour(9, 9))
    summary = translate(Request(run, path, tmp_path / "out", direction="BtoA"))
    assert "(BtoA)" in summary.text
    agree(pixels(tmp_path / "out" / "a.png"), expected(array, DOUBLE))


def test_dropout_is_on_request_and_by_seed(tmp_path):
    run = make_run()
    save(tmp_path / "in" / "a.png", array := colour(16, 16))
    save(tmp_path / "in" / "b.png", array)
    made = {}
    for name, change in (
        ("without", {}),
        ("one", {"dropout": True}),
        ("again", {"dropout": True, "batch_size": 1}),
        ("other", {"dropout": True, "seed": 1}),
    ):
        translate(Request(run, tmp_path / "in", tmp_path / name, **change))
        made[name] = [pixels(tmp_path / name / f"{x}.png") for x in "ab"]
    np.testing.assert_array_equal(made["without"][0], made["without"][1])
    for other in (made["without"][0], made["one"][1], made["other"][0]):
        assert np.abs(made["one"][0].astype(int) - other).mean() > 2
    agree(made["one"][1], made["again"][1])


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


def test_mistakes_are_reported_before_weights_are_loaded(tmp_path):
    path = save(tmp_path / "in" / "a.png", colour(9, 9))
    taken = tmp_path / "taken"
    save(taken / "a.png", colour(9, 9))
    (taken / "scores.json").touch()
    save(tmp_path / "twins" / "a.jpg", colour(9, 9))
    save(tmp_path / "twins" / "a.png", colour(9, 9))

    def refuses(message, run, **changes):
        given = {"input": path, "out": tmp_path / "out", **changes}
        with pytest.raises(errors.GanJaxError, match=message):
            Request(run, **given)
        assert run.restored == []
        assert not (tmp_path / "out").exists()

    run = make_run()
    refuses(r"nowhere \(--input\) does not exist", run, input=tmp_path / "nowhere")
    refuses(r"taken/a\.png already exists; pass --overwrite to replace it", run, out=taken)
    refuses(r"a\.jpg and a\.png, which would both become", run, input=tmp_path / "twins")
    refuses(r"direction = 'BtoA' is unknown; accepted: AtoB", run, direction="BtoA")
    refuses(r"checkpoint = newest; accepted: latest, best", run, checkpoint="newest")
    refuses(r"--batch_size=0; accepted: 1 or more", run, batch_size=0)
    refuses(r"--overlap=64, in multiples of 4; accepted", run, tile=100)
    refuses(r"--format = 'bmp' is unknown; accepted: jpg, png, webp", run, suffix="bmp")
    refuses(r"--grid=a\.jpg; accepted: a \.png", run, grid="a.jpg")
    refuses(r"--grid=.* is an output", run, grid=tmp_path / "out" / "a.png")
    refuses(r"taken/a\.png already exists", run, grid=taken / "a.png")
    refuses(r"--mask=a\.png, but AtoB fills no holes; accepted: no --mask", run, mask="a.png")
    refuses(r"--degrade, but nothing degrades images in 'convolver'", run, degrade=True)
    refuses(r"--border=2; accepted: with --degrade only", run, border=2)

    run = make_run(HOLES, Torn())
    refuses(r"fills holes, and no input has any; accepted: --mask, an image or a folder", run)
    refuses(r"--mask=a\.png, but --degrade makes holes", run, mask="a.png", degrade=True)
    refuses(r"\(--mask\) does not exist", run, mask=tmp_path / "nowhere")
    masks = save(tmp_path / "masks" / "b.png", np.zeros((9, 9), np.uint8))
    save(tmp_path / "masks" / "c.png", np.zeros((9, 9), np.uint8))
    refuses(r"--mask has nothing for a\.png", run, mask=masks.parent)
    refuses(r"the mask .*b\.png has no hole; accepted: white, coloured", run, mask=masks)
    refuses(r"--invert_mask without --mask; accepted: both", run, invert_mask=True)
    refuses(r"--border=-1; accepted: 0 or more", run, border=-1, degrade=True)
    (tmp_path / "free").mkdir()
    (tmp_path / "free" / "scores.json").touch()
    refuses(r"scores\.json already exists; pass", run, out=tmp_path / "free", degrade=True)


def test_runs_that_do_not_translate_are_refused(tmp_path):
    path = save(tmp_path / "a.png", colour(9, 9))
    with pytest.raises(errors.ConfigError, match="is for runs that translate images, such as"):
        Request(OpenConvolver(object()), path, tmp_path / "out")


def test_a_full_disk_ends_it_all(tmp_path, monkeypatch):
    run = make_run()
    path = save(tmp_path / "a.png", colour(9, 9))

    def full(path, content):
        raise errors.WorkdirError(f"Cannot write {path}: No space left on device")

    monkeypatch.setattr(translate_run.atomic, "write_bytes", full)
    with pytest.raises(errors.WorkdirError, match="No space left"):
        translate(Request(run, path, tmp_path / "out"))
