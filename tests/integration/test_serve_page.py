"""The page in a real browser: photos in, answers, heat maps and refusals out; with a mouse, a keyboard, on a phone."""

import os
from pathlib import Path

import pytest
import torch
from devtools import browser, chromium
from PIL import Image
from serving import colours, running
from support import make_files, photo
from torch import nn

from imgclf.data.images import Preprocess
from imgclf.shipping import bundle, inference, layers
from imgclf.shipping.server.limits import Limits
from imgclf.workflow import serve

PICTURES = os.environ.get("IMGCLF_SCREENSHOTS")  # a folder: the pages as the tests saw them, to look at


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    chromium()
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    for i in range(3):
        photo(i, 300 + 60 * i, 240).save(folder / f"photo {i} <b>äö.jpg")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def served():
    """A torch model, whose answers come with heat maps; nothing below 0.6 is answered."""
    from fastai.vision.learner import create_head
    from torchvision.models import resnet18

    torch.manual_seed(1)
    net = nn.Sequential(nn.Sequential(*list(resnet18(weights=None).children())[:-2]), create_head(512, 3))
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(4, 3, 64, 64) + torch.randn(4, 3, 1, 1))
    return net.eval()


@pytest.fixture(scope="module")
def client(served, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    classes = ("Abyssinian", "Great Pyrenees <script>", "a class with a rather long name that no bar has room for")
    accuracy = {"value": 0.937, "low": 0.911, "high": 0.956, "n": 480}
    record = bundle.Record(
        classes, Preprocess(size=64), "resnet18", layers.describe(served[1]), 0.4, {"accuracy": accuracy}
    )
    bundle.save(folder, served.state_dict(), record)
    predictor, limits = inference.load(folder), Limits(files=4, body_bytes=1 << 20)
    facts = serve.describe(predictor, folder, limits, {})
    with running(predictor, limits, facts=facts, least=0.6) as found:
        yield found


def answers(page) -> list[dict]:
    return page.run("""[...document.querySelectorAll('#answers li')].map((item) => ({
        title: item.querySelector('h2')?.textContent, error: item.querySelector('.error')?.textContent,
        notes: [...item.querySelectorAll('.note')].map((note) => note.textContent),
        pictures: [...item.querySelectorAll('img')].map((img) => [img.className, img.naturalWidth]),
        probs: [...item.querySelectorAll('dd')].map((cell) => cell.textContent) }))""")


def answered(page, n: int) -> list[dict]:
    page.until(f"document.querySelectorAll('#answers li').length === {n}")
    page.until("[...document.images].every((img) => img.complete)")
    return answers(page)


def test_photos_give_answers_with_heat_maps(page, client, photos, tmp_path):
    page.told.clear()
    page.look(1200, 900)
    page.open(client.url)
    page.until("document.querySelector('#about').textContent.includes('93.7 %')")
    (tmp_path / "notes.jpg").write_text("no picture")
    page.choose("#files", *photos, tmp_path / "notes.jpg")
    found = answered(page, 4)
    expected = client.send(*photos).json["predictions"]
    assert [one["title"] for one in found[:3]] == [row["label"] for row in expected]
    assert "unknown" in [row["label"] for row in expected], "nothing to see of abstention"
    for one, row in zip(found, expected, strict=False):
        assert one["pictures"] == [["", 64], ["map", 64]]
        assert one["probs"] == [f"{100 * p:.1f} %" for p in row["probs"].values()]
        assert bool(one["notes"]) == row["abstained"]
    assert found[3]["error"] == "not an image, or of a kind Pillow does not know"
    page.run("document.querySelector('#heat').click()")
    page.choose("#files", photos[0])
    assert answered(page, 5)[0]["pictures"] == [["", 300]]
    assert page.complaints == []
    assert all(url.startswith((client.url, "data:", "blob:")) for url in page.addresses)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits_phones_and_follows_the_preference_for_dark(page, client, photos, width, dark):
    page.look(width, 844, dark, mobile=width < 600)
    page.open(client.url)
    page.choose("#files", *photos[:2])
    answered(page, 2)
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    back, text = page.run("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    assert contrast(back, text) > 7
    assert (sum(channels(back)) < 200) == dark
    small = page.run("""[...document.querySelectorAll('button, #drop, #options label')].filter((e) => !e.hidden)
        .map((e) => e.getBoundingClientRect().height).filter((h) => h < 32)""")
    assert small == []
    if PICTURES:
        page.screenshot(Path(PICTURES) / f"serve-{width}-{'dark' if dark else 'light'}.png")


def test_a_keyboard_is_enough(page, client):
    page.look(1200, 900)
    page.open(client.url)
    seen = []
    for _ in range(4):
        page.press("Tab", 9)
        seen.append(page.run("document.activeElement.id || document.activeElement.getAttribute('href')"))
        assert (
            page.run("""(() => { const focused = document.activeElement, box = focused.closest('#drop') || focused;
            return getComputedStyle(box).outlineStyle; })()""")
            == "solid"
        )  # one sees where one is
    assert seen == ["files", "heat", "openapi.json", "model"]
    page.run("document.querySelector('#heat').focus()")
    page.press(" ", 32)
    assert page.run("document.querySelector('#heat').checked") is False


def test_more_than_one_request_holds_and_what_is_refused(page, client, photos, tmp_path):
    page.look(1200, 900)
    page.open(client.url)
    names = [f"{i}.png" for i in range(9)]
    page.choose("#files", *(make_files(tmp_path, *names) / name for name in names))
    answered(page, 9)
    Image.effect_noise((1500, 1500), 90).save(tmp_path / "large.png")
    page.choose("#files", tmp_path / "large.png")
    page.until("document.querySelector('#status').className === 'bad'")
    assert page.run("document.querySelector('#status').textContent") == "the body is larger than 1 MB: send fewer files"
    page.run("document.querySelector('#clear').click()")
    assert answers(page) == []


def test_a_model_without_activations_says_so_and_dropping_works(page):
    with running(colours()) as client:
        page.open(client.url)
        page.until("!document.querySelector('#nomap').hidden")
        assert page.run("document.querySelector('#wish').hidden")
        page.run("""(async () => {
            const canvas = document.createElement('canvas');
            canvas.width = canvas.height = 8;
            canvas.getContext('2d').fillStyle = 'rgb(10, 250, 10)';
            canvas.getContext('2d').fillRect(0, 0, 8, 8);
            const data = new DataTransfer(), blob = await new Promise((done) => canvas.toBlob(done));
            data.items.add(new File([blob], 'dropped.png', { type: 'image/png' }));
            document.dispatchEvent(new DragEvent('drop', { dataTransfer: data, cancelable: true }));
        })()""")
        [found] = answered(page, 1)
    assert found["title"] == "green"


def channels(colour: str) -> list[int]:
    return [int(value) for value in colour[4:-1].split(",")]


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG measures it."""

    def luminance(colour: str) -> float:
        parts = [c / 255 for c in channels(colour)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
