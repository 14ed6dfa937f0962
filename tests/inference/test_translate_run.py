"""Image files through a run: what is written, and what is refused or reported."""

import dataclasses
import zipfile

import numpy as np
import pytest
from PIL import Image

from gan_jax import errors
from gan_jax.inference.translate_request import Request
from gan_jax.inference.translate_run import translate
from gan_jax.report import atomic
from tests.inference.convolver import (
    COLOURED,
    DOUBLE,
    GREY,
    HOLES,
    PLAIN,
    OpenConvolver,
    Torn,
    expected,
    make_run,
)
from tests.inference.pictures import agree, colour, pixels, save

RNG = np.random.default_rng(0)


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
    (tmp_path / "in" / "notes.txt").touch()
    out = tmp_path / "out"
    summary = translate(Request(run, tmp_path / "in", out))
    assert summary.text == (
        f"translated 3 of 5 images (AtoB) at step 4: {out}; 1 other file not used: notes.txt"
    )
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
    among = {"input": path.parent, "grid": path.with_name("grid.png")}
    refuses(r"--grid=.*/in/grid\.png is in --input=.*/in, where the next run", run, **among)
    refuses(r"--mask=a\.png, but AtoB fills no holes; accepted: no --mask", run, mask="a.png")
    refuses(r"--degrade, but nothing degrades inputs in 'convolver'", run, degrade=True)
    refuses(r"--border=2; accepted: with --degrade only", run, border=2)

    run = make_run(HOLES, Torn())
    refuses(r"fills holes, and no input has any; accepted: --mask, an image or a folder", run)
    refuses(r"--mask=a\.png, but --degrade makes holes", run, mask="a.png", degrade=True)
    refuses(r"\(--mask\) does not exist", run, mask=tmp_path / "nowhere")
    masks = save(tmp_path / "masks" / "b.png", np.zeros((9, 9), np.uint8))
    save(tmp_path / "masks" / "c.png", np.zeros((9, 9), np.uint8))
    refuses(r"--mask has nothing for a\.png", run, mask=masks.parent)
    refuses(r"the mask .*b\.png has no hole; accepted: white, coloured", run, mask=masks)
    refuses(r"--out=.* is --mask=.*/masks itself", run, mask=masks.parent, out=masks.parent)
    refuses(r"--invert_mask without --mask; accepted: both", run, invert_mask=True)
    refuses(r"--border=-1; accepted: 0 or more", run, border=-1, degrade=True)
    (tmp_path / "free").mkdir()
    (tmp_path / "free" / "scores.json").touch()
    refuses(r"scores\.json already exists; pass", run, out=tmp_path / "free", degrade=True)


def test_runs_that_do_not_translate_are_refused(tmp_path):
    path = save(tmp_path / "a.png", colour(9, 9))
    with pytest.raises(errors.ConfigError, match="is for runs that translate images or sounds"):
        Request(OpenConvolver(object()), path, tmp_path / "out")


def test_a_full_disk_ends_it_all(tmp_path, monkeypatch):
    run = make_run()
    path = save(tmp_path / "a.png", colour(9, 9))

    def full(path, content):
        raise errors.WorkdirError(f"Cannot write {path}: No space left on device")

    monkeypatch.setattr(atomic, "write_bytes", full)
    with pytest.raises(errors.WorkdirError, match="No space left"):
        translate(Request(run, path, tmp_path / "out"))
