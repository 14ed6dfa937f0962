"""A mixing table has the samples on its diagonal, and the chosen layers of its columns."""

import numpy as np
import pytest

from gan_jax import errors
from gan_jax.inference import mixing
from gan_jax.inference.rendering import Renderer, latents, points
from gan_jax.training import spaces
from tests.inference.painter import Painter
from tests.inference.styled import LAYERS, styled


def test_the_chosen_layers_are_the_columns():
    styles = np.arange(3 * 4 * 2, dtype=np.float32).reshape(3, 4, 2)
    found = mixing.table(styles, range(1, 3))
    assert found.shape == (3, 3, 4, 2)
    for i in range(3):
        for j in range(3):
            expected = np.stack([styles[i, 0], styles[j, 1], styles[j, 2], styles[i, 3]])
            np.testing.assert_array_equal(found[i, j], expected)


def test_parts_are_thirds_or_numbers_of_layers():
    assert [mixing.chosen_layers(part, 18) for part in mixing.PARTS] == [
        range(6),
        range(6, 12),
        range(12, 18),
    ]
    assert [list(mixing.chosen_layers(part, 4)) for part in mixing.PARTS] == [[0, 1], [2], [3]]
    assert mixing.chosen_layers("2-5", 6) == range(2, 6)
    assert mixing.chosen_layers("0", 6) == range(1)
    for part in ("6", "2-6", "3-2", "rough", "", "-1", "1-"):
        with pytest.raises(errors.ConfigError, match=f"mix = '{part}'; accepted: coarse, .* 0 to"):
            mixing.chosen_layers(part, 6)
    with pytest.raises(errors.ConfigError, match="mix = 'fine'"):
        mixing.chosen_layers("fine", 2)


def test_the_diagonal_is_the_samples_and_all_layers_are_the_columns():
    game, variables = styled()
    space = spaces.make_styles(game, "--mix")
    assert space.layers == LAYERS
    z = latents(game, seed=3, num=3)
    styles, render = points(space, game, variables, z), Renderer(game, variables, space=space)
    plain = Renderer(game, variables)(z).astype(int)
    assert plain.std() > 10

    def table(part):
        styled = mixing.table(styles, mixing.chosen_layers(part, LAYERS))
        made = render(styled.reshape(9, *styles.shape[1:])).astype(int)
        return made.reshape(3, 3, *game.shape)

    for part in (*mixing.PARTS, "0-3"):
        found = table(part)
        for i in range(3):
            assert np.abs(found[i, i] - plain[i]).max() <= 1
    assert np.abs(table("0-3")[2] - plain).max() <= 1
    coarse, fine = table("coarse")[0, 1], table("2-3")[0, 1]
    assert np.abs(coarse - plain[0]).max() > 5
    # The layers that one leaves out are those of the other.
    assert np.abs(table("2-3")[1, 0] - coarse).max() <= 1
    assert np.abs(fine - coarse).max() > 5


def test_truncation_is_psi_of_every_point():
    game, variables = styled()
    z = latents(game, seed=0, num=3)
    for name in ("w", "w+"):
        space = spaces.make_space(game, name)
        given = points(space, game, variables, z)
        for psi in (1.0, 0.5, 0.0):
            found = Renderer(game, variables, space=space, truncation=psi)(given).astype(int)
            expected = Renderer(game, variables, truncation=psi)(z)
            assert np.abs(found - expected).max() <= 1
        untruncated = Renderer(game, variables, space=space)(given).astype(int)
        assert np.abs(untruncated - Renderer(game, variables)(z)).max() <= 1


def test_styles_depend_on_the_class():
    game, variables = styled(3)
    space = spaces.make_space(game)
    z = latents(game, seed=0, num=2)
    labels = np.array([2, 0], np.int32)
    found = Renderer(game, variables, space=space)(points(space, game, variables, z, labels))
    assert np.abs(found.astype(int) - Renderer(game, variables)(z, labels)).max() <= 1
    assert np.abs(found.astype(int) - Renderer(game, variables)(z, 0 * labels)).max() > 1


def test_spaces_that_a_game_has_not_are_refused():
    game, _ = styled()
    assert [spaces.make_space(game, name).name for name in (None, "z", "w", "w+")] == [
        "w",
        "z",
        "w",
        "w+",
    ]
    assert spaces.make_space(Painter()).name == "z"
    with pytest.raises(errors.ConfigError, match=r"space = 'w', but .* no styles; accepted: z, or"):
        spaces.make_space(Painter(), "w")
    with pytest.raises(errors.ConfigError, match=r"space = 'v' is unknown; accepted: w, w\+, z"):
        spaces.make_space(game, "v")
    with pytest.raises(errors.ConfigError, match=r"--mix needs styles, .*; accepted: a run whose"):
        spaces.make_styles(Painter(), "--mix")
