"""The site of docs/: every page in its navigation, links that hold there too, diagrams without a script."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from documents import PAGES
from ruamel.yaml import YAML
from support import ROOT

from scripts import flowchart, site_pages

CONFIG = YAML(typ="safe").load((ROOT / ".mkdocs.yml").read_text(encoding="utf-8"))
MADE = {site_pages.CHANGELOG}  # by the hook


def listed(nav) -> list[str]:
    """The pages of the navigation, in order."""
    if isinstance(nav, str):
        return [nav]
    return [page for item in (nav.values() if isinstance(nav, dict) else nav) for page in listed(item)]


def test_every_page_is_in_the_navigation_once():
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.is_relative_to(ROOT / "docs")]
    assert sorted(listed(CONFIG["nav"])) == sorted([*pages, *MADE]), "docs/ and `nav` in .mkdocs.yml differ"


def test_a_newcomer_begins_at_the_front_page_and_the_quick_start():
    assert listed(CONFIG["nav"])[:3] == ["index.md", "start.md", "your-photos.md"]


def test_fonts_and_scripts_of_other_hosts_are_off():
    assert CONFIG["theme"]["font"] is False
    assert not {"extra_javascript", "extra_css", "extra"} & CONFIG.keys()


@pytest.mark.parametrize(
    ("page", "link", "moved"),
    [
        ("data.md", "training.md", "training.md"),
        ("data.md", "images/train.svg", "images/train.svg"),
        ("data.md", "https://docs.fast.ai", "https://docs.fast.ai"),
        ("data.md", "../CHANGELOG.md", "changelog.md"),
        ("data.md", "../tests/support.py", "source/tests/support.py.md"),
        ("recipes/scans.md", "../data.md", "../data.md"),
        ("recipes/scans.md", "../../tests/support.py", "../source/tests/support.py.md"),
    ],
)
def test_links_out_of_docs_lead_to_pages_made_for_them(page, link, moved):
    class Page:
        class file:  # noqa: N801
            src_uri = page

    made = site_pages.on_page_markdown(f"See [it]({link}#part).", page=Page)
    assert made == f"See [it]({moved}#part)."


def test_pages_made_of_files():
    assert list(site_pages.outside("data.md", "[a](../tests/support.py#L3) [b](loss.md)")) == ["tests/support.py"]
    made = site_pages.page_of("tests/support.py")
    assert "# tests/support.py\n" in made and "~~~~ python\n" in made and "def run_here" in made
    assert "](docs/" not in site_pages.page_of("CHANGELOG.md")


# -- Diagrams ---------------------------------------------------------------------------------------------------------

CHART = 'flowchart TD\n a["begin"] --> b["middle"]\n b -- "words" --> c["end & more"]\n a --> c\n c --> b\n'


def test_a_flowchart_is_laid_out_from_top_to_bottom_without_overlap():
    text = re.search(r"```mermaid\n(.*?)```", (ROOT / "docs/architecture.md").read_text(encoding="utf-8"), re.S)[1]
    chart = flowchart.parse(text)
    paths = flowchart.lay_out(chart)
    place = {node: i for i, layer in enumerate(chart.layers) for node in layer}
    assert set(chart.labels) <= set(place) and len(paths) == len(chart.arrows)
    assert all(place[b] == place[a] + 1 for path in paths.values() for a, b in pairwise(path))
    for layer in chart.layers:
        for a, b in pairwise(layer):
            assert chart.x[b] - chart.x[a] >= (chart.width(a) + chart.width(b)) / 2


def test_a_flowchart_as_svg_has_its_boxes_arrows_and_words():
    drawing = ET.fromstring(flowchart.svg(CHART))
    texts = ["".join(node.itertext()) for node in drawing.iter() if node.tag.endswith("}text")]
    assert sorted(texts) == ["begin", "end & more", "middle", "words"]
    paths = [node for node in drawing if node.tag.endswith("}path")]
    assert len(paths) == 4
    assert sum("marker-start" in path.attrib for path in paths) == 1  # the one that leads back


@pytest.mark.parametrize("text", ["sequenceDiagram\n a --> b", "flowchart TD\n a{question} --> b"])
def test_what_is_not_read_is_refused(text):
    with pytest.raises(ValueError, match="not a"):
        flowchart.parse(text)


# -- The whole site ---------------------------------------------------------------------------------------------------


def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("material", reason="needs mkdocs-material: pip install 'imgclf[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", ".mkdocs.yml", "-d", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "architecture.html").read_text(encoding="utf-8")
    assert "<svg" in page and "mermaid" not in page
    loaded = re.findall(r"<(?:script|img|iframe)[^>]+src=[\"']?(\S+)|<link[^>]+href=[\"']?(\S+)", page)
    assert [address for pair in loaded for address in pair if "//" in address] == []
    assert (tmp_path / "source" / "tests" / "unit" / "test_architecture.py.html").exists()
