"""Every mistake has its exit code and names the closest valid word."""

from types import SimpleNamespace

import pytest

from imgclf import errors
from imgclf.cli import app

TABLE = {
    errors.UserError: 2,
    errors.ConfigError: 2,
    errors.PackageError: 2,
    errors.DataError: 3,
    errors.ModelError: 4,
    errors.RunError: 4,
    errors.ExportError: 5,
    errors.GateError: 6,
    errors.ProcessLost: 1,
    errors.Interrupted: 130,
}
OF_ANY_CODE = {errors.ToldElsewhere}  # another process tells the user, with the code it is given


@pytest.mark.parametrize(("kind", "code"), TABLE.items())
def test_exit_codes_are_those_of_the_contract(kind, code):
    assert kind("what").exit_code == code


def test_every_kind_of_error_has_its_code_in_the_table():
    kinds = {k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.UserError)}
    assert kinds == set(TABLE) | OF_ANY_CODE
    assert errors.ToldElsewhere(3).exit_code == 3


def test_what_a_mistake_says_is_its_message_whatever_fastai_adds():
    error = errors.DataError("no images", "add some")
    error.args = ("Exception occured in `Watch` when calling event `after_batch`",)
    assert str(error) == "no images"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("\n  it failed\nat line 3"), "it failed"),
        (AssertionError(), "AssertionError"),  # as torch's exporters raise them
        (ValueError("x" * 300), "x" * 200),
    ],
)
def test_the_first_line_of_what_others_say(error, line):
    assert errors.first_line(error) == line


def test_a_missing_package_is_one_kind_of_error_that_names_the_extra():
    error = errors.missing("an ONNX file", "onnxruntime", "onnx")
    assert (type(error), error.hint) == (errors.PackageError, 'pip install "imgclf[onnx]"')
    assert error.message == "an ONNX file needs the package onnxruntime, which is not installed"


def test_codes_of_success_and_of_a_bug():
    assert (errors.EXIT_DONE, errors.EXIT_BUG) == (0, 1)


def test_message_and_hint_are_kept_and_the_message_is_the_text():
    error = errors.DataError("what happened", "how to mend it")
    assert (error.message, error.hint, str(error)) == ("what happened", "how to mend it", "what happened")
    assert errors.DataError("x").hint is None


@pytest.mark.parametrize(
    ("typo", "meant"), [("resnt34", "resnet34"), ("resnet43", "resnet34"), ("Resnet18", "resnet18")]
)
def test_a_typo_finds_the_closest_word(typo, meant):
    assert errors.did_you_mean(typo, ["resnet18", "resnet34", "resnet50"]) == f" Did you mean '{meant}'?"


def test_a_word_like_none_of_them_suggests_nothing():
    assert errors.did_you_mean("banana", ["resnet18"]) == ""
    assert errors.did_you_mean("x", []) == ""


def test_what_ctrl_c_left_half_made_is_torn_down_in_silence(monkeypatch):
    told = []
    monkeypatch.setattr("sys.__unraisablehook__", told.append)

    def lost():
        pass

    lost.__qualname__ = "_MultiProcessingDataLoaderIter.__del__"
    bug = SimpleNamespace(exc_value=ValueError("real"), object=None)
    for given in (SimpleNamespace(exc_value=AttributeError("no _workers_status"), object=lost),
                  SimpleNamespace(exc_value=KeyboardInterrupt(), object=None), bug):  # fmt: skip
        app._half_made(given)
    assert told == [bug]
