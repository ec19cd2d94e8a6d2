"""Targets: run folders from elsewhere, and names with markup in what is written and shown."""

import io
import json
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from scripts.fuzzing.cases import Case, as_json
from scripts.fuzzing.files import either

INTERVAL = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 4}
CURVE = {"shape": "one_cycle", "pct_start": 0.3, "div": 5.0}
MANIFEST: dict[str, Any] = {
    "status": "finished", "pid": 1, "started": "2026-11-28T21:01:25.915+00:00", "data_root": ".",
    "command": "imgclf train",
    "finished": "2026-11-28T21:02:25.915+00:00", "versions": {"imgclf": "1.0.0"}, "layout": "folders",
    "arch": "resnet18", "weights": "none", "device": "cpu", "precision": "fp32", "precision_reason": "so",
    "decisions": ["one"], "resumed": [], "checks": {
        "bad": 1, "leaks": 0, "corrections": 1, "examples": {"bad": ["a.png", ["b", "c"]]}, "fixed": {"left_out": []}},
    "learning_rates": {"lr": {"value": 0.1, "reason": "asked", "suggestions": {"valley": 0.1}}},
    "plan": {"reason": "x", "phases": [
        {"name": "frozen", "epochs": 1, "freeze_to": -1, "lrs": [0.1], "curve": CURVE, "sizes": [], "steps": 3}]},
    "result": {
        "best": {"phase": "frozen", "epoch": 0, "metric": "error_rate", "error_rate": 0.1}, "n_train": 5, "n_valid": 4,
        "metrics": {"accuracy": INTERVAL}, "seconds": 3.5, "images_per_second": 2.0,
        "unfreezing": {"helped": True, "metric": "error_rate", "phase": "frozen", "frozen": 0.2, "best": 0.1}},
}  # fmt: skip
CLASS = {"n": 2, "precision": 0.5, "recall": 0.5, "f1": 0.5, "n_train": 3}
SHARED: dict[str, Any] = {
    "n": 4, "accuracy": INTERVAL, "error_rate": 0.5, "ece_before": 0.1, "ece_after": 0.1, "macro_f1": 0.5,
    "macro_f1_interval": INTERVAL, "warnings": ["few"], "classes": ["a", "b"],
    "top_losses": [{"path": "a/1.png", "label": "a", "pred": "b", "loss": 3.0, "prob": 0.1}],
    "unlike": {"n": 4, "flagged": 1, "share": INTERVAL, "expected": 0.01, "farthest": [{"path": "x", "distance": 2.0}]},
    "learning_curve": {"figure": "accuracy", "advice": "more", "per_class": [
        {"class": "a", "n": 2, "n_train": 3, "half": 0.5, "all": 0.6, "gain": 0.1, "low": 0.0, "high": 0.2}]},
    "baselines": {"majority": {"label": "a", "accuracy": INTERVAL}, "why": None, "probe": {
        "body": "resnet18", "n_train": 3, "n_train_of": 3, "features": 512, "seconds": 0.1,
        "logistic_regression": {"accuracy": INTERVAL}, "paired": {"sentence": "it is better"}}},
}  # fmt: skip
SINGLE = {
    **SHARED, "per_class": [{"class": "a", **CLASS}, {"class": "b", **CLASS}], "top5_accuracy": None,
    "majority_baseline": INTERVAL, "most_confused": [{"truth": "a", "predicted": "b", "n": 2}],
}  # fmt: skip
LABEL = {**CLASS, "ap": 0.5, "threshold": 0.5, "tp": 1, "fp": 1, "fn": 0, "tn": 2}
SEVERAL = {**SHARED, "mAP": 0.5, "micro_f1": 0.5, "accuracy_multi": 0.5, "per_class": [{"class": "a", **LABEL}]}
TABLES = {
    "history.csv": b"phase,epoch,train_loss,valid_loss,best\nfrozen,0,0.5,0.4,True\nunfrozen,0,nan,0.3,False\n",
    "split.csv": b"path,label,split,size,hash\na/1.png,a,train,3,00\nb/2.png,b,valid,,\n",
    "eval/predictions.csv": b"path,target,pred,prob\na/1.png,a,b,0.5\nb/2.png,b,b,0.9\n",
    "config.yaml": b"version: 1\nseed: 42\ndata: {path: x, valid_pct: 0.2}\na: &a [1]\nb: *a\n",
}
EVIL = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "=cmd|' /C x'!A0", "😀" * 9, "%s%n{0}", "\u2028",
    "\"'><svg/onload=x>", "\x1b[2J\x1b]0;x\x07", "[bold]x[/]",
    "[/]", "[link=http://x]y[/link]", "a|b`c`\n# d", "\u202etxt.exe", "\ud800", "\0", "../../x", "$HOME `id`",
    "&lt;b&gt;",     "javascript:x", "]]>", "-->", "\x9b31m", "\r\n", "a" * 3000, "{{7*7}}",
)  # fmt: skip
FORBIDDEN = set("\x1b\x07\x08\x9b\u202e")


def run_folder(case: Case) -> None:
    """A run folder whose files are not what they should be: listed, shown, reported and compared."""
    import matplotlib.font_manager  # noqa: F401 - writes its cache when it is imported first

    from imgclf import runs
    from imgclf.cli.run_view import rows
    from imgclf.console import table
    from imgclf.workflow import compare, listing, rates, report  # noqa: F401 - rates takes seconds, in a report

    folder = case.folder / "runs"
    _write_run(folder / "other", case, harmed=0)
    _write_run(folder / "hostile", case, harmed=case.random.choice((1, 1, 2)))
    terminal = _terminal()
    for row in listing.listed(folder, case.random.choice(list(listing.ORDERS))):
        terminal.show(table(None, list(row), [list(row.values())]))
    for name in ("hostile", "other"):
        with either():
            terminal.show(table(None, ["what", "value"], rows(listing.details(runs.Run(folder / name)))))
    with either():
        compare.compare([runs.Run(folder / "other"), runs.Run(folder / "hostile")])
    if case.random.random() < 0.95:  # it draws pictures, which takes most of the time
        return
    with either():
        report.write(runs.Run(folder / "hostile"), "cpu", False, terminal)
        _check_page((folder / "hostile" / runs.REPORT).read_text(encoding="utf-8"))


def _write_run(run: Path, case: Case, harmed: int) -> None:
    texts = {"manifest.json": MANIFEST, "eval/report.json": case.random.choice((SINGLE, SEVERAL))}
    bad = case.random.sample([*texts, *TABLES], harmed)
    (run / "eval").mkdir(parents=True)
    for name, tree in texts.items():
        text = as_json(case.changed(tree) if name in bad else tree).encode("utf-8", "surrogatepass")
        (run / name).write_bytes(case.damaged(text) if name in bad and case.random.random() < 0.2 else text)
    for name, data in TABLES.items():
        (run / name).write_bytes(case.damaged(data) if name in bad else data)


def markup(case: Case) -> None:
    """Class and file names that are markup, control characters or formulas, in report, card and terminal."""
    from imgclf.console import table
    from imgclf.results.report import write_report
    from imgclf.results.sections.content import Content
    from imgclf.shipping import card
    from imgclf.shipping.record import Record

    names = [_evil(case) for _ in range(3)]
    evaluation = _renamed(SINGLE, names, case)
    content = Content(
        title=names[0], facts=[("data", names[1])], evaluation=evaluation, command=names[2], warnings=[names[0]],
        checks=MANIFEST["checks"], history=[{"phase": names[1], names[2]: 1.0}], decisions=[names[0]],
        previous=names[1], changes={"data.path": [names[0], names[2]]}, plan=_renamed(MANIFEST["plan"], names, case),
    )  # fmt: skip
    _check_page(write_report(case.folder / "report.html", content).read_text(encoding="utf-8"))
    with either():
        tree = {**_record(), "classes": list(dict.fromkeys(names))}
        text = card.text(Record.from_json(json.dumps(tree)), evaluation, names[0])
        assert "<script" not in text and "<img" not in text and "<svg" not in text, "markup in the card"
    terminal = _terminal()
    terminal.show(table(names[0], names, [names]))
    for name in names:
        terminal.note(name)
        terminal.warn(name)
        terminal.result(None, name)
    said = terminal.err.file.getvalue() + terminal.out.file.getvalue()
    assert not set(said) & FORBIDDEN, "control characters in the terminal"


def _evil(case: Case) -> str:
    picked = "".join(case.random.sample(EVIL, case.random.randint(1, 3)))
    return (
        case.damaged(picked.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
        if case.random.random() < 0.3
        else picked
    )


def _renamed(tree: Any, names: list[str], case: Case) -> Any:
    """The tree with its texts replaced, but those that steer."""
    if isinstance(tree, dict):
        return {
            key: value if key in ("shape", "figure") else _renamed(value, names, case) for key, value in tree.items()
        }
    if isinstance(tree, list):
        return [_renamed(value, names, case) for value in tree]
    return case.random.choice(names) if isinstance(tree, str) else tree


class Page(HTMLParser):
    """Refuses what a report never has: scripts, foreign addresses, handlers, tags that are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "iframe", "object", "link", "svg", "a"), f"a tag <{tag}>"
        for name, value in attrs:
            assert not name.startswith("on"), f"a handler {name}"
            assert name != "src" or (value or "").startswith("data:image/"), f"an address {value}"
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


def _check_page(text: str) -> None:
    page = Page()
    page.feed(text)
    assert not page.open, f"tags left open: {page.open}"


def _terminal() -> Any:
    from imgclf.console import Terminal, _console

    out, err = _console(io.StringIO()), _console(io.StringIO())
    out.width = err.width = 200  # lines as long as for a pipe take ten times longer
    return Terminal(out=out, err=err)


@cache
def _record() -> dict[str, Any]:
    from scripts.fuzzing.files import _weights

    return _weights("single")[1]


TARGETS = (run_folder, markup)
