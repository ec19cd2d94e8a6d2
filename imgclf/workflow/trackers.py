"""Experiment trackers: one small class each around the tool's own client, all below ``RUN/trackers/`` and off line.

The network is used only where the tool's own environment variable asks for it (``WANDB_MODE=online``,
``MLFLOW_TRACKING_URI``) and the configuration does not forbid it.
"""

import logging
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from imgclf.errors import UserError

Row = tuple[int, dict[str, float]]  # a step and the values logged for it
MLFLOW_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
MLFLOW_METRICS, MLFLOW_PARAMS, MLFLOW_CHARACTERS = 1000, 100, 500  # what a server takes in one request, in one value


@dataclass(frozen=True)
class Opening:
    """What a tracker begins with.

    Attributes:
        folder: Where all its files go.
        id: Of the tracker's run to go on with; None: make one.
        step: The last step it already has.
        params: The hyperparameters, by dotted key.
        network: Whether it may be used if the environment asks for it.
    """

    folder: Path
    run: str
    id: str | None
    step: int
    params: dict[str, Any]
    network: bool


class Tracker(Protocol):
    """One run in one tool; its methods may raise anything."""

    id: str

    def log(self, rows: list[Row]) -> object:
        """Keep values, steps rising; they are out of this process when it returns."""

    def finish(self, status: str, figures: dict[str, float], step: int) -> object:
        """Keep the final figures and close; ``status`` is that of the run's manifest."""


class TensorBoard:
    """Event files, written by torch's SummaryWriter. fastai's callback would trace the model and draw predictions."""

    def __init__(self, opening: Opening) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.id, self.params = opening.run, opening.params
        # Whatever a killed process wrote after the last step handed over is hidden by the readers.
        purge = opening.step + 1 if opening.id else None
        self.writer = SummaryWriter(str(opening.folder), purge_step=purge)

    def log(self, rows: list[Row]) -> None:
        for step, values in rows:
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def finish(self, status: str, figures: dict[str, float], step: int) -> None:
        plain = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in self.params.items()}
        self.writer.add_hparams(plain, figures, run_name=".", global_step=step)  # ".": in this run, not one below
        self.writer.close()


class WandB:
    """Weights & Biases: an offline run, for `wandb sync`, unless WANDB_MODE says otherwise."""

    def __init__(self, opening: Opening) -> None:
        for name in ("CACHE", "DATA", "CONFIG"):
            os.environ.setdefault(f"WANDB_{name}_DIR", str(opening.folder / name.lower()))
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        mode: Any = os.environ.get("WANDB_MODE", "offline") if opening.network else "offline"
        if mode == "online" and not wandb.login(prompt=False):
            raise UserError("Weights & Biases knows no key of yours", "run `wandb login` once, or unset WANDB_MODE")
        self.id = opening.id or uuid.uuid4().hex
        self.run = wandb.init(
            id=self.id, name=opening.run, project=os.environ.get("WANDB_PROJECT", "imgclf"), config=opening.params,
            dir=opening.folder.parent, mode=mode, resume="allow",
            settings=wandb.Settings(
                silent=True, console="off", save_code=False, x_disable_stats=True, init_timeout=30, finish_timeout=60
            ),
        )  # fmt: skip

    def log(self, rows: list[Row]) -> None:
        for step, values in rows:
            self.run.log(values, step=step)

    def finish(self, status: str, figures: dict[str, float], step: int) -> None:
        self.run.summary.update(figures)
        self.run.finish(exit_code=int(status != "finished"))


class MLflow:
    """MLflow: a database in the run folder, or the server or database MLFLOW_TRACKING_URI names."""

    def __init__(self, opening: Opening) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # 7 keep a run waiting for minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        import mlflow

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)  # not how it makes its tables
        folder = opening.folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        local = f"sqlite:///{(folder / 'mlflow.db').as_posix()}"
        asked = os.environ.get("MLFLOW_TRACKING_URI") if opening.network else None
        self.entities, self.client = mlflow.entities, mlflow.MlflowClient(tracking_uri=asked or local)
        if opening.id:
            self.id = opening.id
            self.client.update_run(self.id, status="RUNNING")
            return
        artifacts = None if asked else (folder / "artifacts").as_uri()
        self.id = self.client.create_run(self._experiment(artifacts), run_name=opening.run).info.run_id
        params = [self.entities.Param(k, str(v)[:MLFLOW_CHARACTERS]) for k, v in opening.params.items()]
        for i in range(0, len(params), MLFLOW_PARAMS):
            self.client.log_batch(self.id, params=params[i : i + MLFLOW_PARAMS])

    def _experiment(self, artifacts: str | None) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "imgclf")
        found = self.client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self.client.create_experiment(name, artifact_location=artifacts))

    def log(self, rows: list[Row]) -> None:
        now = int(time.time() * 1000)
        made = [self.entities.Metric(name, v, now, step) for step, values in rows for name, v in values.items()]
        for i in range(0, len(made), MLFLOW_METRICS):
            self.client.log_batch(self.id, metrics=made[i : i + MLFLOW_METRICS])

    def finish(self, status: str, figures: dict[str, float], step: int) -> None:
        self.log([(step, figures)])
        self.client.set_terminated(self.id, MLFLOW_STATUS[status])


# The extra of each has its name. What makes it, and the modules it needs.
TRACKERS: dict[str, tuple[Callable[[Opening], Tracker], tuple[str, ...]]] = {
    "tensorboard": (TensorBoard, ("tensorboard",)),
    "wandb": (WandB, ("wandb",)),
    "mlflow": (MLflow, ("mlflow",)),
}
