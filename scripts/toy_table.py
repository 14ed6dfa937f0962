"""Which games find every mode: each adversarial loss with each penalty, on eight Gaussians.

    python -m scripts.toy_table [--steps=N] [--seeds=N] [--only=LOSS ...]
"""

import argparse
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from configs import base
from gan_jax.data import pipeline as pipelines
from gan_jax.data import sources
from gan_jax.errors import MetricError
from gan_jax.losses import adversarial, penalties
from gan_jax.training import build, compilation_cache, evaluation, sampling

WEIGHTS = {"wgan_gp": 0.1, "dragan": 0.1, "r1": 0.1, "r2": 0.1, "r1_r2": 0.1}
CLIP = 0.1


def make_config(loss: str, regularizer: str, steps: int) -> ConfigDict:
    c = base.get_config()
    c.data.name = "ring"
    c.loss.name = loss
    if regularizer == "clip":
        c.game.clip = CLIP
    elif regularizer != "none":
        c.penalty.name = regularizer
        c.penalty.weight = WEIGHTS[regularizer]
    c.game.discriminator_steps = 1
    c.generator.latent_dim = 8
    c.generator.mlp.update(features=(64, 64, 64), output="linear")
    c.discriminator.mlp.features = (64, 64, 64)
    for optimizer, rate in ((c.optimizer.generator, 1e-3), (c.optimizer.discriminator, 3e-3)):
        optimizer.learning_rate = rate
        optimizer.adam.update(b1=0.0, b2=0.9)
        optimizer.schedule.name = "linear"
    c.train.update(batch_size=128, steps=steps)
    c.train.update(dict.fromkeys(("steps_per_call","log_every","sample_every","checkpoint_every"), steps))
    c.eval.update(num_fake=2500, batch_size=2500, metrics=("modes", "high_quality", "mode_kl"))
    c.num_devices = 1
    return c


def measure(config: ConfigDict, seeds: Sequence[int]) -> list[dict]:
    source = sources.make_source(config.data)
    training = build.make_training(config, source.shape, source.num_classes)
    out = []
    evaluator = None
    for seed in seeds:
        pipeline = pipelines.make_pipeline(source, seed=seed, global_batch=config.train.batch_size,
            batches_per_step=build.data_batches(training), steps_per_call=config.train.steps_per_call)
        if evaluator is None:
            data = training.parallel.put_replicated(pipeline.data)
            evaluator = evaluation.make_evaluator(config, evaluation.make_settings(config), game=training.game,
              source=source, devices=training.devices, sampling=sampling.make_sampling(config), data=pipeline.data)
        state = dataclasses.replace(training, seed=seed).init_state()
        with pipeline.batches(0) as batches:
            for _ in range(config.train.steps // config.train.steps_per_call):
                state = training.parallel(state, data, training.parallel.put_batch(next(batches)))
        try:
            out.append(evaluator(state).values)
        except MetricError as e:
            out.append({"modes": math.nan, "high_quality": math.nan, "mode_kl": math.nan})
    return out

if __name__ == "__main__":
    import sys, time
    compilation_cache.enable()
    for overrides in sys.argv[2:]:
      for loss in sys.argv[1].split(","):
        t=time.process_time(); w = time.time()
        kw = dict(x.split("=") for x in overrides.split(","))
        reg = kw.pop("reg")
        config = make_config(loss, reg, int(kw.pop("steps")))
        seeds = range(int(kw.pop("seeds", 1)))
        grate=kw.pop("g",None); drate=kw.pop("d",None); b1=kw.pop("b1",None)
        b2=kw.pop("b2",None)
        if grate: config.optimizer.generator.learning_rate=float(grate)
        if drate: config.optimizer.discriminator.learning_rate=float(drate)
        for o in (config.optimizer.generator, config.optimizer.discriminator):
            if b1: o.adam.b1=float(b1)
            if b2: o.adam.b2=float(b2)
        flat=config
        for k,v in kw.items():
            if k=="clip": config.game.clip=float(v)
            if k=="w": config.penalty.weight=float(v)
            if k=="ds": config.game.discriminator_steps=int(v)
            if k=="bs": config.train.batch_size=int(v)
            if k=="width": config.generator.mlp.features=config.discriminator.mlp.features=(int(v),)*3
            if k=="ema": config.ema.half_life=float(v)
            if k=="lat": config.generator.latent_dim=int(v)
        r = measure(config, seeds)
        print(loss, overrides, [(int(x["modes"]) if x["modes"]==x["modes"] else -1, round(x["high_quality"],2), round(x["mode_kl"],2)) for x in r], f"cpu {time.process_time()-t:.0f}s wall {time.time()-w:.0f}", flush=True)
