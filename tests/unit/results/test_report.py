import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from imgclf.results.evaluate import Predictions, evaluate
from imgclf.results.report import SECTIONS, write_report
from imgclf.results.sections.content import Confused, Content, Thumbnail, Worst
from imgclf.results.thumbnails import GAP, LINE, SIDE, heated, jpeg, sheet, thumbnail
from imgclf.workflow import illustrate

EVIL = "<script>alert('x')</script>"
RTL = "قطة"


class Page(HTMLParser):
    """The tags and attributes of a page, and whether every tag is closed."""

    void = frozenset({"meta", "img", "br"})

    def __init__(self, text):
        super().__init__()
        self.seen, self.open, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def evaluation():
    targets = np.arange(40) % 4
    logits = np.eye(4, dtype=np.float32)[targets] * 3
    logits[:4] = logits[1:5]
    classes = (EVIL, "a & b", "漢字", "bad \udcff")
    return evaluate(Predictions(tuple(f"{EVIL}/{i}" for i in range(40)), logits, targets, classes, 1.2)).to_dict()


@pytest.fixture
def report(tmp_path, evaluation):
    Image.new("RGB", (300, 200)).save(tmp_path / "confusion.png")

    def write(**changes):
        given = {
            "title": EVIL,
            "facts": [("data", f'{EVIL}"'), ("folder", "$HOME")],
            "evaluation": evaluation,
            "history": [{"phase": EVIL, "epoch": 0, "train_loss": 1.0, "valid_loss": float("nan"), EVIL: 0.25}],
            "plots": [tmp_path / "confusion.png", tmp_path / "missing.png"],
            "warnings": [EVIL],
            "command": f"imgclf train --name {EVIL}",
        }
        path = write_report(tmp_path / "report.html", Content(**(given | changes)))
        return path.read_text(encoding="utf-8")

    return write


def test_nothing_is_fetched_and_nothing_runs(report):
    text = report()
    tags = {tag for tag, _ in Page(text).seen}
    assert not tags & {"script", "link", "iframe", "a", "object"}
    assert not re.search(r"https?://|//cdn|@import|url\(", text)
    sources = [attrs["src"] for tag, attrs in Page(text).seen if tag == "img"]
    assert len(sources) == 1
    assert sources[0].startswith("data:image/png;base64,")


def test_names_are_text(report):
    text = report()
    assert EVIL not in text
    words = "".join(Page(text).words)
    assert words.count(EVIL) >= 6
    assert "$HOME" in words
    assert "a & b" in words
    assert "漢字" in words


def test_what_it_says(report, evaluation):
    words = " ".join(Page(report()).words)
    accuracy = evaluation["accuracy"]
    for value in (accuracy["value"], accuracy["low"], accuracy["high"]):
        assert f"{value:.3f}" in words
    for heading in ("The run", "Classes", "Most confused", "Top losses", "Epochs", "Again"):
        assert heading in words
    assert "nan" not in words, "a figure that is no number is a dash"


def test_several_labels(report):
    targets = (np.arange(120).reshape(40, 3) % 4 == 0) & [True, True, False]
    logits = (targets * 6.0 - 3) * np.where(np.arange(40) % 10, 1, -1)[:, None]
    paths = tuple(f"{i}.jpg" for i in range(40))
    made = Predictions(paths, logits, targets, (EVIL, "dog", "bird"), 1.0, "multi", (0.5, 0.25, 0.75))
    found = evaluate(made).to_dict()
    page = report(evaluation=found)
    words = " ".join(Page(page).words)
    accuracy = found["accuracy"]
    for value in (accuracy["value"], accuracy["low"], accuracy["high"], found["mAP"], found["micro_f1"], 0.25):
        assert f"{value:.3f}" in words
    for said in ("all labels right", "Labels", "AP", "threshold", "Top losses", "(no label)", "1 of 3 labels have no"):
        assert said in words
    for unsaid in ("Most confused", "Classes", "to beat", "nan", "None", "every class"):
        assert unsaid not in words
    assert EVIL not in page


def test_a_class_without_images_has_no_recall(tmp_path):
    targets = np.arange(40) % 2
    found = evaluate(Predictions(tuple(map(str, range(40))), np.eye(3)[targets] * 3, targets, ("a", "b", "none"), 1.0))
    text = write_report(tmp_path / "r.html", Content("r", evaluation=found.to_dict())).read_text(encoding="utf-8")
    cells = re.findall(r"<td.*?>(.*?)</td>", re.search(r'<th scope="row"><bdi>none</bdi></th>(.*)', text)[1])
    assert cells[:3] == ["0", "–", "–"]


def test_a_picture_that_is_damaged_is_left_out(tmp_path):
    for name in ("batch", "history"):
        Image.new("RGB", (9, 9)).save(tmp_path / f"{name}.png")
    whole = write_report(tmp_path / "r.html", Content("r", plots=sorted(tmp_path.glob("*.png")))).read_text()
    assert whole.count("<figure>") == 2
    (tmp_path / "batch.png").write_bytes((tmp_path / "batch.png").read_bytes()[:30])
    (tmp_path / "history.png").write_bytes(b"")
    without = write_report(tmp_path / "r.html", Content("r", plots=sorted(tmp_path.glob("*.png")))).read_text()
    assert without.count("<figure>") == 0


def test_the_evaluations_warnings_appear_once(report, evaluation):
    warned = evaluation | {"warnings": ["only 3 images"]}
    assert report(evaluation=warned, warnings=["only 3 images"]).count("only 3 images") == 1


def test_a_run_without_results(report):
    words = " ".join(Page(report(evaluation=None, history=[], plots=[], warnings=[], facts=[])).words)
    assert "accuracy" not in words
    assert "Epochs" not in words
    assert "Again" in words


def test_size_is_the_pictures_and_a_little(report, tmp_path):
    assert len(report()) < 40_000 + 1.4 * (tmp_path / "confusion.png").stat().st_size


def test_phones_and_the_dark(report):
    text = report()
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    assert "max-width: 100%" in text


def test_epochs_as_the_training_writes_them(report):
    rows = [
        {"phase": "frozen", "epoch": 1, "epochs": 1, "valid_loss": float("inf"), "lr": 2e-05, "best": False},
        {"phase": "unfrozen", "epoch": 1, "epochs": 3, "valid_loss": 0.123456, "lr": 0.002, "best": True},
    ]
    table = Page(report(evaluation=None, history=rows, plots=[], facts=[])).words
    cells = [word for word in table if word.strip()]
    assert cells[cells.index("frozen") :][:5] == ["frozen", "1", "1", "–", "2e-05"]
    assert cells[cells.index("unfrozen") :][:6] == ["unfrozen", "1", "3", "0.1235", "0.002", "yes"]


@pytest.mark.parametrize(
    "section", SECTIONS, ids=lambda section: f"{section.__module__.split('.')[-1]}.{section.__name__}"
)
def test_a_section_with_nothing_to_say_is_not_there(section):
    assert section(Content("title")) == ""


CURVE = {"shape": "one_cycle", "pct_start": 0.3, "div": 5.0}
PHASE = {
    "name": EVIL,
    "epochs": 2,
    "steps": 8,
    "freeze_to": 0,
    "lrs": [1e-5, 1e-4],
    "sizes": [128, 224],
    "curve": CURVE,
}
THUMBNAIL = Thumbnail(b"not really a JPEG", f'{EVIL} "quoted"')


@pytest.fixture
def whole(evaluation, tmp_path):
    """Every part that a page can have, with names that would do harm."""
    row = {"path": f"{EVIL}.jpg", "label": EVIL, "pred": RTL, "prob": 0.9, "loss": 4.2}
    error = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 50}
    return Content(
        EVIL,
        facts=[("data", EVIL)],
        evaluation=evaluation,
        warnings=[EVIL],
        command=f"imgclf train --name {EVIL}",
        later=["imgclf train --resume x --extend 2"],
        config=f"/{EVIL}/config.yaml",
        plan={"reason": EVIL, "batches_per_epoch": 4, "phases": [PHASE]},
        rates=[("learning rate", EVIL)],
        decisions=[f"{EVIL} (data.workers: auto)"],
        confused=[Confused(EVIL, RTL, 7, [THUMBNAIL])],
        worst=[Worst(row, [("what it sees", THUMBNAIL), (f"speaks for {EVIL}", THUMBNAIL)])],
        slices={
            "error": error,
            "rows": [{"by": "brightness", "slice": "darkest", "error": error, "differs": "worse"}],
            "note": "2 of 9 judged images could not be read again.",
        },
        checks={"bad": 0, "leaks": 2, "conflicts": 1, "examples": {"leaks": [[f"{EVIL}1", f"{EVIL}2"]]}, "fixed": {}},
        previous=EVIL,
        changes={"train.epochs": [1, 3], "data.path": [EVIL, "b"]},
    )


def test_every_part_is_there_and_every_name_is_text(whole, tmp_path):
    page = write_report(tmp_path / "report.html", whole).read_text(encoding="utf-8")
    assert "<script" not in page
    assert '"quoted"' not in page.replace("&quot;quoted&quot;", "")
    words = " ".join(Page(page).words)
    for said in (
        "The plan", "1e-05 · 0.0001", "up from 1/5 of it for 30 %", "128, then 224", "7 times", "speaks for",
        "▲ worse", "2 of 9 judged images", "in training and held out as well", "Looked for and not found: cannot be",
        "Changed since", "Decided for you", "(data.workers: auto)",
        "train.epochs", "--extend 2", "imgclf train -c /", "All as a table", "could not be read again",
    ):  # fmt: skip
        assert said in words, said


def test_pictures_have_words_and_tables_have_headers(whole, tmp_path):
    page = Page(write_report(tmp_path / "report.html", whole).read_text(encoding="utf-8"))
    images = [attrs for tag, attrs in page.seen if tag == "img"]
    assert len(images) == 3
    assert all(attrs["alt"].strip() for attrs in images)
    tables = sum(tag == "table" for tag, _ in page.seen)
    assert tables >= 6
    assert sum(tag == "thead" for tag, _ in page.seen) == tables
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in page.seen if tag == "th")
    assert [tag for tag, _ in page.seen].count("h1") == 1


def test_names_keep_their_direction_to_themselves(whole, tmp_path):
    page = write_report(tmp_path / "report.html", whole).read_text(encoding="utf-8")
    assert page.count(RTL) == page.count(f"<bdi>{RTL}</bdi>") + page.count(f"<bdi>{RTL} (")
    assert RTL in page


def test_the_page_stays_small_whatever_the_pictures_hold(evaluation, tmp_path, pictures):
    """The most thumbnails a report asks for, of pure noise, which no JPEG makes small."""
    image = pictures.noise(2000, 1500)
    small, view = (Thumbnail(jpeg(image, side), "noise") for side in (SIDE, illustrate.VIEW))
    row = {"path": "a.jpg", "label": "a", "pred": "b", "prob": 0.9, "loss": 4.2}
    content = Content(
        "noise",
        evaluation=evaluation,
        confused=[Confused("a", "b", 99, [small] * illustrate.OF_KIND)] * illustrate.KINDS,
        worst=[Worst(row, [("view", view)] * 3)] * illustrate.WORST,
    )
    assert write_report(tmp_path / "report.html", content).stat().st_size < 2_000_000


def test_a_heat_map_shows_where_and_leaves_the_rest():
    image = np.full((20, 20, 3), 100, np.uint8)
    heat = np.zeros((20, 20))
    heat[:10] = 1
    found = np.asarray(heated(image, heat))
    assert (found[10:] == 100).all()
    assert (found[:10] != 100).any(-1).all()


def test_what_cannot_be_read_has_no_thumbnail(tmp_path):
    assert thumbnail(tmp_path / "gone.jpg") is None
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    assert thumbnail(tmp_path / "broken.jpg") is None


def test_a_sheet_has_a_row_for_each_image(tmp_path, pictures):
    views = [jpeg(pictures.picture(90, 90, seed), 90) for seed in range(3)]
    path = sheet([("cat → dog", views), (RTL * 40, views[:2])], tmp_path / "heatmaps.png")
    with Image.open(path) as made:
        assert made.size == (3 * 90 + 2 * GAP, 2 * (90 + GAP + LINE))
        below = np.asarray(made.convert("RGB"))[LINE : LINE + 90, 90 + GAP : 180 + GAP]
    assert np.abs(below.astype(int) - np.asarray(pictures.picture(90, 90, 1))).mean() < 12


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("imgclf train -d /home/ann/photos", "imgclf train -d ~/photos"),
        ("train -c '/home/ann/my runs/c.yaml'", "train -c ~/'my runs/c.yaml'"),
        ("weights from /home/ann/w.pth, /home/ann", "weights from ~/w.pth, ~"),
        ("/home/anna/x /srv/home/ann/x /home/ann.bak", "/home/anna/x /srv/home/ann/x /home/ann.bak"),
    ],
)
def test_the_users_home_is_not_named(report, monkeypatch, said, shown):
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("USERPROFILE", "/home/ann")
    words = Page(report(command=said, facts=[("data", said)])).words
    assert words.count(shown) == 2


def test_a_home_that_is_everything_hides_nothing(report, monkeypatch):
    monkeypatch.setenv("HOME", "/")
    monkeypatch.setenv("USERPROFILE", "/")
    assert "train -d /x/y" in Page(report(command="train -d /x/y")).words
