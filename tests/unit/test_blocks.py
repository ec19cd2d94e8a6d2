"""Every command block of the documents is tested or says why not; tests/integration/test_documents.py runs them."""

import documents
import pytest

BLOCKS = [block for page in documents.PAGES for block in documents.blocks(page)]


def test_every_line_is_run_or_its_block_says_why_not():
    left = [
        f"{block}: {command}"
        for block in BLOCKS
        if block.language != "python" and block.excuse is None
        for command in block.commands
        if documents.kind(command) is None
    ]
    assert left == []


def test_excuses_are_reasons_and_few():
    excused = {str(block): block.excuse for block in BLOCKS if block.excuse is not None}
    assert [where for where, reason in excused.items() if len(reason.split()) < 2] == []
    assert len(excused) < len(BLOCKS) / 5, excused


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("imgclf train -d ~/photos", "imgclf"),
        ("imgclf predict mine ~/photos --format csv > answers.csv", "imgclf"),
        ("find ~/photos -name '*.jpg' | imgclf predict mine -", "shell"),
        ("pip install 'imgclf[timm]'", "pip"),
        ("python scripts/bench_data.py", "script"),
        ("rm -r ~/.cache/imgclf/images", "shell"),
        ("sudo rm -r /", None),
        ("cat list | sudo tee file", None),
        ("python -m imgclf", None),
    ],
)
def test_kinds(command, kind):
    assert documents.kind(command) == kind


def test_a_block_knows_its_place_its_lines_and_its_excuse(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    page = tmp_path / "docs" / "deep" / "page.md"
    page.parent.mkdir(parents=True)
    page.write_text(
        "# Page\n\n<!-- not run: needs a printer -->\n```bash\nlpr\n```\n\n<!-- seen -->\n```bash\n"
        "# a remark\nimgclf train \\\n  -d photos\n\nimgclf archs\n```\n\n```yaml\na: 1\n```\n```python\n1\n```\n"
    )
    printer, commands, python = documents.blocks(page)
    assert (str(printer), printer.excuse) == ("deep/page.md:5", "needs a printer")
    assert commands.commands == ["imgclf train    -d photos", "imgclf archs"]
    assert (commands.excuse, python.language) == (None, "python")


def test_quotes_stay_and_pipes_part():
    assert documents.stages("imgclf train --set 'a=[1, 2]' | head > file  # words") == [
        ["imgclf", "train", "--set", "'a=[1, 2]'"],
        ["head", ">", "file"],
    ]
