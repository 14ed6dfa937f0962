"""The page of a comparison of runs."""

from pathlib import Path
from typing import Any

from gan_jax.pages import charts, panels, pictures, template
from gan_jax.pages.comparison import Comparison
from gan_jax.pages.same_latents import Samples


def page(compared: Comparison, samples: list[Samples], left: list[str]) -> str:
    """Return a comparison as HTML.

    Args:
      compared: it.
      samples: of the same latents, see `gan_jax.pages.same_latents.sample`.
      left: why some runs have none.
    """
    return template.render("compare.html", **content(compared, samples, left))


def content(compared: Comparison, samples: list[Samples], left: list[str]) -> dict[str, Any]:
    """Return what the page says, as plain data and SVG texts by the template's names."""
    longest = max(len(one.metrics) for one in compared.found)
    return {
        "title": " and ".join(compared.names) if len(compared.names) == 2 else "Runs",
        "names": [(name, charts.key(i)) for i, name in enumerate(compared.names)],
        "about": compared.about,
        "differing": compared.differing,
        "results": [
            (one, [charts.figure(panel) for panel in one.panels]) for one in compared.results
        ],
        "common": compared.common,
        "charts": [charts.figure(panel) for panel in compared.panels()],
        "thinning": panels.THINNING if longest > panels.MOST_POINTS else "",
        "samples": samples,
        "left": left,
        "last": [
            (name, _last(one.sheets))
            for name, one in zip(compared.names, compared.found, strict=True)
        ],
        "notes": compared.notes,
    }


def _last(sheets: dict[int, Path]) -> pictures.Picture | None:
    """Return the last picture of samples; ``None``: there is none, or it is damaged."""
    if not sheets:
        return None
    step = max(sheets)
    return pictures.shown(sheets[step], f"step {step:,}")
