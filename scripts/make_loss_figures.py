"""Fill docs/the-loss.md and draw its pictures, from the answers of real runs that docs/the-loss.json keeps.

    python scripts/make_loss_figures.py                  draw the pictures and fill the tables
    python scripts/make_loss_figures.py --check          exit code 1 if the page is not what this would write
    python scripts/make_loss_figures.py --from RUNS      read the runs cross_entropy, mse and mae in that folder first

The runs are those of the command on the page.
"""

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
PAGE, DATA, IMAGES = ROOT / "docs" / "the-loss.md", ROOT / "docs" / "the-loss.json", ROOT / "docs" / "images"
LOSSES = ("cross_entropy", "mse", "mae")
SHOWN_EPOCHS = (1, 2, 4, 8)
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#666666"
COLOURS = dict(zip(LOSSES, (BLUE, ORANGE, GREEN), strict=True))
WORDS = {"cross_entropy": "cross-entropy", "mse": "squared error", "mae": "absolute error"}
MARKED = re.compile(r"(<!-- begin (\S+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


# -- From runs to the stored answers ----------------------------------------------------------------------------------


def collect(runs_dir: Path) -> dict[str, Any]:
    """What the page needs of the three runs: some images' activations, and figures over all validation images."""
    found = {loss: answers(runs_dir / loss) for loss in LOSSES}
    paths, classes, logits, targets = found["cross_entropy"]
    losses = cross_entropies(logits, targets)
    return {
        "classes": classes,
        "n": len(paths),
        "mean_loss": round(float(losses.mean()), 4),
        "images": [
            {"path": paths[i], "class": classes[targets[i]], "logits": [round(float(z), 3) for z in logits[i]]}
            for i in chosen(logits, targets, losses)
        ],
        "runs": {loss: figures(runs_dir / loss, *found[loss][2:]) for loss in LOSSES},
    }


def answers(run: Path) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Paths, classes, activations (N, C) and targets (N,) of a run's validation images, by its best model."""
    import imgclf
    from imgclf.data import digits

    model, folder = imgclf.load(run), digits.folder()
    with (run / "split.csv").open(encoding="utf-8", newline="") as stream:
        valid = [row for row in csv.DictReader(stream) if row["split"] == "valid"]
    paths = [row["path"] for row in valid]
    logits = np.stack([p.logits for p in model.predict([folder / path for path in paths])])
    return paths, list(model.classes), logits, np.array([model.classes.index(row["label"]) for row in valid])


def chosen(logits: np.ndarray, targets: np.ndarray, losses: np.ndarray) -> list[int]:
    """The surest right answer, two right ones that were less sure, and the worst one."""
    right = np.flatnonzero(logits.argmax(1) == targets)
    right = right[np.argsort(losses[right], kind="stable")]
    return [int(right[0]), int(right[len(right) * 95 // 100]), int(right[-1]), int(losses.argmax())]


def figures(run: Path, logits: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """Error of each epoch, and error and plain cross-entropy of the best model."""
    with (run / "history.csv").open(encoding="utf-8", newline="") as stream:
        errors = [round(float(row["error_rate"]), 4) for row in csv.DictReader(stream)]
    return {
        "errors": errors,
        "wrong": int((logits.argmax(1) != targets).sum()),
        "cross_entropy": round(float(cross_entropies(logits, targets).mean()), 4),
    }


def softmax(logits: np.ndarray) -> np.ndarray:
    """(N, C) activations to probabilities."""
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True))


def cross_entropies(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Minus the logarithm of the right class's probability, (N,)."""
    high = logits.max(1, keepdims=True)
    summed = np.log(np.exp(logits - high).sum(1)) + high[:, 0]
    return np.asarray(summed - logits[np.arange(len(targets)), targets])


# -- The tables -------------------------------------------------------------------------------------------------------


def page(text: str, data: dict[str, Any]) -> str:
    """The page with everything between its markers written anew."""
    parts = {
        "activations": activations(data),
        "images": images(data),
        "gradients": gradient_table(),
        "comparison": comparison(data),
    }
    named = [name for _, name, _ in MARKED.findall(text)]
    if sorted(named) != sorted(parts):
        raise ValueError(f"{PAGE.name} has the markers {named}, not {list(parts)}")
    return MARKED.sub(lambda match: f"{match[1]}{parts[match[2]]}\n{match[3]}", text)


def activations(data: dict[str, Any]) -> str:
    """Each step for each class of the third image."""
    image = data["images"][2]
    z = np.array(image["logits"])
    exponentials, p = np.exp(z), softmax(z[None])[0]
    names = [f"**{name}**" if name == image["class"] else name for name in data["classes"]]
    rows = [
        [name, _number(a), f"{e:,.3f}", f"{q:.4f}", f"{-np.log(q):.3f}"]
        for name, a, e, q in zip(names, z, exponentials, p, strict=True)
    ]
    rows.append(["sum", "", f"{exponentials.sum():,.3f}", "1", ""])
    said = f"`{image['path']}`, a {image['class']}:"
    return f"{said}\n\n{_table(['class', 'activation', 'exponential', 'probability p', '−log p'], rows)}"


def images(data: dict[str, Any]) -> str:
    """The loss of each of the chosen images, and their mean."""
    rows, losses = [], []
    for image in data["images"]:
        z, right = np.array([image["logits"]]), data["classes"].index(image["class"])
        p, loss = softmax(z)[0], float(cross_entropies(z, np.array([right]))[0])
        losses.append(loss)
        answer = data["classes"][int(p.argmax())]
        rows.append(
            [f"`{image['path']}`", image["class"], answer, _number(z[0, right]), f"{p[right]:.4f}", _loss(loss)]
        )
    rows.append(["mean of these", "", "", "", "", _loss(float(np.mean(losses)))])
    rows.append([f"mean of all {data['n']} validation images", "", "", "", "", _loss(data["mean_loss"])])
    return _table(["image", "right class", "answer", "activation of the right class", "its p", "loss, −log p"], rows)


def gradient_table() -> str:
    """What each loss asks for as the right class becomes less probable."""
    p = np.array([0.999, 0.9, 0.5, 0.1, 0.01, 0.001])
    found = {loss: gradients(loss, np.log(p / (1 - p))) for loss in LOSSES}
    rows = [[f"{p[i]:g}", *(f"{found[loss][i]:.4f}" for loss in LOSSES)] for i in range(len(p))]
    return _table(["p of the right class", *(WORDS[loss] for loss in LOSSES)], rows)


def gradients(loss: str, margins: np.ndarray) -> np.ndarray:
    """How much more of the right class's activation lowers the loss: its gradient, sign turned.

    Of the package's own losses, by automatic differentiation, for two classes.

    Args:
        margins: The activation of the right class minus that of the other, (N,).
    """
    import torch

    from imgclf.training.losses import SINGLE_LABEL, Knobs

    logits = torch.zeros(len(margins), 2, dtype=torch.float64)
    logits[:, 0] = torch.from_numpy(margins)
    logits.requires_grad_()
    mean = SINGLE_LABEL[loss](Knobs(0.0, 0.0), None)(logits, torch.zeros(len(margins), dtype=torch.long))
    (found,) = torch.autograd.grad(mean * len(margins), logits)
    return np.asarray(-found[:, 0])


def values(loss: str, margins: np.ndarray) -> np.ndarray:
    """The loss itself at each margin, (N,)."""
    import torch

    from imgclf.training.losses import SINGLE_LABEL, Knobs

    func, target = SINGLE_LABEL[loss](Knobs(0.0, 0.0), None), torch.zeros(1, dtype=torch.long)
    return np.array([float(func(torch.tensor([[float(m), 0.0]]), target)) for m in margins])


def comparison(data: dict[str, Any]) -> str:
    """The three runs, side by side."""
    rows = []
    for loss in LOSSES:
        run = data["runs"][loss]
        errors = [_percent(run["errors"][epoch - 1]) for epoch in SHOWN_EPOCHS]
        best = f"{run['wrong']} of {data['n']} ({_percent(run['wrong'] / data['n'])})"
        rows.append([f"`{loss}`", *errors, best, f"{run['cross_entropy']:.3f}"])
    heads = [f"error after epoch {SHOWN_EPOCHS[0]}", *(f"after {epoch}" for epoch in SHOWN_EPOCHS[1:])]
    return _table(["`train.loss`", *heads, "best model: wrong", "its cross-entropy"], rows)


def _table(columns: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [columns, ["---"] * len(columns), *rows])


def _number(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def _loss(value: float) -> str:
    return f"{value:.4f}" if value >= 1e-4 else f"{value:.1e}".replace("-0", "-").replace("e-", "e−")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


# -- The pictures -----------------------------------------------------------------------------------------------------


def draw(data: dict[str, Any], folder: Path) -> None:
    """Both pictures of the page."""
    _save(_gradient_figure(), folder / "loss_gradients.png")
    _save(_image_figure(data), folder / "loss_images.png")


def _gradient_figure() -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    margins = np.linspace(6, -6, 241)
    for loss in LOSSES:
        left.plot(margins, values(loss, margins), color=COLOURS[loss], label=WORDS[loss])
        right.plot(margins, gradients(loss, margins), color=COLOURS[loss], label=WORDS[loss])
    left.set_title("the loss", loc="left")
    right.set_title("its pull on the activation of the right class", loc="left")
    for axes in (left, right):
        axes.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
        axes.set_xlim(6, -6)
        axes.set_xticks([6, 4, 2, 0, -2, -4, -6], ["6", "4", "2", "0", "−2", "−4", "−6"])
        axes.set_ylim(bottom=0)
        axes.set_xlabel("activation of the right class minus the other\nsure and right   →   sure and wrong")
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False)
    return figure


def _image_figure(data: dict[str, Any]) -> Any:
    from matplotlib.figure import Figure
    from PIL import Image

    from imgclf.data import digits

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    grid = figure.subplots(2, len(data["images"]), height_ratios=[1.2, 1])
    for (above, below), image in zip(grid.T, data["images"], strict=True):
        p = softmax(np.array([image["logits"]]))[0]
        right = data["classes"].index(image["class"])
        above.imshow(np.asarray(Image.open(digits.folder() / image["path"])), cmap="gray")
        above.set_axis_off()
        above.set_title(f"{image['path']}\nloss {_loss(-float(np.log(p[right])))}", fontsize=9)
        below.bar(data["classes"], p, color=[BLUE if i == right else GREY for i in range(len(p))])
        below.set_ylim(0, 1)
        below.tick_params(labelsize=8)
        below.spines[["top", "right"]].set_visible(False)
    grid[1, 0].set_ylabel("probability", fontsize=9)
    return figure


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--from"] and len(arguments) == 2:
        DATA.write_text(json.dumps(collect(Path(arguments[1])), indent=1) + "\n", encoding="utf-8", newline="\n")
    elif arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    data, text = json.loads(DATA.read_text(encoding="utf-8")), PAGE.read_text(encoding="utf-8")
    filled = page(text, data)
    if arguments == ["--check"]:
        if filled != text:
            print(f"{PAGE.name} is stale: python scripts/make_loss_figures.py", file=sys.stderr)
        return int(filled != text)
    PAGE.write_text(filled, encoding="utf-8", newline="\n")
    draw(data, IMAGES)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
