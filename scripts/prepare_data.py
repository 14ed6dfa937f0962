"""Download a TFDS data set and write it as ArrayRecord, once; training then needs no TensorFlow.

    pip install -e .[prepare]
    python scripts/prepare_data.py cifar10 [--data_dir DIR]

Without ``--data_dir`` the folder is ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``; training looks
there too, unless ``config.data.data_dir`` names another.
"""

import argparse
import importlib.util
import sys
from collections.abc import Sequence

from gan_jax.data.sources import BUILT_IN
from gan_jax.data.sources.tfds import find_builder
from gan_jax.errors import DataError, GanJaxError


def prepare(name: str, data_dir: str | None) -> str:
    """Prepare a data set, unless it is there already, and return its folder.

    Side effect: downloads, and writes the folder.

    Args:
      name: name of the data set in TFDS.
      data_dir: the TFDS folder; None: ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``.

    Raises:
      ConfigError: TFDS knows no such data set.
      DataError: TensorFlow is missing, or TFDS could not prepare the data set.
    """
    if name in BUILT_IN:
        raise DataError(f"{name} needs no preparation: train with --config.data.name={name}")
    builder = find_builder(name, data_dir)
    if builder.info.splits:
        return str(builder.data_dir)
    if importlib.util.find_spec("tensorflow") is None:
        raise DataError(
            f"preparing {name} needs TensorFlow, this once: pip install -e .[prepare] "
            "(another environment than the one for training will do)"
        )
    try:
        builder.download_and_prepare()
    # Builders are code of many authors; each downloads and parses in its own way.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{name} could not be prepared in {builder.data_dir}: {reason}") from error
    return str(builder.data_dir)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; a user's error is one line on stderr."""
    parser = argparse.ArgumentParser(description="Prepare a TFDS data set as ArrayRecord, once.")
    parser.add_argument("name", help='name in the TFDS catalog, such as "cifar10"')
    parser.add_argument("--data_dir", help="default: $TFDS_DATA_DIR or ~/tensorflow_datasets")
    options = parser.parse_args(arguments)
    try:
        folder = prepare(options.name, options.data_dir)
    except GanJaxError as error:
        print(error, file=sys.stderr)
        return 1
    place = f" --config.data.data_dir={options.data_dir}" if options.data_dir else ""
    print(f"{folder} is ready; train with --config.data.name={options.name}{place}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
