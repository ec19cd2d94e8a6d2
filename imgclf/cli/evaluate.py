"""`imgclf evaluate`"""

from pathlib import Path
from typing import Annotated

import typer

from imgclf.cli import completion
from imgclf.cli.options import BatchSizeOption, DeviceOption, PrecisionOption, RunsDirOption, TrustOption, command
from imgclf.console import Terminal

TopKOption = Annotated[
    int | None, typer.Option("--top-k", "-k", min=1, help="Also: is the class among the k most probable?")
]
FailUnderOption = Annotated[
    float | None, typer.Option("--fail-under", metavar="ACCURACY", help="Exit code 6 if it is less, such as 0.92.")
]
OnOption = Annotated[
    str | None,
    typer.Option(
        "--on",
        help="What --fail-under looks at: value, or low, the interval's lower end. [default: value]",
        autocompletion=completion.words("value", "low"),
    ),
]
CrossFitOption = Annotated[
    bool, typer.Option("--cross-fit", help="Also: temperature and thresholds fitted on one half, judged on the other.")
]
AbstainOption = Annotated[
    float | None,
    typer.Option("--abstain", metavar="RATE", help="Also: how many images are answered at that rate of wrong ones?"),
]


@command
def evaluate_cli(
    terminal: Terminal,
    model: Annotated[
        str | None,
        typer.Argument(
            help="Run, bundle folder or exported file; default: the newest run.", autocompletion=completion.run_names
        ),
    ] = None,
    data: Annotated[str | None, typer.Option("--data", "-d", help="Other labelled images.")] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="train, valid or test, of the run's own data. [default: valid]",
            autocompletion=completion.words("train", "valid", "test"),
        ),
    ] = None,
    top_k: TopKOption = None,
    fail_under: FailUnderOption = None,
    on: OnOption = None,
    cross_fit: CrossFitOption = False,
    abstain: AbstainOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    batch_size: BatchSizeOption = 64,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    trust: TrustOption = False,
) -> None:
    """Judge a model: accuracy with its interval, per class, confusion, calibration, worst images.

    Example: [bold]imgclf evaluate my-run --data ~/other-photos[/]
    """
    from imgclf.results import abstention, gate
    from imgclf.results.evaluate import Evaluation
    from imgclf.results.tables import evaluation_tables
    from imgclf.workflow.asked import Asked
    from imgclf.workflow.evaluate import evaluate, report_data

    gate.check_options(fail_under, on)
    found = evaluate(
        model,
        data=data,
        part=split,
        runs_dir=runs_dir,
        device=device,
        precision=precision,
        batch_size=batch_size,
        terminal=terminal,
        trust=trust,
        asked=Asked(top_k, cross_fit, abstain),
    )
    asked = None if fail_under is None else gate.gate(found.accuracy, fail_under, on or "value")
    more = {} if asked is None else {"gate": asked.to_dict()}
    terminal.result({**report_data(found), **more}, evaluation_tables(found))
    if asked is not None:
        gate.enforce(asked, found.accuracy)
    if isinstance(found, Evaluation) and found.abstention is not None:
        abstention.enforce(found.abstention)
