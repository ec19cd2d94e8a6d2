import json
import math

import pytest

from imgclf.errors import ModelError
from imgclf.shipping.record import Record


def test_round_trip(make_record):
    record = make_record()
    assert Record.from_json(record.to_json()) == record
    assert json.loads(record.to_json())["classes"] == list(record.classes)


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": ()},
        {"classes": ("a", "a")},
        {"classes": ("a", "")},
        {"classes": ("a", 1)},
        {"temperature": 0},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"temperature": True},
        {"temperature": "1"},
        {"head": {}},
        {"metrics": []},
        {"schema": "1"},
        {"schema": 0},
    ],
    ids=str,
)
def test_a_wrong_value_cannot_be_recorded(make_record, changes):
    with pytest.raises(ModelError):
        make_record(**changes)


@pytest.mark.parametrize(
    "metrics", [{"loss": math.nan}, {"loss": math.inf}, {"loss": object()}], ids=["nan", "inf", "object"]
)
def test_what_json_has_no_word_for_cannot_be_written(make_record, metrics):
    with pytest.raises(ModelError, match="JSON"):
        make_record(metrics=metrics).to_json()


def test_a_name_that_is_not_unicode_cannot_be_written(make_record):
    with pytest.raises(ModelError, match="surrogates"):
        make_record(classes=("a\udcff", "b", "c")).to_json()


def edited(record, **changes):
    return json.dumps({**json.loads(record.to_json()), **changes})


@pytest.mark.parametrize(
    "change",
    [
        {"classes": "abc"},
        {"classes": None},
        {"unknown": 1},
        {"arch": 3},
        {"preprocess": None},
        {"preprocess": {"size": 64}},
        {"temperature": float("inf")},
        {"metrics": {"loss": float("nan")}},
    ],
    ids=str,
)
def test_a_wrong_file_is_refused(make_record, change):
    with pytest.raises(ModelError):
        Record.from_json(edited(make_record(), **change))


@pytest.mark.parametrize(
    "change",
    [
        {"size": 0},
        {"size": 10**9},
        {"size": "64"},
        {"size": 64.0},
        {"resize": "stretch"},
        {"resize": ["crop"]},
        {"interpolation": "bicubic"},
        {"mean": [0, 0]},
        {"mean": "000"},
        {"mean": ["a", "b", "c"]},
        {"std": [0, 1, 1]},
        {"std": [1, 1, 1e400]},
        {"crop_pct": 0},
        {"crop_pct": 1.1},
        {"crop_pct": "0.9"},
        {"crop_pct": True},
        {"crop_pct": None},
        {"crop_pct": 0.9, "resize": "pad"},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_wrong_preprocessing_is_refused(make_record, change):
    record = make_record()
    with pytest.raises(ModelError):
        Record.from_json(edited(record, preprocess={**record.preprocess.to_dict(), **change}))


def test_a_newer_schema_says_to_upgrade(make_record):
    with pytest.raises(ModelError, match="schema 2") as caught:
        Record.from_json(edited(make_record(), schema=2, something_new=True))
    assert "--upgrade imgclf" in caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "[" * 100_000, '{"schema": 1}', "1" * 5000])
def test_what_is_no_record_is_refused(text):
    with pytest.raises(ModelError):
        Record.from_json(text)
