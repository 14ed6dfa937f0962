"""Which games find every mode: each adversarial loss with each penalty, on eight Gaussians.

    python -m scripts.toy_table [--steps=2000] [--seeds=1] [--weight=0.1]
                                [--only=LOSS ...] [--penalty=NAME ...]

Prints a Markdown table. A cell is "modes covered / high-quality share": of 2,500 samples, how many
of the ring's eight modes have a sample within three standard deviations, and the share of such
samples (of the data: 8 / 0.99); the mean over the seeds of the training.

Every loss is trained without a penalty and with every penalty, the Wasserstein loss with weight
clipping, too. All cells share the hyper-parameters of `make_config`, which were chosen on the first
seed for the non-saturating and the Wasserstein loss.
"""

import argparse
import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict

from configs import gan
from gan_jax.data import pipeline as pipelines
from gan_jax.data import sources
from gan_jax.errors import GanJaxError, MetricError
from gan_jax.evaluation import choosing, generative
from gan_jax.evaluation.settings import make_settings
from gan_jax.losses.adversarial import LOSSES
from gan_jax.losses.penalties import PENALTIES
from gan_jax.runs import build, compilation_cache
from gan_jax.training import sampling

PENALTY_WEIGHT = 0.1
CLIP = 0.3
METRICS = ("modes", "high_quality")
NONE, CLIPPING = "none", "clipping"
COLUMNS = (NONE, CLIPPING, *PENALTIES)
Scores = Mapping[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; a user's error is one line on stderr."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000, help="train steps")
    parser.add_argument("--seeds", type=int, default=1, help="trainings for each cell")
    parser.add_argument("--only", action="append", choices=LOSSES, help="a row; may be repeated")
    parser.add_argument(
        "--penalty", action="append", choices=COLUMNS, help="a column; may be repeated"
    )
    parser.add_argument("--weight", type=float, default=PENALTY_WEIGHT, help="of every penalty")
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error(f"--seeds={options.seeds}; accepted: 1 or more")
    compilation_cache.enable()
    rows = [name for name in LOSSES if name in (options.only or LOSSES)]
    columns = [name for name in COLUMNS if name in (options.penalty or COLUMNS)]
    cells = {}
    try:
        for loss, penalty in combinations():
            if loss in rows and penalty in columns:
                config = make_config(loss, penalty, options.steps, options.weight)
                scores = measure(config, range(options.seeds))
                cells[loss, penalty] = format_cell(scores)
                print(f"{loss}, {penalty}: {cells[loss, penalty]}", file=sys.stderr, flush=True)
    except GanJaxError as error:
        print(error, file=sys.stderr)
        return 1
    print(format_table(rows, columns, cells))
    return 0


def combinations() -> list[tuple[str, str]]:
    """Return the cells of the table: a loss and what goes with it, one of `COLUMNS`."""
    return [
        (loss, penalty)
        for loss in LOSSES
        for penalty in COLUMNS
        if penalty != CLIPPING or loss == "wasserstein"
    ]


def make_config(loss: str, penalty: str, steps: int, weight: float = PENALTY_WEIGHT) -> ConfigDict:
    """Return the configuration of a cell: a key of ``LOSSES``, and one of `COLUMNS`."""
    c = gan.get_config()
    c.data.name = "ring"
    c.loss.name = loss
    if penalty == CLIPPING:
        c.game.clip = CLIP
    elif penalty != NONE:
        c.penalty.name = penalty
        c.penalty.weight = weight
    c.generator.latent_dim = 2
    c.generator.mlp.update(features=(64, 64, 64), output="linear")
    c.discriminator.mlp.features = (64, 64, 64)
    c.optimizer.generator.learning_rate = 2e-3
    c.optimizer.discriminator.learning_rate = 3e-3
    for optimizer in (c.optimizer.generator, c.optimizer.discriminator):
        optimizer.adam.update(b1=0.0, b2=0.99)
        optimizer.schedule.name = "linear"
    c.ema.half_life = 0.0
    c.train.update(batch_size=128, steps=steps, steps_per_call=steps)
    c.train.update(log_every=steps, sample_every=steps, checkpoint_every=steps)
    c.eval.update(every=0, num_fake=2500, batch_size=2500, metrics=METRICS)
    c.num_devices = 1
    return c


def measure(config: ConfigDict, seeds: Sequence[int]) -> list[Scores]:
    """Train a configuration of `make_config`, compiled once, with several seeds.

    Returns:
      The `METRICS` of each seed; NaN where its samples are not finite.

    Raises:
      ConfigError: a field has a value that cannot work.
    """
    source = sources.make_source(config.data)
    training = build.make_training(config, source.spec)
    settings = make_settings(config)
    how = sampling.make_sampling(config)
    evaluator = generative.GenerativeEvaluator(
        settings,
        choosing.choose_metrics(settings, source),
        game=training.game,
        source=source,
        devices=training.devices,
        sampling=how,
    )
    data = training.parallel.put_replicated(pipelines.load(source))
    found: list[Scores] = []
    for seed in seeds:
        pipeline = pipelines.make_pipeline(
            source,
            seed=seed,
            global_batch=config.train.batch_size,
            batches_per_step=build.data_batches(training),
            steps_per_call=config.train.steps_per_call,
            resident=True,
        )
        state = dataclasses.replace(training, seed=seed).init_state()
        with pipeline.batches(0) as batches:
            for _ in range(config.train.steps // config.train.steps_per_call):
                batch = training.parallel.put_batch(next(batches))
                state, _ = training.parallel(state, data, batch)
        try:
            variables = sampling.chosen_variables(state, how)
            found.append(evaluator(variables).values)
        except MetricError:
            found.append(dict.fromkeys(METRICS, math.nan))
    return found


def format_cell(scores: Sequence[Scores]) -> str:
    """Return "modes covered / high-quality share", the means over seeds, or how many diverged."""
    values = np.array([[one[name] for name in METRICS] for one in scores])
    diverged = int(np.isnan(values).any(axis=1).sum())
    if diverged:
        return f"diverged ({diverged} of {len(scores)})"
    modes, share = values.mean(axis=0)
    return f"{modes:.1f} / {share:.2f}".replace(".0 /", " /")


def format_table(
    rows: Sequence[str], columns: Sequence[str], cells: Mapping[tuple[str, str], str]
) -> str:
    """Return a Markdown table of losses against penalties; a combination left out is a dash."""
    lines = [["loss", *columns], ["---"] * (1 + len(columns))]
    lines += [[f"`{row}`", *(cells.get((row, column), "-") for column in columns)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
