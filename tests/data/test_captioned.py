"""Folders of images with captions: where captions are, their tokens, and what is left out."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from gan_jax.data import captions, kinds
from gan_jax.data.sources import make_source
from gan_jax.errors import ConfigError, DataError


def write(folder, texts, form="jsonl", split=None):
    """Write an image for each text, of its number's grey, with its caption unless that is None."""
    folder = folder / split if split else folder
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for k, text in enumerate(texts):
        pixels = np.full((4, 4, 3), 10 * (k + 1), np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
        if text is None:
            continue
        if form == "txt":
            (folder / f"{k}.txt").write_text(text, encoding="utf-8")
        rows.append({"file_name": f"{k}.png", "text": text})
    if form == "jsonl":
        lines = "\n".join(map(json.dumps, rows))
        (folder / "metadata.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture
def source(data_config, tmp_path):
    """Return a function that opens the folder ``set``."""

    def opened(path=tmp_path / "set", **fields):
        return make_source(data_config(name="captioned", path=str(path), resolution=4, **fields))

    return opened


def lines(found):
    return kinds.of(found.spec["label"]).lines(found.read(range(len(found)))["label"])


TEXTS = ["A red bird, on a wire.", "the BIRD is blue", "a cat's toy"]


@pytest.mark.parametrize("form", ["jsonl", "txt"])
def test_images_have_their_captions_in_lower_case_without_punctuation(source, tmp_path, form):
    write(tmp_path / "set", TEXTS, form)
    found = source()
    assert lines(found) == ["a red bird on a wire", "the bird is blue", "a cat's toy"]
    batch = found.read([2, 0])
    assert batch["image"][:, 0, 0, 0].tolist() == [30, 10]
    assert batch["label"].shape == (2, 20)
    words = ["a", "bird", "blue", "cat's", "is", "on", "red", "the", "toy", "wire"]
    assert found.spec["label"].vocabulary == ("", *words, captions.UNKNOWN)
    assert batch["label"][0].tolist() == [1, 4, 9] + [0] * 17
    assert found.spec["label"].vectors == tuple(map(tuple, found.labels.tolist()))
    said = "captions: the column text" if form == "jsonl" else "captions: 3 text files"
    assert any(note.startswith(said) for note in found.notes)
    assert found.unused == ()


def test_another_column_and_metadata_in_csv(source, tmp_path):
    folder = write(tmp_path / "set", [None] * 2)
    (folder / "metadata.jsonl").unlink()
    (folder / "metadata.csv").write_text("file_name,caption,size\n0.png,one,1\n1.png,two,2\n")
    found = source(captions={"column": "caption"})
    assert lines(found) == ["one", "two"]
    assert found.unused == ("columns of the metadata: size",)
    # Without the column, text files count, and there are none.
    with pytest.raises(DataError, match=r"has no captions; accepted: a column text \(data\.capti"):
        source()


def test_the_vocabulary_is_that_of_the_training_captions(source, tmp_path):
    write(tmp_path / "set", ["a red bird", "a bird", "a dog"], split="train")
    write(tmp_path / "set", ["a green bird", "a red dog"], split="test")
    train, test = source(), source(split="test")
    assert train.spec["label"].vocabulary == ("", "a", "bird", "dog", "red", captions.UNKNOWN)
    assert test.spec["label"].vocabulary == train.spec["label"].vocabulary
    assert lines(test) == [f"a {captions.UNKNOWN} bird", "a red dog"]
    assert "1 of 6 words of captions are not among the 4 that are known" in test.notes
    assert "green" in source(split="all").spec["label"].vocabulary
    # Words that are not known mean nothing, so that captions do not differ by them.
    field = train.spec["label"]
    assert captions.agree(field, np.array([1, 5, 2]), np.array([1, 2, 0]))
    assert not captions.agree(field, np.array([1, 4, 2]), np.array([1, 2, 0]))


def test_rare_words_and_the_ends_of_long_captions_are_replaced_and_counted(source, tmp_path):
    write(tmp_path / "set", ["b b a", "a a c d", "c a"])
    found = source(captions={"vocabulary": 2, "length": 3})
    # a: 4 times, b: 2 times, c: 2 times.
    assert lines(found) == ["b b a", f"a a {captions.UNKNOWN}", f"{captions.UNKNOWN} a"]
    assert "2 of 8 words of captions are not among the 2 that are known" in found.notes
    assert "1 of 3 captions are longer than 3 words, of which the first are used" in found.notes
    assert len(source(captions={"length": 3}).spec["label"].vocabulary) == 5
    for field in ("length", "vocabulary"):
        with pytest.raises(ConfigError, match=rf"data\.captions\.{field} = 0; accepted: 1 or more"):
            source(captions={field: 0})


@pytest.mark.parametrize("form", ["jsonl", "txt"])
def test_images_without_captions_are_refused_or_left_out_and_counted(source, tmp_path, form):
    folder = write(tmp_path / "set", ["a bird", None, " . ", "a dog"], form)
    with pytest.raises(DataError, match=r"2 of 4 images have no caption, such as .*/1\.png \(data"):
        source()
    found = source(on_error="skip")
    assert lines(found) == ["a bird", "a dog"]
    assert found.read([0, 1])["image"][:, 0, 0, 0].tolist() == [10, 40]
    assert found.fingerprint().startswith("captioned:train:2:4x4x3:")
    assert found.unused[-1] == f"2 images without a caption, such as {folder / '1.png'}"
    write(tmp_path / "set", [None, None, None, None], form)
    for path in folder.glob("*.txt"):
        path.write_text("...")
    with pytest.raises(DataError, match="no caption"):
        source(on_error="skip")


def test_what_is_no_caption_is_counted_or_named(source, tmp_path):
    folder = write(tmp_path / "set", ["a bird\nin a tree\n", "\n\ta dog"], "txt")
    (folder / "README.txt").write_text("a note")
    found = source()
    assert lines(found) == ["a bird", "a dog"]
    assert "of 1 captions of several lines, the first line is used" in found.notes
    assert found.unused == ("1 .txt",)
    (folder / "1.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"1\.txt cannot be read as text: 'utf-8' codec"):
        source()
    write(tmp_path / "set", ["a bird", 5])
    with pytest.raises(DataError, match=r"the metadata have 5 as the text of 1\.png; accepted: a"):
        source()


def test_identity_follows_the_captions_and_not_the_place(source, tmp_path):
    folder = write(tmp_path / "set", TEXTS)
    first = source()
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    assert source(tmp_path / "set.zip").fingerprint() == first.fingerprint()
    # Another word of the same number.
    write(tmp_path / "set", [*TEXTS[:2], "a cat's tox"])
    assert source().fingerprint() != first.fingerprint()
