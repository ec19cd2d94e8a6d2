"""Ranking likely label errors, and what the page's script makes of decisions."""

import csv
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imgclf.data import corrections
from imgclf.data.samples import Sample, Samples
from imgclf.results import review
from imgclf.results.review import Suspect

EVIL = "</script><script>alert('x')</script>"
NASTY = ('a "quoted", name.jpg', "line\nbreak.jpg", "späte Grüße 猫.jpg", "semi;colon\\.jpg", " blank .jpg", "=1+1.jpg")
SCRIPT = Path(review.__file__).with_name(review.SCRIPT)
node = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not here to run the page's script")


def made_by_script(decisions, several=False, earlier=()) -> str:
    code = f"const {{ corrections }} = require({json.dumps(str(SCRIPT))}); " + (
        "let text = ''; process.stdin.on('data', (part) => text += part).on('end', () => "
        "process.stdout.write(corrections(...JSON.parse(text))))"
    )
    given = json.dumps([decisions, several, list(earlier)])
    return subprocess.run(
        ["node", "-e", code], input=given, capture_output=True, text=True, check=True, encoding="utf-8"
    ).stdout


def decision(path, action, *labels, given=("cat",)):
    return {"path": path, "action": action, "labels": list(labels), "given": list(given)}


def test_the_least_probable_label_comes_first():
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [np.nan, np.nan]])
    found = review.ranked(
        list("abcd"), ["train", "valid", "train", "train"], np.array([0, 0, 1, 1]), probs, ("cat", "dog")
    )
    assert found == [
        Suspect("b", "valid", ("cat",), ("dog",), pytest.approx(0.2)),
        Suspect("c", "train", ("dog",), ("cat",), pytest.approx(0.4)),
        Suspect("a", "train", ("cat",), ("cat",), pytest.approx(0.9)),
    ]


def test_of_several_labels_the_least_probable_decision_counts():
    probs = np.array([[0.9, 0.7, 0.1], [0.1, 0.6, 0.4], [0.2, 0.3, 0.1]])
    targets = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    found = review.ranked(list("abc"), ["train"] * 3, targets, probs, ("x", "y", "z"))
    assert [(one.path, one.labels, one.likely) for one in found] == [
        ("a", ("x",), ("x", "y")), ("b", ("y",), ("y",)), ("c", (), ()),
    ]  # fmt: skip
    assert [one.score for one in found] == pytest.approx([0.3, 0.6, 0.7])


@node
def test_what_the_script_writes_is_what_corrections_read(tmp_path):
    samples = Samples(Path("/d"), tuple(Sample(path, ("cat",)) for path in (*NASTY, "dropped", "kept")), "test")
    samples = replace(samples, items=(*samples.items, Sample("other", ('a "dog", big',)), Sample("d", ("späte",))))
    made = [decision(path, "relabel", 'a "dog", big') for path in NASTY]
    file = tmp_path / "corrections.csv"
    file.write_text(
        made_by_script([*made, decision("dropped", "drop"), decision("kept", "keep", "cat")]), "utf-8", newline=""
    )
    found = {sample.path: sample.label for sample in corrections.apply(file, samples).items}
    assert found == {**dict.fromkeys(NASTY, 'a "dog", big'), "kept": "cat", "other": 'a "dog", big', "d": "späte"}


@node
def test_several_labels_are_joined_as_corrections_take_them_apart(tmp_path):
    items = (Sample("1", ("a;b", "c\\d")), Sample("2", ("plain",)), Sample("3", ("plain",)))
    samples = Samples(Path("/d"), items, "test", multi_label=True)
    file = tmp_path / "corrections.csv"
    made = [decision("2", "relabel", "a;b", "c\\d", "plain"), decision("3", "relabel")]
    file.write_text(made_by_script(made, several=True), "utf-8", newline="")
    found = {sample.path: sample.labels for sample in corrections.apply(file, samples).items}
    assert found == {"1": ("a;b", "c\\d"), "2": ("a;b", "c\\d", "plain"), "3": ()}


@node
def test_earlier_corrections_stay_unless_decided_anew():
    earlier = [["a", "drop", ""], ["b", "relabel", "cat"], ["c", "relabel", "cat"]]
    made = [decision("b", "relabel", "dog"), decision("c", "keep", "cat"), decision("d", "drop")]
    made.append(decision("e", "relabel", "cat"))  # as it was: nothing to correct
    rows = list(csv.reader(made_by_script(made, earlier=earlier).splitlines()))
    assert rows == [
        ["path", "action", "label"], ["a", "drop", ""], ["c", "relabel", "cat"], ["b", "relabel", "dog"],
        ["d", "drop", ""],
    ]  # fmt: skip


def page(tmp_path, **changes) -> str:
    suspect = Suspect(f"{EVIL}.jpg", "train", (EVIL,), ("dog",), 0.0123)
    given = {
        "title": EVIL, "about": EVIL, "suspects": [(suspect, b"jpeg"), (replace(suspect, path="2"), None)],
        "classes": (EVIL, "dog"), "several": False, "command": f"imgclf train -c {EVIL}",
    }  # fmt: skip
    return review.write_review(tmp_path / "review.html", **(given | changes)).read_text(encoding="utf-8")


def test_names_are_text_and_one_script_may_run(tmp_path):
    made = page(tmp_path)
    assert "<script>alert" not in made
    assert made.count("<script") == 2
    assert made.count("</script>") == 2
    data = json.loads(re.search(r'id="data">(.*?)</script>', made)[1])
    assert data["suspects"][0]["labels"] == [EVIL]
    assert data["classes"] == [EVIL, "dog"]
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='", made)
    assert not re.search(r"https?://|url\(", made)


def test_the_hash_is_that_of_the_script(tmp_path):
    import base64
    import hashlib

    made = page(tmp_path)
    script = re.search(r"<script>(.*?)</script>", made, re.S)[1]
    allowed = re.search(r"'sha256-(.+?)'", made)[1]
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() == allowed


def test_every_image_can_be_decided_on_by_keyboard_and_by_ear(tmp_path):
    made = page(tmp_path, several=True)
    assert made.count('<li tabindex="0">') == 2
    assert made.count("<legend>What to do with") == 2
    assert made.count('type="radio"') == 6
    assert made.count(" multiple size=4") == 2
    assert 'role="status"' in made
    assert "cannot be read" in made
