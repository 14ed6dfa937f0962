"""Samples of the same latents by several runs, where their latents are the same."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from gan_jax import errors
from gan_jax.data import kinds
from gan_jax.games.game import as_generative
from gan_jax.inference import rendering, sample_request
from gan_jax.pages import pictures
from gan_jax.pages.pictures import Picture
from gan_jax.report import grids
from gan_jax.runs.run import Run
from gan_jax.runs.run_directory import choose_step


@dataclasses.dataclass(frozen=True)
class Samples:
    """Samples of several runs, of the same latents.

    Attributes:
      latents: what the latents are, in words.
      rows: the name of each run with its samples.
    """

    latents: str
    rows: list[tuple[str, Picture]]


@dataclasses.dataclass(frozen=True)
class How:
    """How samples are made.

    Attributes:
      num: how many.
      seed: of the latents.
      checkpoint: "latest", "best" or a train step.
      raw: use the raw weights, not their moving average.
      batch_size: samples made at a time.
    """

    num: int = 8
    seed: int = 0
    checkpoint: str = "latest"
    raw: bool = False
    batch_size: int = 64


def sample(runs: Sequence[Run], titles: Sequence[str], how: How) -> tuple[list[Samples], list[str]]:
    """Return samples of the same latents, and sentences on the runs that have none.

    Args:
      runs: the runs, of any data.
      titles: their names.
      how: the samples are made.

    Raises:
      ConfigError: the checkpoint is no name of one.
    """
    for run in runs:
        choose_step(run.path, None if how.checkpoint == "best" else how.checkpoint)
    groups: dict[tuple[tuple[int, ...], bytes], list[tuple[str, Run]]] = {}
    left: list[str] = []
    for run, title in zip(runs, titles, strict=True):
        try:
            game = as_generative(run.game, "a sample of latents")
        except errors.ConfigError as error:
            left.append(f"{title}: {error}.")
            continue
        z = rendering.latents(game, seed=how.seed, num=how.num)
        groups.setdefault((z.shape, z.tobytes()), []).append((title, run))
    found = []
    for (shape, _), members in groups.items():
        if len(members) == 1:
            others = {other[1] for other, _ in groups if other != shape}
            left.append(_alone(members[0][0], shape[1], others))
            continue
        rows = []
        for title, run in members:
            try:
                rows.append((title, _drawn(run, how)))
            except (errors.CheckpointError, errors.WorkdirError, errors.ConfigError) as error:
                left.append(f"{title}: {error}.")
        if rows:
            words = f"latents of {shape[1]} numbers, seed {how.seed}"
            found.append(Samples(words, rows))
    return found, left


def _alone(title: str, length: int, others: set[int]) -> str:
    """Return why no other run has the latents of a run; ``others`` are the lengths of theirs."""
    if not others:
        return f"{title}: no other run has latents of its distribution."
    lengths = ", ".join(map(str, sorted(others)))
    return f"{title}: its latents have {length} numbers, those of other runs have {lengths}."


def _drawn(run: Run, how: How) -> Picture:
    ask = sample_request.Request(
        run,
        checkpoint=how.checkpoint,
        raw=how.raw,
        seed=how.seed,
        batch_size=how.batch_size,
    )
    kind = kinds.of(ask.field)
    with run.precision():
        data = ask.sampler().samples(ask.variables, how.num * kind.crowd)
    label = f"step {ask.step:,}"
    if kind.sheet == ".txt":
        return Picture(label, text="".join(f"{line}\n" for line in kind.lines(data)))
    columns = None if ask.field.kind == "video" else how.num
    drawn = pictures.embedded(grids.png(np.asarray(kind.picture(data, columns))), label)
    assert drawn is not None
    return drawn
