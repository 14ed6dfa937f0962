"""``experiments.evaluate`` as a person uses it: a run, a running job, two sets of images."""

import shutil
import zipfile

import numpy as np
import pytest
import scipy.linalg
from PIL import Image

from gan_jax.data.sources import Transform
from gan_jax.evaluation import best
from gan_jax.inference import image_sets
from gan_jax.metrics import inception
from gan_jax.report import evaluations
from scripts import convert_inception
from tests.experiments import program
from tests.metrics import fidelity
from tests.real_data import find

EVALUATE = "experiments.evaluate"
RUN = (
    *program.POINTS,
    "--config.train.steps=8",
    "--config.train.checkpoint_every=2",
    "--config.train.keep_latest=4",
    "--config.eval.every=4",
    "--config.eval.num_fake=100",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of eight steps, with checkpoints of 2, 4, 6 and 8, and the program's output."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    return workdir, program.succeeded(program.call(*RUN, f"--workdir={workdir}"))


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of the run that a test may write to."""
    return shutil.copytree(trained[0], tmp_path / "run")


def rows(workdir):
    return evaluations.read(workdir / "eval.jsonl")


def evaluate(*flags):
    return program.succeeded(program.call(*flags, module=EVALUATE))


@pytest.mark.slow
def test_training_ends_with_samples_beside_real_points(trained):
    workdir, ended = trained
    lines = ended.out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.split() == ["generated", "real"])
    assert lines[at + 1].split()[0] == "modes"
    assert lines[at + 1].split()[4] == "8"
    assert lines[at + 2].split()[0] == "high_quality"
    assert [row["step"] for row in rows(workdir)] == [4, 8]


@pytest.mark.slow
def test_the_evaluation_of_a_checkpoint_is_that_of_training(run, copy):
    before = rows(copy)
    ended = program.succeeded(run(f"--run={copy}", module=EVALUATE))
    lines = ended.out.splitlines()
    assert lines[0].split() == ["step", "8"]
    assert [line.split()[0] for line in lines[1:3]] == ["modes", "high_quality"]
    assert lines[-1] == str(copy / "eval.jsonl")
    assert rows(copy) == before


def test_the_best_checkpoint_of_several_seeds_beside_real_points(copy):
    ended = evaluate(
        f"--run={copy}",
        "--checkpoint=best",
        "--metrics=mode_kl,modes",
        "--seeds=3",
        "--num-fake=50",
        "--truncation=0.5",
        "--reference",
    )
    assert "50 generated against 64 of ring" in ended.out
    assert "real" in ended.out
    row = rows(copy)[-1]
    assert row["step"] == best.read(copy).step
    assert (row["protocol"]["seeds"], row["protocol"]["n_fake"]) == (3, 50)
    assert row["protocol"]["truncation"] == 0.5
    assert {"mode_kl", "mode_kl_std", "modes", "modes_std"} <= row.keys()


def test_several_truncations_are_a_table_and_a_row_each(copy):
    before = rows(copy)
    flags = (f"--run={copy}", "--metrics=mode_kl,modes", "--num-fake=50")
    lines = evaluate(*flags, "--truncation=2,0.5").out.splitlines()
    assert lines[0].split() == ["2", "0.5"]
    assert [line.split()[0] for line in lines[1:3]] == ["mode_kl", "modes"]
    out = copy / "truncation2_0.5-step00000008.png"
    assert lines[-1] == str(out)
    with Image.open(out) as image:
        assert image.size == (420, 334)
    after = rows(copy)
    # Nothing that was recorded is lost, and each is what one value alone gives.
    assert after[:-2] == before
    assert [row["protocol"]["truncation"] for row in after[-2:]] == [2.0, 0.5]
    assert lines[1].split()[1:] == [evaluations.format_value(r["mode_kl"]) for r in after[-2:]]
    evaluate(*flags, "--truncation=0.5")
    assert rows(copy) == after
    for given, message in (
        (["--truncation=1,1"], "truncation = (1.0, 1.0); accepted: two different numbers or more"),
        (["--truncation=1,x"], "--truncation=1,x; accepted: a number, 0 or more, or several"),
        (["--truncation=1,2", "--follow"], "--follow has no effect with several values of"),
    ):
        found = program.complaint(program.call(*flags, *given, module=EVALUATE))
        assert found.startswith(message)


@pytest.mark.slow
def test_a_job_is_followed_until_it_ends(start, tmp_path):
    workdir = tmp_path / "run"
    job = start(
        *RUN,
        "--config.train.steps=400",
        "--config.train.checkpoint_every=100",
        "--config.eval.every=0",
        f"--workdir={workdir}",
    )
    assert job.wait_for("step")
    evaluate(f"--run={workdir}", "--follow", "--poll=0.2")
    program.succeeded(job.wait())
    steps = [row["step"] for row in rows(workdir)]
    assert steps == sorted(set(steps))
    assert steps[-1] == 400
    # There is nothing left to measure.
    again = evaluate(f"--run={workdir}", "--follow")
    assert again.out.startswith("0 checkpoints measured")


def pictures(folder, seed, count=12, size=16, shift=0):
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(count):
        pixels = np.clip(rng.integers(0, 200, (size, size, 3)) + shift, 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:03d}.png")
    return folder


def test_two_folders_are_compared_in_pairs(tmp_path):
    a = pictures(tmp_path / "a", 0)
    b = pictures(tmp_path / "b", 0, shift=10)
    ended = program.call(f"--images={a}", f"--against={b}", "--metrics=psnr,ssim", module=EVALUATE)
    heading, psnr, ssim = (line.split() for line in program.succeeded(ended).out.splitlines()[:3])
    assert heading == ["a"]
    # A shift by 10 levels of 255.
    assert psnr[0] == "psnr"
    assert float(psnr[1]) == pytest.approx(20 * np.log10(255 / 10), abs=0.01)
    assert ssim[0] == "ssim"
    assert 0.9 < float(ssim[1]) < 1


def test_an_archive_of_arrays_serves_as_a_folder_does(tmp_path):
    a = pictures(tmp_path / "a", 0)
    arrays = np.stack([np.asarray(Image.open(f)) for f in sorted(a.iterdir())])
    np.savez(tmp_path / "b.npz", arrays)
    ended = program.call(
        f"--images={a}", f"--against={tmp_path / 'b.npz'}", "--metrics=ssim", module=EVALUATE
    )
    assert program.succeeded(ended).out.splitlines()[1].split() == ["ssim", "1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to measure is given; accepted: --run, or --samples and --against"),
        (["--images=a"], "--samples and --against go together"),
        (["--run=a", "--images=a", "--against=a"], "nothing to measure is given"),
        (["--run=a", "--poll=3"], "--poll has no effect with a single evaluation"),
        (["--run=a", "--follow", "--checkpoint=best"], "--checkpoint has no effect with --follow"),
        (["--run=a", "--resolution=8"], "--resolution has no effect with --run"),
        (["--images=a", "--against=b", "--resize=pad"], "--resize has no effect with --samples w"),
        (["--images=a", "--against=b", "--resolution=8x"], "--resolution=8x; accepted: N or HxW"),
        (["--images=a", "--against=b", "--seeds=3"], "--seeds has no effect with --samples"),
        (["--run=nowhere"], "nowhere is no run directory"),
        (["--samples=a"], "--samples and --against go together"),
        (["--images=nowhere", "--against=b", "--metrics=psnr"], "nowhere (data.path) does not"),
        (["--images=a", "--against=b", "--metrics=modes"], "'modes', which is of points"),
        (["--images=a", "--against=b", "--metrics=gan_test"], "'gan_test', which is of runs and"),
        (["--images=a", "--against=b", "--metrics=fiid"], 'Did you mean "fid"'),
    ],
)
def test_mistakes_are_reported_in_one_line(arguments, message):
    assert message in program.complaint(program.call(*arguments, module=EVALUATE))


def test_mistakes_about_a_run_are_reported_in_one_line(copy):
    def complaint(*arguments):
        return program.complaint(program.call(f"--run={copy}", *arguments, module=EVALUATE))

    assert "'fid', but samples of ring are unpaired points" in complaint("--metrics=fid")
    assert "No checkpoint of step 5" in complaint("--checkpoint=5")
    assert "checkpoint = last; accepted: latest, best" in complaint("--checkpoint=last")
    (copy / "best.json").unlink()
    assert "config.eval.every" in complaint("--checkpoint=best")


def test_sets_that_cannot_be_paired_are_refused(tmp_path):
    a = pictures(tmp_path / "a", 0)
    fewer = pictures(tmp_path / "b", 0, count=11)
    message = program.complaint(
        program.call(f"--images={a}", f"--against={fewer}", "--metrics=psnr", module=EVALUATE)
    )
    assert "011 is in a, and has no partner in b (1 such in all)" in message
    arrays = np.zeros((3, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "c.npz", arrays)
    flags = (f"--images={a}", f"--against={tmp_path / 'c.npz'}", "--metrics=psnr")
    message = program.complaint(program.call(*flags, module=EVALUATE))
    assert "a has 12 images and c 3; accepted: as many" in message


@pytest.mark.slow
def test_folders_are_measured_by_inception_as_the_reference_does(tmp_path, monkeypatch):
    # Real photographs through the files, the program and the real weights; the reference is
    # torch-fidelity's network with the same weights, NumPy's covariance and SciPy's matrix root.
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path / "cache"))  # No statistics are there.
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "that of the tests")
    converted, horses = tmp_path / "weights.npz", tmp_path / "horses"
    weights = find("inception-2015-12-05_to_mixed_7.npz")
    inception.save_weights(converted, convert_inception.convert(weights))
    with zipfile.ZipFile(find("horse2zebra_128.zip")) as archive:
        for side, count in (("testA", 70), ("testB", 80)):
            names = [name for name in archive.namelist() if name.startswith(f"{side}/")]
            archive.extractall(horses, sorted(names)[:count])
    lines = evaluate(
        f"--images={horses / 'testA'}",
        f"--against={horses / 'testB'}",
        "--metrics=fid64,kid64",
        f"--inception={converted}",
    ).out.splitlines()
    assert lines[0].split() == ["testA"]
    assert lines[1].split()[0] == "fid64"

    net = fidelity.network(["64"], fidelity.unfolded_state(inception.load_weights(converted)))
    sides = []
    for name in ("testA", "testB"):
        source = image_sets.open_set(horses / name, Transform())
        images = source.read(range(len(source)))["image"]
        sides.append(fidelity.features(net, images)["64"].astype(np.float64))
    (a, b), (cov_a, cov_b) = sides, [np.cov(side.T) for side in sides]
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    fid = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root)
    assert float(lines[1].split()[1]) == pytest.approx(fid, rel=1e-3)
    assert "70 images against 80" in "\n".join(lines)
