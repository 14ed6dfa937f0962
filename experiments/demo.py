"""Show a trained run on a page in the browser: samples by seed, class or text; translations.

python -m experiments.demo --run=DIR
python -m experiments.demo --run=DIR --checkpoint=best --port=8000

The page has the controls that the run allows. It needs no network, and is served to this machine
alone unless --host is given: there is no password. Ctrl-C ends the demo. The page needs jinja2:
pip install -e '.[demo]'.
"""

import time
from typing import TYPE_CHECKING

from absl import flags

from experiments import command_line, run_flags
from gan_jax import errors, installation

if TYPE_CHECKING:
    from gan_jax.demo.demo import Demo
    from gan_jax.runs.run import Run

flags.adopt_module_key_flags(run_flags)
_HOST = flags.DEFINE_string(
    "host",
    "127.0.0.1",
    "The address to listen at. Any other than the default lets other machines use the demo.",
)
_PORT = flags.DEFINE_integer(
    "port", 7860, "The port to listen at; 0: any that is free.", lower_bound=0, upper_bound=65535
)


def _main() -> None:
    command_line.require(run="a run directory")
    installation.require_packages("the demo", ("jinja2",), "demo")
    run = run_flags.open_run()
    from gan_jax.demo import server

    shown = _demo(run)
    with server.Server(_HOST.value, _PORT.value) as serving:
        print(f"compiling {run.config.variant} ...", flush=True)
        start = time.monotonic()
        shown.warm()
        serving.demo = shown
        print(f"{time.monotonic() - start:.1f} s; the demo of {run.path}: {serving.url}")
        if not serving.is_local:
            print("other machines can use it, without a password")
        print("Ctrl-C ends it", flush=True)
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            print("ended")


def _demo(run: "Run") -> "Demo":
    """Return the demo of a run."""
    from gan_jax.demo.live_samples import LiveSampler
    from gan_jax.demo.live_translation import LiveTranslator
    from gan_jax.demo.samples import SamplesDemo
    from gan_jax.demo.sounds import SoundDemo
    from gan_jax.demo.translation import TranslationDemo
    from gan_jax.games.translation import TranslationGame
    from gan_jax.inference import translate_sounds, translate_videos
    from gan_jax.inference.sample_request import Request

    checkpoint, raw = run_flags.CHECKPOINT.value, run_flags.RAW.value
    if isinstance(run.game, TranslationGame):
        command_line.refuse(["batch_size"], "a run that translates")
        if translate_sounds.is_of_sounds(run):
            return SoundDemo(run, checkpoint, raw)
        if translate_videos.is_of_videos(run):
            raise errors.ConfigError(
                f"{run.path} predicts videos, which have no demo: see "
                f"{installation.command('translate')}"
            )
        return TranslationDemo(LiveTranslator(run, checkpoint, raw))
    # Of "standing" statistics and those of a batch, the size shows.
    depends = run.sampling().batch_norm in ("standing", "batch")
    size = run_flags.BATCH_SIZE.value or (64 if depends else 16)
    ask = Request(run, checkpoint=checkpoint, raw=raw, batch_size=size)
    return SamplesDemo(LiveSampler(ask))


if __name__ == "__main__":
    command_line.run(_main)
