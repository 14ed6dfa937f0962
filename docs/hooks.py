"""What MkDocs does with the pages of this folder: hooks of mkdocs.yml.

Pages are written for GitHub, where links lead to files. In the site a link to a configuration
leads to its docstring, and one to another file outside of docs/ is left as text. CONTRIBUTING.md
and CHANGELOG.md are pages, too, and so is a list of the docstrings of all configurations.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
# Pages of the site by what they are made from.
MADE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "configs": "reference/configurations.md",
}
_LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s:]+)(#[^)\s]*)?\)")
_CONFIG = re.compile(r"configs/(\w+)\.py")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that are made from files outside of docs/."""
    for source, page in MADE.items():
        path = ROOT / source
        if path.is_dir():
            text = configurations(path)
        else:
            text = relinked(path.read_text("utf-8"), source, page)
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Rewrite the links of a page of docs/, and keep a mean and its deviation on one line."""
    name = page.file.src_uri
    if name in MADE.values():
        return markdown
    return relinked(markdown, f"docs/{name}", name).replace(
        " ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}"
    )


def relinked(text: str, file: str, page: str) -> str:
    """Return a Markdown text with links that work in the site.

    Args:
      text: of a file.
      file: its path in the repository, which its links are relative to.
      page: the path of its page in the site.
    """

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file), target))
        if config := _CONFIG.fullmatch(path):
            return f"[{words}][configs.{config[1]}]"
        if path in MADE:
            path = f"docs/{MADE[path]}"
        if not path.startswith("docs/"):
            return words
        inside = posixpath.relpath(path.removeprefix("docs/"), posixpath.dirname(page) or ".")
        return f"[{words}]({inside}{anchor})"

    return _LINK.sub(link, text)


def configurations(folder: Path) -> str:
    """Return a page with the docstrings of all configurations."""
    names = sorted(file.stem for file in folder.glob("*.py") if file.stem != "__init__")
    parts = [f"::: configs.{name}\n    options: {{members: false}}" for name in names]
    return "\n\n".join(["# Configurations", "What each file of `configs/` says.", *parts]) + "\n"
