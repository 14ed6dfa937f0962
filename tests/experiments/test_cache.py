"""Showing and clearing the cache directory."""

from tests.experiments import program


def test_one_part_is_shown_and_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path))
    for part in ("decoded", "xla/cpu", "of_others"):
        (tmp_path / part).mkdir(parents=True)
        (tmp_path / part / "file").write_bytes(bytes(3 * 2**20))
    shown = program.call(module="experiments.cache")
    assert shown.code == 0
    assert "decoded             3.0 MiB in      1 files" in shown.out
    assert "xla                 3.0 MiB" in shown.out
    assert "removed" not in shown.out
    cleared = program.call("--clear=decoded", module="experiments.cache")
    assert cleared.out.count("removed") == 1
    assert not (tmp_path / "decoded").exists()
    assert (tmp_path / "xla" / "cpu" / "file").exists()
    program.call("--clear=all", module="experiments.cache")
    assert [path.name for path in tmp_path.iterdir()] == ["of_others"]
