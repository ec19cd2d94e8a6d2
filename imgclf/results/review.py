"""Likely label errors: the images whose label other images speak against, and a page to decide on each."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from imgclf.results import html
from imgclf.results.html import name, text
from imgclf.results.lettering import NONE
from imgclf.results.page import write_page

SCRIPT = "review.js"
SIDE = 180  # pixels of a thumbnail
MAYBE = 0.5  # a decision of several labels less probable than this is likely wrong

STYLE = """
.bar { position: sticky; top: 0; z-index: 1; background: var(--page); padding: .5rem 0; display: flex; flex-wrap: wrap;
  gap: .5rem 1rem; align-items: center; border-bottom: 1px solid var(--line); }
button { font: inherit; padding: .4rem .9rem; border: 0; border-radius: .4rem; background: var(--accent); color: #fff; }
button:disabled { opacity: .5; }
@media (prefers-color-scheme: dark) { button { color: #14171b; } }
.suspects { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); gap: 1rem;
  list-style: none; padding: 0; }
.suspects > li { background: var(--card); border: 3px solid transparent; border-radius: .5rem; padding: .75rem;
  scroll-margin: 5rem; }
.suspects > li:focus { outline: 3px solid var(--accent); }
.suspects > li[data-action=relabel] { border-color: #e69f00; }
.suspects > li[data-action=drop] { border-color: #d55e00; }
.suspects > li[data-action=keep] { border-color: #009e73; }
.suspects img { display: block; max-width: 100%; min-width: 6rem; height: auto; margin: 0 auto .5rem; }
.suspects .facts { padding: 0; font-size: .9rem; gap: .1rem .75rem; }
fieldset { border: 0; margin: .5rem 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: .4rem .9rem;
  align-items: center; }
legend { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
fieldset label { padding: .35rem 0; } select { font: inherit; max-width: 100%; flex: 1 1 100%; }
kbd { border: 1px solid var(--line); border-radius: .2rem; padding: 0 .3rem; }
"""


@dataclass(frozen=True)
class Suspect:
    """An image with the label it has and the one it should likely have.

    Attributes:
        part: ``train`` or ``valid``.
        score: The probability of the label it has, judged without this image; of several labels that of the least
            probable decision.
    """

    path: str
    part: str
    labels: tuple[str, ...]
    likely: tuple[str, ...]
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "path": self.path, "split": self.part, "labels": list(self.labels), "likely": list(self.likely),
            "score": round(self.score, 6),
        }  # fmt: skip


def ranked(
    paths: Sequence[str], parts: Sequence[str], targets: np.ndarray, probs: np.ndarray, classes: Sequence[str]
) -> list[Suspect]:
    """The images, those with the least probable label first.

    Args:
        targets: Class numbers (N,), or for several labels an image (N, C) of 0 and 1.
        probs: (N, C) by models that did not learn from the image itself. Rows of NaN are passed over.
    """
    find = _of_several if targets.ndim == 2 else _of_one
    known = np.flatnonzero(~np.isnan(probs).any(1))
    found = [Suspect(paths[i], parts[i], *find(targets[i], probs[i], classes)) for i in known.tolist()]
    return sorted(found, key=lambda suspect: suspect.score)


def _of_one(target: Any, probs: np.ndarray, classes: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...], float]:
    return (classes[target],), (classes[int(probs.argmax())],), float(probs[target])


def _of_several(
    target: np.ndarray, probs: np.ndarray, classes: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...], float]:
    given = target > 0
    sure = np.where(given, probs, 1 - probs)  # of each decision
    likely = np.where(sure < MAYBE, ~given, given)
    names = (tuple(classes[i] for i in np.flatnonzero(chosen).tolist()) for chosen in (given, likely))
    return next(names), next(names), float(sure.min())


def write_review(
    path: Path,
    *,
    title: str,
    about: str,
    suspects: Sequence[tuple[Suspect, bytes | None]],
    classes: Sequence[str],
    several: bool,
    earlier: Sequence[tuple[str, str, str]] = (),
    command: str = "",
) -> Path:
    """Write the page. It fetches nothing and works without a server; its one script is allowed by its hash.

    Args:
        about: How the images were chosen and ordered.
        suspects: Each with a JPEG of it, None where it cannot be read.
        earlier: Rows of the corrections already in use: path, action, label. Those not decided anew are kept.
        command: Trains again with the corrections.
    """
    script = files("imgclf.results").joinpath(SCRIPT).read_text(encoding="utf-8")
    data = {
        "classes": list(classes), "several": several, "earlier": [list(row) for row in earlier],
        "suspects": [suspect.to_dict() for suspect, _ in suspects],
    }  # fmt: skip
    cards = "\n".join(_card(i, suspect, jpeg, several) for i, (suspect, jpeg) in enumerate(suspects))
    parts = [
        html.paragraph(about), HOW, BAR, f'<ol class="suspects">\n{cards}\n</ol>',
        html.section("Train again", f"<pre>{text(command)}</pre>" if command else ""),
        f'<script type="application/json" id="data">{_harmless(data)}</script>',
        f"<script>{script}</script>",
    ]  # fmt: skip
    allowed = b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return write_page(path, title, "\n".join(parts), style=STYLE, script=allowed)


HOW = """<p>Keep, relabel or drop each, then download the file. Keys: <kbd>K</kbd> keep, <kbd>R</kbd> relabel as likely,
<kbd>D</kbd> drop, each goes on to the next; <kbd>N</kbd> next, <kbd>P</kbd> previous. Nothing is sent anywhere, and
nothing is kept when the page is closed.</p>
<noscript><p class="warnings">Without JavaScript the file cannot be made.</p></noscript>"""
BAR = """<div class="bar"><button type="button" id="download" disabled>Download corrections.csv</button>
<span id="count" role="status">nothing decided yet</span></div>"""


def _harmless(data: Any) -> str:
    """JSON that cannot end the element it stands in."""
    return json.dumps(data).replace("<", "\\u003c")


def _card(i: int, suspect: Suspect, jpeg: bytes | None, several: bool) -> str:
    labels, likely = (", ".join(names) or NONE for names in (suspect.labels, suspect.likely))
    image = html.picture(jpeg, f"{suspect.path}: label {labels}", "jpeg") if jpeg else "<p>cannot be read</p>"
    same = suspect.likely == suspect.labels
    facts = [
        ("label", labels),
        ("likely", "as it is" if same else likely),
        ("score", f"{suspect.score:.3f}"),
        ("image", f"{suspect.path} ({'training' if suspect.part == 'train' else 'validation'})"),
    ]
    choices = "".join(
        f'<label><input type="radio" name="action-{i}" value="{action}"> {action}</label>'
        for action in ("keep", "relabel", "drop")
    )
    options = "".join(f'<option value="{text(one)}" selected>{text(one)}</option>' for one in suspect.likely)
    select = f'<select aria-label="the right label"{" multiple size=4" if several else ""}>{options}</select>'
    legend = f"<legend>What to do with {name(suspect.path)}</legend>"
    return (
        f'<li tabindex="0">{image}{html.definitions(facts, "facts")}<fieldset>{legend}{choices}{select}</fieldset></li>'
    )
