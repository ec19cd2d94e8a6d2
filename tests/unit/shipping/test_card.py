"""The model card: what it says of a record and its figures, and what it never says."""

from pathlib import Path

import numpy as np
import pytest

from imgclf.data.images import Preprocess
from imgclf.results.evaluate import Predictions, evaluate
from imgclf.shipping import card
from imgclf.shipping.record import Record

HEAD = [{"layer": "Linear", "in_features": 2, "out_features": 3, "bias": True}]
CLASSES = ("cat | dog", "`rm`\n# heading", "<b>äpfel</b>")


def record(**changes) -> Record:
    training = {"run": "mine", "pretrained": True, "n_train": 1200, "fingerprint": "abc"}
    usual = {"classes": CLASSES, "preprocess": Preprocess(64), "arch": "resnet18", "head": HEAD, "training": training}
    return Record(**{**usual, **changes})


def report(task="single", n=40) -> dict:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, n) if task == "single" else rng.integers(0, 2, (n, 3))
    logits = rng.normal(size=(n, 3)).astype(np.float32)
    paths = tuple(f"{i}.jpg" for i in range(n))
    return evaluate(Predictions(paths, logits, targets, CLASSES, 1.5, task)).to_dict()


def test_it_has_every_section_and_the_figures_with_intervals():
    found = {**report(), "warnings": ["chosen on the same images"]}
    text = card.text(record(), found, "pets")
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert heads == [
        "# Model card: mine",
        *(f"## {s}" for s in ("Intended use", "Data", "Figures", "Limits", "How to load it")),
    ]
    a = found["accuracy"]
    assert f"| accuracy | {a['value']:.1%} | {a['low']:.1%} to {a['high']:.1%} |" in text
    for part in (
        "1,200 images of `pets`",
        "40 others",
        "`abc`",
        "64 × 64",
        "- chosen on the same images",
        "answer.label",
    ):
        assert part in text
    assert "--trust" not in text and "$" not in text


def test_names_cannot_leave_their_place():
    text = card.text(record(), report(), None)
    assert "\n# heading" not in text and "<b>" not in text and "cat \\| dog" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in tables} == {4, 6}


def test_several_labels_an_image():
    text = card.text(record(task="multi"), report("multi"), None)
    assert "images with all labels right" in text and "mean average precision" in text and "answer.labels" in text
    assert "which of these labels" in text and "thresholds decide" in text and "None" not in text and "nan" not in text


def test_a_head_of_code_needs_trust():
    code = [{"layer": "Code", "factory": "own_heads:attention", "features": 512, "outputs": 3}]
    text = card.text(record(head=code), report(), None)
    assert "`own_heads:attention`" in text and "photo.jpg --trust" in text and "trust=True" in text


def test_a_thousand_classes_stay_a_page():
    classes = tuple(f"class {i}" for i in range(1000))
    targets = np.arange(1000)
    logits = np.eye(1000, dtype=np.float32)
    found = evaluate(Predictions(tuple(map(str, targets)), logits, targets, classes, 1.0)).to_dict()
    text = card.text(record(classes=classes), found, None)
    assert len(text.splitlines()) < 120 and "970 more" in text and "970 others" in text


def test_classes_nothing_is_known_of_are_not_the_worst():
    classes = tuple(f"class {i:02d}" for i in range(80))
    targets = np.repeat(np.arange(40, 80), 2)
    logits = np.eye(80, dtype=np.float32)[np.where(targets == 70, 71, targets)]
    found = evaluate(Predictions(tuple(map(str, range(80))), logits, targets, classes, 1.0)).to_dict()
    rows = [line for line in card.text(record(classes=classes), found, None).splitlines() if line.startswith("| class")]
    assert rows[1].startswith("| class 70 | – | 2 | 0% (")
    assert not any("–" in row.split("|")[4] for row in rows)
    text = card.text(record(classes=classes), found, None)
    assert "The 10 others are found at least as often." in text
    assert "40 more have no validation image: nothing is known of them." in text


@pytest.mark.parametrize(
    ("root", "name"),
    [
        ("/srv/photos/pets", "pets"),
        ("/home/alice", None),
        ("/Users/alice", None),
        ("/home/alice/pets", "pets"),
        ("/", None),
        ("~", None),
        (Path.home(), None),
    ],
)
def test_no_users_name_is_told(root, name, tmp_path):
    assert card._public_name(Path(root)) == name
    text = card.write(tmp_path, record(), report(), Path(root)).read_text(encoding="utf-8")
    assert "alice" not in text and str(Path.home()) not in text and ("pets" in text) == (name == "pets")


def test_what_is_not_known_is_left_out():
    text = card.text(record(training={}), report(), None)
    assert (
        "an unknown number of images, validated" in text and "Fingerprint" not in text and "random weights" not in text
    )
