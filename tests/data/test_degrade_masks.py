"""Holes: their size, form and place, what they hide, and that something is left."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from gan_jax.data import degrade
from gan_jax.data.degrade import masks

KINDS = sorted(masks.KINDS)


def keys_of(batch, seed=0):
    return jax.random.split(jax.random.key(seed), batch)


def holes_of(images, height, width, **options):
    made = degrade.make("mask", **options)
    known = jax.jit(jax.vmap(lambda key: made.known(key, height, width)))(keys_of(images))
    assert known.shape == (images, height, width, 1)
    assert set(np.unique(known)) <= {0.0, 1.0}
    return np.asarray(known)[..., 0] == 0.0


def test_the_default_is_half_of_each_side_in_the_middle():
    (hole,) = holes_of(1, 16, 24)
    expected = np.zeros((16, 24), bool)
    expected[4:12, 6:18] = True
    np.testing.assert_array_equal(hole, expected)


def test_a_center_hole_is_a_rectangle_of_the_share_drawn():
    holes = holes_of(100, 64, 48, fraction=(0.1, 0.6))
    for hole in holes:
        np.testing.assert_array_equal(hole, np.outer(hole.any(1), hole.any(0)))
        rows, columns = hole.any(1), hole.any(0)
        for line in (rows, columns):
            first, last = np.flatnonzero(line)[[0, -1]]
            assert abs(first - (len(line) - 1 - last)) <= 1
        assert abs(rows.mean() - columns.mean()) < 0.02
    shares = holes.mean((1, 2))
    assert stats.kstest(shares, stats.uniform(0.1, 0.5).cdf).pvalue > 0.01


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("height", "width", "count"), [(2, 2, 1), (2, 40, 1), (9, 12, 4)])
def test_a_hole_is_never_empty_and_never_everything(kind, height, width, count):
    shares = jnp.asarray(np.resize([1e-6, 0.02, 0.5, 0.98, 0.999999], 2000), jnp.float32)

    @jax.jit
    @jax.vmap
    def size(key, share):
        return masks.KINDS[kind](key, height, width, share, count).sum()

    sizes = size(keys_of(2000), shares)
    assert sizes.min() >= 1
    assert sizes.max() <= height * width - 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["boxes", "strokes"])
def test_shares_of_the_area_are_drawn_from_their_range(kind):
    holes = holes_of(200, 64, 48, kind=kind, fraction=(0.1, 0.5))
    assert stats.kstest(holes.mean((1, 2)), stats.uniform(0.1, 0.4).cdf).pvalue > 0.01


@pytest.mark.slow
def test_strokes_meet_their_share_to_the_pixel_and_boxes_to_a_line():
    shares = holes_of(100, 40, 40, kind="strokes", fraction=(0.3, 0.3)).sum((1, 2))
    assert np.abs(shares - 480).max() <= 1
    sizes = holes_of(100, 40, 40, kind="boxes", fraction=(0.3, 0.3), count=1).sum((1, 2))
    assert sizes.min() >= 480
    assert sizes.max() < 480 + 40


def test_a_box_is_a_rectangle_and_several_are_a_union():
    for hole in holes_of(100, 40, 56, kind="boxes", fraction=(0.05, 0.4), count=1):
        np.testing.assert_array_equal(hole, np.outer(hole.any(1), hole.any(0)))
    pieces = [
        ndimage.label(hole)[1]
        for hole in holes_of(50, 64, 64, kind="boxes", fraction=(0.05, 0.05), count=6)
    ]
    assert max(pieces) <= 6
    assert np.mean(pieces) > 3


def test_a_stroke_is_one_piece_of_even_width():
    holes = holes_of(50, 64, 64, kind="strokes", fraction=(0.15, 0.15), count=1)
    assert {ndimage.label(hole, np.ones((3, 3)))[1] for hole in holes} == {1}
    # A disc of the same area would be 14 pixels deep.
    assert np.mean([ndimage.distance_transform_edt(np.pad(hole, 1)).max() for hole in holes]) < 8
    assert np.mean([ndimage.label(~hole)[1] for hole in holes]) < 4


@pytest.mark.parametrize("kind", ["boxes", "strokes"])
def test_holes_are_everywhere(kind):
    """No part of the image is spared, and none is always hidden."""
    often = holes_of(400, 32, 32, kind=kind, fraction=(0.2, 0.2)).mean(0)
    assert often.min() > 0.02
    assert often.max() < 0.5
    quarters = often.reshape(2, 16, 2, 16).mean((1, 3))
    np.testing.assert_allclose(quarters, 0.2, atol=0.04)


def test_distances_to_segments_are_those_to_the_nearest_of_their_points():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-3, 12, (2, 6, 2))
    b[0] = a[0]
    rows, columns = np.mgrid[:9, :10].astype(np.float64)
    t = np.linspace(0, 1, 2001)[:, None]
    points = a[None] + t[..., None] * (b - a)[None]
    apart = np.hypot(
        rows[..., None, None] - points[..., 0], columns[..., None, None] - points[..., 1]
    )
    found = masks.distances_to_segments(
        jnp.asarray(rows[:, :, None], jnp.float32),
        jnp.asarray(columns[:, :, None], jnp.float32),
        jnp.asarray(a, jnp.float32),
        jnp.asarray(b, jnp.float32),
    )
    np.testing.assert_allclose(found, apart.min(2), atol=5e-3)


@pytest.mark.parametrize(("kind", "fill"), [("center", 0.0), ("boxes", -1), ("strokes", 0.5)])
def test_what_is_known_stays_and_the_rest_is_filled(kind, fill):
    clean = jax.random.uniform(jax.random.key(1), (6, 20, 16, 3), jnp.float32, -1.0, 1.0)
    made = degrade.make("mask", kind=kind, fill=fill, fraction=(0.1, 0.5))
    assert made.masked
    degraded = jax.jit(made)
    found = degraded(keys_of(6), clean)
    known = np.broadcast_to(np.asarray(found.known) == 1.0, clean.shape)
    np.testing.assert_array_equal(np.asarray(found.input)[known], np.asarray(clean)[known])
    assert set(np.asarray(found.input)[~known].tolist()) == {float(fill)}
    # A function of the keys alone.
    np.testing.assert_array_equal(degraded(keys_of(6), -clean).known, found.known)
