"""Rows of pictures with their names: the grid is untouched, each name stands beside its row."""

import numpy as np
import pytest

from gan_jax.report.grids import grid, named_rows


def tiles(rows=3, columns=4, channels=1):
    return np.random.default_rng(0).integers(
        0, 256, (rows, columns, 32, 32, channels), dtype=np.uint8
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_names_stand_to_the_left_of_an_unchanged_grid(channels):
    data = tiles(channels=channels)
    picture = named_rows(data, ["cat", "", "aeroplane"])
    plain = grid(data.reshape(-1, 32, 32, channels), columns=4)
    margin = picture.shape[1] - plain.shape[1]
    np.testing.assert_array_equal(picture[:, margin:], plain)
    words = picture[:, :margin] < 128
    # 3 rows of 34 pixels: the first and the third have ink, which leaves the edges free.
    ink = [words[i * 34 : (i + 1) * 34] for i in range(3)]
    assert [part.any() for part in ink] == [True, False, True]
    columns = [np.nonzero(part.any((0, 2)))[0] for part in (ink[0], ink[2])]
    assert columns[1].max() > columns[0].max()
    assert columns[1].max() < margin - 2
    rows = np.nonzero(ink[0].any((1, 2)))[0]
    assert abs(rows.mean() - 17) < 3


def test_without_names_there_is_no_margin():
    data = tiles()
    plain = grid(data.reshape(-1, 32, 32, 1), columns=4)
    np.testing.assert_array_equal(named_rows(data, ["", "", ""]), plain)


def test_a_name_for_each_row_is_needed():
    with pytest.raises(ValueError, match="2 names; accepted"):
        named_rows(tiles(), ["a", "b"])
