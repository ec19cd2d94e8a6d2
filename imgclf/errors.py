"""The mistakes a user can make, each with an exit code and a way out.

Code raises; only ``imgclf.cli.app`` reports. Anything that is not a ``UserError`` is a bug and keeps its traceback, but
for Ctrl-C, a disk that is full or refuses writing, and a name too long for a file.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

EXIT_DONE = 0
EXIT_BUG = 1
EXIT_USAGE = 2
EXIT_DATA = 3
EXIT_MODEL = 4
EXIT_EXPORT = 5
EXIT_GATE = 6
EXIT_INTERRUPTED = 130


class UserError(Exception):
    """A mistake the user can mend.

    Args:
        message: What happened, with the value seen.
        hint: How to mend it, a command where possible.
    """

    exit_code = EXIT_USAGE
    # Where several processes train one model: the one that tells this error for all.
    process: int | None = None

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message  # fastai adds words of its own to the arguments of what is raised in a callback


class ConfigError(UserError):
    """A configuration file, flag or ``--set`` that cannot be used."""


class DataError(UserError):
    """Images or labels that cannot be trained or judged on."""

    exit_code = EXIT_DATA


class ModelError(UserError):
    """Weights, a model file or a run folder that cannot be used."""

    exit_code = EXIT_MODEL


class RunError(UserError):
    """A run that cannot go on: no memory, a loss that is no number, a dead worker. Its folder stays whole."""

    exit_code = EXIT_MODEL


class ExportError(UserError):
    """An export that could not be made, or that gives other answers than the model."""

    exit_code = EXIT_EXPORT


class PackageError(UserError):
    """An optional package that is not installed: neither the data nor the model is at fault, whatever the command."""


class GateError(UserError):
    """A quality gate the model did not meet. Raised after the result, which stays the only thing on stdout."""

    exit_code = EXIT_GATE


class Interrupted(UserError):
    """The user stopped the run; what was reached has been saved."""

    exit_code = EXIT_INTERRUPTED


class ProcessLost(UserError):
    """Another process of a run on several devices ended without a word, or cannot be reached."""

    exit_code = EXIT_BUG


class ToldElsewhere(UserError):
    """The end of a process that leaves the telling to another process of the same run; nothing is reported.

    Args:
        exit_code: Done, or that of a failure.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__("another process of this run tells how it ended")
        self.exit_code = exit_code


def missing(what: str, package: str, extra: str) -> PackageError:
    """The error of ``what`` needing ``package``, which the extra ``extra`` of imgclf brings."""
    return PackageError(f"{what} needs the package {package}, which is not installed", f'pip install "imgclf[{extra}]"')


def first_line(error: object) -> str:
    """The first line of what an exception of another library says, at most 200 characters; its kind if it says none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:200]


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """``" Did you mean 'resnet34'?"`` for the closest option, or an empty string."""
    matches = get_close_matches(word, list(options), n=1, cutoff=0.5)
    return f" Did you mean '{matches[0]}'?" if matches else ""


@contextmanager
def told_as(explain: Callable[[Exception], UserError | None]) -> Iterator[None]:
    """Raise what ``explain`` makes of an exception within the block; what it gives None for, as it is."""
    try:
        yield
    except UserError:
        raise
    except Exception as e:
        found = explain(e)
        if found is None:
            raise
        raise found from e
