import io

from rich.console import Console

from imgclf.console import Terminal
from imgclf.training.display import Display


def row(epoch, best):
    return {
        "phase": "frozen",
        "epoch": epoch,
        "epochs": 2,
        "train_loss": 1.23456,
        "valid_loss": 0.5,
        "error_rate": 0.25,
        "best": best,
    }


def show(**console):
    stream = io.StringIO()
    terminal = Terminal(err=Console(file=stream, width=80, **console))
    with Display(terminal, ["train_loss", "valid_loss", "error_rate"], total_steps=4) as display:
        for epoch, best in ((1, True), (2, False)):
            for _ in range(2):
                display.training("frozen", epoch, 2, 1.2, 1e-3, 30.0)
            display.validating(1, 1)
            display.epoch(row(epoch, best))
    return stream.getvalue()


def test_elsewhere_than_on_a_terminal_each_epoch_is_a_plain_line():
    text = show(force_terminal=False)
    lines = text.splitlines()
    assert lines[0] == "frozen 1/2  train_loss 1.2346  valid_loss 0.5  error_rate 0.25  * best so far"
    assert lines[1] == "frozen 2/2  train_loss 1.2346  valid_loss 0.5  error_rate 0.25"
    assert "\x1b" not in text
    assert "\r" not in text


def test_a_terminal_gets_a_table_that_stays():
    text = show(force_terminal=True, legacy_windows=False)
    assert "\x1b[" in text
    final = text[text.rindex("phase") :]
    assert final.count("1.2346") == 2


def test_quiet_is_quiet():
    stream = io.StringIO()
    terminal = Terminal(quiet=True, err=Console(file=stream, force_terminal=True))
    with Display(terminal, ["train_loss"], total_steps=1) as display:
        display.training("frozen", 1, 1, 1.0, 1e-3, 1.0)
        display.epoch({**row(1, True), "epochs": 1})
    assert stream.getvalue() == ""
