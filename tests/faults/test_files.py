"""Full disks, read-only and moved directories, damaged checkpoints: nothing is lost by them."""

import shutil

import pytest

from tests.experiments import program
from tests.experiments.program import assert_same_run, call, complaint, succeeded
from tests.faults.scenario import WHOLE, can_mount, run_in_box

pytestmark = pytest.mark.slow

NO_SPACE = "No space left on device"
mounts = pytest.mark.skipif(not can_mount(), reason="this user may not mount file systems")


@pytest.fixture
def workdir(half, tmp_path):
    """A run with steps still to come."""
    shutil.copytree(half, tmp_path / "run")
    return tmp_path / "run"


# There is no room for the first files, for the logs, or for the checkpoint.
@pytest.mark.parametrize(
    "room",
    [
        pytest.param(0, marks=pytest.mark.exhaustive),
        pytest.param(20, marks=pytest.mark.exhaustive),
        64,
    ],
)
@mounts
def test_a_disk_that_fills_up_is_named_and_the_run_goes_on_later(room, workdir, whole, tmp_path):
    disk, rescued = tmp_path / "disk", tmp_path / "rescued"
    disk.mkdir()
    size = sum(4096 * (1 + len(content) // 4096) for content in program.files(workdir).values())
    # The disk: a file system in memory that is filled up, except for some KiB.
    mount = f"""
mount -t tmpfs -o size={2 * size} none {disk}
cp -r {workdir} {disk}
dd if=/dev/zero of={disk}/room bs=1024 count={room or 1} 2>/dev/null
cat /dev/zero > {disk}/others 2>/dev/null || true
rm {disk}/room
{"" if room else f"cat /dev/zero > {disk}/rest 2>/dev/null || true"}
"""
    ended = run_in_box(
        mount,
        (*WHOLE, "--config.train.log_every=1", f"--workdir={disk / 'run'}"),
        after=f"cp -r {disk / 'run'} {rescued}",
    )
    message = complaint(ended)
    assert NO_SPACE in message
    assert f"{disk / 'run'}/" in message
    assert "free space, then run the same command again" in message
    assert program.status(rescued)["reason"] == message
    assert program.checkpoints(rescued) == [20, 40]

    # As the message says: with room, the same command.
    succeeded(call(*WHOLE, f"--workdir={rescued}"))
    assert program.leaves(rescued).keys() == program.leaves(whole).keys()
    assert_same_state(rescued, whole)


def assert_same_state(a, b):
    """Assert that two runs ended in the same state, bit for bit, whatever they have logged."""
    one, other = program.leaves(a), program.leaves(b)
    assert [name for name in other if one[name].tobytes() != other[name].tobytes()] == []


@mounts
def test_a_read_only_workdir_is_refused_before_any_work(workdir, tmp_path):
    before = program.files(workdir)
    mount = f"mount --bind {workdir} {workdir}; mount -o remount,bind,ro {workdir}"
    message = complaint(run_in_box(mount, (*WHOLE, f"--workdir={workdir}")))
    assert message == f"--workdir={workdir} cannot be written to: Read-only file system"
    assert program.files(workdir) == before


def test_a_damaged_newest_checkpoint_costs_only_steps(workdir, whole, caplog):
    newest = workdir / "checkpoints" / "40"
    # All that hold arrays: of a single one, nothing may be in use.
    victims = [p for p in (newest / "state").rglob("d/*") if p.is_file()]
    assert victims
    for victim in victims:
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 16
        victim.write_bytes(content)
    succeeded(call(*WHOLE, f"--workdir={workdir}"))
    assert f"{newest} is damaged" in caplog.text
    assert "step 20 is used instead" in caplog.text
    assert_same_run(workdir, whole)
    # It is kept for inspection.
    assert (workdir / "checkpoints" / "40.damaged-1").exists()


def test_a_moved_workdir_goes_on_where_it_is_now(workdir, whole, tmp_path):
    moved = tmp_path / "elsewhere" / "under another name"
    moved.parent.mkdir()
    workdir.rename(moved)
    succeeded(call(*WHOLE, f"--workdir={moved}"))
    assert_same_run(moved, whole)
    assert not workdir.exists()
