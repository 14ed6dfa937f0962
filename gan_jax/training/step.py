"""One train step of any game: per device, pure, free of globals.

The step is written for one device's share of the batch. ``axis_name`` names the mapped axis over
which gradients, metrics and batch statistics are averaged; `gan_jax.training.parallel` maps the
step over devices.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from gan_jax.data import device
from gan_jax.games import draws
from gan_jax.games.game import Game, Outcome, Player, Turn, images_per_step, owner_steps
from gan_jax.training.ema import EMA
from gan_jax.training.optimizers import Optimizer
from gan_jax.training.preparation import Prepare
from gan_jax.training.state import NetworkState, TrainState, Variables
from gan_jax.training.threefry import unrolled

AXIS = "data"  # The mapped axis, over which the batch is split.
Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]
TrainStep = Callable[..., tuple[TrainState, Metrics]]


def init_state(
    game: Game,
    optimizers: Mapping[str, Optimizer],
    ema: EMA,
    seed: jax.Array | int,
    settings: Mapping[str, jax.Array] | None = None,
) -> TrainState:
    """Return the state before the first step. Jit it, or take its shape with ``jax.eval_shape``.

    Args:
      game: the game.
      optimizers: one per network.
      ema: the moving average.
      seed: of the root key.
      settings: numbers that are part of the state, not of the program (`TrainState.settings`).
    """
    root = jax.random.key(seed)
    owner_steps(game)
    scheduled = game.scheduled(jnp.zeros((), jnp.int32))
    networks = {}
    for name, network in game.networks.items():
        key = draws.named(unrolled(root), f"init/{name}")
        variables = {**network.init(key), **scheduled.get(name, {})}
        params = variables.pop("params")
        networks[name] = NetworkState(
            params=params,
            mutable=variables,
            opt_state=optimizers[name].transformation.init(params),
            # A copy: the state is donated to the step, and one buffer cannot be donated twice.
            ema=jax.tree.map(jnp.copy, {"params": params, **variables})
            if ema.enabled and network.averaged
            else None,
        )
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        key=root,
        networks=networks,
        game=jax.tree.map(jnp.asarray, dict(game.memory)),
        settings=dict(settings or {}),
    )


def make_train_step(
    game: Game,
    optimizers: Mapping[str, Optimizer],
    ema: EMA,
    *,
    batch_size: int,
    prepare: Prepare | None = None,
    accumulate: int = 1,
) -> TrainStep:
    """Return ``train_step(state, data, batch, axis_name=None) -> (state, metrics)``.

    Args:
      game: the game.
      optimizers: one per network.
      ema: the moving average.
      batch_size: the global batch size, for lengths that are counted in images.
      prepare: maps a stored batch, this turn's key and the mapped axis to the batch of the turn;
        ``None``: the data are converted as `gan_jax.data.kinds` says.
      accumulate: the number of parts into which a device's share of a batch is split; a gradient is
        the mean over the parts, and the activations of one part at a time are in memory.

    The returned function takes ``data``, the resident data set or ``{}``, and ``batch``, arrays of
    leading shape ``[batches_per_step, batch on this device]`` (see `gan_jax.data.pipeline`). The
    metrics are float32 scalars named ``<player>/<metric>``, means over the player's gradient steps
    and over devices: ``loss`` (the scalar that was differentiated), ``gradient_norm``, and those
    of the player's `Outcome`. For a game of several stages every player's gradients have a branch
    for each, and all optimizers begin anew with a stage.
    """
    images = images_per_step(game, batch_size)
    prepared = prepare or Prepare(game.spec)

    def train_step(
        state: TrainState, data: Batch, batch: Batch, *, axis_name: Any = None
    ) -> tuple[TrainState, Metrics]:
        stage = game.stage(images_seen(state.step, images))
        if len(game.stages) > 1:
            begins = stage != game.stage(images_seen(state.step - 1, images))
            state = state.replace(networks=_restarted(state.networks, optimizers, begins))
        step_key = jax.random.fold_in(state.key, state.step)
        carry = (state.networks, state.game)
        metrics: dict[str, jax.Array] = {}
        position, last_key = 0, step_key
        # A player has the same name and networks in every stage, and another loss.
        for players in zip(*(one.players for one in game.stages), strict=True):
            player = players[0]
            chosen, position = _batches(batch, position, player)
            player_key = draws.named(step_key, player.name)
            if player.fresh_data:
                last_key = jax.random.fold_in(player_key, player.steps - 1)

            def gradient_step(
                carry: tuple[dict[str, NetworkState], Variables],
                scanned: tuple[jax.Array, Batch],
                players: tuple[Player, ...] = players,
                player_key: jax.Array = player_key,
                last_key: jax.Array = last_key,
            ) -> tuple[tuple[dict[str, NetworkState], Variables], Metrics]:
                networks, memory = carry
                index, examples = scanned
                player = players[0]
                key = jax.random.fold_in(player_key, index)
                batch_key = key if player.fresh_data else last_key
                turn = Turn(
                    variables={name: n.variables for name, n in networks.items()},
                    batch=prepared(device.fetch(data, examples), batch_key, axis_name),
                    key=key,
                    batch_key=batch_key,
                    count=state.step * player.steps + index,
                    steps=player.steps,
                    axis_name=axis_name,
                    memory=memory,
                    settings=state.settings,
                )
                owned = {name: networks[name].params for name in player.networks}
                branches = [
                    functools.partial(
                        _gradients,
                        one,
                        owned,
                        one.prepared(turn) if accumulate == 1 else turn,
                        accumulate,
                    )
                    for one in players
                ]

                def play() -> Any:
                    # All devices take the same branch; of one stage alone there is none.
                    found = lax.switch(stage, branches)
                    return _update(player, turn, found, networks, optimizers)

                if player.start:
                    return _play_from(player.start, state.step, play, carry)
                return play()

            carry, history = repeat(
                gradient_step, carry, (jnp.arange(player.steps, dtype=jnp.int32), chosen)
            )
            for name, values in history.items():
                metrics[f"{player.name}/{name}"] = jnp.mean(values)
        networks, memory = carry
        networks = _average(game, networks, ema, state.step, images)
        state = state.replace(step=state.step + 1, networks=networks, game=memory)
        scheduled = game.scheduled(images_seen(state.step, images))
        return state.replace(networks=_scheduled(state.networks, scheduled)), metrics

    return train_step


def images_seen(step: jax.Array, images_per_step: int) -> jax.Array:
    """Return the real images that some train steps have consumed, int32, at most 2^31 - 1.

    Args:
      step: train steps, int32; a negative number counts as 0.
      images_per_step: of one of them.
    """
    most = 2**31 - 1
    return jnp.clip(step, 0, most // max(images_per_step, 1)) * images_per_step


def _restarted(
    networks: Mapping[str, NetworkState], optimizers: Mapping[str, Optimizer], begins: jax.Array
) -> dict[str, NetworkState]:
    """Return networks whose optimizers' states are as before training, where a stage begins.

    Moments of parameters that have not been used yet are that already, but the count of steps by
    which their bias is corrected is not. Schedules go on.
    """

    def is_scheduled(x: Any) -> bool:
        return isinstance(x, optax.ScaleByScheduleState | optax.InjectStatefulHyperparamsState)

    def restarted(old: Any, new: Any) -> Any:
        return jax.tree.map(restarted_part, old, new, is_leaf=is_scheduled)

    def restarted_part(old: Any, new: Any) -> Any:
        if isinstance(old, optax.ScaleByScheduleState):
            return old
        if isinstance(old, optax.InjectStatefulHyperparamsState):
            return old._replace(inner_state=restarted(old.inner_state, new.inner_state))
        return jnp.where(begins, new, old)

    def fresh(name: str, network: NetworkState) -> Any:
        return restarted(network.opt_state, optimizers[name].transformation.init(network.params))

    return {
        name: network.replace(opt_state=fresh(name, network)) for name, network in networks.items()
    }


def _scheduled(
    networks: Mapping[str, NetworkState], scheduled: Mapping[str, Variables]
) -> dict[str, NetworkState]:
    """Return networks with some of their collections replaced; moving averages follow them."""
    changed = {
        name: networks[name].replace(mutable={**networks[name].mutable, **own})
        for name, own in scheduled.items()
    }
    return {**networks, **changed}


def repeat(body: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Any) -> tuple[Any, Any]:
    """Return ``lax.scan(body, carry, xs)``, without a loop if ``xs`` has one row.

    On CPU this depends on `gan_jax.layers.cpu_convolution`: XLA's own gradients of convolutions are
    about a hundred times slower inside loops there.
    """
    if jax.tree.leaves(xs)[0].shape[0] > 1:
        return lax.scan(body, carry, xs)
    carry, y = body(carry, jax.tree.map(lambda x: x[0], xs))
    return carry, jax.tree.map(lambda leaf: leaf[None], y)


def _play_from(start: int, step: jax.Array, play: Callable[[], Any], carry: Any) -> Any:
    """Return ``play()`` from train step ``start`` on; before, ``carry`` and zeros as metrics."""
    _, metrics = jax.eval_shape(play)

    def rest() -> Any:
        return carry, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), metrics)

    return lax.cond(step >= start, play, rest)


def _batches(batch: Batch, position: int, player: Player) -> tuple[Batch, int]:
    """Return the batches of one player's steps, and the position after them."""
    if player.fresh_data:
        end = position + player.steps
        return {name: x[position:end] for name, x in batch.items()}, end
    last = max(position - 1, 0)
    repeated = {
        name: jnp.broadcast_to(x[last], (player.steps, *x.shape[1:])) for name, x in batch.items()
    }
    return repeated, position


def _update(
    player: Player,
    turn: Turn,
    found: tuple[jax.Array, Any, Outcome],
    networks: dict[str, NetworkState],
    optimizers: Mapping[str, Optimizer],
) -> tuple[tuple[dict[str, NetworkState], Variables], Metrics]:
    """Return the networks and the memory after a gradient step of ``player``, and its metrics.

    ``found`` is what `_gradients` returns.
    """
    loss, gradients, outcome = found
    metrics, mutable = {"loss": loss, **outcome.metrics}, outcome.mutable
    if turn.axis_name is not None:
        gradients, metrics, mutable = lax.pmean((gradients, metrics, mutable), turn.axis_name)
    gradients = {
        name: optimizers[name].frozen_from(own, optax.tree.zeros_like(own))
        for name, own in gradients.items()
    }
    metrics["gradient_norm"] = optax.tree.norm(gradients)
    params, opt_states = {}, {}
    for name in player.networks:
        updates, opt_states[name] = optimizers[name].update(
            gradients[name], networks[name].opt_state, networks[name].params
        )
        if (factor := turn.settings.get("learning_rate")) is not None:
            updates = optax.tree.scale(factor, updates)
        params[name] = optax.apply_updates(networks[name].params, updates)
    if player.project is not None:
        params = dict(player.project(params))
    # Weight decay and a projection would change them without a gradient.
    params = {n: optimizers[n].frozen_from(own, networks[n].params) for n, own in params.items()}
    updated = {
        name: networks[name].replace(
            params=params[name],
            opt_state=opt_states[name],
            mutable={**networks[name].mutable, **mutable.get(name, {})},
        )
        for name in player.networks
    }
    memory = {**turn.memory, **outcome.memory}
    return ({**networks, **updated}, memory), metrics


def _gradients(
    player: Player, owned: Any, turn: Turn, parts: int
) -> tuple[jax.Array, Any, Outcome]:
    """Return ``player``'s loss, its gradients and its outcome, as means over parts of the batch.

    Every part starts from the mutable collections before the step: batch statistics are updated by
    the mean over the parts, and the vectors of spectral normalization by one iteration in all. The
    memory passes from part to part.
    """

    def value(one: Turn) -> tuple[Any, Variables]:
        (loss, outcome), gradients = jax.value_and_grad(player.loss, has_aux=True)(owned, one)
        return (loss, gradients, outcome.metrics, outcome.mutable), outcome.memory

    if parts == 1:
        (loss, gradients, metrics, mutable), memory = value(turn)
        return loss, gradients, Outcome(metrics, mutable, memory)
    share = turn.size
    size = share // parts

    def add(carry: tuple[Any, Variables], part: Any) -> tuple[tuple[Any, Variables], None]:
        total, memory = carry
        index, batch = part
        one = dataclasses.replace(turn, batch=batch, memory=memory, first=index * size, share=share)
        found, changed = value(player.prepared(one))
        total = jax.tree.map(lambda a, b: a + b / parts, total, found)
        return (total, {**memory, **changed}), None

    batch = jax.tree.map(lambda x: x.reshape(parts, size, *x.shape[1:]), dict(turn.batch))
    index = jnp.arange(parts, dtype=jnp.int32)
    # The shapes of one part's outcome, without a pass over it.
    first = dataclasses.replace(turn, batch=jax.tree.map(lambda x: x[0], batch))
    shapes, _ = jax.eval_shape(lambda: value(player.prepared(first)))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    (total, memory), _ = lax.scan(add, (zeros, dict(turn.memory)), (index, batch))
    loss, gradients, metrics, mutable = total
    return loss, gradients, Outcome(metrics, mutable, memory)


def _average(
    game: Game,
    networks: dict[str, NetworkState],
    ema: EMA,
    step: jax.Array,
    images: int,
) -> dict[str, NetworkState]:
    """Return the networks with their moving averages updated by one train step."""
    if not ema.enabled:
        return networks
    decay = ema.decay(step, images)
    return {
        name: network.replace(ema=ema.update(network.ema, network.variables, decay))
        if game.networks[name].averaged
        else network
        for name, network in networks.items()
    }
