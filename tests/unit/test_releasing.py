"""What scripts/release_check says of a checkout."""

import json

import pytest

from scripts import releasing


@pytest.fixture
def checkout(tmp_path):
    """Version 1.2.3 of a day, wherever it stands."""
    (tmp_path / "imgclf").mkdir()
    (tmp_path / "imgclf/__init__.py").write_text('"""imgclf"""\n\n__version__ = "1.2.3"\n')
    (tmp_path / "CITATION.cff").write_text("cff-version: 1.2.0\nversion: 1.2.3\ndate-released: 2026-02-01\n")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [1.2.3] - 2026-02-01\n\n## [1.2.2] - 2026-01-01\n")
    return tmp_path


def test_one_version_of_one_day(checkout):
    assert releasing.version(checkout) == "1.2.3 of 2026-02-01"


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("imgclf/__init__.py", "1.2.3", "1.2.4"),
        ("CITATION.cff", "1.2.3", "1.2.2"),
        ("CITATION.cff", "2026-02-01", "2026-02-02"),
        ("CITATION.cff", "date-released", "released"),
        ("CHANGELOG.md", "## [1.2.3]", "## [Unreleased]\n\n## [1.2.3]"),
        ("CHANGELOG.md", " - 2026-02-01", ""),
        ("CHANGELOG.md", "## ", "### "),
    ],
)
def test_versions_that_differ(checkout, file, old, new):
    path = checkout / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(releasing.Wrong):
        releasing.version(checkout)


def test_a_command_that_fails_is_named_with_its_last_words(tmp_path):
    with pytest.raises(releasing.Wrong, match=r"sh -c .* ended with 3:\nlast words"):
        releasing.run("sh", "-c", "echo last words; exit 3", cwd=tmp_path)


def test_every_check_is_made_and_one_that_fails_decides_the_exit_code(monkeypatch, capsys):
    def fails():
        raise releasing.Wrong("no")

    def cannot():
        raise releasing.LeftOut("not here")

    made = {"version": fails, "audit": cannot, "tests": lambda: "3 passed"}
    monkeypatch.setattr(releasing, "checks", lambda _: made)
    assert releasing.main([]) == 1
    told = [line.split(maxsplit=1)[0] for line in capsys.readouterr().out.splitlines()]
    assert told == ["version", "audit", "tests"]
    assert releasing.main(["audit", "tests"]) == 0
    out = capsys.readouterr().out
    assert "left out" in out and "not here" in out and "3 passed" in out
    assert releasing.main(["--quick"]) == 1
    assert "tests" not in capsys.readouterr().out


def test_an_unknown_check_is_refused():
    with pytest.raises(SystemExit) as end:
        releasing.main(["sings"])
    assert end.value.code == 2


def test_an_audit_that_could_look_nothing_up_has_not_passed(monkeypatch):
    known = [{"name": "imgclf", "skip_reason": "distribution marked as editable"}, {"name": "pillow", "vulns": []}]
    missing = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited: torch"}
    monkeypatch.setattr(releasing.shutil, "which", lambda name: name)
    monkeypatch.setattr(releasing, "run", lambda *command: json.dumps({"dependencies": known}))
    assert releasing.audit() == "pip-audit knows of nothing in 1 packages"
    monkeypatch.setattr(releasing, "run", lambda *command: json.dumps({"dependencies": [*known, missing]}))
    with pytest.raises(releasing.LeftOut, match="1 of 2 packages, such as torch"):
        releasing.audit()
