"""Show what is in the cache directory, or remove a part of it: everything can be made again.

python -m experiments.cache
python -m experiments.cache --clear=decoded
"""

import shutil

from absl import flags

from experiments import command_line
from gan_jax import cache, errors

PARTS = {
    "classifiers": "classifiers that measure samples",
    "decoded": "decoded data sets",
    "statistics": "statistics of real images",
    "xla": "compiled programs",
}
_CLEAR = flags.DEFINE_enum("clear", None, [*PARTS, "all"], "The part to remove.")


def _main() -> None:
    chosen = PARTS if _CLEAR.value == "all" else {_CLEAR.value}
    print(cache.root())
    for part, what in PARTS.items():
        folder = cache.root() / part
        try:
            sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
            if removed := part in chosen and folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            raise errors.WorkdirError(f"{folder}: {error}") from error
        words = f"{sum(sizes) / 2**20:10,.1f} MiB in {len(sizes):6,} files"
        print(f"{part:12} {words}: {what}{', removed' if removed else ''}")


if __name__ == "__main__":
    command_line.run(_main)
