"""Networks on images of any size: tiles give the output of the whole image."""

import numpy as np
import pytest

from gan_jax import errors
from gan_jax.training import tiling
from gan_jax.training.tiling import Input, Tiling
from tests.inference.convolver import REACH, convolve, kernel

TAPS = kernel(3, 2)


def picture(height, width, channels=3, seed=0):
    shape = (height, width, channels)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def padded(image, multiple):
    below, right = (-size % multiple for size in image.shape[:2])
    return np.pad(image, ((0, below), (0, right), (0, 0)), mode="reflect")


def whole(image, multiple=1, scale=1):
    """Return what the network makes of an image that is padded and cut by hand."""
    made = convolve(padded(image, multiple)[None], TAPS)[0]
    made = made.repeat(scale, 0).repeat(scale, 1)
    return made[: scale * image.shape[0], : scale * image.shape[1]]


class Network:
    """Applies the convolution, and remembers the shapes that it was given."""

    def __init__(self, scale=1):
        self.scale, self.shapes = scale, []

    def __call__(self, pixels, known, numbers):
        self.shapes.append(pixels.shape)
        assert numbers.shape == (len(pixels), 3)
        made = convolve(pixels, TAPS)
        return made.repeat(self.scale, 1).repeat(self.scale, 2)


def run(images, network, cut, batch_size=8):
    numbered = [Input(i, image) for i, image in enumerate(images)]
    made = dict(tiling.run(numbered, network, cut, batch_size=batch_size))
    assert len(made) == len(images)
    return [made[i] for i in range(len(images))]


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize(
    ("height", "width"), [(40, 40), (37, 90), (16, 17), (5, 130), (41, 3), (1, 1), (64, 100)]
)
def test_tiles_make_what_the_whole_image_makes(height, width, scale):
    image = picture(height, width)
    assert REACH <= 3 / 8 * 8
    network = Network(scale)
    (made,) = run([image], network, Tiling(4, scale, tile=20, overlap=8))
    assert made.shape == (scale * height, scale * width, 2)
    np.testing.assert_allclose(made, whole(image, 4, scale), atol=2e-6)
    assert max(max(shape[1:3]) for shape in network.shapes) <= 20
    assert len({shape[1:] for shape in network.shapes}) == 1


def test_an_overlap_that_is_too_small_shows():
    # Or the test above could not fail.
    image = picture(36, 36)
    (made,) = run([image], Network(), Tiling(4, tile=20, overlap=4))
    assert np.abs(made - whole(image, 4)).max() > 1e-2


def test_seams_fade_where_a_network_sees_the_whole_tile():
    # A ramp, of which each tile takes its own mean: without fading it would jump at a seam.
    image = np.linspace(0, 1, 120, dtype=np.float32)[None, :, None].repeat(4, 0)

    def centred(pixels, known, numbers):
        return pixels - pixels.mean((1, 2, 3), keepdims=True)

    (hard,) = run([image], centred, Tiling(tile=40, overlap=0))
    (soft,) = run([image], centred, Tiling(tile=40, overlap=16))
    assert np.abs(np.diff(hard, axis=1)).max() > 0.2
    assert np.abs(np.diff(soft, axis=1)).max() < 0.1


@pytest.mark.parametrize("size", [1, 7, 20, 21, 50, 99, 1000])
@pytest.mark.parametrize(("multiple", "tile", "overlap"), [(1, 20, 7), (4, 22, 5), (8, 16, 8)])
def test_weights_are_never_negative_and_sum_to_one(size, multiple, tile, overlap):
    for scale in (1, 2, 3):
        axis = Tiling(multiple, scale, tile, overlap).axis(size)
        assert axis.starts[0] == 0
        assert axis.starts[-1] == axis.padded - axis.tile
        assert all(start % multiple == 0 for start in axis.starts)
        assert axis.padded % multiple == axis.tile % multiple == 0
        assert size <= axis.padded < size + multiple
        common = [a + axis.tile - b for a, b in zip(axis.starts, axis.starts[1:], strict=False)]
        assert min(common, default=overlap) >= overlap
        total = np.zeros(scale * axis.padded)
        for start, weights in zip(axis.starts, axis.weights(scale), strict=True):
            assert weights.shape == (scale * axis.tile,)
            assert weights.min() >= 0
            total[scale * start : scale * (start + axis.tile)] += weights
        np.testing.assert_allclose(total, 1, atol=1e-6)


@pytest.mark.parametrize("size", range(1, 9))
def test_padding_reflects_to_and_fro_as_numpy_does(size):
    line = np.arange(size)
    axis = Tiling(16).axis(size)
    np.testing.assert_array_equal(
        line[axis.indices()], np.pad(line, (0, 16 - size), mode="reflect")
    )


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_neither_batch_size_nor_neighbours_change_an_image(batch_size):
    images = [picture(*size, seed=i) for i, size in enumerate([(9, 30), (50, 33), (9, 30), (7, 7)])]
    cut = Tiling(4, tile=20, overlap=8)
    made = run(images, Network(), cut, batch_size)
    for one, image in zip(made, images, strict=True):
        np.testing.assert_allclose(one, whole(image, 4), atol=2e-6)
        np.testing.assert_array_equal(one, run([image], Network(), cut, 1)[0])


def test_images_of_one_padded_size_share_a_batch_and_few_shapes_are_compiled():
    network = Network()
    images = [picture(13 + i % 4, 16 - i % 3) for i in range(11)]
    run(images, network, Tiling(4, tile=20, overlap=8), batch_size=4)
    # The last three are filled up to four.
    assert network.shapes == [(4, 16, 16, 3)] * 3
    network = Network()
    run([picture(16, 16)], network, Tiling(4, tile=20, overlap=8), batch_size=64)
    assert network.shapes == [(1, 16, 16, 3)]


def test_images_are_read_as_they_are_needed():
    # Each of another size: none would ever fill a batch.
    started = []

    def images():
        for i in range(40):
            started.append(i)
            yield Input(i, picture(4 + i, 4))

    finished = 0
    for _ in tiling.run(images(), Network(), Tiling(tile=64, overlap=0), batch_size=2):
        finished += 1
        assert len(started) - finished <= 4 * 2 + 1
    assert finished == 40


def test_bytes_are_joined_to_bytes():
    image = np.random.default_rng(0).integers(0, 256, (50, 37, 3)).astype(np.uint8)
    known = (image[..., :1] > 128).astype(np.float32)

    def same(pixels, known, numbers):
        assert known.shape == (*pixels.shape[:3], 1)
        np.testing.assert_array_equal(known[..., 0] == 1, pixels[..., 0] > 128)
        return pixels

    item = Input(7, image, known)
    ((number, made),) = tiling.run([item], same, Tiling(8, tile=16, overlap=8), batch_size=4)
    assert (number, made.dtype) == (7, np.uint8)
    np.testing.assert_array_equal(made, image)


def test_every_tile_has_a_number_of_its_own():
    seen = []

    def same(pixels, known, numbers):
        seen.extend(map(tuple, numbers.tolist()))
        return pixels

    items = [Input(3, picture(20, 40)), Input(5, picture(20, 20))]
    list(tiling.run(items, same, Tiling(tile=20, overlap=0), batch_size=1))
    assert sorted(seen) == [(3, 0, 0), (3, 0, 1), (5, 0, 0)]


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(errors.ConfigError, match="--tile=0; accepted: 1 or more"):
        Tiling(tile=0)
    with pytest.raises(errors.ConfigError, match="--overlap=-1; accepted: 0 or more"):
        Tiling(overlap=-1)
    message = "--tile=300 with --overlap=64, in multiples of 256; accepted: --tile=512 or more, or "
    with pytest.raises(errors.ConfigError, match=message):
        Tiling(256, tile=300)
    # A tile is never smaller than what the network accepts.
    assert Tiling(256, tile=10, overlap=0).axis(100).tile == 256
