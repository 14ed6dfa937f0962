"""What pages show of checkpoints: samples of the same latents, and the nearest training images."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from configs import pix2pix
from gan_jax import errors
from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.inference import sample_request
from gan_jax.pages import figures, report, same_latents
from gan_jax.runs.run import open_run
from tests.inference.untrained import STEP, make_run
from tests.pages.directories import Page, config, make


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    small = {"generator__mlp__features": (8,), "discriminator__mlp__features": (4,)}
    one = make_run(folder / "one", config(generator__latent_dim=3, **small))
    other = {**small, "generator__mlp__features": (9,)}
    two = make_run(folder / "two", config(generator__latent_dim=3, **other))
    return one, two


def unpacked(address):
    return base64.b64decode(address.partition(",")[2])


def pixels(picture):
    with Image.open(io.BytesIO(unpacked(picture.uri))) as image:
        return np.asarray(image)


def test_runs_of_equal_latents_have_rows_of_the_samples_of_the_run(runs):
    (found,), left = same_latents.sample(runs, ["one", "two"], same_latents.How(num=4, seed=7))
    assert left == []
    assert found.latents == "latents of 3 numbers, seed 7"
    assert [name for name, _ in found.rows] == ["one", "two"]
    for run, (_, picture) in zip(runs, found.rows, strict=True):
        kind = kinds.of(specs.data_field(specs.from_json(run.data["spec"])))
        expected = kind.picture(run.sample(4, seed=7), 4)
        np.testing.assert_array_equal(pixels(picture), expected[..., 0])
        assert picture.label == f"step {STEP}"
    assert pixels(found.rows[0][1]).tolist() != pixels(found.rows[1][1]).tolist()


def test_runs_of_other_latents_say_why_they_have_none(runs, tmp_path):
    wide = open_run(make(tmp_path / "wide", settings=config(generator__latent_dim=5)))
    path = make(tmp_path / "pairs", settings=pix2pix.get_config("smoke"))
    record = json.loads((path / "data.json").read_text())
    record["spec"] = specs.to_json(specs.pairs((32, 32, 3)))
    (path / "data.json").write_text(json.dumps(record))
    (found,), left = same_latents.sample(
        [*runs, wide, open_run(path)], ["one", "two", "wide", "pairs"], same_latents.How(num=2)
    )
    assert len(found.rows) == 2
    assert left[0].startswith("pairs: a sample of latents is for runs that make samples from noise")
    assert left[1] == "wide: its latents have 5 numbers, those of other runs have 3."
    found, left = same_latents.sample([runs[0], wide], ["one", "wide"], same_latents.How(num=2))
    assert found == []
    assert len(left) == 2


def test_a_run_without_a_checkpoint_does_not_hide_the_others(runs, tmp_path):
    young = open_run(make(tmp_path / "young", settings=config(generator__latent_dim=3)))
    (found,), left = same_latents.sample(
        [runs[0], young], ["one", "young"], same_latents.How(num=2)
    )
    assert [name for name, _ in found.rows] == ["one"]
    assert left[0].startswith("young: ")
    assert "no checkpoint" in left[0].lower()


def test_a_checkpoint_that_is_no_name_of_one_is_refused(runs):
    with pytest.raises(errors.ConfigError, match="checkpoint = newest"):
        same_latents.sample(runs, ["one", "two"], same_latents.How(checkpoint="newest"))


def test_samples_are_beside_the_nearest_training_images(runs):
    run = runs[0]
    ask = sample_request.Request(run, seed=2, num=3, batch_size=4)
    near = report.neighbours(ask, 2, {"path": None, "data_dir": None})
    assert near.picture.label == f"step {STEP}, seed 2"
    tiles = pixels(near.picture)
    # Lines of 2 pixels between tiles of 16, each pixel twice.
    cells = [[tiles[2 + 34 * i :, 2 + 34 * j :][:32:2, :32:2] for j in range(3)] for i in range(3)]
    assert tiles.shape == (3 * 34 + 2, 3 * 34 + 2)
    samples = run.sample(3, seed=2)[..., 0]
    images = run.source().arrays["image"][..., 0].astype(float)
    for sample, row in zip(samples, cells, strict=True):
        np.testing.assert_array_equal(row[0], sample)
        distances = np.sqrt(np.square(images - sample).mean((1, 2)))
        found = [np.sqrt(np.square(image - sample.astype(float)).mean()) for image in row[1:]]
        np.testing.assert_allclose(found, np.sort(distances)[:2])
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    page = Page(report.page(run, near))
    assert near.words.startswith("mean distance to the nearest training image")
    assert near.words in page.text
    assert near.picture.uri in [one["src"] for one in page.all("img")]
    assert "They were not computed" not in page.text


def test_samples_are_shown_one_by_one(runs):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    run = runs[0]
    made = report.samples(sample_request.Request(run, seed=2, batch_size=4), 3)
    assert made.words == f"3 samples of step {STEP}, seed 2"
    page = Page(report.page(run, made=made))
    found = [Image.open(io.BytesIO(unpacked(one["src"]))) for one in page.all("img")]
    np.testing.assert_array_equal(
        [np.asarray(image) for image in found], run.sample(3, seed=2)[..., 0]
    )
    assert [one["alt"] for one in page.all("img")] == ["Sample 1", "Sample 2", "Sample 3"]
    assert {image.text["Description"] for image in found} == {"synthetic image"}
    assert made.words in page.text


def test_sounds_play_in_a_page_that_may_play_them(runs):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    field = specs.Field("audio", (1024, 1), "int16", sample_rate=8000)
    sounds = np.random.default_rng(0).integers(-9, 9, (2, *field.shape), np.int16)
    kind = kinds.of(field)
    made = report.Made("two", figures.of_samples(kind, sounds, ["low", "high"], {}))
    page = Page(report.page(runs[0], made=made))
    found = [unpacked(one["src"]) for one in page.all("audio")]
    assert found == [kind.file(sound) for sound in sounds]
    policies = [one["content"] for one in page.all("meta") if "http-equiv" in one]
    assert ["media-src data:" in policy for policy in policies] == [True]
    silent = Page(report.page(runs[0]))
    assert not silent.all("audio")
    assert "media-src" not in "".join(one.get("content", "") for one in silent.all("meta"))
