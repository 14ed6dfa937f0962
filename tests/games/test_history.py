"""The buffer of past fakes: a sequential model of it, chances, devices, gradients, mistakes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from gan_jax.games import history
from tests.devices import sharded

exchange = jax.jit(history.exchange, static_argnums=3)


def empty(size, shape=(2,), *, labelled=False):
    """Return a buffer of vectors or images, with or without labels."""
    image = jax.ShapeDtypeStruct(shape, jnp.float32)
    label = {"label": jax.ShapeDtypeStruct((), jnp.int32)}
    return history.init(size, (image, label) if labelled else image)


@pytest.fixture(autouse=True)
def strict_promotion(dtype_promotion):
    """Forbid implicit promotion, after the fixture that sets it for every folder."""
    with jax.numpy_dtype_promotion("strict"):
        yield


def fakes_of(start, count):
    """Fakes that show which they are."""
    return jnp.arange(start, start + count, dtype=jnp.float32)[:, None] * jnp.ones((1, 2))


def names(images):
    """The numbers of the fakes in ``images``, whose entries must agree."""
    images = np.asarray(images)
    np.testing.assert_array_equal(images[:, 0], images[:, 1])
    return images[:, 0].astype(int).tolist()


class Sequential:
    """The semantics, one fake at a time; draws as `history.exchange` makes them."""

    def __init__(self, size):
        self.size, self.stored = size, []

    def exchange(self, fakes, key):
        shown = []
        for i, fake in enumerate(fakes):
            coin, place = jax.random.split(jax.random.fold_in(key, i))
            if len(self.stored) < self.size:
                self.stored.append(fake)
                shown.append(fake)
            elif jax.random.bernoulli(coin):
                at = int(jax.random.randint(place, (), 0, self.size, jnp.int32))
                shown.append(self.stored[at])
                self.stored[at] = fake
            else:
                shown.append(fake)
        return shown


@pytest.mark.parametrize(("size", "batch"), [(1, 5), (5, 3), (4, 16)])
def test_it_is_what_one_fake_after_the_other_would_do(size, batch):
    state, model = empty(size), Sequential(size)
    for step in range(8):
        key = jax.random.fold_in(jax.random.key(3), step)
        # From 1: an empty place holds zeros.
        fakes = fakes_of(1 + step * batch, batch)
        shown, state = exchange(state, fakes, key)
        assert names(shown) == model.exchange(names(fakes), key)
        assert int(state.count) == len(model.stored)
        assert names(state.images)[: int(state.count)] == model.stored
    if batch > size > 1:  # then what is stored early in a batch is shown later in the same
        own = names(fakes)
        assert any(a != b and a in own for a, b in zip(names(shown), own, strict=True))


def test_while_it_fills_fakes_are_stored_and_shown_as_they_are():
    state = empty(5)
    assert (state.images.dtype, state.images.shape) == (jnp.float32, (5, 2))
    assert (state.count.dtype, int(state.count)) == (jnp.int32, 0)
    shown, state = exchange(state, fakes_of(1, 3), jax.random.key(0))
    assert (names(shown), names(state.images), int(state.count)) == (
        [1, 2, 3],
        [1, 2, 3, 0, 0],
        3,
    )
    # Two more fit.
    shown, state = exchange(state, fakes_of(4, 3), jax.random.key(1))
    assert (names(shown)[:2], int(state.count)) == ([4, 5], 5)


def test_half_are_exchanged_for_random_places():
    size, batch = 50, 4
    state = history.History(fakes_of(1000, size), jnp.int32(size))
    keys = jax.random.split(jax.random.key(0), 2000)
    run = jax.jit(jax.vmap(lambda key: history.exchange(state, fakes_of(0, batch), key)))
    shown, after = jax.tree.map(np.asarray, run(keys))
    old = shown[..., 0] >= 1000
    trials = old.size
    assert abs(old.mean() - 0.5) < 5 * 0.5 / np.sqrt(trials)
    counts = np.bincount(shown[..., 0][old].astype(int) - 1000, minlength=size)
    assert np.all(np.abs(counts - old.sum() / size) < 5 * np.sqrt(old.sum() / size))
    # Nothing is lost and nothing doubled: what was shown from the past made room for what came.
    for one_shown, one_after in zip(shown[:50, :, 0], after.images[:50, :, 0], strict=True):
        everyone = sorted([*one_shown, *one_after])
        assert everyone == sorted([*range(batch), *range(1000, 1000 + size)])
    # The draws of one key's fakes are independent of each other.
    correlation = np.corrcoef(old.T) - np.eye(batch)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(keys))


def test_labels_go_with_their_images():
    state = empty(3, labelled=True)
    for step in range(6):
        images = fakes_of(4 * step, 4)
        fakes = images, {"label": images[:, 0].astype(jnp.int32)}
        shown, state = exchange(state, fakes, jax.random.key(step))
        for images, condition in (shown, state.images):
            labels = condition["label"]
            assert labels.dtype == jnp.int32
            assert names(images) == labels.tolist()
    assert names(shown[0]) != names(fakes[0])


def test_images_come_back_bit_for_bit():
    images = jax.random.normal(jax.random.key(0), (6, 4, 3, 1))
    _, state = exchange(empty(6, (4, 3, 1)), images, jax.random.key(1))
    np.testing.assert_array_equal(state.images, images)
    shown, after = exchange(state, images + 1.0, jax.random.key(2))
    both = np.asarray([*images, *(images + 1.0)]).reshape(12, -1)
    for image in np.asarray([*shown, *after.images]).reshape(12, -1):
        assert (image == both).all(1).any()


def test_two_devices_are_one():
    size, batch = 10, 16

    def local(*arguments):
        shown, after = history.exchange(*arguments, axis_name="data")
        # Every device's history, to see that they agree.
        return shown, jax.tree.map(lambda x: x[None], after)

    split = sharded(local, (P(), P("data"), P()), P("data"), count=2)
    state = empty(size)
    for step in range(4):
        key, fakes = jax.random.key(step), fakes_of(1 + batch * step, batch)
        one = exchange(state, fakes, key)
        shown, after = split(state, fakes, key)
        np.testing.assert_array_equal(shown, one[0])
        for device in range(2):
            own = jax.tree.map(lambda x, d=device: x[d], after)
            jax.tree.map(np.testing.assert_array_equal, own, one[1])
        state = one[1]
    assert names(one[0]) != names(fakes)


@pytest.mark.slow
def test_no_gradient_flows_through():
    state = history.History(fakes_of(5, 3), jnp.int32(3))

    def total(images, fakes):
        shown, after = history.exchange(
            history.History(images, state.count), fakes, jax.random.key(0)
        )
        return jnp.sum(shown) + jnp.sum(after.images)

    to_history, to_fakes = jax.grad(total, (0, 1))(state.images, fakes_of(0, 4))
    np.testing.assert_array_equal(to_fakes, 0.0)
    np.testing.assert_array_equal(to_history, 0.0)


def test_fakes_that_do_not_fit_are_refused():
    state = empty(3)
    for fakes in (jnp.zeros((4, 3)), jnp.zeros((4, 2), jnp.bfloat16), (fakes_of(0, 4),)):
        with pytest.raises(ValueError, match=r"a fake is .*; accepted: .*float32.*\(2,\)"):
            history.exchange(state, fakes, jax.random.key(0))
