"""Reconstructions beside their originals: what is compared, laid out, and taken for held out."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from configs import vae_gan
from gan_jax import errors
from gan_jax.inference import reconstruction
from tests.training.tiny import spec_of


@dataclasses.dataclass(frozen=True)
class Halver:
    """A stand-in for a game: its reconstructions have half the contrast."""

    shape: tuple[int, ...] = (16, 16, 1)

    @property
    def spec(self):
        return spec_of(self.shape)

    def reconstruct(self, variables, images):
        return images * variables["factor"]


VARIABLES = {"factor": jnp.float32(0.5)}


def images(count=5, size=16):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 1)).astype(np.uint8)


@pytest.mark.parametrize("batch_size", [2, 64])
def test_every_image_is_reconstructed_and_compared_as_scikit_image_does(batch_size):
    progress = []
    found = reconstruction.reconstruct(
        Halver(), VARIABLES, images(), batch_size=batch_size, advance=progress.append
    )
    exact = (images().astype(float) - 127.5) / 2 + 127.5
    np.testing.assert_allclose(found.image, exact, atol=0.5)
    assert progress[-1] == 5
    for i, (one, other) in enumerate(zip(found.image, images(), strict=True)):
        np.testing.assert_allclose(
            found.psnr[i], peak_signal_noise_ratio(other, one, data_range=255), rtol=1e-4
        )
        ssim = structural_similarity(
            other[..., 0],
            one[..., 0],
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        np.testing.assert_allclose(found.ssim[i], ssim, atol=1e-3)
    assert f"5 reconstructions: mean PSNR {found.psnr.mean():.2f} dB, SSIM" in found.words


def test_images_smaller_than_the_window_have_no_ssim():
    found = reconstruction.reconstruct(Halver((8, 8, 1)), VARIABLES, images(size=8))
    assert found.ssim is None
    assert "SSIM" not in found.words


def test_a_reconstruction_stands_to_the_right_of_its_original():
    found = reconstruction.reconstruct(Halver(), VARIABLES, images(3))
    picture = found.picture()
    # Twice as large, with lines of two pixels between.
    assert picture.shape == (3 * 34 + 2, 2 * 34 + 2, 1)
    for row in range(3):
        top = 2 + 34 * row
        tiles = [picture[top : top + 32 : 2, left : left + 32 : 2] for left in (2, 36)]
        np.testing.assert_array_equal(tiles[0], images(3)[row])
        np.testing.assert_array_equal(tiles[1], found.image[row])


def test_many_pairs_stand_beside_each_other():
    found = reconstruction.reconstruct(Halver(), VARIABLES, images(32))
    height, width = found.picture().shape[:2]
    assert height == width  # Eight rows of four pairs.


def test_held_out_digits_are_those_of_the_test_split():
    config = vae_gan.get_config("smoke")
    held_out, split = reconstruction.held_out_images(config)
    assert (split, held_out.shape) == ("test", (297, 16, 16, 1))
    first, _ = reconstruction.held_out_images(config, 4)
    np.testing.assert_array_equal(first, held_out[:4])


@pytest.mark.parametrize("split", ["all", "test"])
def test_what_may_have_been_trained_on_is_not_called_held_out(split):
    config = vae_gan.get_config("smoke")
    config.data.split = split
    assert reconstruction.held_out_images(config, 4)[1] == split


def test_an_archive_without_splits_gives_its_own_images(tmp_path):
    np.savez(tmp_path / "few.npz", image=images(3))
    config = vae_gan.get_config("smoke")
    config.data.update(name="npz", path=str(tmp_path / "few.npz"))
    found, split = reconstruction.held_out_images(config, 10)
    assert split == "train"
    np.testing.assert_array_equal(found, images(3))


def test_what_cannot_be_reconstructed_is_refused():
    with pytest.raises(errors.ConfigError, match=r"uint8\[2, 8, 8, 1\]; accepted: uint8 \[n, 16"):
        reconstruction.reconstruct(Halver(), VARIABLES, images(2, size=8))
    with pytest.raises(errors.ConfigError, match=r"uint8\[0, 16, 16, 1\]"):
        reconstruction.reconstruct(Halver(), VARIABLES, images(0))
    for game in (object(), Halver(shape=(2,))):
        with pytest.raises(errors.ConfigError, match="only a run of images with an encoder"):
            reconstruction.check_game(game)
    config = vae_gan.get_config("smoke")
    with pytest.raises(errors.ConfigError, match="0 images to reconstruct; accepted: 1 or more"):
        reconstruction.held_out_images(config, 0)
    config.data.name = "ring"
    with pytest.raises(errors.ConfigError, match=r"points .*accepted for reconstruction: images"):
        reconstruction.held_out_images(ConfigDict(config.to_dict()), 4)
