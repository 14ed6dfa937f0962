"""The demo of a run that makes samples: its page, and samples as HTML that contains them."""

import shlex
import time
from typing import TYPE_CHECKING, Any

from gan_jax import installation
from gan_jax.data import captions
from gan_jax.data import spec as specs
from gan_jax.demo import demo
from gan_jax.demo.demo import Form
from gan_jax.inference import rendering
from gan_jax.pages import figures, template
from gan_jax.report import provenance

if TYPE_CHECKING:
    from gan_jax.demo.live_samples import LiveSampler

#: Samples in one answer, at most; of points this number for each that a picture of others shows.
MOST = 64
# Samples in an answer at first: of pictures, and of what takes more room.
_PICTURES, _OTHERS = 16, 4
_LARGEST_SEED = 2**32 - 1


class SamplesDemo:
    """The demo of a run that makes samples.

    Args:
      sampler: it.
    """

    def __init__(self, sampler: "LiveSampler") -> None:
        self._sampler, self._ask = sampler, sampler.ask
        self._kind = sampler.kind
        self._most = MOST * self._kind.crowd
        small = self._kind.sheet == ".png" and self._kind.suffix in ("", ".png")
        self._first = (_PICTURES if small else _OTHERS) * self._kind.crowd
        # Between two texts there is none, and the places of points say nothing one by one.
        self._moves = (
            self._kind.sheet == ".png"
            and self._kind.crowd == 1
            and self._ask.sampling.batch_norm != "batch"
        )

    def warm(self) -> None:
        """Compile what the first answer needs."""
        self._sampler(0, 1)

    def page(self) -> str:
        """Return the page as HTML."""
        game, words = self._ask.game, self._ask.captions
        attributes = game.attributes if words is None else None
        return template.render(
            "demo_samples.html",
            **demo.facts(self._ask.run, self._ask.step),
            most=self._most,
            first=self._first,
            largest_seed=_LARGEST_SEED,
            moves=self._moves,
            truncation=self._ask.sampling.truncation,
            truncates=self._kind.sheet == ".png",
            classes=specs.class_names(game.spec) if game.num_classes else None,
            attributes=attributes and attributes.attributes,
            words=words and sorted(captions.known(words)),
            example=words and self._ask.class_names(rendering.shown_labels(game))[0],
        )

    def answer(self, form: Form, body: bytes) -> str:
        """Return samples as HTML; `demo.Demo` describes the arguments and errors."""
        del body
        start = time.monotonic()
        seed = demo.whole(form, "seed", 0, _LARGEST_SEED, 0)
        num = demo.whole(form, "num", 1, self._most, self._first)
        label = self._sampler.label(form.get("label", ""))
        truncation = demo.number(form, "truncation", 0.0, float("inf"))
        share = demo.number(form, "share", 0.0, 1.0) or 0.0
        second = (
            demo.whole(form, "second", 0, _LARGEST_SEED, seed) if share and self._moves else None
        )
        how: dict[str, Any] = {"label": label, "truncation": truncation}
        made = self._sampler(seed, num, **how, second=second, share=share)
        seconds = time.monotonic() - start
        line = f"{num} samples of seed {seed}"
        if second is not None:
            line += f", {share:.0%} of the way to seed {second}"
        # Nothing else makes those on the way.
        command = "" if second is not None else self._command(seed, num, label, truncation)
        facts = {"seed": seed, "label": label, "second_seed": second, "share": share or None}
        text = provenance.synthetic(self._ask.run.path, self._ask.step, **facts)
        labels = self._sampler.labels(len(made), label)
        names = None if labels is None else self._ask.class_names(labels.tolist())
        return template.render(
            "demo_answer.html",
            line=f"{line}, in {seconds:.2g} s",
            command=command,
            samples=figures.of_samples(self._kind, made, names, text),
        )

    def _command(
        self, seed: int, num: int, label: int | str | None, truncation: float | None
    ) -> str:
        """Return the command that writes the same samples."""
        ask = self._ask
        named = "text" if ask.captions is not None else "label"
        given = {
            "run": ask.run.path,
            "checkpoint": None if ask.checkpoint == "latest" else ask.checkpoint,
            "raw": True if ask.raw else None,
            "seed": seed,
            "num": num,
            named: label,
            "truncation": truncation,
            "out": "samples/" if self._kind.suffix else "samples.npz",
        }
        flags = [f"--{k}={shlex.quote(str(v))}" for k, v in given.items() if v is not None]
        return f"{installation.command('sample')} {' '.join(flags)}"
