"""The demo of a run that translates sounds: what is heard is what files are translated to."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from gan_jax import errors
from gan_jax.demo import sounds
from gan_jax.demo.sounds import SoundDemo
from gan_jax.inference.translate_sounds import SoundRequest, translate
from gan_jax.report import spectrograms
from tests.inference.sound_filter import RATE, Filter, Opened, filtered, noise
from tests.pages.directories import Page

pytest.importorskip("jinja2")
soundfile = pytest.importorskip("soundfile", reason="reads sound files (extra: audio)")


class Run(Opened):
    data = {"name": "tones"}  # noqa: RUF012


def wav(sound, rate=RATE):
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def heard(page):
    """Return the sounds of an answer by name, each with its rate."""
    raw = [base64.b64decode(one["src"].partition(",")[2]) for one in page.all("audio")]
    found = [soundfile.read(io.BytesIO(one), dtype="int16", always_2d=True) for one in raw]
    return dict(zip(("before", "after"), found, strict=True))


@pytest.mark.parametrize(("rate", "channels"), [(RATE, 1), (16_000, 2)])
def test_a_sound_is_heard_before_and_after(rate, channels, tmp_path):
    demo = SoundDemo(Run())
    demo.warm()
    uploaded = wav(noise(1003, channels), rate)
    answer = demo.answer({}, uploaded)
    page = Page(answer)
    found = heard(page)
    np.testing.assert_array_equal(
        found["before"][0], soundfile.read(io.BytesIO(uploaded), dtype="int16", always_2d=True)[0]
    )
    (tmp_path / "a.wav").write_bytes(uploaded)
    translate(SoundRequest(Run(), tmp_path / "a.wav", tmp_path / "out"))
    written = soundfile.read(tmp_path / "out" / "a.wav", dtype="int16", always_2d=True)
    np.testing.assert_array_equal(found["after"][0], written[0])
    assert {one[1] for one in found.values()} == {rate} == {written[1]}
    assert [label for label in ("before", "after") if f">{label}" in answer] == ["before", "after"]
    assert f"{1003 / rate:.3g} s at {rate:,} Hz" in page.text


def test_spectrograms_are_of_both_on_one_scale():
    sound = noise(1003)
    page = Page(SoundDemo(Run()).answer({}, wav(sound)))
    raw = [base64.b64decode(one["src"].partition(",")[2]) for one in page.all("img")]
    pictures = [Image.open(io.BytesIO(one)) for one in raw]
    both = np.stack([sound, filtered(sound, 1003)])[..., 0]
    for picture, expected in zip(pictures, spectrograms.spectrograms(both), strict=True):
        np.testing.assert_allclose(np.asarray(picture, float), expected[..., 0], atol=2)
    assert [one["alt"] for one in page.all("img")] == ["before", "after"]
    assert "Description" not in pictures[0].text
    assert pictures[1].text["Description"] == "synthetic image"


def test_the_page_asks_for_a_sound():
    page = Page(SoundDemo(Run()).page())
    (field,) = (one for one in page.all("input") if one.get("type") == "file")
    assert field["accept"] == "audio/*"
    assert "Sound" in page.text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no file is chosen, or it is empty; accepted: a sound"),
        (b"no sound", "the file is no sound that can be decoded"),
        (wav(noise(8 * RATE // 2 + 1)), "the file is longer than 4 s; accepted: up to 4 s"),
        (wav(noise(8, 3)), "the file has 3 channels; accepted: 1 or 2"),
    ],
    ids=["none", "text", "long", "channels"],
)
def test_files_that_cannot_be_used_are_reported(body, message, monkeypatch):
    monkeypatch.setattr(sounds, "MOST_SECONDS", 4)
    demo = SoundDemo(Run(Filter(channels=2)))
    with pytest.raises(errors.DataError) as caught:
        demo.answer({}, body)
    assert str(caught.value).startswith(message)
