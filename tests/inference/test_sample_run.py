"""What is made of a run: the right pictures in the right places, and early refusals."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from configs import gan, infogan, vae_gan
from gan_jax import errors
from gan_jax.data import sources
from gan_jax.inference import projection, rendering, sample_files, sample_run
from gan_jax.inference.sample_request import Request
from gan_jax.metrics import extractors
from gan_jax.runs.run import open_run
from gan_jax.training.sampling import InProportion
from tests.inference.untrained import STEP, make_run, of_classes
from tests.training import tiny

QUICK = projection.Settings(steps=5, restarts=2, candidates=8)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return a run of MLPs on digits."""
    return make_run(tmp_path_factory.mktemp("plain") / "run", gan.get_config("smoke"))


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """Return a run of conditional MLPs on digits."""
    return of_classes(tmp_path_factory.mktemp("classes") / "run")


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """Return a run on points of the plane."""
    return make_run(tmp_path_factory.mktemp("points") / "run", tiny.point_config())


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def tiles(picture, rows, columns, side=32):
    """Return the tiles of a picture's grid, whatever stands to its left: [rows, columns, ...]."""
    pitch = side + 2
    assert picture.shape[0] == rows * pitch + 2
    grid = picture[:, -(columns * pitch + 2) :]
    return np.stack(
        [
            [
                grid[2 + r * pitch : 2 + r * pitch + side, 2 + c * pitch : 2 + c * pitch + side]
                for c in range(columns)
            ]
            for r in range(rows)
        ]
    ).astype(int)


def agree(a, b):
    assert np.abs(a.astype(int) - b).max() <= 1


def archive(run, path, num, **options):
    sample_run.export(Request(run, num=num, out=path, **options), archive=True)
    with np.load(path) as file:
        return dict(file)


def magnified(images):
    return images[..., 0].repeat(2, 1).repeat(2, 2)


@pytest.mark.slow
def test_a_grid_shows_the_samples_that_are_exported(plain, tmp_path):
    images = archive(plain, tmp_path / "a.npz", 4)["image"]
    out = tmp_path / "grid.png"
    line = sample_run.grid(Request(plain, num=4, out=out))
    assert line == f"4 samples of step 4: {out}"
    agree(tiles(pixels(out), 2, 2).reshape(4, 32, 32), magnified(images))


@pytest.mark.slow
def test_a_row_per_class_has_one_latent_per_column(classes, tmp_path):
    line = sample_run.grid(Request(classes, num=3))
    out = classes.path / "sample-step00000004-seed0.png"
    assert line == f"3 samples of each of 10 classes of step 4: {out}"
    rows = tiles(pixels(out), 10, 3)
    for label in (0, 7):
        images = archive(classes, tmp_path / f"{label}.npz", 3, label=label)
        assert images["label"].tolist() == [label] * 3
        agree(rows[label], magnified(images["image"]))
    assert np.abs(rows[0] - rows[7]).mean() > 1
    one = tmp_path / "one.png"
    sample_run.grid(Request(classes, num=4, label=7, out=one))
    agree(tiles(pixels(one), 2, 2).reshape(4, 32, 32)[:3], rows[7])


def test_exported_samples_go_through_the_classes(classes, tmp_path):
    arrays = archive(classes, tmp_path / "a.npz", 12)
    assert arrays["label"].tolist() == [*range(10), 0, 1]
    rows = tmp_path / "rows.png"
    sample_run.grid(Request(classes, num=12, out=rows))
    shown = tiles(pixels(rows), 10, 12)
    for i in (0, 3, 11):
        agree(shown[i % 10, i], magnified(arrays["image"])[i])
    folder = tmp_path / "samples"
    ask = Request(classes, num=12, out=folder)
    assert sample_run.export(ask, archive=False) == f"12 samples of step 4: {folder}"
    for i in range(12):
        agree(pixels(folder / str(i % 10) / f"{i:08d}.png"), arrays["image"][i, ..., 0])


def test_exported_samples_have_the_proportions_of_the_data(classes, tmp_path):
    counts = InProportion((3, 0, 1, *[0] * 7))
    arrays = archive(classes, tmp_path / "a.npz", 40, proportions=counts)
    found = np.bincount(arrays["label"], minlength=10)
    np.testing.assert_allclose(found, [30, 0, 10, *[0] * 7], atol=1)
    out = tmp_path / "out"
    sample_run.export(Request(classes, num=40, out=out, proportions=counts), archive=False)
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*.png"))
    assert names == sorted(f"{k}/{i:08d}.png" for i, k in enumerate(arrays["label"]))
    for name, image in zip(
        names, arrays["image"][[int(name[2:10]) for name in names]], strict=True
    ):
        agree(pixels(out / name), image[..., 0])
    assert classes.proportions().counts == tuple(np.bincount(sources.labels_of(classes.source())))


def test_an_exported_file_says_that_it_is_synthetic(plain, tmp_path):
    sample_run.export(Request(plain, num=2, seed=5, out=tmp_path / "out"), archive=False)
    with Image.open(tmp_path / "out" / "00000001.png") as image:
        assert image.text["Description"] == "synthetic image"
        facts = {name: image.text[name] for name in ("run", "step", "seed", "sample")}
    assert facts == {"run": "run", "step": "4", "seed": "5", "sample": "1"}


def test_a_folder_is_continued_and_kept_for_its_samples(plain, tmp_path):
    ask = Request(plain, num=5, out=tmp_path / "a", truncation=(0.7,), seed=3)
    sample_run.export(ask, archive=False)
    more = dataclasses.replace(ask, num=7)
    assert sample_run.export(more, archive=False).endswith("(5 existed already)")
    record = json.loads((tmp_path / "a" / "samples.json").read_text())
    assert (record["step"], record["seed"], record["truncation"]) == (4, 3, 0.7)
    assert record["weights"] == sample_files.weights_hash(plain.variables())
    for changed in ({"raw": True}, {"seed": 4}, {"truncation": ()}, {"batch_norm": "running"}):
        with pytest.raises(errors.WorkdirError, match="holds other samples"):
            sample_run.export(dataclasses.replace(more, **changed), archive=False)


@pytest.mark.slow
def test_truncations_have_a_row_each_of_the_same_seed(plain, classes, tmp_path):
    ask = Request(plain, num=3, truncation=(2.0, 0.5))
    sample_run.truncations(ask)
    rows = tiles(pixels(plain.path / "sample-step00000004-seed0-truncation2_0.5.png"), 2, 3)
    for row, limit in zip(rows, (2.0, 0.5), strict=True):
        images = archive(plain, tmp_path / f"{limit}.npz", 3, truncation=(limit,))["image"]
        agree(row, magnified(images))
    out = tmp_path / "classes.png"
    sample_run.truncations(Request(classes, num=3, truncation=(2.0, 0.5), out=out))
    images = archive(classes, tmp_path / "c.npz", 3, truncation=(0.5,))["image"]
    agree(tiles(pixels(out), 2, 3)[1], magnified(images))


def test_rows_go_from_one_sample_to_the_next(plain, classes, tmp_path):
    images = archive(plain, tmp_path / "a.npz", 4)["image"]
    line = sample_run.strips(Request(plain, num=2), "slerp", 5)
    out = plain.path / "slerp-step00000004-seed0.png"
    assert line == f"2 rows of 5 pictures by slerp of step 4: {out}"
    rows = tiles(pixels(out), 2, 5)
    agree(rows[:, [0, -1]].reshape(4, 32, 32), magnified(images))
    assert np.abs(rows[0, 2] - rows[0, 0]).mean() > 1
    sample_run.strips(Request(classes, num=2), "lerp", 3)
    ways = tiles(pixels(classes.path / "lerp-step00000004-seed0.png"), 20, 3)
    for pair, label in ((0, 0), (1, 4)):
        ends = archive(classes, tmp_path / f"{label}.npz", 4, label=label)["image"]
        agree(ways[10 * pair + label][[0, -1]], magnified(ends)[2 * pair : 2 * pair + 2])


def test_an_animation_goes_through_the_samples(plain, classes, tmp_path):
    images = archive(plain, tmp_path / "a.npz", 3)["image"]
    out = tmp_path / "a.webp"
    line = sample_run.animation(Request(plain, num=3, out=out), "slerp", 4, 10)
    assert line == f"12 pictures, 1.2 s, by slerp of step 4: {out}"
    with Image.open(out) as image:
        assert (image.n_frames, image.size) == (12, (128, 128))
        for i in range(3):
            image.seek(4 * i)
            frame = np.asarray(image.convert("L"))
            agree(frame, images[i, ..., 0].repeat(8, 0).repeat(8, 1))
    every = tmp_path / "b.gif"
    sample_run.animation(Request(classes, num=2, out=every), "slerp", 3, 10)
    with Image.open(every) as image:
        # The ten classes, in a grid of four columns.
        assert (image.n_frames, image.size) == (6, (4 * 34 + 2, 3 * 34 + 2))


@pytest.mark.parametrize("features", ["pixels", "classifier"])
def test_neighbours_stand_beside_their_sample(features, plain, tmp_path, capsys, monkeypatch):
    def means(x):
        return x.astype("float32").mean((2, 3)) / 255

    stub = extractors.from_function("classifier", means, width=16, weights="v1")
    monkeypatch.setitem(extractors.EXTRACTORS, "classifier", lambda setting: stub)
    data = {"path": None, "data_dir": None}
    line = sample_run.neighbours(Request(plain, num=2), 3, features, data)
    out = plain.path / f"neighbours-{features}-step00000004-seed0.png"
    assert line == f"2 samples of step 4, each beside 3 training images: {out}"
    assert "500 samples" in capsys.readouterr().out
    rows = tiles(pixels(out), 2, 4)
    source = sources.make_source(gan.get_config("smoke").data)
    real = source.read(range(len(source)))["image"]
    images = archive(plain, tmp_path / "a.npz", 2)["image"]
    agree(rows[:, 0], magnified(images))
    describe = (lambda x: x.reshape(len(x), -1)) if features == "pixels" else means
    for i in range(2):
        # The samples of eight devices may differ by a level, and so the order of near ones.
        distance = np.square(describe(real).astype(float) - describe(images[i : i + 1])).sum(1)
        assert (rows[i, 1] == magnified(real[[distance.argmin()]])[0]).all()


@pytest.mark.slow
def test_images_are_projected(classes, tmp_path, capsys):
    Image.fromarray(np.full((40, 30), 200, np.uint8)).save(tmp_path / "photo.png")
    out = tmp_path / "found.png"
    ask = Request(classes, out=out)
    line = sample_run.projections(ask, str(tmp_path / "photo.png"), QUICK)
    assert line == f"1 images projected into z at step 4: {out} and found.npz"
    original, found = tiles(pixels(out), 1, 2)[0]
    assert (original == 200).all()
    with np.load(tmp_path / "found.npz") as file:
        agree(found, magnified(file["image"])[0])
        assert file["z"].shape[0] == file["label"].shape[0] == 1
        psnr = float(file["psnr"][0])
        error = np.square(file["image"][0].astype(float) - 200).mean()
    assert psnr == pytest.approx(10 * np.log10(255**2 / error), abs=0.01)
    assert capsys.readouterr().out == f"photo.png  PSNR {psnr:.2f} dB\n"
    with pytest.raises(errors.WorkdirError, match=r"found\.npz already exists; pass --overwrite"):
        sample_run.projections(ask, str(tmp_path / "photo.png"), QUICK)
    again = dataclasses.replace(ask, overwrite=True, label=3)
    sample_run.projections(again, str(tmp_path / "photo.png"), QUICK)
    with np.load(tmp_path / "found.npz") as file:
        assert file["label"].tolist() == [3]


def test_points_are_drawn_and_refused_what_is_of_images(points, tmp_path):
    out = points.path / "sample-step00000004-seed0-truncation1.png"
    line = sample_run.grid(Request(points, num=50, truncation=(1.0,)))
    assert line == f"50 samples of step 4: {out}"
    assert pixels(out).shape == (512, 512, 3)
    arrays = archive(points, tmp_path / "a.npz", 50)
    assert (arrays["points"].shape, arrays["points"].dtype) == ((50, 2), np.float32)
    ask = Request(points, out=tmp_path / "a.gif")
    for call in (
        lambda: sample_run.strips(ask, "lerp", 3),
        lambda: sample_run.animation(ask, "lerp", 3, 10),
        lambda: sample_run.truncations(dataclasses.replace(ask, truncation=(1.0, 0.5))),
        lambda: sample_run.neighbours(ask, 3, "pixels", {}),
        lambda: sample_run.projections(ask, "photo.png", QUICK),
        lambda: sample_run.export(dataclasses.replace(ask, out=tmp_path / "b"), archive=False),
    ):
        with pytest.raises(
            errors.ConfigError, match=r"samples of ring are of kind 'points'.*; accepted: "
        ):
            call()


def test_mistakes_are_reported_before_weights_are_loaded(plain, classes, tmp_path):
    # There are no weights.
    runs = []
    for run in (plain, classes):
        copy = tmp_path / run.path.parent.name
        shutil.copytree(run.path, copy)
        shutil.rmtree(copy / "checkpoints")
        runs.append(open_run(copy))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    (tmp_path / "a.npz").touch()
    without, conditional = map(Request, runs)

    def refuses(message, call, **changes):
        given = changes.pop("ask", without)
        with pytest.raises(errors.GanJaxError, match=message):
            call(dataclasses.replace(given, **changes))

    refuses("label = 3, but 'gan' is not class-conditional", sample_run.grid, label=3)
    refuses("label = 10; accepted: 0 to 9", sample_run.grid, ask=conditional, label=10)
    refuses(
        r"a\.npz already exists",
        lambda ask: sample_run.export(ask, archive=True),
        out=tmp_path / "a.npz",
    )
    refuses(
        "notes is not empty",
        lambda ask: sample_run.export(ask, archive=False),
        out=tmp_path / "notes",
    )
    refuses(
        r"nowhere\.png \(--project\) does not exist",
        lambda ask: sample_run.projections(ask, "nowhere.png", QUICK),
    )
    refuses(
        r"--out=.*/a\.png is in --project=.*, where the next run would take it",
        lambda ask: sample_run.projections(ask, str(tmp_path), QUICK),
        out=tmp_path / "a.png",
    )
    refuses(
        "--neighbours=5000; accepted: less than the ",
        lambda ask: sample_run.neighbours(ask, 5000, "pixels", {}),
    )
    refuses(
        "fps = 99; accepted: above 0, up to 50",
        lambda ask: sample_run.animation(ask, "lerp", 3, 99),
        out=tmp_path / "a.gif",
    )
    refuses(
        "--num=1 with an animation; accepted: 2 or more",
        lambda ask: sample_run.animation(ask, "lerp", 3, 10),
        out=tmp_path / "a.gif",
        num=1,
    )
    for call in (
        lambda ask: sample_run.strips(ask, "lerp", 3),
        lambda ask: sample_run.projections(ask, "nowhere.png", QUICK),
    ):
        refuses("accepted: --batch_norm=ema, running or standing", call, batch_norm="batch")
    with pytest.raises(errors.CheckpointError):
        sample_run.grid(without)


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    """Return an InfoGAN of MLPs on digits."""
    config = infogan.get_config("smoke")
    config.generator.name = config.discriminator.name = "mlp"
    return make_run(tmp_path_factory.mktemp("coded") / "run", config)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """Return a VAE-GAN on digits, its networks MLPs."""
    config = vae_gan.get_config("smoke")
    config.encoder.name = config.generator.name = config.discriminator.name = "mlp"
    config.penalty.name = "none"
    config.loss.name = "non_saturating"
    return make_run(tmp_path_factory.mktemp("encoded") / "run", config)


@pytest.mark.slow
def test_a_traversal_has_a_row_per_sample_and_a_column_per_value(coded):
    line = sample_run.traversals(Request(coded, num=3), "category_0")
    out = coded.path / f"traversal-category_0-step{STEP:08d}-seed0.png"
    assert line == f"3 samples along 10 values of category_0 of step {STEP}: {out}"
    shown = tiles(pixels(out), 3, 10)
    run = coded
    z = rendering.latents(run.game, seed=0, num=3)
    variables = run.variables()
    moved = run.game.codes.traverse(z, "category_0")
    expected = rendering.Renderer(run.game, variables)(moved.reshape(30, -1))
    doubled = expected.repeat(2, 1).repeat(2, 2).reshape(3, 10, 32, 32)
    np.testing.assert_allclose(shown.reshape(doubled.shape).astype(int), doubled, atol=1)


@pytest.mark.slow
def test_reconstructions_stand_beside_held_out_images(encoded, capsys):
    line = sample_run.reconstructions(Request(encoded), 4, {})
    out = encoded.path / f"reconstruction-step{STEP:08d}-seed0.png"
    assert line == f"4 images and their reconstructions at step {STEP}: {out}"
    assert capsys.readouterr().out.startswith("test: 4 reconstructions: mean PSNR ")
    originals = tiles(pixels(out), 4, 2)[:, 0]
    config = encoded.config
    config.data.split = "test"
    held_out = sources.make_source(config.data).read(range(4))["image"]
    doubled = held_out.repeat(2, 1).repeat(2, 2).reshape(originals.shape)
    np.testing.assert_array_equal(originals, doubled)


def test_what_a_game_cannot_do_is_refused_before_weights_are_read(classes, coded):
    with pytest.raises(errors.ConfigError, match=r"'cgan' has no codes; accepted: .*infogan"):
        sample_run.traversals(Request(classes), "category_0")
    with pytest.raises(errors.ConfigError, match=r"--traverse=x; accepted: category_0, continuous"):
        sample_run.traversals(Request(coded), "x")
    with pytest.raises(errors.ConfigError, match="only a run of images with an encoder"):
        sample_run.reconstructions(Request(classes), 4, {})
