"""Where the images are, and the promise that nothing is written there."""

from pathlib import Path

from imgclf.data import digits
from imgclf.errors import UserError
from imgclf.schema import Config


def location(cfg: Config) -> Path | None:
    """The configured file or folder; None: the embedded digits."""
    path = cfg.data.path
    return None if path == digits.NAME else Path(path)


def keep_out(cfg: Config, target: Path, option: str) -> None:
    """Refuse to write ``target`` into the data folder, where its pictures would be taken for data next time.

    Args:
        option: Names another place on the command line.

    Raises:
        UserError: if it lies inside.
    """
    data = location(cfg)
    if data is not None and data.is_dir() and target.resolve().is_relative_to(data.resolve()):
        raise UserError(
            f"{target} is inside the data folder {data}, and imgclf never writes there",
            f"name another place: {option} {data.resolve().parent / target.name}",
        )
