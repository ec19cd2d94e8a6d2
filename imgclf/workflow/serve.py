"""Serve a model over HTTP until told to stop."""

import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgclf import __version__
from imgclf.console import Terminal
from imgclf.errors import UserError, missing
from imgclf.shipping import inference
from imgclf.shipping.inference import Predictor
from imgclf.workflow.evaluate import locate

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from imgclf.shipping.server.limits import Limits

INTERNAL = ("unlike",)  # the statistics by which unlike images are found are no figures


def serve(
    model: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    runs_dir: Path = Path("runs"),
    device: str = "auto",
    precision: str = "fp32",
    trust: bool = False,
    abstain: float | None = None,
    max_mb: float = 20,
    workers: int | None = None,
    batch_size: int = 32,
    allow_hosts: Sequence[str] = (),
    terminal: Terminal | None = None,
    ready: Callable[[str, dict[str, Any]], None] | None = None,
) -> None:
    """Answer requests until SIGTERM, which ends it, or SIGINT, which ends it and raises ``KeyboardInterrupt``.

    Args:
        port: 0: a free one.
        precision: As ``imgclf.load`` takes it.
        abstain: The highest rate of wrong answers; less sure ones are ``unknown``; None: all are given.
        max_mb: The largest body of a request.
        workers: Threads that decode images; None: one for each core, at most 8.
        allow_hosts: Names by which clients may ask for the server, beside ``host`` and those of this machine.
        ready: Gets the address and what ``/model`` says, once the server answers.

    Raises:
        UserError: for an address that cannot be used, or without the packages.
        ModelError: as ``imgclf.load`` raises it.
    """
    terminal = terminal or Terminal(quiet=True)
    _check_packages()
    from imgclf.shipping.server.limits import Limits
    from imgclf.shipping.server.running import BACKLOG, Announced

    limits = Limits(body_bytes=int(max_mb * 2**20))
    with listen(host, port, BACKLOG) as listening:  # before the model: a taken port is told at once
        path = locate(model, runs_dir)
        predictor = inference.load(path, device, trust, precision)
        rate, least = (None, None) if abstain is None else predictor.least_prob(abstain)
        facts = describe(predictor, path, limits, {"abstain": rate, "least_prob": least})
        app = application(predictor, facts, limits, least, workers, batch_size, (host, *allow_hosts))
        url = address(listening)
        if not _is_loopback(listening):
            terminal.warn(
                f"{host}: other machines can reach this server; it asks for no password and encrypts nothing "
                "(docs/serving.md: behind a reverse proxy)"
            )
        Announced(app, limits, lambda: ready(url, facts) if ready else None).run_until_stopped(listening)


def application(
    predictor: Predictor,
    facts: dict[str, Any],
    limits: "Limits",
    least: float | None = None,
    workers: int | None = None,
    batch_size: int = 32,
    hosts: Sequence[str] = (),
) -> "Starlette":
    """The application, as ASGI servers run it."""
    from imgclf.shipping.server.app import build
    from imgclf.shipping.server.service import Service

    return build(Service(predictor, least, limits, batch_size, workers), facts, hosts)


def describe(predictor: Predictor, path: Path, limits: "Limits", answers: dict[str, Any]) -> dict[str, Any]:
    """What ``/model`` says: nothing of this machine, its paths or its users."""
    return {
        "model": predictor.name,
        "format": predictor.format,
        "task": predictor.task,
        "classes": list(predictor.classes),
        "preprocess": predictor.preprocess.to_dict(),
        "thresholds": None if predictor.thresholds is None else list(predictor.thresholds),
        "metrics": metrics(path, predictor),
        "heatmaps": predictor.network is not None,
        "imgclf_version": __version__,
        "limits": {"body_bytes": limits.body_bytes, "files": limits.files, "pixels": limits.pixels},
        **answers,
    }


def metrics(path: Path, predictor: Predictor) -> dict[str, Any]:
    """The figures in a bundle's record; empty for an exported graph, which carries none."""
    if predictor.network is None:
        return {}
    from imgclf.shipping import bundle

    return {key: value for key, value in bundle.read(path)[1].metrics.items() if key not in INTERNAL}


def listen(host: str, port: int, backlog: int = 128) -> socket.socket:
    """A socket that listens.

    Raises:
        UserError: for an address that is taken, forbidden or not this machine's.
    """
    try:
        wanted = {"type": socket.SOCK_STREAM, "proto": socket.IPPROTO_TCP, "flags": socket.AI_PASSIVE}
        *kind, _, where = socket.getaddrinfo(host, port, **wanted)[0]
        return _listening(socket.socket(*kind), where, backlog)
    except PermissionError as e:
        raise UserError(f"--port {port}: only an administrator may use ports below 1024", "--port 8000") from e
    except (socket.gaierror, UnicodeError) as e:
        raise UserError(f"--host {host}: no address of this machine is called so", "--host 127.0.0.1") from e
    except OSError as e:
        taken = f"--port {port} is taken: another program listens there"
        what = taken if "in use" in str(e).lower() else f"--host {host}: {e.strerror}"
        raise UserError(what, "--port 0 takes a free one" if what == taken else "--host 127.0.0.1") from e


def _listening(made: socket.socket, where: Any, backlog: int) -> socket.socket:
    """Not ``socket.create_server``: its sockets do not say that they are TCP, and asyncio then leaves out TCP_NODELAY,
    which costs 40 ms an answer.
    """
    try:
        if os.name == "posix":  # elsewhere the option lets two programs share a port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(where)
        made.listen(backlog)
    except BaseException:
        made.close()
        raise
    return made


def address(listening: socket.socket) -> str:
    """``http://127.0.0.1:8000``."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_loopback(listening: socket.socket) -> bool:
    host = str(listening.getsockname()[0])
    return host.startswith("127.") or host == "::1"


def _check_packages() -> None:
    for name in ("starlette", "uvicorn", "python_multipart"):
        try:
            __import__(name)
        except ImportError as e:
            raise missing("serving", name, "serve") from e
