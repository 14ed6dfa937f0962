"""A small classifier trained on the labelled set, as a feature extractor without downloads.

It serves where Inception's weights are not available or the images are unlike photographs. Its
metrics are comparable only on one data set and with one set of weights: they are recorded with the
weights' hash, and are called ``classifier_fid``, never FID.

The network trains in seconds on a CPU: three convolutions, two of them strided, on at most 32x32
pixels; a dense layer of 64 features; logits. It has no batch statistics, so its features of an
image do not depend on the batch.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict

from gan_jax.errors import MetricError
from gan_jax.layers.convolution import Conv
from gan_jax.metrics.extractor import Extractor, weights_hash
from gan_jax.metrics.frechet import check_count

FEATURES = 64
"""Width of the penultimate layer."""

STEPS = 800
"""Training steps, of ``BATCH_SIZE`` images each."""

MAX_IMAGES = 20_000
"""Maximum number of training images: of a larger set, a fixed random part is used."""

BATCH_SIZE = 64

CODE_VERSION = 2
"""Part of a cached file's name; increase it with every change of network or training."""

_LARGEST = 32  # pixels at which the network looks
_SMALLEST = 8
_HELD_OUT = 0.1
_MOST_HELD_OUT = 2_000
_PER_CLASS = 10
_LEARNING_RATE = 2e-3
_WARM_UP = 0.05
_WEIGHT_DECAY = 1e-4
_SHIFT = 1  # pixels, at the network's resolution of 16 and less; twice as many above
_EVALUATED_AT_ONCE = 500


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A trained classifier.

    Attributes:
      variables: its weights, a pytree of float32 arrays.
      shape: shape of its input images, (height, width, channels).
      num_classes: number of its logits.
      accuracy: share of the held-out images that it classifies correctly.
      hash: hash of the weights, twelve hexadecimal digits.
    """

    variables: Any
    shape: tuple[int, int, int]
    num_classes: int
    accuracy: float
    hash: str


class _Network(nn.Module):
    """Images [n, height, width, channels], uint8 or floats in 0 ... 255, to features or logits."""

    num_classes: int

    @nn.compact
    def __call__(self, images: jax.Array, layers: tuple[str, ...]) -> dict[str, jax.Array]:
        x = images.astype(jnp.float32) / 127.5 - 1.0
        factor = _factor(images.shape[1:])
        if factor > 1:
            height, width = (side // factor for side in x.shape[1:3])
            x = x[:, : height * factor, : width * factor]
            x = x.reshape(len(x), height, factor, width, factor, -1).mean((2, 4))
        for width, stride in ((16, 1), (32, 2), (64, 2)):
            x = Conv(width, (3, 3), (stride, stride), kernel_init=nn.initializers.he_normal())(x)
            x = nn.gelu(x)
        # ReLU or GELU units can die, which makes covariances singular; these cannot.
        features = jnp.tanh(nn.Dense(FEATURES, name="features")(x.reshape(len(x), -1)))
        found = {"features": features}
        if "logits" in layers:
            found["logits"] = nn.Dense(self.num_classes, name="logits")(features)
        return {layer: found[layer] for layer in layers}


def _logits(network: _Network, variables: Any, images: jax.Array) -> jax.Array:
    found: Any = network.apply(variables, images, ("logits",))
    return found["logits"]


def _factor(shape: tuple[int, ...]) -> int:
    """Return the factor by which images are first reduced."""
    return -(-max(shape[:2]) // _LARGEST)


def train_classifier(
    images: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    seed: int = 0,
    steps: int = STEPS,
    tested: tuple[np.ndarray, np.ndarray] | None = None,
    vertical: bool = True,
) -> Classifier:
    """Train a classifier.

    The same arguments on the same machine give the same weights, bit for bit. A random tenth of the
    images, at most 2,000, determined by ``seed``, is held out, and the accuracy on it is recorded;
    of the others, at most ``MAX_IMAGES`` are used. With ``tested``, all images are used. AdamW with
    a short warm-up and a cosine decay, batches of 64, random shifts of one or two pixels and no
    reflections (a mirrored digit is not a digit).

    Args:
      images: uint8 [n, height, width, 1 or 3], 8 pixels or more in height and width.
      labels: integers [n], from 0 to ``num_classes - 1``.
      num_classes: number of classes, at least 2.
      seed: seed of initial weights, held-out part, order and shifts.
      steps: number of training steps.
      tested: other images and their labels, of which the accuracy is recorded.
      vertical: whether images are shifted up and down, too; to the left and right they always are.

    Raises:
      MetricError: shapes, dtypes or labels do not fit, there are fewer than ten images per class or
        fewer than two different labels, or the training diverged.
      ConfigError: the number of steps or classes is not an integer in its range.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    _check(images, labels, num_classes)
    check_count("steps", steps, 1)
    order_key, init_key, step_key = jax.random.split(jax.random.key(seed), 3)
    if tested is None:
        order = np.asarray(jax.random.permutation(order_key, len(images)))
        held_out = min(round(len(images) * _HELD_OUT), _MOST_HELD_OUT)
        tested = images[order[:held_out]], labels[order[:held_out]]
        trained = order[held_out:][:MAX_IMAGES]
        images, labels = images[trained], labels[trained]

    network = _Network(num_classes)
    shape = (int(images.shape[1]), int(images.shape[2]), int(images.shape[3]))
    # Optax adds integers to floats, which the caller may have forbidden.
    with jax.numpy_dtype_promotion("standard"):
        variables = _initial(network, init_key, shape)
        optimizer, step = _training(network, steps, vertical)
        opt_state = optimizer.init(variables)
        train_images = jnp.asarray(images)
        train_labels = jnp.asarray(labels.astype(np.int32))
        for index in range(steps):
            key = jax.random.fold_in(step_key, index)
            variables, opt_state = step(variables, opt_state, key, train_images, train_labels)
    weights = jax.tree.map(np.asarray, variables)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(weights)):
        raise MetricError(f"the classifier's training diverged with seed = {seed}; try another")
    accuracy = _accuracy(network, weights, *tested)
    return Classifier(
        weights, shape, num_classes, accuracy, weights_hash(flatten_dict(weights, sep="/"))
    )


def _check(images: np.ndarray, labels: np.ndarray, num_classes: int) -> None:
    """Raise a MetricError if no classifier can be trained on a set."""
    if images.ndim != 4 or images.dtype != np.uint8:
        raise MetricError(
            f"images are {images.dtype}{list(images.shape)}; accepted: uint8 [n, height, width, "
            "channels]"
        )
    check_set(len(images), images.shape[1:], num_classes)
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise MetricError(
            f"labels are {labels.dtype}{list(labels.shape)}; accepted: integers [{len(images)}]"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise MetricError(
            f"labels from {labels.min()} to {labels.max()}; accepted: 0 to {num_classes - 1}"
        )
    if labels.min() == labels.max():
        raise MetricError(f"all labels are {labels.min()}; accepted: labels of two classes or more")


def check_set(count: int, shape: tuple[int, ...], num_classes: int) -> None:
    """Check whether a classifier can be trained on a set that has not been read.

    Args:
      count: number of its images.
      shape: (height, width, channels) of each.
      num_classes: number of its classes.

    Raises:
      MetricError: it cannot: the images are too few or too small.
    """
    _check_shape(shape)
    check_count("num_classes", num_classes, 2)
    if count < _PER_CLASS * num_classes:
        raise MetricError(
            f"{count} images of {num_classes} classes; accepted: at least {_PER_CLASS} per "
            f"class, {_PER_CLASS * num_classes}"
        )


def _check_shape(shape: tuple[int, ...]) -> None:
    height, width, channels = shape
    smallest = max(_SMALLEST, 2 * _factor(shape))
    if min(height, width) < smallest or channels < 1:
        raise MetricError(
            f"images of shape {height}x{width}x{channels}; accepted: at least "
            f"{smallest} pixels in height and width, and 1 channel"
        )


def weight_shapes(shape: tuple[int, int, int], num_classes: int) -> Any:
    """Return the shapes and dtypes of a classifier's weights; raises `MetricError` if it has none.

    Args:
      shape: (height, width, channels) of its images.
      num_classes: of its classes.
    """
    _check_shape(shape)
    network = _Network(num_classes)
    return jax.eval_shape(lambda: _initial(network, jax.random.key(0), shape))


@functools.partial(jax.jit, static_argnums=(0, 2))
def _initial(network: _Network, key: jax.Array, shape: tuple[int, int, int]) -> Any:
    """Return untrained weights."""
    return network.init(key, jnp.zeros((1, *shape), jnp.uint8), ("logits",))


@functools.lru_cache(maxsize=8)
def _training(
    network: _Network, steps: int, vertical: bool
) -> tuple[optax.GradientTransformation, Any]:
    """Return the optimizer and the compiled step.

    The step maps (weights, optimizer state, key, images, labels) to new weights and state.
    """
    warm_up = round(_WARM_UP * steps)
    schedule = optax.warmup_cosine_decay_schedule(0.0, _LEARNING_RATE, warm_up, steps)
    optimizer = optax.adamw(schedule, weight_decay=_WEIGHT_DECAY)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(variables: Any, opt_state: Any, key: jax.Array, images: Any, labels: Any) -> Any:
        chosen_key, shift_key = jax.random.split(key)
        chosen = jax.random.randint(chosen_key, (BATCH_SIZE,), 0, len(images))
        batch = _shifted(shift_key, images[chosen], vertical)

        def loss(variables: Any) -> jax.Array:
            logits = _logits(network, variables, batch)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels[chosen]).mean()

        updates, opt_state = optimizer.update(jax.grad(loss)(variables), opt_state, variables)
        return optax.apply_updates(variables, updates), opt_state

    return optimizer, step


def _shifted(key: jax.Array, images: jax.Array, vertical: bool) -> jax.Array:
    """Shift every image by its own random offset; uncovered pixels repeat the edge."""
    n, height, width, channels = images.shape
    most = _SHIFT * _factor(images.shape[1:]) * (2 if max(height, width) > 16 else 1)
    starts = jax.random.randint(key, (n, 2), 0, 2 * most + 1)
    if not vertical:
        starts = starts.at[:, 0].set(most)
    padded = jnp.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), mode="edge")

    def crop(image: jax.Array, start: jax.Array) -> jax.Array:
        zero = jnp.zeros((), start.dtype)
        return jax.lax.dynamic_slice(image, (start[0], start[1], zero), (height, width, channels))

    return jax.vmap(crop)(padded, starts)


def accuracy_of(classifier: Classifier, images: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of other images, at least one, that a classifier assigns to their label."""
    return _accuracy(_Network(classifier.num_classes), classifier.variables, images, labels)


def _accuracy(network: _Network, weights: Any, images: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of images whose largest logit is that of their label."""
    right = 0
    for start in range(0, len(images), _EVALUATED_AT_ONCE):
        part = slice(start, start + _EVALUATED_AT_ONCE)
        right += int((np.asarray(_predicted(network, weights, images[part])) == labels[part]).sum())
    return right / len(images)


@functools.partial(jax.jit, static_argnums=0)
def _predicted(network: _Network, weights: Any, images: jax.Array) -> jax.Array:
    return _logits(network, weights, images).argmax(1)


def make_extractor(classifier: Classifier) -> Extractor:
    """Return the feature extractor of a classifier.

    Its name is "classifier", its layers are "features", of width 64, and "logits". For images of
    another shape or dtype than in training, and for an unknown layer, it raises a ``MetricError``
    when traced.
    """
    network = _Network(classifier.num_classes)
    widths = {"features": FEATURES, "logits": classifier.num_classes}
    factor = _factor(classifier.shape)

    def apply(
        variables: Any, images: jax.Array, layers: tuple[str, ...], *, floats: bool = False
    ) -> dict[str, jax.Array]:
        fits = jnp.issubdtype(images.dtype, jnp.floating) if floats else images.dtype == jnp.uint8
        if not fits or images.ndim != 4 or images.shape[1:] != classifier.shape:
            raise MetricError(
                f"the classifier was trained on images of shape {list(classifier.shape)}, and got "
                f"{images.dtype}{list(images.shape)}; accepted: {'floats' if floats else 'uint8'} "
                f"[n, {', '.join(map(str, classifier.shape))}]"
            )
        unknown = [layer for layer in layers if layer not in widths]
        if unknown:
            raise MetricError(
                f"the classifier has no layer {unknown[0]!r}; accepted: {', '.join(widths)}"
            )
        # Full precision on GPU and TPU, too, so that metrics do not depend on the device.
        with jax.default_matmul_precision("highest"):
            found: Any = network.apply(variables, images, tuple(layers))
        return found

    return Extractor(
        name="classifier",
        layers=widths,
        default="features",
        logits="logits",
        variables=classifier.variables,
        apply=apply,
        protocol={
            "extractor": "classifier",
            "weights": classifier.hash,
            "accuracy": classifier.accuracy,
            "resize": "none" if factor == 1 else f"means of {factor}x{factor} pixels",
        },
        of_floats=functools.partial(apply, floats=True),
    )
