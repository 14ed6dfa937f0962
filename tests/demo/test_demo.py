"""Demos without a browser: their pages, their answers, and what the server refuses."""

import base64
import collections
import dataclasses
import io
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from gan_jax import errors
from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.demo.live_samples import LiveSampler
from gan_jax.demo.live_translation import LiveTranslator
from gan_jax.inference.sample_request import Request
from gan_jax.training import interpolation
from tests.inference.convolver import DOUBLE, HOLES, PLAIN, expected
from tests.inference.convolver import make_run as translating
from tests.inference.pictures import agree, colour
from tests.inference.untrained import of_classes
from tests.pages.directories import Page

pytest.importorskip("jinja2")


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """A run of conditional MLPs on digits."""
    return of_classes(tmp_path_factory.mktemp("classes") / "run")


@pytest.fixture(scope="module")
def samples(classes):
    from gan_jax.demo.samples import SamplesDemo

    return SamplesDemo(LiveSampler(Request(classes, batch_size=4)))


def translation(*arguments, **options):
    from gan_jax.demo.translation import TranslationDemo

    return TranslationDemo(LiveTranslator(translating(*arguments, **options)))


def content(address):
    """Return the type and the bytes of an address that contains a file."""
    kind, text = re.fullmatch(r"data:([\w/]+);base64,(.*)", address).groups()
    return kind, base64.b64decode(text)


def images(answer):
    """Return the pictures of an answer, in order."""
    found = []
    for attributes in Page(answer).all("img"):
        kind, raw = content(attributes["src"])
        assert kind == "image/png"
        with Image.open(io.BytesIO(raw)) as image:
            found.append(np.array(image))
    return np.stack(found)


def png(array, mode=None):
    buffer = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(buffer, "PNG")
    return buffer.getvalue()


def test_samples_of_a_seed_are_those_of_the_run(samples, classes):
    wanted = classes.sample(6, seed=3, batch_size=4)[..., 0]
    answer = samples.answer({"seed": "3", "num": "6"}, b"")
    agree(images(answer), wanted)
    page = Page(answer)
    assert [one["alt"] for one in page.all("img")] == [f"Sample {i + 1}, {i}" for i in range(6)]
    assert "6 samples of seed 3, in " in page.text
    command = f"python -m experiments.sample --run={classes.path} --seed=3 --num=6 --out=samples/"
    assert command in page.text


def test_a_class_and_a_truncation_are_those_of_the_run(samples, classes):
    wanted = classes.sample(2, seed=3, label=7, truncation=0.5, batch_size=4)[..., 0]
    form = {"seed": "3", "num": "2", "label": "7", "truncation": "0.5"}
    answer = samples.answer(form, b"")
    agree(images(answer), wanted)
    assert "--label=7 --truncation=0.5 --out" in answer
    assert [one["alt"] for one in Page(answer).all("img")] == ["Sample 1, 7", "Sample 2, 7"]


def test_between_two_seeds_latents_move_on_an_arc(samples):
    def made(**form):
        return images(samples.answer({"num": "3", "label": "2"} | form, b"")).astype(int)

    first, last = made(seed="5"), made(seed="6")
    agree(made(seed="5", second="6", share="0"), first)
    agree(made(seed="5", second="6", share="1"), last)
    sampler = samples._sampler
    ends = [sampler._latents(seed, 4) for seed in (5, 6)]
    z = interpolation.slerp(*ends, 0.25)
    shown = sampler.ask.renderer()(z[:3], np.full(3, 2, np.int32))
    agree(made(seed="5", second="6", share="0.25"), shown[..., 0].astype(int))
    assert "25% of the way to seed 6" in samples.answer(
        {"seed": "5", "second": "6", "share": "0.25"}, b""
    )


def test_the_page_has_the_controls_that_the_run_allows(samples):
    page = Page(samples.page())
    names = [one.get("name") for tag in ("input", "select") for one in page.all(tag)]
    assert names == ["seed", "num", "truncation", "second", "share", "label"]
    assert len(page.all("option")) == 11
    assert "cgan, trained on digits, step 4" in page.text
    text = samples.page()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; connect-src 'self'; ")
    assert not re.search(r"https?://|//cdn", text)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"seed": "-1"}, "seed = '-1'; accepted: a whole number from 0 to 4294967295"),
        ({"seed": "4294967296"}, "seed = '4294967296'; accepted"),
        ({"num": "65"}, "num = '65'; accepted: a whole number from 1 to 64"),
        ({"num": "0"}, "num = '0'"),
        ({"label": "ten"}, "label = 'ten'"),
        ({"truncation": "nan"}, "truncation = 'nan'; accepted: a number from 0 on"),
        ({"truncation": "-1"}, "truncation = '-1'"),
        ({"truncation": "1e999"}, "truncation = '1e999'"),
        ({"share": "1.5"}, "share = '1.5'; accepted: a number from 0 to 1"),
    ],
)
def test_wrong_fields_are_named(samples, form, message):
    with pytest.raises(errors.ConfigError, match=re.escape(message)):
        samples.answer(form, b"")


@dataclasses.dataclass(frozen=True)
class Sampled:
    """Stands in for a sampler of a run of any kind of data."""

    field: specs.Field
    attributes: specs.Field | None = None

    kind = property(lambda self: kinds.of(self.field))

    @property
    def ask(self):
        """What the page says of the run."""
        game = SimpleNamespace(num_classes=None, attributes=self.attributes, spec={})
        run = SimpleNamespace(
            path=Path("runs/one"), config=SimpleNamespace(variant="one"), data={"name": "set"}
        )
        how = SimpleNamespace(batch_norm="ema", truncation=None)
        return SimpleNamespace(
            field=self.field,
            game=game,
            run=run,
            sampling=how,
            step=1,
            captions=None,
            checkpoint="best",
            raw=True,
        )

    def __call__(self, seed, num, **options):
        shape = (num, *self.field.shape)
        if self.field.dtype == "float32":
            return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
        return np.random.default_rng(seed).integers(0, 2, shape).astype(self.field.dtype)

    def labels(self, num, label):
        return None

    def label(self, given):
        return None


FIELDS = {
    "image": specs.image((8, 6, 3)),
    "deep": specs.image((8, 6, 2)),
    "video": specs.Field("video", (3, 8, 6, 1), "uint8"),
    "sound": specs.Field("audio", (1024, 1), "int16", sample_rate=8000),
    "music": specs.music((16, 12), 60),
    "points": specs.Field("points", (2,), "float32"),
    "text": specs.text(3, ["<b>", "cat"], " "),
}


@pytest.mark.parametrize(
    ("name", "first", "shown"),
    [
        ("image", 16, {"image/png": 2}),
        ("deep", 16, {"image/png": 2}),
        ("video", 4, {"image/gif": 2}),
        ("sound", 4, {"image/png": 2, "audio/wav": 2}),
        ("music", 4, {"image/png": 2, "audio/wav": 2, "audio/midi": 2}),
        ("points", 256, {"image/png": 1}),
        ("text", 4, {}),
    ],
)
def test_each_kind_of_data_is_shown_or_heard(name, first, shown):
    from gan_jax.demo.samples import SamplesDemo

    sampler = Sampled(FIELDS[name])
    demo = SamplesDemo(sampler)
    answer = demo.answer({"num": "2", "seed": "4"}, b"")
    page = Page(answer)
    addresses = [
        *[one["src"] for one in page.all("img") + page.all("audio")],
        *[one["href"] for one in page.all("a")],
    ]
    found = [content(one) for one in addresses]
    assert collections.Counter(kind for kind, _ in found) == shown
    assert {content(one["src"])[0] for one in page.all("audio")} <= {"audio/wav"}
    made = sampler(4, 2)
    files = [sampler.kind.files(x) for x in made] if sampler.kind.suffix else []
    for kind, suffix in (("audio/wav", ".wav"), ("audio/midi", ".mid"), ("image/gif", ".gif")):
        if kind in shown:
            assert [raw for one, raw in found if one == kind] == [one[suffix] for one in files]
    if name == "text":
        assert [*page.text.splitlines()][1:3] == sampler.kind.lines(made)
        assert "<b>" not in answer
    if name == "sound":
        sheet = sampler.kind.picture(made[:1])[2:-2, 2:-2]
        assert (pixels(found[0][1]) == sheet[..., 0]).all()
    out = {"deep": "samples.npz", "points": "samples.npz"}.get(name, "samples/")
    assert f"--checkpoint=best --raw=True --seed=4 --num=2 --out={out}" in page.text
    controls = Page(demo.page())
    names = [one["name"] for one in controls.all("input")]
    moving = name not in ("points", "text")
    assert names == ["seed", "num"] + ["truncation"] * (name != "text") + (
        ["second", "share"] if moving else []
    )
    number = controls.all("input")[1]
    most = 1024 if name == "points" else 64
    assert (number["value"], number["max"]) == (str(first), str(most))


def test_attributes_are_asked_for_by_name():
    from gan_jax.demo.samples import SamplesDemo

    asked = specs.Field("attributes", (2,), "float32", attributes=("Smiling", "<Hat>"))
    page = SamplesDemo(Sampled(FIELDS["image"], asked)).page()
    assert 'name="label" type="text" placeholder="Smiling=1"' in page
    assert "Smiling, &lt;Hat&gt;. Those that are not given" in page
    assert "<Hat>" not in page


def pixels(raw):
    with Image.open(io.BytesIO(raw)) as image:
        return np.array(image)


@pytest.mark.parametrize(("direction", "size"), [(PLAIN, (9, 14)), (DOUBLE, (5, 7))])
def test_an_image_is_shown_before_and_after(direction, size):
    array, alpha = colour(*size), np.full(size, 255, np.uint8)
    alpha[0] = 40
    answer = translation(direction).answer({}, png(array))
    after, before = (one[None] for one in both(answer))
    agree(before[0], array)
    agree(after[0], expected(array, direction))
    seen = translation(direction).answer({}, png(np.dstack([array, alpha])))
    after, before = both(seen)
    agree(before, np.dstack([array, alpha]))
    agree(after[..., :3], expected(array, direction))
    assert after[0, 0, 3] < 100 < after[-1, -1, 3] == 255


def both(answer):
    """Return the pictures after and before."""
    page = Page(answer)
    assert [one["alt"] for one in page.all("img")] == ["after", "before"]
    return [np.array(Image.open(io.BytesIO(content(one["src"])[1]))) for one in page.all("img")]


def test_holes_are_where_an_image_is_transparent():
    array, alpha = colour(8, 12), np.full((8, 12), 255, np.uint8)
    alpha[2:5, 3:9] = 0
    demo = translation(HOLES)
    assert "transparent where it has holes" in Page(demo.page()).text
    after, before = both(demo.answer({}, png(np.dstack([array, alpha]))))
    known = alpha == 255
    agree(after[known], array[known], 0)
    assert (before[..., 3] == alpha).all()
    blank = np.where(known[..., None], array, np.uint8(255))
    agree(after[~known], expected(blank, HOLES, known)[~known])
    with pytest.raises(errors.DataError, match="no transparency that says where its holes are"):
        demo.answer({}, png(array))


def test_the_direction_is_chosen():
    demo = translation(PLAIN, BtoA=DOUBLE)
    array = colour(8, 8)
    assert len(Page(demo.page()).all("option")) == 2
    assert both(demo.answer({"direction": "BtoA"}, png(array)))[0].shape == (16, 16, 3)
    assert both(demo.answer({}, png(array)))[0].shape == (8, 8, 3)
    with pytest.raises(errors.ConfigError, match="direction = 'CtoA' is unknown"):
        demo.answer({"direction": "CtoA"}, png(array))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no file is chosen, or it is empty; accepted: an image"),
        (b"no image", "the file is not an image"),
        (png(np.zeros((64, 64, 3), np.uint8))[:60], "the file cannot be decoded: "),
        (
            png(np.zeros((2001, 2000), np.uint8)),
            "the file has 2000x2001 pixels; accepted: up to 4,000,000 in all",
        ),
    ],
    ids=["none", "text", "cut", "large"],
)
def test_files_that_cannot_be_used_are_reported(body, message):
    with pytest.raises(errors.DataError, match=re.escape(message)):
        translation().answer({}, body)
