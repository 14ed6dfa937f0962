"""Run directories that were never trained, and what a browser would find in a page."""

import html.parser
import json

import numpy as np

from configs import gan
from gan_jax.data.sources import image_source
from gan_jax.report import grids, writers
from gan_jax.report.status import Status
from gan_jax.runs.run_directory import RunDirectory

PROTOCOL = {
    "data": "set:train:20",
    "weights": "ema",
    "batch_norm": "none",
    "seed": 3,
    "seeds": 1,
    "n_real": 20,
    "n_fake": 50,
}
# Elements without an end.
VOID = {"meta", "img", "input", "br", "link"}


def source(side=8, channels=1):
    images = np.random.default_rng(0).integers(0, 256, (20, side, side, channels), np.uint8)
    return image_source("set", "train", images, np.arange(20) % 2)


def config(**changes):
    made = gan.get_config("smoke")
    for path, value in changes.items():
        group = made
        *groups, name = path.split("__")
        for each in groups:
            group = group[each]
        group[name] = value
    return made


def make(path, rows=(), *, settings=None, data=None):
    """Make the directory of a run that has just logged some rows of metrics."""
    run = RunDirectory(path)
    run.path.mkdir(parents=True)
    run.write_config(settings or config())
    run.write_data(data or source())
    if rows:
        writer = writers.JsonlWriter(path / writers.METRICS)
        for row in rows:
            rest = {name: x for name, x in row.items() if name not in ("step", "kimg")}
            writer.scalars(row["step"], rest, kimg=row.get("kimg"))
        writer.close()
    return path


def losses(count, every=10):
    rng = np.random.default_rng(1)
    return [
        {
            "step": every * i,
            "kimg": 0.008 * every * i,
            "discriminator/loss": float(rng.normal()),
            "generator/loss": float(rng.normal()),
            "discriminator/real_score": float(rng.normal()),
            "discriminator/fake_score": float(rng.normal()),
        }
        for i in range(1, count + 1)
    ]


def finish(path, step=40):
    Status(path).write("done", "", step, step)


def draw(path, step, side=12):
    image = np.full((side, side, 1), step % 256, np.uint8)
    grids.save_png(path / "samples" / f"{step:08d}.png", image)


def started(path, *argv, commit="abc123"):
    entry = {
        "time": "2026-11-01T10:00:00+00:00",
        "commit": commit,
        "python": "3.11.7",
        "packages": {"jax": "0.10.2", "grain": None},
        "devices": {"cpu": 2},
        "argv": list(argv),
    }
    (path / "environment.json").write_text(json.dumps([entry]))


class Page(html.parser.HTMLParser):
    """What a browser would find: elements, the text of each, and rows of tables."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.rows = [], "", []
        self._open, self._cell = [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._cell = [dict(attributes), ""]
            self.rows[-1].append(self._cell)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        if tag in ("td", "th"):
            self._cell = None

    def handle_data(self, data):
        if not {"style", "script"} & set(self._open[-1:]):
            self.text += data
        if self._cell is not None:
            self._cell[1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def row(self, name):
        """Return the cells after the first one of the only row that begins with a text."""
        (found,) = [row for row in self.rows if row and row[0][1].startswith(name)]
        return [" ".join(text.split()) for _, text in found[1:]]

    def titles(self, name):
        """Return the values of that row with all their digits."""
        (found,) = [row for row in self.rows if row and row[0][1].startswith(name)]
        return [float(cell["title"]) for cell, _ in found[1:] if "title" in cell]
