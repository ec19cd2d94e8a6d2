"""What earlier versions wrote still loads and answers the same; what later ones write says which version it takes."""

import io
import json
import re
import shutil
from contextlib import redirect_stdout

import pytest
from PIL import Image
from support import ROOT

import imgclf
from imgclf import runs
from imgclf.errors import ModelError
from imgclf.shipping import bundle
from imgclf.shipping.record import SCHEMA, Record

BUNDLES = ROOT / "tests" / "data" / "bundles"
SNIPPET = re.compile(r"```python\n(import imgclf\n.*?)```", re.DOTALL)
FIXTURES = sorted(BUNDLES.glob("v*/*"))


def test_there_is_a_fixture_of_every_schema():
    assert {path.name for path in BUNDLES.iterdir()} == {f"v{n}" for n in range(1, SCHEMA + 1)}


@pytest.mark.parametrize("form", ["folder", "file"])
@pytest.mark.parametrize("folder", FIXTURES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_bundle_of_every_schema_gives_its_answers(folder, form):
    model = imgclf.load(folder if form == "folder" else folder / runs.WEIGHTS)
    expected = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    found = [answer.to_row(model.classes) for answer in model.predict([folder / row["path"] for row in expected])]
    for row, told in zip(found, expected, strict=True):
        assert row["probs"] == pytest.approx(told["probs"], abs=1e-5)
        assert (row.get("label"), row.get("labels")) == (told.get("label"), told.get("labels"))


@pytest.mark.parametrize("folder", FIXTURES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_an_old_bundle_can_be_updated(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    bundle.update(copy, temperature=2.0)
    assert bundle.load(copy)[1].temperature == 2.0


@pytest.mark.parametrize(
    ("version", "hint"),
    [
        ("2.1.0", "written by imgclf 2.1.0,"),
        ("; rm -rf /", "by a newer version: pip"),
        (None, "by a newer version: pip"),
    ],
)
def test_a_newer_schema_names_the_version_it_takes(version, hint):
    data = json.loads((FIXTURES[0] / runs.RECORD).read_text(encoding="utf-8"))
    with pytest.raises(ModelError, match=f"schema {SCHEMA + 1}; imgclf .* reads up to schema {SCHEMA}") as caught:
        Record.from_dict({**data, "schema": SCHEMA + 1, "imgclf_version": version, "something": "new"})
    assert hint in caught.value.hint and ";" not in caught.value.hint


@pytest.mark.parametrize("page", ["README.md", "docs/shipping.md"])
def test_five_lines_of_python_predict(page, tmp_path, monkeypatch):
    [code] = SNIPPET.findall((ROOT / page).read_text(encoding="utf-8"))
    assert len([line for line in code.splitlines() if line]) <= 5
    shutil.copytree(BUNDLES / "v1" / "single", tmp_path / "runs" / "mine")
    for name in ("photo.jpg", "a.jpg", "b.jpg"):
        Image.open(BUNDLES / "v1" / "single" / "0.png").save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with redirect_stdout(io.StringIO()) as out:
        exec(compile(code, page, "exec"), {})
    assert "äpfel/birne 0." in out.getvalue() and out.getvalue().count("\n") == code.count(".jpg")
