"""What `imgclf doctor` tries."""

import re

import pytest
from support import ROOT

from imgclf.workflow import doctor


def test_each_way_of_a_processor_is_tried_and_agrees():
    rows = doctor.steps(["cpu"])
    ways = [(row["device"], row["precision"], row["channels_last"]) for row in rows]
    assert ways == [("cpu", p, last) for p in ("fp32", "bf16") for last in (False, True)]
    assert [row["ms"] > 0 for row in rows] == [True] * 4
    assert rows[0]["difference"] == 0
    assert rows[1]["difference"] < 1e-3
    assert all(0 < row["difference"] < 0.2 for row in rows[2:])


def test_what_does_not_work_is_said(monkeypatch):
    def fails(device, precision, channels_last):
        if precision == "bf16":
            raise RuntimeError("no bf16 here\nand a long story")
        return 0.002, pytest.importorskip("torch").ones(3)

    monkeypatch.setattr(doctor, "_step", fails)
    rows = doctor.steps(["cpu"])
    assert rows[0] == {"device": "cpu", "precision": "fp32", "channels_last": False, "ms": 2.0, "difference": 0.0}
    assert [row.get("error") for row in rows] == [None, None, "no bf16 here", "no bf16 here"]
    assert rows[2]["ms"] is None


def test_the_extras_are_those_of_the_package():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    packages = {
        name: [re.match(r"[\w-]+", need).group() for need in needs if not need.startswith("imgclf[")]
        for name, needs in extras.items()
        if name not in ("test", "docs", "dev")
    }
    own = {name: tuple(package.replace("-", "_") for package in found) for name, found in packages.items()}
    assert own == doctor.EXTRAS


def test_a_missing_extra_names_the_module():
    assert doctor._installed(("json",)) == "yes"
    assert doctor._installed(("json", "no_such_module")) == "no (no_such_module missing)"
