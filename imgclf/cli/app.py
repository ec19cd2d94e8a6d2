"""The `imgclf` command. The only place that reports errors; everything else raises."""

import contextlib
import errno
import gc
import io
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import typer

from imgclf import disk, ranks
from imgclf.cli import completion
from imgclf.console import Terminal
from imgclf.errors import EXIT_BUG, EXIT_DONE, EXIT_INTERRUPTED, GateError, ToldElsewhere, UserError

app = typer.Typer(
    name="imgclf",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a folder of photos to an image classifier you can trust: train it, judge it, ship it.",
    epilog="Start with [bold]imgclf train[/] (embedded digits) or [bold]imgclf train -d ~/photos[/].",
)


def _version(context: typer.Context, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:  # so a shell asks what to offer
        from imgclf import __version__

        typer.echo(f"imgclf {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def _register() -> None:
    """Import the command modules, each of which is light, and add them in the order of a project's life."""
    if app.registered_commands:
        return
    from imgclf.cli import (
        archs,
        bench,
        compare,
        config,
        data,
        doctor,
        evaluate,
        explain,
        export,
        importing,
        lrfind,
        predict,
        report,
        serve,
        train,
        verify,
    )
    from imgclf.cli import runs as runs_cli

    commands: dict[str, Callable[..., None]] = {
        "train": train.train_cli,
        "lrfind": lrfind.lrfind_cli,
        "evaluate": evaluate.evaluate_cli,
        "explain": explain.explain_cli,
        "report": report.report_cli,
        "compare": compare.compare_cli,
        "predict": predict.predict_cli,
        "serve": serve.serve_cli,
        "export": export.export_cli,
        "verify": verify.verify_cli,
        "import": importing.import_cli,
        "archs": archs.archs_cli,
        "doctor": doctor.doctor_cli,
        "bench": bench.bench_cli,
    }
    for name, function in commands.items():
        app.command(name)(function)
    app.add_typer(data.app, name="data")
    app.add_typer(config.app, name="config")
    app.add_typer(runs_cli.app, name="runs")


# The class behind typer's own exceptions. Typer brings its own copy of Click, so Click is not there to import from.
_UsageError: Any = typer.BadParameter.__mro__[1]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with the exit code of the contract."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name the terminal cannot show is no reason to stop
    sys.unraisablehook = _half_made
    if completion.wished():
        sys.exit(completion.answer(lambda: run(arguments)))
    code = run(arguments)
    with contextlib.suppress(ValueError):  # in a thread
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # one more Ctrl-C ends what is left to do, without a traceback
    gc.freeze()  # or Python looks for garbage among all that torch and fastai made, as it ends: that takes two seconds
    sys.exit(code)


def _half_made(args: Any) -> None:
    """Python's hook for what fails while it is torn down, but for what Ctrl-C left half made: that is no bug."""
    # torch's iterator, struck while it starts its processes, lacks what its own end looks at.
    loader = "DataLoaderIter.__del__" in getattr(args.object, "__qualname__", "")
    if not loader and not isinstance(args.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(args)


def run(arguments: list[str]) -> int:
    """Run the command line; returns the exit code."""
    debug = "--debug" in arguments
    terminal = Terminal(json_mode="--json" in arguments, quiet=not ranks.is_first())
    if not debug:
        warnings.simplefilter("ignore")  # of dependencies: none of them is the user's business
    try:
        _register()
        _check_alone(arguments)
        code = int(app(arguments, standalone_mode=False, prog_name="imgclf", obj=arguments) or EXIT_DONE)
        sys.stdout.flush()
        return code
    except UserError as error:
        return _told(error, terminal, debug)
    except _UsageError as error:
        path = error.ctx.command_path if error.ctx else "imgclf"
        if error.format_message():  # empty: no command was given, and the help has been shown
            terminal.error(UsageProblem(error.format_message(), f"{path} --help"))
        return UsageProblem.exit_code
    except (KeyboardInterrupt, typer.Abort):
        terminal.note("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as end:  # what Typer makes of a broken pipe
        if isinstance(end.__context__, BrokenPipeError):
            return _reader_gone()
        raise
    except Exception as error:
        if (told := _explained(error, terminal, debug)) is not None:
            return told
        if terminal.json_mode:
            detail = {"type": type(error).__name__, "message": str(error), "hint": None, "exit_code": EXIT_BUG}
            terminal.result({"error": detail})
        raise


def _explained(error: Exception, terminal: Terminal, debug: bool) -> int | None:
    """Report what is no bug though it is no ``UserError``: Ctrl-C, the disk, a name; returns the exit code, or None."""
    if "KeyboardInterrupt" in (str(error).splitlines() or [""])[-1]:  # some compiled code, pydantic's, wraps it
        terminal.note("interrupted")
        return EXIT_INTERRUPTED
    found: UserError | None = disk.explain(error) if isinstance(error, OSError) else None
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        said = f"a name longer than any file's: {str(error.filename)[:80]}…"
        found = UsageProblem(said, "put each of several names in quotes of its own")
    return _told(found, terminal, debug) if found else None


def _told(error: UserError, terminal: Terminal, debug: bool) -> int:
    """Report a user's mistake, unless another process of the same run does; returns the exit code."""
    # Until the processes of a run have met, all fail alike: one of each machine is enough.
    if isinstance(error, ToldElsewhere) or (error.process is None and ranks.local_rank() > 0):
        return error.exit_code
    if debug:
        traceback.print_exception(error)
    if isinstance(error, GateError):
        terminal = replace(terminal, json_mode=False)  # the result is on stdout already: one document, whole
    terminal.error(error)
    return error.exit_code


def _check_alone(arguments: list[str]) -> None:
    """Refuse to run anything but a training in several processes."""
    ranks.check()
    if ranks.world() > 1 and (arguments[:1] != ["train"] or "--dry-run" in arguments):
        raise UsageProblem(
            f"{ranks.world()} processes were started (WORLD_SIZE), and only a training runs in several",
            "start it without torchrun or accelerate launch",
        )


def _reader_gone() -> int:
    """The reader of stdout, such as `head`, has seen enough."""
    sys.stdout = sys.__stdout__ or sys.stdout  # Typer wraps it
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_DONE


class UsageProblem(UserError):
    """An option or argument the command does not have, or a value it cannot take."""
