"""The demo of a run that translates sounds: its page, and a sound before and after as HTML."""

import functools
import time
from collections.abc import Callable, Mapping

import jax
import numpy as np

from gan_jax import errors
from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.data.sources import sounds
from gan_jax.demo import demo
from gan_jax.demo.demo import Form
from gan_jax.games.translation import as_translation, choose_direction
from gan_jax.inference import translate_sounds
from gan_jax.pages import figures, template
from gan_jax.report import grids, provenance, spectrograms
from gan_jax.runs.run import Run, Weights
from gan_jax.training import translating
from gan_jax.training.sampling import make_sampling

#: Seconds of a sound, at most: a person would not wait for more.
MOST_SECONDS = 60
# Tiles at a time.
_BATCH = 4
# The width of a spectrogram on the page in pixels, and its frames at most.
_WIDTH, _FRAMES = 480, 1000


class SoundDemo:
    """The demo of a run that translates sounds, as ``experiments.translate`` does.

    Args:
      run: the trained run.
      checkpoint: "latest", "best" or a train step.
      raw: use the raw weights, not their moving average.

    Raises:
      ConfigError: the run does not translate sounds.
      DataError: the library that reads sound files is not installed.
      CheckpointError: there is no such checkpoint, or it is damaged.
    """

    def __init__(self, run: Run, checkpoint: str = "latest", raw: bool = False) -> None:
        self._run, self._game = run, as_translation(run.game, "a demo of translations")
        self._field = specs.target(self._game.spec)
        kinds.check_kinds({"target": self._field}, "a demo of sounds", audio="sounds")
        sounds.library()
        self._checkpoint, self._raw = checkpoint, raw
        way = self._game.directions[choose_direction(self._game, None)]
        self._tiling = translating.sound_tiling_of(
            way, translating.SOUND_TILE, translating.SOUND_OVERLAP
        )

    def warm(self) -> None:
        """Compile what most answers need."""
        silence = np.zeros((1, translating.SOUND_TILE, self._field.shape[1]), np.float32)
        self._translated(silence)

    def page(self) -> str:
        """Return the page as HTML."""
        return template.render(
            "demo_translation.html",
            **demo.facts(self._run, self._weights.step),
            directions=[],
            sounds=True,
            largest=demo.LARGEST,
        )

    def answer(self, form: Form, body: bytes) -> str:
        """Return a sound before and after as HTML; `demo.Demo` describes arguments and errors."""
        del form
        start = time.monotonic()
        sound = self._read(body)
        made = self._translated(sound.parts)
        seconds = time.monotonic() - start
        text = provenance.synthetic(self._run.path, self._weights.step)
        both = np.stack([sound.clean.mean(axis=1), made.mean(axis=1)])
        before, after = spectrograms.spectrograms(both, hop=max(32, both.shape[1] // _FRAMES))
        shown = [
            _figure("before", before, sound.stored, sound.rate, {}),
            _figure("after", after, sound.restored(made), sound.rate, text),
        ]
        length = len(sound.stored) / sound.rate
        return template.render(
            "demo_answer.html",
            line=f"{length:.3g} s at {sound.rate:,} Hz, in {seconds:.2g} s",
            command="",
            samples=figures.Figures(_WIDTH, shown),
        )

    @functools.cached_property
    def _weights(self) -> Weights:
        return self._run.load(self._checkpoint, make_sampling(self._run.config, raw=self._raw))

    @functools.cached_property
    def _network(self) -> Callable[[np.ndarray], jax.Array]:
        return translating.sound_network(self._game, self._weights.variables)

    def _read(self, content: bytes) -> translate_sounds.Sound:
        """Return the sound in a file; a `DataError` says why there is none."""
        if not content:
            raise errors.DataError("no file is chosen, or it is empty; accepted: a sound")
        try:
            return translate_sounds.read(content, self._field, MOST_SECONDS)
        except errors.DataError as error:
            raise errors.DataError(f"the file {error}") from error

    def _translated(self, parts: np.ndarray) -> np.ndarray:
        """Return a sound at the run's rate, ``[samples, channels]``, of `Sound.parts`."""
        with self._run.precision():
            return translate_sounds.translate_parts(parts, self._network, self._tiling, _BATCH)


def _figure(
    name: str, picture: np.ndarray, sound: np.ndarray, rate: int, text: Mapping[str, str]
) -> figures.Figure:
    """Return a sound with its spectrogram, which says by ``text`` where it is from."""
    image = figures.address(".png", grids.png(picture, text))
    played = figures.address(".wav", translate_sounds.wav(sound, rate))
    return figures.Figure(name, name, image, played)
