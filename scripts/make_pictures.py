"""Make the pictures of the README and of the first pages of docs/ from real runs.

    pip install pyte
    python scripts/make_pictures.py                         of the embedded digits: README.md, docs/start.md
    python scripts/make_pictures.py photos FOLDER WEIGHTS   of photos of yours: docs/your-photos.md

Runs the commands in a terminal of 100 x 60 characters and draws its last screen; the other pictures are those the run
makes, and a photograph of its report by Chromium. FOLDER holds a folder of images for each class, WEIGHTS is a file for
resnet18. No picture of the second kind shows an image of the folder.
"""

import os
import pty
import shutil
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
COLUMNS, LINES = 100, 60


def main(arguments: list[str]) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if arguments[:1] == ["photos"]:
            photos(Path(folder), Path(arguments[1]).resolve(), Path(arguments[2]).resolve())
        else:
            digits(Path(folder))


def digits(home: Path) -> None:
    """A run on the embedded digits: the terminal, the worst images, the finder, a batch, the report."""
    draw(record(["train", "--name", "run"], home), "imgclf train", IMAGES / "train.svg", home)
    record(["lrfind", "--plot", "lr_find.png"], home)
    record(["data", "show", "--n", "8", "--out", "batch.png"], home)
    run = home / "runs" / "run"
    for made in (run / "plots" / "top_losses.png", home / "lr_find.png", home / "batch.png"):
        shutil.copy(made, IMAGES / made.name)
    photograph(run / "report.html", IMAGES / "report.png", 1000, 440)


def photos(home: Path, data: Path, weights: Path) -> None:
    """The commands of docs/your-photos.md on photos: what they print, and plots."""
    (home / "photos").symlink_to(data)
    (home / weights.name).symlink_to(weights)
    train = ["train", "-d", "photos", "--arch", "resnet18", "--name", "mine"]
    screen = record([*train, "--set", f"model.weights={weights.name}"], home)
    draw(screen, f"imgclf {' '.join(train)}", IMAGES / "photos.svg", home)
    for name in ("confusion", "learning_curve"):
        shutil.copy(home / "runs" / "mine" / "plots" / f"{name}.png", IMAGES / f"photos_{name}.png")
    for command in (["data", "check", "-d", "photos"], ["evaluate", "mine"], ["export", "mine"]):
        print(f"$ imgclf {' '.join(command)}", *(line.rstrip() for line in record(command, home).display), sep="\n")


def photograph(page: Path, target: Path, width: int, height: int) -> None:
    """The top of an HTML file as Chromium shows it."""
    browser = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    if browser is None:
        raise SystemExit("the picture of the report needs Chromium")
    window = [f"--window-size={width},{height}", "--force-device-scale-factor=1", f"--screenshot={target}"]
    subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *window, page.as_uri()],
        check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def record(arguments: list[str], cwd: Path) -> Any:
    """Run `imgclf` on a pseudo-terminal; returns the screen as it was at the end."""
    import pyte

    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    size = {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
    env = {**os.environ, "PYTHONPATH": str(ROOT), **size}
    command = [sys.executable, "-m", "imgclf", *arguments]
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


def draw(screen: Any, title: str, path: Path, home: Path) -> None:
    """The screen as an SVG, colours and all; ``home`` is where the command was run."""
    import io

    from rich.console import Console
    from rich.text import Text

    console = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True)
    lines = [_line(screen.buffer[y], Text) for y in range(LINES)]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    console.print(Text(f"$ {title}", style="bold"))
    for line in lines:
        console.print(_without_places(line, home, Text))
    path.write_text(console.export_svg(title=title), encoding="utf-8")


def _without_places(line: Any, home: Path, text: Any) -> Any:
    """The line with this machine's folders as anyone would see them."""
    plain = line.plain.replace(f"{ROOT}/", "")
    for place in (home, Path.home()):
        plain = plain.replace(str(place), "~")
    return line if plain == line.plain else text(plain)


def _line(cells: Any, text: Any) -> Any:
    """A line of the screen, its neighbours of one style together."""
    made = text()
    for style, group in groupby((cells[x] for x in range(COLUMNS)), key=_style):
        made.append("".join(cell.data for cell in group), style=style or None)
    made.rstrip()
    return made


def _style(cell: Any) -> str:
    colour = {"brown": "yellow", "default": ""}.get(cell.fg, f"#{cell.fg}" if _hex(cell.fg) else cell.fg)
    return f"{'bold ' if cell.bold else ''}{colour}".strip()


def _hex(colour: str) -> bool:
    return len(colour) == 6 and all(c in "0123456789abcdef" for c in colour)


if __name__ == "__main__":
    main(sys.argv[1:])
