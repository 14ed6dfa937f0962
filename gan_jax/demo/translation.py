"""The demo of a run that translates images: its page, and an image before and after as HTML."""

import time
from typing import TYPE_CHECKING

import numpy as np

from gan_jax.demo import demo
from gan_jax.demo.demo import Form
from gan_jax.inference import image_files
from gan_jax.pages import figures, template
from gan_jax.report import provenance

if TYPE_CHECKING:
    from gan_jax.demo.live_translation import LiveTranslator

# The width of an image on the page, in pixels.
_NARROWEST, _WIDEST = 320, 1024


class TranslationDemo:
    """The demo of a run that translates images.

    Args:
      translator: it.
    """

    def __init__(self, translator: "LiveTranslator") -> None:
        self._translator = translator

    def warm(self) -> None:
        """Compile what the first answer needs."""
        self._translator.warm()

    def page(self) -> str:
        """Return the page as HTML."""
        ways = self._translator.game.directions
        return template.render(
            "demo_translation.html",
            **demo.facts(self._translator.run, self._translator.weights.step),
            directions=list(ways),
            sounds=False,
            masked=any(way.masked for way in ways.values()),
            largest=demo.LARGEST,
        )

    def answer(self, form: Form, body: bytes) -> str:
        """Return an image before and after as HTML; `demo.Demo` describes arguments and errors."""
        start = time.monotonic()
        found = self._translator(body, form.get("direction") or None)
        seconds = time.monotonic() - start
        height, width = found.after.shape[:2]
        run, step = self._translator.run, self._translator.weights.step
        text = provenance.synthetic(run.path, step)
        before = image_files.encode(found.before, found.before_alpha, "png")
        after = image_files.encode(found.after, found.after_alpha, "png", text)
        return template.render(
            "demo_both.html",
            line=f"{width}x{height} pixels, in {seconds:.2g} s",
            width=int(np.clip(width, _NARROWEST, _WIDEST)),
            before=figures.address(".png", before),
            after=figures.address(".png", after),
        )
