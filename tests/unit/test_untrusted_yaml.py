"""YAML made to fill the memory, to never end, or to stumble over: refused at once."""

import pytest

from imgclf import config, runs
from imgclf.errors import ConfigError
from imgclf.untrusted_yaml import MOST_CHARACTERS, parse
from imgclf.workflow import listing

TENFOLD = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{now}: &{now} [{', '.join([f'*{before}'] * 10)}]\n" for before, now in zip("abcdefghi", "bcdefghij", strict=True)
)
HOSTILE = {
    "billions of values by aliases": (TENFOLD, "more than 100,000 values"),
    "a mapping of itself": ("data: &a {path: *a}\n", "inside of what it stands for"),
    "a list of itself": ("data: &a [*a]\n", "inside of what it stands for"),
    "a mapping that merges itself": ("data: &a\n  <<: *a\n", "inside of what it stands for"),
    "nested too deep": ("data: " + "[" * 2000 + "]" * 2000, "nested too deep"),
    "a number of too many digits": ("seed: " + "9" * 5000, "digits"),
    "no date": ("data: 9999-99-99", "not valid YAML"),
    "half a character": ('data: {path: "\\ud800"}', "surrogates"),
    "half a character in a key": ('"\\ud800": 1', "surrogates"),
    "too long": ("a: " + "x" * MOST_CHARACTERS, "more than the limit"),
    "an alias of nothing": ("a: *b", "undefined alias"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_yaml_is_refused_with_a_word(tmp_path, case):
    text, said = HOSTILE[case]
    file = tmp_path / runs.CONFIG
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        config.load(str(file))
    assert listing.configuration(runs.Run(tmp_path)) is None


def test_ordinary_aliases_are_read():
    assert parse("a: &x [1, 2]\nb: *x\nc: {<<: &y {d: 1}, e: *y}\n", "here", "safe") == {
        "a": [1, 2], "b": [1, 2], "c": {"d": 1, "e": {"d": 1}},
    }  # fmt: skip
