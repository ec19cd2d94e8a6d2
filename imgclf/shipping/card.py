"""``MODEL_CARD.md``: what a model is for, what it saw, how good it is, where it ends, and how to load it.

The sections are those of Mitchell et al., "Model Cards for Model Reporting" (2019), as far as a program can know them.
"""

from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from imgclf import runs
from imgclf.results.baselines import NAMES
from imgclf.results.metrics import FEW_IMAGES, recall
from imgclf.shipping import layers
from imgclf.shipping.record import Record

MOST_CLASSES = 30  # rows of the table of classes; the others are in the report
HOMES = ("home", "Users")  # folders whose entries are named after users

CARD = Template("""\
# Model card: $name

$what It was made with imgclf $version.

## Intended use

$use Do not let it decide about people or safety by itself.

## Data

$data

What the program cannot know, and who publishes the model should add: where the photographs come from, who may use them
and the model, and who or what is missing from them.

## Figures

On $n validation images, which were not trained on. Intervals are Wilson's at 95 %.

$figures

$classes

## Limits

$limits

## How to load it

$files

```bash
imgclf predict FOLDER photo.jpg$flag
```

```python
import imgclf

model = imgclf.load("FOLDER"$argument)
for answer in model.predict(["photo.jpg"]):
    print($answer)
```

`FOLDER` is where the two files are. Preprocessing is part of the model: give it photographs as they are.
`imgclf export` writes it for programs without imgclf, such as ONNX.
""")

CODE = (
    "`model.safetensors` and `model.json` hold tensors and text. The head is made by a function, `{}`, which must be "
    "there too: hence the word that it is trusted."
)


def write(folder: Path, record: Record, report: dict[str, Any], root: Path) -> Path:
    """Write the card into a run folder.

    Args:
        report: The evaluation on the validation images, as ``eval/report.json`` has it.
        root: Where the images were; of it only the last name is written, and not that of a user's home.
    """
    return runs.write_text(folder / runs.CARD, text(record, report, _public_name(root)))


def text(record: Record, report: dict[str, Any], data: str | None) -> str:
    """The card as Markdown; ``data`` is a name for the images, if there is one."""
    several = record.task == "multi"
    code = layers.code(record.head)
    return CARD.substitute(
        name=_cell(record.training.get("run", "a model of imgclf")),
        version=record.imgclf_version,
        what=_what(record),
        use=_use(record),
        data=_data(record, report, data),
        n=f"{report['n']:,}",
        figures=_table(["figure", "value", "95 % interval"], _figures(report)),
        classes=_classes(report, several),
        limits="\n".join(f"- {line}" for line in _limits(report, several)),
        files=CODE.format(code) if code else "`model.safetensors` and `model.json` hold tensors and text, no code.",
        flag=" --trust" if code else "",
        argument=", trust=True" if code else "",
        answer="answer.path, answer.labels" if several else "answer.path, answer.label, answer.prob",
    )


def _what(record: Record) -> str:
    p = record.preprocess
    starts = {True: ", started from weights trained on other images before", False: ", started from random weights"}
    start = starts.get(bool(record.training["pretrained"])) if "pretrained" in record.training else ""
    kind = "Any number of labels for a photograph" if record.task == "multi" else "One class for a photograph"
    return (
        f"{kind}, from {len(record.classes):,}. Architecture `{record.arch}`{start}; input "
        f"{p.size} × {p.size} px, {p.colours}, made square by `{p.framing}`."
    )


def _use(record: Record) -> str:
    shown = [f"`{_cell(name)}`" for name in record.classes[:MOST_CLASSES]]
    more = len(record.classes) - len(shown)
    rest = f" and {more:,} more (`classes` in `model.json`)" if more else ""
    names = f"{', '.join(shown)}{rest}"
    if record.task == "multi":
        return (
            f"To tell which of these labels a photograph like those below has: {names}. Other things in it are "
            "not seen. A photograph of something else, or taken in another way, can get labels too."
        )
    return (
        f"To tell which of these classes a photograph like those below shows: {names}. The answer is one of them "
        "whatever the picture shows: a photograph of something else, or taken in another way, gets a class and a "
        "probability too."
    )


def _data(record: Record, report: dict[str, Any], name: str | None) -> str:
    where = f" of `{_cell(name)}`" if name else ""
    known = (
        f" Fingerprint of all images: `{record.training['fingerprint']}`." if "fingerprint" in record.training else ""
    )
    trained = record.training.get("n_train")
    count = f"{trained:,}" if isinstance(trained, int) else "an unknown number of"
    return f"Trained on {count} images{where}, validated on {report['n']:,} others.{known}"


FIGURES = {
    "accuracy": "accuracy",
    "top5_accuracy": "right class among the five most probable",
    "majority_baseline": "accuracy of always the class commonest in these images",
    "accuracy_multi": "right decisions, label by label",
    "mAP": "mean average precision",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "ece_after": "calibration error (ECE)",
    "ece_before": "calibration error before the temperature",
}


def _figures(report: dict[str, Any]) -> list[list[str]]:
    names = {**FIGURES, "accuracy": "images with all labels right"} if "mAP" in report else FIGURES
    rows = []
    for key, name in names.items():
        value = report.get(key)
        if isinstance(value, dict) and value["value"] is not None:
            rows.append([name, f"{value['value']:.1%}", f"{value['low']:.1%} to {value['high']:.1%}"])
        elif isinstance(value, float):
            rows.append([name, f"{value:.3f}", "–"])
    return rows + _probes(report)


def _probes(report: dict[str, Any]) -> list[list[str]]:
    """What simple classifiers on the features of the body reach, as it was before training."""
    found = (report.get("baselines") or {}).get("probe") or {}
    rows = []
    for key, name in NAMES.items():
        if key in found:
            a = found[key]["accuracy"]
            what = f"to compare with: {name} on frozen features"
            rows.append([what, f"{a['value']:.1%}", f"{a['low']:.1%} to {a['high']:.1%}"])
    return rows


def _classes(report: dict[str, Any], several: bool) -> str:
    """The classes found worst, with how often each is found; last those without images, which nobody has looked for."""
    found = sorted(report["per_class"], key=lambda row: (not row["n"], row["recall"], row["class"]))
    rows = []
    for row in found[:MOST_CLASSES]:
        share = recall(row)
        reached = f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%})" if row["n"] else "–"
        rows.append(
            [_cell(row["class"]), str(row.get("n_train", "–")), str(row["n"]), reached, f"{row['precision']:.0%}"]
        )
    head = ["label" if several else "class", "training images", "validation images", "found", "right when named"]
    left = found[MOST_CLASSES:]
    unknown = sum(not row["n"] for row in left)
    known = len(left) - unknown
    said = [
        f"The {known:,} others are found at least as often." if known else "",
        f"{unknown:,} more have no validation image: nothing is known of them." if unknown else "",
    ]
    return "\n\n".join(part for part in (_table(head, rows), *said) if part)


def _limits(report: dict[str, Any], several: bool) -> list[str]:
    few = [_cell(row["class"]) for row in report["per_class"] if row["n"] < FEW_IMAGES]
    lines = [_cell(line) for line in report.get("warnings", [])]
    if few and not lines:
        lines.append(f"{len(few):,} classes have fewer than {FEW_IMAGES} validation images: their figures say little.")
    pairs = report.get("most_confused") or []
    if pairs:
        taken = [f"{_cell(p['truth'])} for {_cell(p['predicted'])} ({p['n']})" for p in pairs[:3]]
        lines.append(f"Most often it takes {', '.join(taken)}.")
    lines.append(
        "The thresholds decide which labels are given; after other photographs they may have to be chosen anew."
        if several
        else "The probabilities are calibrated on photographs like those above, and mean little on others."
    )
    return lines


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    """Text that cannot leave its place in a table, a code span or a list."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("`", "'").replace("<", "&lt;")


def _public_name(root: Path) -> str | None:
    """The last name of a folder, unless a user is named by it."""
    whole = root.expanduser().absolute()
    private = whole == Path.home() or whole.parent.name in HOMES or whole == Path(whole.anchor)
    return None if private else whole.name
