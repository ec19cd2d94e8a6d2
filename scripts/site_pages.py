"""What mkdocs does with the pages of docs/ (`hooks` in .mkdocs.yml), so that they need no second version for the site.

On a plain git host links such as ``../CHANGELOG.md`` and ``../tests/unit/test_docs.py`` lead to files, and mermaid
blocks are drawn. The site gets a page for each such file, and the drawing as SVG: no script of another host.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from scripts.flowchart import svg  # noqa: E402

LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHANGELOG = "changelog.md"
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".sh": "bash"}


def on_files(files: Any, config: Any) -> Any:
    """Add the changelog and a page for each file outside of docs/ that a page links to."""
    from mkdocs.structure.files import File

    linked = {target for file in files.documentation_pages() for target in outside(file.src_uri, file.content_string)}
    for target in sorted(linked | {"CHANGELOG.md"}):
        files.append(File.generated(config, address(target), content=page_of(target)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with links that hold on the site, and with its diagrams drawn."""
    here = page.file.src_uri
    markdown = MERMAID.sub(lambda found: f'<div class="flowchart">{svg(found[1])}</div>', markdown)
    return LINK.sub(lambda found: f"{found[1]}{_moved(here, found[2])}{found[3] or ''}{found[4]}", markdown)


def outside(page: str, markdown: str) -> Iterator[str]:
    """The files of the project outside of docs/ that a page links to, relative to the project's root."""
    for found in LINK.finditer(markdown):
        if (target := _beyond(page, found[2])) is not None:
            yield target


def address(target: str) -> str:
    """The place on the site of a file outside of docs/."""
    return CHANGELOG if target == "CHANGELOG.md" else f"source/{target}.md"


def page_of(target: str) -> str:
    """A file outside of docs/ as a page."""
    text = (ROOT / target).read_text(encoding="utf-8")
    if target == "CHANGELOG.md":
        return text.replace("](docs/", "](")
    code = f"~~~~ {LANGUAGES.get(Path(target).suffix, 'text')}\n{text}\n~~~~\n"
    return f"---\nsearch: {{exclude: true}}\n---\n# {target}\n\n{code}"


def _beyond(page: str, link: str) -> str | None:
    """The linked file, relative to the project's root, if it is outside of docs/."""
    target = normpath(join("docs", dirname(page), link))
    return None if ":" in link or target.startswith("docs/") else target


def _moved(page: str, link: str) -> str:
    target = _beyond(page, link)
    return link if target is None else relpath(address(target), dirname(page) or ".")
