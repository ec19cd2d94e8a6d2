"""Where the images are, and the promise that nothing is written there."""

import os
from pathlib import Path

from imgclf.console import Terminal
from imgclf.data import digits, named
from imgclf.errors import DataError, UserError
from imgclf.schema import Config


def location(cfg: Config, fetch: Terminal | None = None, needed: bool = False) -> Path | None:
    """The configured file or folder; None: the embedded digits.

    Args:
        fetch: Download a data set named ``fastai:`` that is not there yet, and say so here; None: only name the place.
        needed: Refuse a path at which there is nothing, but for one of ``fastai:`` that may yet be downloaded.

    Raises:
        ConfigError, DataError: if it cannot be fetched; for ``fastai:`` and a name that fastai does not know.
    """
    path = cfg.data.path
    if path == digits.NAME:
        return None
    if not named.is_named(path):
        found = Path(path)
    else:
        if fetch is not None:
            named.fetch(cfg, path, fetch)
        found, needed = named.place(path), needed and fetch is not None
    if needed and not os.path.exists(found):  # noqa: PTH110 - pathlib's raises where the folder above cannot be entered
        raise DataError(f"no such file or folder: {found}", "give the folder with the images: --data PATH")
    return found


def keep_out(cfg: Config, target: Path, option: str) -> None:
    """Refuse to write ``target`` into the data folder, where its pictures would be taken for data next time.

    Args:
        option: Names another place on the command line.

    Raises:
        UserError: if it lies inside.
    """
    data = location(cfg)
    if data is not None:
        keep_outside(data, target, option)


def keep_outside(data: Path, target: Path, option: str) -> None:
    """Refuse to write ``target`` into a folder of images, as ``keep_out`` does."""
    if data.is_dir() and target.resolve().is_relative_to(data.resolve()):
        raise UserError(
            f"{target} is inside the data folder {data}, and imgclf never writes there",
            f"name another place: {option} {data.resolve().parent / target.name}",
        )
