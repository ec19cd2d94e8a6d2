"""What changed since training, and a split that is used again, through the command line."""

import shutil

import pytest
import shapes
from support import run_here

FAST = [
    *("-a", "resnet18", "--size", "16", "--presize", "20", "-b", "12", "--lr", "0.001", "-e", "1"),
    *("--set", "data.workers=0", "--set", "model.pretrained=false", "--set", "train.precision=fp32"),
    *("--set", "model.cut=-4"),
]  # fmt: skip
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with `photos`, changed after the run in `runs/first`."""
    root = tmp_path_factory.mktemp("split")
    photos = shapes.write(root / "photos", per_class=8)
    (root / "mine.csv").write_text("path,action,label\ndisc/disc 0.png,drop,\nsquare/square 0.png,relabel,stripes\n")
    settings = ["--set", "data.corrections=mine.csv"]
    done = run_here("train", "-d", photos, *FAST, *settings, "--name", "first", cwd=root)
    assert done.returncode == 0, done.stderr
    rows = [line.split(",") for line in (root / "runs/first/split.csv").read_text().splitlines()]
    held = [row[0] for row in rows if row[2] == "valid"]
    shapes.shape("disc", 99).save(photos / held[0])
    (photos / held[1]).unlink()
    shutil.copy(photos / held[2], photos / "disc" / "new.png")
    shapes.shape("disc", 77).save(photos / "disc" / "new.png")
    return root


def test_the_manifest_counts_the_corrections(place):
    done = run_here("runs", "show", "first", "--json", cwd=place)
    assert '"corrections": 2' in (place / "runs/first/manifest.json").read_text()
    assert done.returncode == 0


def test_evaluate_says_what_changed_since_training(place):
    done = run_here("evaluate", "first", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "1 validation file changed, 1 vanished since training" in " ".join(done.stderr.split())


def test_a_split_used_again_says_what_changed_and_what_is_new(place):
    done = run_here("train", "-d", "photos", *FAST, "--set", "data.split=runs/first", "--dry-run", cwd=place)
    said = " ".join(done.stderr.split())
    assert done.returncode == 0, done.stderr
    assert "1 validation file changed, 1 vanished since training" in said
    # The new file, and the one that the corrections of the first run dropped.
    assert "2 images are not in the split that is reused, and not used" in said


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [("fastai:PETZ", 2, "Did you mean 'PETS'"), ("fastai:IMAGEWOOF_160", 3, "imagewoof2-160.tgz")],
)
def test_a_named_data_set_that_cannot_be_had(place, path, code, said):
    done = run_here("data", "check", "-d", path, "--offline", cwd=place)
    assert done.returncode == code and said in done.stderr, done.stderr


def test_a_run_goes_on_from_another_folder_but_not_with_other_labels(tmp_path):
    photos = shapes.write(tmp_path / "photos", per_class=4)
    (tmp_path / "mine.csv").write_text("path,action,label\nsquare/square 0.png,relabel,stripes\n")
    (tmp_path / "elsewhere").mkdir()
    settings = ["--set", "data.corrections=mine.csv", "--name", "run"]
    assert run_here("train", "-d", photos, *FAST, *settings, cwd=tmp_path).returncode == 0
    extended = ["train", "--resume", tmp_path / "runs" / "run", "--extend", "1"]
    done = run_here(*extended, cwd=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
    (tmp_path / "other.csv").write_text("path,action,label\nsquare/square 1.png,relabel,stripes\n")
    other = [*extended, "--set", f"data.corrections={tmp_path / 'other.csv'}"]
    done = run_here(*other, cwd=tmp_path)
    assert done.returncode == 3
    assert "labels or split are not those run was trained with: 2 images differ" in " ".join(done.stderr.split())
    (tmp_path / "other.csv").write_text((tmp_path / "mine.csv").read_text())  # the same, in another place
    assert run_here(*other, cwd=tmp_path).returncode == 0
