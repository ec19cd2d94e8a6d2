"""Make the pictures of the README from a real run.

    pip install pyte
    python scripts/make_pictures.py [ARGUMENTS OF imgclf train …]

Runs `imgclf train` in a terminal of 100 x 40 characters, draws its last screens as docs/images/train.svg, and copies
the run's picture of the worst images. Without arguments it trains on the embedded digits.
"""

import os
import pty
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
COLUMNS, LINES = 100, 60


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shown = ["imgclf", "train", *arguments]
        screen = record([sys.executable, "-m", "imgclf", *shown[1:], "--name", "run"], Path(folder))
        IMAGES.mkdir(parents=True, exist_ok=True)
        draw(screen, " ".join(shown), IMAGES / "train.svg")
        shutil.copy(Path(folder) / "runs" / "run" / "plots" / "top_losses.png", IMAGES / "top_losses.png")


def record(command: list[str], cwd: Path) -> Any:
    """Run a command on a pseudo-terminal; returns the screen as it was at the end."""
    import pyte

    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
    process = subprocess.Popen(command, cwd=cwd, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # Linux: the other side is closed
            break
        if not data:
            break
        stream.feed(data)
    if process.wait() != 0:
        raise SystemExit("\n".join(screen.display))
    return screen


def draw(screen: Any, title: str, path: Path) -> None:
    """The screen as an SVG, colours and all."""
    import io

    from rich.console import Console
    from rich.text import Text

    console = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True)
    lines = [_line(screen.buffer[y], Text) for y in range(LINES)]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    console.print(Text(f"$ {title}", style="bold"))
    for line in lines:
        console.print(_without_home(line, Text))
    path.write_text(console.export_svg(title=title), encoding="utf-8")


def _without_home(line: Any, text: Any) -> Any:
    """The line with this machine's folders as anyone would see them."""
    plain = line.plain.replace(f"{ROOT}/", "").replace(str(Path.home()), "~")
    return line if plain == line.plain else text(plain)


def _line(cells: Any, text: Any) -> Any:
    made = text()
    for x in range(COLUMNS):
        cell = cells[x]
        colour = (
            ""
            if cell.fg == "default"
            else {"brown": "yellow"}.get(cell.fg, f"#{cell.fg}" if _hex(cell.fg) else cell.fg)
        )
        made.append(cell.data, style=f"{'bold ' if cell.bold else ''}{colour}".strip() or None)
    made.rstrip()
    return made


def _hex(colour: str) -> bool:
    return len(colour) == 6 and all(c in "0123456789abcdef" for c in colour)


if __name__ == "__main__":
    main(sys.argv[1:])
