"""Whatever a file is called: it is found, decoded, predicted and reported under its own name."""

import numpy as np
import pytest
from PIL import Image
from support import make_files

from imgclf.console import Terminal
from imgclf.data import prepare, scan
from imgclf.shipping import inference

NAMES = (
    "two words.png",
    " leading and  double.png",
    "#1 100%.png",
    "ягода.png",
    "猫と犬.png",
    "🐶🏽.png",
    "UPPER.PNG",
    "Photo.JPG",
    "photo.jpeg",
    "dots.and.more.Jpeg",
    "[a]{b}$&'(c).png",
    f"{'long' * 60}.png",
)


@pytest.fixture(scope="module")
def predictor(model):
    return inference.load(model)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:20])
def test_an_odd_name_is_scanned_decoded_predicted_and_reported(predictor, tmp_path, make_config, name):
    root = make_files(tmp_path / "d", f"a/{name}", "b/plain.png")
    found = scan.scan(make_config(root))
    assert [s.path for s in found.items] == [f"a/{name}", "b/plain.png"]
    checked, _ = prepare.inspect(found, Terminal(quiet=True))
    assert [(c.path, c.reason) for c in checked] == [(f"a/{name}", None), ("b/plain.png", None)]
    answers = list(predictor.predict([root / "a" / name, root / "b" / "plain.png"]))
    assert [(str(a.path), a.error) for a in answers] == [(str(root / s.path), None) for s in found.items]
    assert answers[0].label in predictor.classes
    np.testing.assert_allclose(sum(answers[0].probs), 1, atol=1e-5)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:20])
def test_a_damaged_file_is_named_whatever_it_is_called(predictor, tmp_path, make_config, name):
    root = make_files(tmp_path / "d", "a/plain.png", "b/plain.png")
    (root / "a" / name).write_bytes(b"no image")
    checked, _ = prepare.inspect(scan.scan(make_config(root)), Terminal(quiet=True))
    assert [c.path for c in checked if c.reason] == [f"a/{name}"]
    [answer] = predictor.predict([root / "a" / name])
    assert str(answer.path) == str(root / "a" / name)
    assert answer.error


def test_a_name_without_a_suffix_is_passed_over_and_listed(tmp_path, make_config):
    root = make_files(tmp_path / "d", "a/1.png", "b/1.png")
    Image.new("RGB", (9, 9)).save(root / "a" / "photo", format="PNG")
    found = scan.scan(make_config(root))
    assert len(found.items) == 2
    assert found.ignored == ("a/photo",)
