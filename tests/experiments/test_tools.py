"""``experiments.sample``'s tools for generators, with and without styles, as a person uses them."""

import numpy as np
import pytest
from PIL import Image

from configs import gan
from tests.experiments.program import SAMPLE, call, complaint, succeeded
from tests.inference.untrained import make_run
from tests.training import tiny


@pytest.fixture(scope="module")
def styled(tmp_path_factory):
    """A run of StyleGAN2 at 8x8 that was not trained."""
    config = tiny.style_config()
    return make_run(tmp_path_factory.mktemp("styled") / "run", config).path


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run of MLPs on digits that was not trained."""
    return make_run(tmp_path_factory.mktemp("plain") / "run", gan.get_config("smoke")).path


def sample(run, *flags):
    return succeeded(call(f"--run={run}", *flags, module=SAMPLE)).out.splitlines()


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_styles_of_two_samples_are_mixed(styled):
    lines = sample(styled, "--mix=coarse", "--num=3")
    out = styled / "mix-coarse-step00000004-seed0.png"
    assert lines[-1] == f"3 x 3 samples mixed in layers 0 to 1 of 4 of step 4: {out}"
    assert [line.rpartition(": ")[0] for line in lines[:-1]] == [
        "RMS difference from the sample of the row",
        "RMS difference from the sample of the column",
    ]
    shown = pixels(out)
    assert shown.shape == (3 * 34 + 2, 3 * 34 + 2)
    sample(styled, "--interpolate=lerp", "--num=1", "--frames=2", f"--out={styled / 'two.png'}")
    first = pixels(styled / "two.png")[2:34, 2:34]
    assert np.abs(shown[2:34, 2:34].astype(int) - first).max() <= 1


def test_an_image_is_projected_into_styles_by_default(styled, plain, tmp_path):
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save(tmp_path / "photo.png")
    flags = [f"--project={tmp_path / 'photo.png'}", "--steps=3", "--restarts=2"]
    out = styled / "projection-photo-step00000004-seed0.png"
    lines = sample(styled, *flags)
    assert lines[0].startswith("photo.png  PSNR ")
    assert lines[-1] == f"1 images projected into w at step 4: {out} and {out.stem}.npz"
    with np.load(out.with_suffix(".npz")) as file:
        assert file["w"].shape == (1, 1, 4)
    sample(styled, *flags, "--space=w+")
    with np.load(styled / "projection-photo-w+-step00000004-seed0.npz") as file:
        assert file["w+"].shape == (1, 4, 4)
    message = complaint(call(f"--run={plain}", *flags, "--space=w", module=SAMPLE))
    assert message.startswith("space = 'w', but the generator has no styles; accepted: z, or a run")


def test_directions_are_found_in_styles_and_in_latents(styled, plain):
    for run, method, space in ((styled, "ganspace", "w"), (plain, "sefa", "z")):
        lines = sample(run, f"--directions={method}", "--top=2", "--num=1", "--frames=3")
        out = run / f"{method}-{space}-step00000004-seed0.png"
        assert lines[0].startswith("direction 1: eigenvalue ")
        assert lines[2].startswith("random directions: RMS change ")
        where = f"2 directions of {space} by {method} of step 4: {out} and {out.stem}.npz"
        assert lines[3] == where
        with np.load(out.with_suffix(".npz")) as file:
            assert len(file["vectors"]) == len(file["change"]) == 2
            assert (np.diff(file["eigenvalues"]) < 0).all()
        # The middle of both rows is the sample itself.
        shown = pixels(out)[:, -(3 * 34 + 2) :].astype(int)
        assert np.abs(shown[2:34, 36:68] - shown[36:68, 36:68]).max() <= 1
        assert np.abs(shown[2:34, 2:34] - shown[2:34, 36:68]).max() > 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mix=fine"], "--mix needs styles, which the generator has not; accepted: a run whose"),
        (["--directions=sefa", "--space=w"], "space = 'w', but the generator has no styles"),
        (["--directions=sefa", "--space=w+"], "space = 'w+'; accepted: z or w"),
    ],
)
def test_what_a_run_without_styles_cannot_do_is_reported_in_one_line(plain, flags, message):
    assert complaint(call(f"--run={plain}", *flags, module=SAMPLE)).startswith(message)
