"""MkDocs hooks: pages that lie beside the code they describe join those of docs/, with their links kept whole."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
# A file of the repository -> its page.
PAGES = {
    "README.md": "index.md",
    "examples/README.md": "examples.md",
    "data/README.md": "data.md",
    "benchmarks/README.md": "benchmarks.md",
    "evaluation/opencompass/README.md": "opencompass.md",
    "src/llamafactory_ext/lab/README.md": "the_lab.md",
    "src/llamafactory_ext/metrics/README.md": "metrics.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
_SOURCES = {page: source for source, page in PAGES.items()}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^()\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie elsewhere."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point every link of a page at where its target is in the site.

    Raises:
        PluginError: a link leads to nothing in the repository.
    """
    source = _SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return _LINK.sub(lambda match: _moved(match, source, page.file.src_uri), markdown)


def _moved(match: re.Match[str], source: str, page: str) -> str:
    image, text, target = match.groups()
    path, anchor, name = target.partition("#")
    if not path or "://" in target or target.startswith("mailto:"):
        return match[0]
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if not (ROOT / wanted).exists():
        raise PluginError(f"{source}: the link {target} leads to nothing; {wanted} is not in the repository")
    moved = PAGES.get(wanted) or (wanted.removeprefix("docs/") if wanted.startswith("docs/") else None)
    if moved is None:  # a file of the code, which is no part of the site
        return f"{text} (`{wanted}`)"
    return f"{image}[{text}]({posixpath.relpath(moved, posixpath.dirname(page) or '.')}{anchor}{name})"
