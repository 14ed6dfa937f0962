"""Samples that are asked for by text: from Python, on the command line, and in a run's pictures."""

import shutil

import numpy as np
import pytest
from PIL import Image

from configs import gan, text_to_image
from gan_jax.data import captions, kinds
from gan_jax.errors import ConfigError
from gan_jax.inference import sample_run
from gan_jax.inference.sample_request import Request
from gan_jax.runs import build, pictures
from gan_jax.runs.run import open_run
from tests.experiments.program import REPO, SAMPLE, call, complaint, succeeded
from tests.inference.untrained import make_run

TEXT = "a small red cross left"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run of text to image."""
    config = text_to_image.get_config("smoke")
    config.data.toy_size = 300
    return make_run(tmp_path_factory.mktemp("captioned") / "run", config)


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_samples_of_a_text_are_of_its_tokens_and_exported_with_it(run, tmp_path):
    field = run.game.attributes
    tokens = captions.tokens(field, TEXT)
    _, labels = Request(run, label=TEXT).sampler().latents(0)
    np.testing.assert_array_equal(labels, np.tile(tokens, (len(labels), 1)))
    assert run.sample(3, text=TEXT.upper()).shape == (3, 16, 16, 3)
    line = sample_run.export(Request(run, num=3, label=TEXT, out=tmp_path / "a.npz"), archive=True)
    assert line == f"3 samples of step 4: {tmp_path / 'a.npz'}"
    with np.load(tmp_path / "a.npz") as file:
        assert file["caption"].tolist() == [TEXT] * 3
        np.testing.assert_array_equal(file["label"], np.tile(tokens, (3, 1)))
        np.testing.assert_array_equal(file["image"], run.sample(3, text=TEXT))


def test_without_a_text_samples_go_through_captions_of_the_data(run):
    field = run.game.attributes
    _, labels = Request(run).sampler().latents(0)
    np.testing.assert_array_equal(labels, field.vectors[: len(labels)])


def test_a_grid_has_a_row_for_each_of_eight_captions_and_of_a_text_none(run, tmp_path):
    line = sample_run.grid(Request(run, num=5, out=tmp_path / "rows.png"))
    assert line.startswith("5 samples of each of 8 captions of step 4")
    height, width, _ = pixels(tmp_path / "rows.png").shape
    pitch = 32 + 2
    assert height == 8 * pitch + 2
    assert width > 5 * pitch + 2 + 100  # The captions stand to the left.
    sample_run.grid(Request(run, num=4, label=TEXT, out=tmp_path / "one.png"))
    assert pixels(tmp_path / "one.png").shape == (2 * pitch + 2, 2 * pitch + 2, 3)
    assert " " not in Request(run, label=TEXT).picture("sample").name


def test_the_pictures_of_a_run_have_captions_beside_their_rows(run, monkeypatch):
    config = run.config
    drawn = []

    def named_rows(tiles, names):
        drawn.append((tiles.shape, names))
        return np.zeros((1, 1, 3), np.uint8)

    asked = []

    class Sampler(pictures.sampling.Sampler):
        def __init__(self, *arguments, class_of, **options):
            asked.append(class_of)
            super().__init__(*arguments, class_of=class_of, **options)

    monkeypatch.setattr(pictures.grids, "named_rows", named_rows)
    monkeypatch.setattr(pictures.sampling, "Sampler", Sampler)
    training = build.make_training(config, run.source().spec)

    class Pipeline:
        source = run.source()

    draw = pictures.make_picture(config, training, Pipeline())
    draw(run.state(), 0)
    ((shape, names),) = drawn
    assert shape == (2, 8, 16, 16, 3)  # A smoke run shows 16 samples.
    assert all(set(name.split()) <= set(run.game.attributes.vocabulary) for name in names)
    assert len(set(names)) == 2
    (class_of,) = asked
    lines = kinds.of(run.game.attributes).lines(
        np.asarray(class_of(np.arange(16, dtype=np.uint32)))
    )
    assert lines == [names[0]] * 8 + [names[1]] * 8


def test_a_demo_takes_a_text_and_lists_the_words(run):
    pytest.importorskip("jinja2")
    from gan_jax.demo.live_samples import LiveSampler
    from gan_jax.demo.samples import SamplesDemo

    demo = SamplesDemo(LiveSampler(Request(run, batch_size=4)))
    page = demo.page()
    assert "Words that can be used" in page
    assert "crimson, cross, disc" in page
    assert kinds.of(run.game.attributes).lines(np.array(run.game.attributes.vectors[:1]))[0] in page
    answer = demo.answer({"num": "3", "label": TEXT.upper()}, b"")
    assert answer.count(f"<figcaption>{TEXT}</figcaption>") == 3
    assert "--text='A SMALL RED CROSS LEFT'" in answer.replace("&#39;", "'")
    with pytest.raises(ConfigError, match="has the unknown word 'purple'; accepted: a, and"):
        demo.answer({"label": "a purple cross"}, b"")


def test_texts_that_cannot_be_asked_for_are_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="unknown word 'purple'; accepted: a, and, at, azure"):
        run.sample(2, text="a small purple cross left")
    with pytest.raises(ConfigError, match="label = 'x'; accepted: no label with a text"):
        run.sample(2, text=TEXT, label="x")
    other = make_run(tmp_path / "digits", gan.get_config("smoke"))
    with pytest.raises(ConfigError, match="'gan' is not asked for images by text; accepted: a run"):
        open_run(other.path).sample(2, text=TEXT)


def test_the_command_line_takes_a_text_or_a_label(run, tmp_path):
    flags = (f"--run={run.path}", "--num=2")
    out = tmp_path / "one.png"
    succeeded(call(*flags, f"--text={TEXT}", f"--out={out}", module=SAMPLE))
    assert out.exists()
    message = complaint(call(*flags, f"--text={TEXT}", "--label=2", module=SAMPLE))
    assert message == "--label=2 with --text; accepted: one of them"
    message = complaint(call(*flags, "--text=a small purple cross left", module=SAMPLE))
    assert "unknown word 'purple'" in message


@pytest.mark.slow
def test_a_folder_of_captioned_images_trains_and_is_asked_for_in_its_words(tmp_path):
    texts = ["A red bird", "a blue bird", "a red cat", "the blue cat"] * 3
    folder = tmp_path / "set"
    folder.mkdir()
    for k, text in enumerate(texts):
        Image.fromarray(np.full((20, 16, 3), 20 * k, np.uint8)).save(folder / f"{k}.jpg")
        (folder / f"{k}.txt").write_text(text)
    Image.fromarray(np.zeros((20, 16, 3), np.uint8)).save(folder / "alone.jpg")
    flags = (
        f"--config={REPO / 'configs/text_to_image.py'}:folder,smoke",
        f"--config.data.path={folder}",
        "--config.data.resolution=8",
        "--config.data.captions.length=4",
        "--config.num_devices=1",
        "--config.train.steps=2",
        f"--workdir={tmp_path / 'run'}",
    )
    message = complaint(call(*flags))
    assert "1 of 13 images have no caption, such as" in message
    out = succeeded(call(*flags, "--config.data.on_error=skip", "--config.eval.every=2")).out
    assert "6 words, such as 'a red bird'" in " ".join(out.split())
    assert "none: set has captions, and no classes to train" in " ".join(out.split())
    # The words are kept in the run: those of the folder may change.
    shutil.rmtree(folder)
    out = tmp_path / "one.png"
    sample = (f"--run={tmp_path / 'run'}", "--num=2", f"--out={out}")
    succeeded(call(*sample, "--text=The RED cat.", module=SAMPLE))
    assert out.exists()
    message = complaint(call(*sample, "--text=a green cat", module=SAMPLE))
    assert "unknown word 'green'; accepted: a, bird, blue, cat, red, the." in message
