"""`imgclf runs list | show`"""

from pathlib import Path
from typing import Annotated, Any

import typer

from imgclf import runs
from imgclf.cli.options import DebugOption, JsonOption, QuietOption, RunsDirOption
from imgclf.console import Terminal, table

app = typer.Typer(no_args_is_help=True, help="The runs so far.")


@app.command("list")
def list_cli(
    runs_dir: RunsDirOption = Path("runs"),
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Every run with its main figures.

    Example: [bold]imgclf runs list[/]
    """
    terminal = Terminal(json, quiet)
    found = [_main_figures(run) for run in runs.all_runs(runs_dir)]
    columns = ["name", "status", "arch", "error_rate", "n_valid", "seconds"]
    terminal.result({"runs": found}, table(None, columns, [[row[c] for c in columns] for row in found]))
    if not found:
        terminal.note(f"no runs under {runs_dir}")


@app.command("show")
def show_cli(
    run: Annotated[str | None, typer.Argument(help="Run folder or name; default: the newest finished run.")] = None,
    runs_dir: RunsDirOption = Path("runs"),
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """What is known about one run, and the files in its folder.

    Example: [bold]imgclf runs show my-run[/]
    """
    found = runs.find(run, runs_dir)
    data = {**found.manifest(), "run_dir": str(found.path), "files": _files(found.path)}
    Terminal(json, quiet).result(data, table(None, ["what", "value"], [[k, _text(v)] for k, v in data.items()]))


def _main_figures(run: runs.Run) -> dict[str, Any]:
    status = runs.status(run)
    manifest = {} if status == "damaged" else run.manifest()
    result = manifest.get("result", {})
    return {
        "name": run.name,
        "status": status,
        "arch": manifest.get("arch"),
        "error_rate": result.get("best", {}).get("error_rate"),
        "n_valid": result.get("n_valid"),
        "seconds": result.get("seconds"),
    }


def _files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{k}: {_text(v)}" for k, v in value.items())
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)
