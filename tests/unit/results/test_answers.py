"""The stored answer for every judged image."""

import numpy as np
import pytest

from imgclf.errors import ModelError
from imgclf.results import answers
from imgclf.results.evaluate import Predictions


def test_written_answers_are_read_back_by_path(tmp_path):
    logits = np.array([[4.0, 0.0], [0.0, 2.0]], dtype=np.float32)
    made = Predictions(("a, b/ü.jpg", 'c "d".png'), logits, np.array([0, 0]), ("cat", "dog"), 1.0)
    file = tmp_path / "predictions.csv"
    file.write_text(answers.to_csv(made), encoding="utf-8")
    found = answers.read_csv(file)
    assert list(found) == list(made.paths)
    first, second = found.values()
    assert (first.target, first.pred, first.right) == ("cat", "cat", True)
    assert (second.target, second.pred, second.right) == ("cat", "dog", False)
    assert first.prob == pytest.approx(1 / (1 + np.exp(-4.0)), abs=1e-6)


@pytest.mark.parametrize(
    "text", [None, "image,label\na,b\n", "path,target,pred,prob\na,b,c,high\n", "path,target,pred,prob\na,b\n"]
)
def test_a_file_that_holds_no_answers_is_refused(tmp_path, text):
    file = tmp_path / "predictions.csv"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="cannot read the predictions"):
        answers.read_csv(file)
