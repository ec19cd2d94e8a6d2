"""The code blocks of the documents: which there are, and how each line of them is tested.

A block stands in the README or in docs/. What no test can run says so in the line above it:

    <!-- not run: needs four GPUs -->
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from support import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?:^<!-- (?P<note>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.M | re.S)
# Small programs every system has; they run in a folder of their own that is also the home folder.
SHELL = {"cat", "cp", "curl", "export", "find", "head", "ls", "mkdir", "mv", "rm"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; ``line`` is that of its first line of code."""

    page: str
    line: int
    language: str
    body: str
    excuse: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block, continued ones joined, without comments."""
        lines = self.body.replace("\\\n", " ").splitlines()
        return [line.removeprefix("$ ").strip() for line in lines if line.strip() and not line.startswith("#")]


def name(page: Path) -> str:
    """The page as tests call it: ``README.md``, ``training.md``, ``recipes/scans.md``."""
    return page.relative_to(ROOT / "docs" if page.is_relative_to(ROOT / "docs") else ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The shell and Python blocks of a page, from top to bottom."""
    text, found = page.read_text(encoding="utf-8"), []
    for match in BLOCK.finditer(text):
        if match["language"] in ("bash", "sh", "python"):
            note = match["note"] or ""
            excuse = note.removeprefix("not run:").strip() if note.startswith("not run:") else None
            line = text.count("\n", 0, match.start("body")) + 1
            found.append(Block(name(page), line, match["language"], match["body"], excuse))
    return found


def kind(command: str) -> str | None:
    """How a line is tested: ``imgclf`` and ``shell`` run, of ``pip`` extras are looked up, a ``script`` is parsed.

    None: not at all.
    """
    words = command.split()
    if words[0] in ("imgclf", "pip"):
        return words[0]
    if words[0] == "python" and words[1].startswith("scripts/"):
        return "script"
    return "shell" if all(stage[0] in SHELL or stage[0] == "imgclf" for stage in stages(command)) else None


def stages(command: str) -> list[list[str]]:
    """The commands of a pipe, each as its words with their quotes; ``>`` and a file are words of the last."""
    lexer = shlex.shlex(command, posix=False, punctuation_chars="|>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    made: list[list[str]] = [[]]
    for word in lexer:
        if word == "|":
            made.append([])
        else:
            made[-1].append(word)
    return made
