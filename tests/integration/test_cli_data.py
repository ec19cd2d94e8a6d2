"""`imgclf data …`: problems are found, pictures open, and the data folder is only read."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from imgclf.cli.app import run

SMALL = ("--size", "16", "--presize", "24", "--set", "data.workers=0", "--batch-size", "4")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def imgclf(capsys):
    """Run a command line in this process: (exit code, stdout, stderr)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def clean(tmp_path, pictures) -> Path:
    return pictures.files(
        tmp_path / "clean photos", *(f"{label}/{i}.png" for label in ("ä b", "猫#") for i in range(6))
    )


@pytest.fixture
def planted(tmp_path, pictures) -> Path:
    """Each kind of problem once."""
    root = pictures.files(
        tmp_path / "planted",
        *(f"{part}/{label}/{i}.png" for part in ("train", "val") for label in "ab" for i in range(5)),
    )
    shutil.copy(root / "train/a/0.png", root / "train/a/twice.png")
    shutil.copy(root / "train/a/1.png", root / "val/a/leak.png")
    shutil.copy(root / "train/b/2.png", root / "train/a/conflict.png")
    (root / "train/b/bad [0m.png").write_text("not an image")
    return root


def fingerprint(root: Path) -> dict[str, tuple[str, float]]:
    return {
        str(p.relative_to(root)): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime)
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def test_check_finds_every_planted_problem(imgclf, planted):
    code, out, _ = imgclf("data", "check", "-d", planted, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["n_images"] == 24
    assert found["classes"] == {"a": 13, "b": 11}
    assert [b["path"] for b in found["bad"]] == ["train/b/bad [0m.png"]
    assert "not an image" in found["bad"][0]["reason"]
    assert sorted(found["duplicates"]) == [
        ["train/a/0.png", "train/a/twice.png"],
        ["train/a/1.png", "val/a/leak.png"],
        ["train/a/conflict.png", "train/b/2.png"],
    ]
    assert found["leaks"] == [{"train": "train/a/1.png", "valid": "val/a/leak.png", "kind": "exact"}]
    assert found["conflicts"] == [["train/a/conflict.png", "train/b/2.png"]]
    assert isinstance(found["warnings"], list)


def test_check_strict_ends_with_3_and_still_gives_the_result(imgclf, planted):
    code, out, err = imgclf("data", "check", "-d", planted, "--strict", "--json")
    assert code == 3
    assert json.loads(out)["leaks"]
    assert "bad, leaks, conflicts" in err


@pytest.mark.parametrize("remove", ["bad", "leak", "conflict"])
def test_each_problem_alone_is_enough_for_strict(imgclf, planted, remove):
    names = {"bad": "train/b/bad [0m.png", "leak": "val/a/leak.png", "conflict": "train/a/conflict.png"}
    for kind, name in names.items():
        if kind != remove:
            (planted / name).unlink()
    assert imgclf("data", "check", "-d", planted, "--strict")[0] == 3
    (planted / names[remove]).unlink()
    assert imgclf("data", "check", "-d", planted, "--strict")[0] == 0  # a duplicate on one side is no fault


def test_check_of_clean_data_finds_nothing(imgclf, clean):
    code, out, _ = imgclf("data", "check", "-d", clean, "--strict")
    assert code == 0
    assert "no problem found" in out
    assert "ä b" in out and "猫#" in out


def test_the_report_for_people_names_files_as_they_are(imgclf, planted):
    _, out, err = imgclf("data", "check", "-d", planted)
    for line in ("train/b/bad [0m.png: not an image", "train/a/1.png = val/a/leak.png", "unreadable: 1"):
        assert line in out
    assert "\r" not in out + err


@pytest.mark.parametrize("name", ["x[/red].png", "[bold]x.png", ":cat:.png"])
def test_file_names_are_not_taken_for_markup(imgclf, clean, name):
    path = clean / "ä b" / name
    path.parent.mkdir(exist_ok=True)
    path.parent.joinpath(name.split("/")[0]).mkdir() if "/" in name else None
    path.write_text("bad")
    code, out, _ = imgclf("data", "check", "-d", clean)
    assert code == 0
    assert f"ä b/{name}: not an image" in out


def test_check_works_on_data_that_cannot_be_split(imgclf, tmp_path, pictures):
    root = pictures.files(tmp_path / "data", "a/1.png", "b/1.png")
    code, out, err = imgclf("data", "check", "-d", root, "--json")
    assert (code, json.loads(out)["leaks"]) == (0, [])
    assert "cannot be split" in err


@pytest.mark.parametrize("arguments", [["check"], ["check", "--strict"], ["summary", *SMALL], ["show", *SMALL]])
def test_the_data_folder_is_only_read(imgclf, planted, here, arguments):
    before = fingerprint(planted)
    folders = [p for p in planted.rglob("*") if p.is_dir()] + [planted]
    for folder in folders:
        folder.chmod(0o555)
    try:
        imgclf("data", *arguments, "-d", planted)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert fingerprint(planted) == before


def test_summary_tells_what_the_device_does(imgclf, clean):
    code, out, _ = imgclf("data", "summary", "-d", clean, *SMALL, "--set", "augment.where=device")
    assert code == 0
    assert "applying LookUp gives" in out and "the device does that for all images of the batch" in out


def test_summary_walks_through_the_datablock(imgclf, clean):
    code, out, _ = imgclf("data", "summary", "-d", clean, *SMALL)
    assert code == 0
    for step in ("Setting-up type transforms pipelines", "Building one batch", "Fused", "Standardise"):
        assert step in out
    code, out, _ = imgclf("data", "summary", "-d", clean, *SMALL, "--json")
    assert set(json.loads(out)) == {"summary"}


@pytest.mark.parametrize("name", ["batch.png", "new folder/bätch.jpg"])
def test_show_writes_a_picture_that_opens(imgclf, clean, here, name):
    code, out, _ = imgclf("data", "show", "-d", clean, *SMALL, "--n", "2", "-o", name)
    assert (code, out) == (0, f"{name}\n")
    with Image.open(here / name) as image:
        image.load()
        assert min(image.size) > 50
        assert len(image.convert("L").getcolors()) > 20


def test_show_is_the_same_twice_and_another_with_another_seed(imgclf, clean, here):
    pixels = []
    for seed, name in ((1, "a.png"), (1, "b.png"), (2, "c.png")):
        assert imgclf("data", "show", "-d", clean, *SMALL, "-o", name, "--seed", seed)[0] == 0
        with Image.open(here / name) as image:
            pixels.append(image.tobytes())
    assert pixels[0] == pixels[1] != pixels[2]


def test_a_table_and_a_pattern_are_followed(imgclf, tmp_path, pictures):
    root = pictures.files(tmp_path / "flat", *(f"{label}_{i}.png" for label in ("big cat", "dog") for i in range(5)))
    assert json.loads(imgclf("data", "check", "-d", root, "--json")[1])["classes"] == {"big cat": 5, "dog": 5}
    rows = "".join(f"{p.name},{'x' if 'dog' in p.name else 'y'}\n" for p in sorted(root.glob("*.png")))
    (root / "labels.csv").write_text("fname,class\n" + rows)
    assert json.loads(imgclf("data", "check", "-d", root / "labels.csv", "--json")[1])["classes"] == {"x": 5, "y": 5}


def test_the_embedded_digits_need_nothing(imgclf):
    code, out, _ = imgclf("data", "check", "--json")
    found = json.loads(out)
    assert (code, found["n_images"], len(found["classes"])) == (0, 1797, 10)


def test_a_cache_that_cannot_be_written_is_said(imgclf, monkeypatch):
    monkeypatch.setenv("IMGCLF_CACHE", "/dev/null/cache")
    code, out, err = imgclf("data", "check")
    assert (code, out) == (3, "")
    assert "IMGCLF_CACHE" in err


def test_a_pipe_gets_lines_and_nothing_that_moves(planted):
    done = subprocess.run(
        [sys.executable, "-m", "imgclf", "data", "check", "-d", planted], capture_output=True, timeout=120, check=True
    )
    for text in (done.stdout.decode(), done.stderr.decode()):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text.replace("[0m", ""))


@pytest.mark.real
def test_a_published_data_set_with_spaces_in_its_names(imgclf, shared, tmp_path):
    import tarfile

    with tarfile.open(shared / "data" / "bees-ants.tar") as tar:
        tar.extractall(tmp_path, filter="data")
    code, out, _ = imgclf("data", "check", "-d", tmp_path / "bees-ants", "--strict", "--json")
    found = json.loads(out)
    assert (code, found["n_images"], found["classes"]) == (0, 397, {"ants": 193, "bees": 204})
    assert found["bad"] == [] and "train, valid" in found["layout"]
