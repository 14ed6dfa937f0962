"""The judge: a classifier in PyTorch whose features compare sets of images.

A small convolutional network, trained on a labelled set. A tenth of the set is held out, at most
`MOST_HELD_OUT` images, and the accuracy on it is recorded. The same arguments on the same machine
give the same weights.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from gan_jax import arrays
from gan_jax.data.sources.base import content_hash
from gan_jax.errors import MetricError
from gan_jax.report import atomic
from scripts.pytorch.data import channels_first, to_float

STEPS, BATCH_SIZE = 1000, 64
FEATURES = 64
MOST_HELD_OUT = 2000
_AT_ONCE = 250
_LARGEST = 32  # Larger images are reduced by a whole factor.


class Network(nn.Module):
    """Images [n, channels, height, width] to features [n, `FEATURES`], and to logits."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        height, width, inputs = shape
        self.factor = -(-max(height, width) // _LARGEST)
        layers: list[nn.Module] = []
        for channels, stride in ((24, 1), (48, 2), (96, 2)):
            conv = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
            layers += [conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
            inputs = channels
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        # Units that can be zero on a whole set would make its covariance singular.
        self.features = nn.Sequential(nn.Linear(16 * inputs, FEATURES), nn.LeakyReLU(0.1))
        self.logits = nn.Linear(FEATURES, classes)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features and logits."""
        features = self.features(self.trunk(F.avg_pool2d(x, self.factor)))
        return features, self.logits(features)


@dataclasses.dataclass(frozen=True)
class Judge:
    """A trained classifier.

    Attributes:
      network: in evaluation mode.
      accuracy: on images that it was not trained on.
      hash: of its weights.
    """

    network: Network
    accuracy: float
    hash: str

    def look(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return features, float32 [n, `FEATURES`], and predicted classes [n], of uint8 images."""
        found = [
            (features.numpy(), logits.argmax(1).numpy())
            for features, logits in _outputs(self.network, images)
        ]
        features, classes = zip(*found, strict=True)
        return np.concatenate(features), np.concatenate(classes)


def make_judge(
    folder: Path, images: np.ndarray, labels: np.ndarray, classes: int, *, steps: int = STEPS
) -> Judge:
    """Return the judge of a labelled set, from a file in the folder if it has been trained before.

    Args:
      folder: where the file is kept.
      images: uint8 [n, height, width, channels].
      labels: integers [n] below ``classes``.
      classes: their number.
      steps: of the training.

    Raises:
      MetricError: there are too few images, or their labels are all the same.
    """
    if len(images) < 10 * classes or len(np.unique(labels)) < 2:
        raise MetricError(
            f"{len(images)} images of {len(np.unique(labels))} of {classes} classes for the judge; "
            f"accepted: {10 * classes} or more, of two classes or more"
        )
    identity = [images.tobytes(), labels.tobytes(), str(images.shape), f"{classes} {steps}"]
    path = folder / f"judge-{content_hash(identity)}.npz"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Network(images.shape[1:], classes)
        if not path.exists():
            accuracy = _train(network, images, labels, steps)
            weights = {name: x.numpy() for name, x in network.state_dict().items()}
            atomic.write_npz(path, {"accuracy": np.float64(accuracy), **weights})
    # The weights of the file in any case, so that a second start measures the same.
    kept = arrays.read_npz(path)
    accuracy = float(kept.pop("accuracy"))
    network.load_state_dict({name: torch.tensor(x) for name, x in kept.items()})
    return Judge(network.eval(), accuracy, content_hash(x.tobytes() for x in kept.values()))


def _train(network: Network, images: np.ndarray, labels: np.ndarray, steps: int) -> float:
    """Train a network; return its accuracy on the images that were held out."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(images))
    held_out = min(len(images) // 10, MOST_HELD_OUT)
    tested, trained = order[:held_out], order[held_out:]
    pixels, targets = channels_first(images), torch.tensor(labels).long()
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps, pct_start=0.1)
    network.train()
    for _ in range(steps):
        rows = torch.from_numpy(rng.choice(trained, BATCH_SIZE))
        top, left = rng.integers(0, 3, 2)  # Shifts by up to a pixel; a mirrored digit is none.
        padded = F.pad(to_float(pixels[rows]), (1, 1, 1, 1), mode="replicate")
        shifted = padded[:, :, top : top + images.shape[1], left : left + images.shape[2]]
        loss = F.cross_entropy(network(shifted)[1], targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    predicted = [logits.argmax(1) for _, logits in _outputs(network, images[tested])]
    return float((torch.cat(predicted) == targets[tested]).float().mean())


def _outputs(network: Network, images: np.ndarray) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield features and logits of parts of a set."""
    with torch.no_grad():
        for first in range(0, len(images), _AT_ONCE):
            yield network(to_float(channels_first(images[first : first + _AT_ONCE])))
