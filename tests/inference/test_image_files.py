"""Image files of every kind: found, named, matched with masks, read with alpha, written."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_jax import errors
from gan_jax.data.sources import images
from gan_jax.data.sources.levels import Levels
from gan_jax.inference import image_files
from tests.inference.pictures import save

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 9, 3)).astype(np.uint8)
GREY = RNG.integers(0, 256, (6, 9)).astype(np.uint8)
ALPHA = RNG.integers(0, 256, (6, 9)).astype(np.uint8)
ALPHA[0], ALPHA[1] = 0, 255


def one(path):
    (file,) = image_files.find(path, "--input")
    return file


def with_alpha(array):
    image = Image.fromarray(array)
    image.putalpha(Image.fromarray(ALPHA))
    return image


def rotated():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "image", "options"),
    [
        ("a.png", Image.fromarray(GREY), {}),
        ("a.png", Image.fromarray(COLOUR), {}),
        ("a.png", Image.fromarray(GREY).convert("1"), {}),
        ("a.png", Image.fromarray(COLOUR).convert("P", palette=Image.Palette.ADAPTIVE), {}),
        ("a.png", Image.fromarray(GREY.astype(np.uint16) * 257), {}),
        ("a.tif", Image.fromarray(GREY.astype(np.int32) * 200), {}),
        ("a.jpg", Image.fromarray(COLOUR).convert("CMYK"), {}),
        ("a.jpg", Image.fromarray(COLOUR), {"exif": rotated()}),
        ("a.webp", Image.fromarray(COLOUR), {}),
    ],
)
def test_what_is_opaque_is_decoded_as_data_are(name, image, options, channels, tmp_path):
    path = save(tmp_path / name, image, **options)
    found = image_files.read(one(path), channels)
    expected = images.Transform(channels=channels)(images.decode(path.read_bytes()))
    np.testing.assert_array_equal(found.pixels, expected)
    assert found.alpha is None
    assert found.pixels.shape[:2] == ((9, 6) if options else (6, 9))


def test_twelve_bits_have_the_levels_of_the_runs_data(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(GREY.astype(np.uint16) * 16))
    found = image_files.read(one(path), 1, Levels(0, 255 * 16))
    np.testing.assert_array_equal(found.pixels[..., 0], GREY)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("array", [GREY, COLOUR])
def test_alpha_stands_beside_the_colours(array, channels, tmp_path):
    path = save(tmp_path / "a.png", with_alpha(array))
    assert image_files.has_alpha(one(path))
    found = image_files.read(one(path), channels)
    np.testing.assert_array_equal(found.alpha, ALPHA)
    mode = "L" if channels == 1 else "RGB"
    expected = np.array(Image.fromarray(array).convert(mode)).reshape(6, 9, channels)
    expected[ALPHA == 0] = 255  # What is not seen may be anything, and counts as white.
    np.testing.assert_array_equal(found.pixels, expected)


def test_a_transparent_colour_of_a_palette_is_alpha(tmp_path):
    indices = np.arange(54, dtype=np.uint8).reshape(6, 9) % 5
    image = Image.fromarray(indices).convert("P")
    image.putpalette([v for i in range(5) for v in (50 * i, 10 * i, 255 - 50 * i)])
    found = image_files.read(one(save(tmp_path / "a.png", image, transparency=2)), 3)
    np.testing.assert_array_equal(found.alpha, np.where(indices == 2, 0, 255))
    expected = np.stack([50 * indices, 10 * indices, 255 - 50 * indices], axis=-1)
    expected[indices == 2] = 255
    np.testing.assert_array_equal(found.pixels, expected)


def test_alpha_is_turned_upright_with_the_image(tmp_path):
    path = save(tmp_path / "a.png", with_alpha(COLOUR), exif=rotated())
    found = image_files.read(one(path), 3)
    np.testing.assert_array_equal(found.alpha, np.rot90(ALPHA, -1))


def test_files_that_are_no_images_say_why(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    whole = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(whole, "PNG")
    (tmp_path / "b.png").write_bytes(whole.getvalue()[:2000])
    (tmp_path / "d.tif").touch()
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "c.tif")
    for name, message in (
        ("a.png", "^is not an image$"),
        ("b.png", "^cannot be decoded: "),
        ("c.tif", "^cannot be decoded: floating-point pixels have no known range$"),
        ("d.tif", "^is not an image$"),
    ):
        file = one(tmp_path / name)
        with pytest.raises(errors.DataError, match=message):
            image_files.read(file, 3)
        assert not image_files.has_alpha(file)
    (tmp_path / "a.png").unlink()
    gone = image_files.ImageFile("a.png", image_files.Folder(tmp_path), "a.png")
    with pytest.raises(errors.DataError, match=r"^cannot be read: No such file or directory$"):
        image_files.read(gone, 3)


def test_folders_are_searched_with_their_sub_folders_but_for_the_output(tmp_path):
    for name in ("b.png", "sub/a.jpg", "sub/deep/c.webp", "out/b.png", ".hidden/d.png"):
        save(tmp_path / name, COLOUR)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "out" / "scores.json").touch()
    (tmp_path / "empty").mkdir()
    listing = image_files.listed(tmp_path, "--input", out=tmp_path / "out")
    assert listing.left_out() == "1 other file not used: notes.txt"
    for name in ("b.csv", "a\n.csv", "z.csv"):
        (tmp_path / "sub" / name).touch()
    listing = image_files.listed(tmp_path / "sub", "--input", out=tmp_path / "out")
    assert listing.left_out() == r"3 other files not used: a\n.csv, b.csv, z.csv"
    shutil.make_archive(tmp_path / "all", "zip", tmp_path)
    inside = image_files.listed(tmp_path / "all.zip" / "sub", "--input")
    assert inside.left_out() == listing.left_out()
    listing = image_files.listed(tmp_path, "--input", out=tmp_path / "out")
    assert listing.left_out() == (r"5 other files not used: all.zip, notes.txt, sub/a\n.csv, ...")
    found = image_files.find(tmp_path, "--input", out=tmp_path / "out")
    assert [file.name for file in found] == ["b.png", "sub/a.jpg", "sub/deep/c.webp"]
    assert found[1].full_name == str(tmp_path / "sub/a.jpg")
    # What was made may be asked for.
    (found,) = image_files.find(tmp_path / "out", "--input", out=tmp_path / "made")
    assert found.name == "b.png"
    places = image_files.outputs([found], tmp_path / "made", "jpg")
    assert places == [tmp_path / "made" / "b.jpg"]


def test_zips_are_read_in_place(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(COLOUR).save(buffer, "PNG")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("b.png", "sub/a.png", "/root.png", "../up.png"):
            archive.writestr(name, buffer.getvalue())
    found = image_files.find(tmp_path / "a.zip", "--input")
    assert [file.name for file in found] == ["root.png", "b.png", "sub/a.png"]
    places = image_files.outputs(found, tmp_path / "out", "png")
    assert all(tmp_path / "out" in place.parents for place in places)
    for path in ("a.zip/sub", "a.zip/sub/a.png"):
        (file,) = image_files.find(tmp_path / path, "--input")
        assert file.name == "a.png"
        np.testing.assert_array_equal(image_files.read(file, 3).pixels, COLOUR)


def test_what_is_not_there_is_reported_by_the_flag(tmp_path):
    with pytest.raises(errors.DataError, match=r"nowhere \(--mask\) does not exist"):
        image_files.find(tmp_path / "nowhere", "--mask")
    with pytest.raises(errors.DataError, match=r"\(--input\) has no images; accepted suffixes"):
        image_files.find(tmp_path, "--input")
    save(tmp_path / "out" / "a.png", COLOUR)
    with pytest.raises(errors.DataError, match=r"\(--input\) has no images but those in "):
        image_files.find(tmp_path, "--input", out=tmp_path / "out")


def test_outputs_beside_the_files_of_a_folder_are_refused(tmp_path):
    folder = tmp_path / "in"
    path = save(folder / "made.jpg", COLOUR)
    (tmp_path / "link").symlink_to(folder)
    for out in (folder, folder / "sub" / "..", tmp_path / "link"):
        with pytest.raises(errors.ConfigError, match=r"^--out=\S+ is --input=\S+/in itself, .* im"):
            image_files.find(folder, "--input", out)
    shutil.make_archive(tmp_path / "all", "zip", folder)
    # No later run of the same inputs finds these.
    for place, out in (
        (folder, folder / "made"),
        (folder, tmp_path),
        (folder, tmp_path / "in2"),
        (path, folder),
        (tmp_path / "all.zip", tmp_path),
    ):
        (found,) = image_files.find(place, "--input", out)
        assert found.name == "made.jpg"


def test_a_picture_among_the_images_of_a_folder_is_refused(tmp_path):
    path = save(tmp_path / "in" / "sub" / "a.png", COLOUR)
    for place in ("in/b.png", "in/sub/b.png", "in/new/b.png"):
        with pytest.raises(errors.ConfigError, match=r"^--grid=\S+/b\.png is in --input=\S+/in, "):
            image_files.check_outside(tmp_path / place, "--grid", tmp_path / "in", "--input")
    image_files.check_outside(tmp_path / "in2" / "b.png", "--grid", tmp_path / "in", "--input")
    image_files.check_outside(path.parent / "b.png", "--grid", path, "--input")


def test_outputs_that_would_replace_something_are_refused(tmp_path):
    files = [one(save(tmp_path / name, COLOUR)) for name in ("a.jpg", "b.png")]
    out = tmp_path / "out"
    assert image_files.outputs(files, out, "png") == [out / "a.png", out / "b.png"]
    twin = one(save(tmp_path / "a.webp", COLOUR))
    with pytest.raises(errors.ConfigError, match=r"a\.jpg and a\.webp, .* become .*out/a\.png"):
        image_files.outputs([*files, twin], out, "png")
    with pytest.raises(errors.ConfigError, match=r"b\.png is an input; accepted: another folder"):
        image_files.outputs(files, Path(tmp_path), "png", overwrite=True)
    save(out / "a.png", COLOUR)
    with pytest.raises(errors.WorkdirError, match=r"a\.png already exists; pass --overwrite"):
        image_files.outputs(files, out, "png")
    save(out / "b.png", COLOUR)
    with pytest.raises(errors.WorkdirError, match=r"a\.png already exists \(and 1 more\)"):
        image_files.outputs(files, out, "png")
    assert len(image_files.outputs(files, out, "png", overwrite=True)) == 2
    with pytest.raises(errors.WorkdirError, match=r"--out=.*b\.png is a file; accepted: a folder"):
        image_files.outputs(files, out / "b.png", "png")
    with pytest.raises(errors.ConfigError, match="--format = 'gif' is unknown"):
        image_files.outputs(files, out, "gif")


def test_masks_go_by_name_whatever_the_suffix(tmp_path):
    for name in ("photos/b.jpg", "photos/sub/a.jpg", "masks/sub/a.png", "masks/b.webp"):
        save(tmp_path / name, COLOUR)
    photos, masks = (image_files.find(tmp_path / x, "--input") for x in ("photos", "masks"))
    found = image_files.match(photos, masks)
    assert [mask.name for mask in found] == ["b.webp", "sub/a.png"]
    assert image_files.match(photos, masks[:1]) == [masks[0]] * 2  # One for all.
    save(tmp_path / "photos" / "c.png", COLOUR)
    photos = image_files.find(tmp_path / "photos", "--input")
    with pytest.raises(errors.ConfigError, match=r"--mask has nothing for c\.png; accepted: a m"):
        image_files.match(photos, masks)
    save(tmp_path / "masks" / "b.png", COLOUR)
    masks = image_files.find(tmp_path / "masks", "--mask")
    with pytest.raises(errors.ConfigError, match=r"--mask has b\.png and b\.webp; accepted: one"):
        image_files.match(photos, masks)


@pytest.mark.parametrize("alpha", [None, ALPHA])
@pytest.mark.parametrize("pixels", [COLOUR, GREY[:, :, None]])
def test_png_keeps_everything(pixels, alpha):
    with Image.open(io.BytesIO(image_files.encode(pixels, alpha, "png"))) as image:
        assert image.format == "PNG"
        found = np.array(image).reshape(6, 9, -1)
    np.testing.assert_array_equal(found[:, :, : pixels.shape[2]], pixels)
    assert found.shape[2] == pixels.shape[2] + (alpha is not None)
    if alpha is not None:
        np.testing.assert_array_equal(found[:, :, -1], alpha)


def test_jpeg_is_put_on_white_and_webp_keeps_alpha():
    smooth = np.full((16, 16, 3), 40, np.uint8)
    alpha = np.full((16, 16), 255, np.uint8)
    alpha[:, 8:] = 0
    with Image.open(io.BytesIO(image_files.encode(smooth, alpha, "jpg"))) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        found = np.array(image).astype(int)
    assert np.abs(found[:, :8] - 40).max() <= 3
    assert np.abs(found[:, 8:] - 255).max() <= 3
    for pixels in (smooth, smooth[..., :1]):
        with Image.open(io.BytesIO(image_files.encode(pixels, alpha, "webp"))) as image:
            assert image.format == "WEBP"
            found = np.array(image.convert("RGBA"))
        np.testing.assert_array_equal(found[:, :, 3], alpha)
        assert np.abs(found[:, :8, :3].astype(int) - 40).max() <= 3


def test_what_a_format_cannot_hold_is_reported():
    with pytest.raises(errors.DataError, match=r"^cannot be written as webp: "):
        image_files.encode(np.zeros((1, 20000, 1), np.uint8), None, "webp")
