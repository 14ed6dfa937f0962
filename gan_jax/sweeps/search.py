"""The next values of a search: random, or from a model of the results so far.

A suggestion is a pure function of the space, a seed, the suggestion's number and the trials so far,
so a search that was killed can be resumed with the same suggestions. Both samplers are Optuna's;
the model is its tree-structured Parzen estimator ("Algorithms for Hyper-Parameter Optimization",
Bergstra et al. 2011).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gan_jax import errors
from gan_jax.sweeps.space import Parameter

METHODS = ("random", "tpe", "asha")
# Number of random suggestions before the first one of the model.
_STARTUP = 10


@dataclasses.dataclass(frozen=True)
class Trial:
    """A suggestion and its result.

    Attributes:
      values: values by dotted configuration field.
      state: ``"running"``, ``"done"``, ``"diverged"`` (ranks below any value) or ``"failed"``
        (ignored).
      value: the metric of a trial that is done.
    """

    values: Mapping[str, Any]
    state: str
    value: float | None = None


def suggest(
    parameters: Sequence[Parameter],
    trials: Sequence[Trial],
    *,
    method: str,
    lower_is_better: bool,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the next values, by dotted field.

    Args:
      parameters: the fields that are varied.
      trials: all earlier suggestions, including running trials.
      method: one of `METHODS`; ``"asha"`` suggests random values, and stops trials early.
      lower_is_better: whether smaller values of the metric are better.
      seed: seed of the search.

    Raises:
      SweepError: Optuna is missing.
    """
    optuna = load_optuna()
    distributions = {p.field: _distribution(optuna, p) for p in parameters}
    state = np.random.SeedSequence([seed, len(trials)]).generate_state(1)
    if method == "tpe":
        sampler = optuna.samplers.TPESampler(
            seed=int(state[0]),
            n_startup_trials=_STARTUP,
            constant_liar=True,  # Running trials count as bad results.
        )
    else:
        sampler = optuna.samplers.RandomSampler(seed=int(state[0]))
    direction = "minimize" if lower_is_better else "maximize"
    study = optuna.create_study(sampler=sampler, direction=direction)
    states = optuna.trial.TrialState
    known = {
        "done": states.COMPLETE,
        # Optuna ranks a pruned trial without a value below all others.
        "diverged": states.PRUNED,
        "running": states.RUNNING,
        "failed": states.FAIL,
    }
    for trial in trials if method == "tpe" else ():
        study.add_trial(
            optuna.trial.create_trial(
                state=known[trial.state],
                value=trial.value if trial.state == "done" else None,
                params={p.field: _position(p, trial.values[p.field]) for p in parameters},
                distributions=distributions,
            )
        )
    chosen = study.ask(distributions).params
    return {
        p.field: p.values[chosen[p.field]] if p.kind == "choice" else chosen[p.field]
        for p in parameters
    }


def _distribution(optuna: Any, parameter: Parameter) -> Any:
    if parameter.kind == "choice":
        # Indices, since Optuna does not accept lists as values.
        return optuna.distributions.CategoricalDistribution(list(range(len(parameter.values))))
    if parameter.kind == "integers":
        return optuna.distributions.IntDistribution(parameter.low, parameter.high)
    log = parameter.kind == "log_uniform"
    return optuna.distributions.FloatDistribution(parameter.low, parameter.high, log=log)


def _position(parameter: Parameter, value: Any) -> Any:
    return parameter.values.index(value) if parameter.kind == "choice" else value


def load_optuna() -> Any:
    """Return the package `optuna`.

    Raises:
      SweepError: it is missing.
    """
    try:
        import optuna
    except ImportError as error:
        raise errors.SweepError(
            "A search needs Optuna, which is missing; install it with: pip install -e '.[sweep]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
