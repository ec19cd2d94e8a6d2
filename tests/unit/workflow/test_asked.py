"""Questions a model cannot be asked are refused before any image is looked at."""

from pathlib import Path

import numpy as np
import pytest

from imgclf.data.images import Preprocess
from imgclf.errors import ModelError, UserError
from imgclf.shipping.inference import Predictor
from imgclf.workflow.asked import Asked


def model(**changes) -> Predictor:
    def forward(images):
        raise AssertionError("no image is to be looked at")

    return Predictor("m", ("a", "b", "c"), Preprocess(size=8), "bundle", 1.0, forward, **changes)


SEVERAL = {"task": "multi", "thresholds": (0.5, 0.5, 0.5)}


@pytest.mark.parametrize(
    ("asked", "changes", "here", "kind", "said"),
    [
        (Asked(top_k=2), SEVERAL, True, UserError, "no single class is the right one"),
        (Asked(top_k=3), {}, True, UserError, "from 1 to 2"),
        (Asked(abstain=0.1), SEVERAL, True, UserError, "each label has a threshold of its own"),
        (Asked(abstain=0.1), {}, False, ModelError, "its record has none"),
        (Asked(abstain=0.1), {"abstention": ((0.2, 0.5),)}, False, ModelError, "vouch for 0.2"),
    ],
)
def test_what_a_model_cannot_be_asked(asked, changes, here, kind, said):
    with pytest.raises(kind, match=said):
        asked.check_model(model(**changes), here)


def test_what_it_can_be_asked():
    Asked(top_k=2, abstain=0.2).check_model(model(abstention=((0.2, 0.5),)), False)
    Asked(abstain=0.1).check_model(model(), True)  # chosen there
    Asked(cross_fit=True).check_model(model(**SEVERAL), True)


def test_answers_without_an_image_stay_as_they_are(tmp_path):
    (tmp_path / "x.jpg").write_text("no image")
    [answer] = model(abstention=((0.2, 0.5),)).predict([tmp_path / "x.jpg"], abstain=0.2)
    assert set(answer.to_row(("a", "b", "c"))) == {"path", "error"}


@pytest.mark.parametrize(("logit", "label"), [(0.1, "unknown"), (3.0, "a")])
def test_python_may_abstain_too(tmp_path, pictures, logit, label):
    pictures.files(tmp_path, "x.png", size=(8, 8))
    sure = Predictor(
        "m", ("a", "b"), Preprocess(size=8), "bundle", 1.0,
        lambda images: np.array([[logit, 0]] * len(images), np.float32), abstention=((0.2, 0.9),),
    )  # fmt: skip
    [answer] = sure.predict([Path(tmp_path / "x.png")], abstain=0.25)
    assert (answer.label, answer.abstained) == (label, label == "unknown")
    assert answer.prob == pytest.approx(1 / (1 + np.exp(-logit)))
