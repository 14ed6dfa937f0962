"""Demos in a real browser: pressed, dragged and fed with files."""

import contextlib
import io
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

from gan_jax.demo import server
from gan_jax.demo.live_samples import LiveSampler
from gan_jax.demo.live_translation import LiveTranslator
from gan_jax.inference.sample_request import Request
from tests.inference import convolver
from tests.inference.pictures import colour
from tests.inference.untrained import of_classes

pytestmark = pytest.mark.slow
# A busy machine starts a browser in a minute.
LIMIT = 120_000


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, which loads nothing from elsewhere."""
    pytest.importorskip("jinja2")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the browser is driven by playwright: pip install playwright"
    )
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("there is no browser: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu"]
        one = driver.chromium.launch(executable_path=found, args=flags, timeout=LIMIT)
        yield one
        one.close()


@contextlib.contextmanager
def opened(browser, shown):
    """Open the page of a demo; at the end nothing has been asked of another server."""
    with server.Server("127.0.0.1", 0) as made:
        made.demo = shown
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        page = browser.new_page()
        page.set_default_timeout(LIMIT)
        asked, complaints = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(made.url)
        yield page
        page.close()
        made.shutdown()
        outside = [url for url in asked if not url.startswith((made.url, "data:"))]
        assert outside == []
        # The console reports answers of status 400.
        assert [text for text in complaints if "400" not in text and "404" not in text] == []


def loaded(page, selector):
    """Return the natural sizes of the pictures of a page, once they are drawn."""
    page.wait_for_selector(selector)
    sizes = "all => all.map(x => [x.complete, x.naturalWidth, x.naturalHeight])"
    return page.eval_on_selector_all(selector, sizes)


def test_a_press_shows_samples_and_a_mistake_is_a_line(browser, tmp_path):
    from gan_jax.demo.samples import SamplesDemo

    ask = Request(of_classes(tmp_path / "run"), batch_size=4)
    with opened(browser, SamplesDemo(LiveSampler(ask))) as page:
        page.fill("[name=num]", "3")
        page.select_option("[name=label]", label="7")
        page.click("button")
        assert loaded(page, "#answer img") == [[True, 16, 16]] * 3
        assert page.locator("#answer figcaption").all_inner_texts() == ["7"] * 3
        first = page.get_attribute("#answer img", "src")
        page.locator("[name=share]").fill("1")
        page.get_by_text("100% of the way to seed 1").wait_for()
        assert page.get_attribute("#answer img", "src") != first
        # The browser's own check of the field is passed by.
        page.eval_on_selector("form", "form => { form.noValidate = true; }")
        page.fill("[name=num]", "99")
        page.click("button")
        error = page.locator("#error")
        error.wait_for()
        assert error.inner_text() == "num = '99'; accepted: a whole number from 1 to 64"
        page.fill("[name=num]", "2")
        page.click("button")
        error.wait_for(state="hidden")
        assert page.locator("#answer img").count() == 2


def test_an_image_is_compared_by_a_line_that_moves(browser):
    from gan_jax.demo.translation import TranslationDemo

    raw = io.BytesIO()
    Image.fromarray(colour(30, 40)).save(raw, "PNG")
    translator = LiveTranslator(convolver.make_run(convolver.DOUBLE))
    with opened(browser, TranslationDemo(translator)) as page:
        file = {"name": "a.png", "mimeType": "image/png", "buffer": raw.getvalue()}
        page.set_input_files("[name=file]", [file])
        assert sorted(loaded(page, "#answer img")) == [[True, 40, 30], [True, 80, 60]]
        boxes = [page.locator(f".{name}").bounding_box() for name in ("before", "after")]
        assert boxes[0] == boxes[1]

        def seen():
            shot = page.locator(".both").screenshot()
            return np.array(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)

        page.locator(".both input").fill("100")
        before = seen()
        page.locator(".both input").fill("0")
        after = seen()
        page.locator(".both input").fill("50")
        half, middle = seen(), before.shape[1] // 2
        assert np.abs(before - after).mean() > 5
        assert np.abs(half[:, : middle - 9] - before[:, : middle - 9]).mean() < 1
        assert np.abs(half[:, middle + 9 :] - after[:, middle + 9 :]).mean() < 1
        broken = {"name": "b.png", "mimeType": "image/png", "buffer": b"no image"}
        page.set_input_files("[name=file]", [broken])
        page.locator("#error").wait_for()
        assert page.locator("#error").inner_text() == "the file is not an image"
