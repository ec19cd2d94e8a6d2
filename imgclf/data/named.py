"""Data sets by fastai's names, ``fastai:PETS``: used where fastai has put them, else downloaded to there."""

import contextlib
import io
import tarfile
import zipfile
from http.client import HTTPException
from pathlib import Path

from imgclf.config import NAMED_DATA as PREFIX
from imgclf.console import Terminal
from imgclf.data import network
from imgclf.errors import ConfigError, DataError, did_you_mean
from imgclf.schema import Config

ARCHIVES = (".tgz", ".tar.gz", ".zip")
IMAGES = {"PETS": "images"}  # its other folder holds outlines of the animals, as images too


def is_named(path: str) -> bool:
    return path.startswith(PREFIX)


def place(path: str) -> Path:
    """Where ``fastai:NAME`` or ``fastai:NAME/FOLDER`` is, or would be: below fastai's own data folder.

    Raises:
        ConfigError: for a name that is not in fastai's ``URLs``.
    """
    name, url, folder = _parse(path)
    return _unpacked(url) / (folder or IMAGES.get(name, ""))


def fetch(cfg: Config, path: str, terminal: Terminal) -> None:
    """Download and unpack a named data set, unless fastai has it already.

    Raises:
        DataError: without a network, or if the download fails; it names the URL and the folder.
    """
    from fastai.data.external import untar_data

    name, url, _ = _parse(path)
    target = _unpacked(url)
    if target.exists():
        return
    problem = "the configuration says offline" if network.forbidden(cfg) else None
    if problem is None:
        terminal.note(f"data: downloading {url} to {target}")
        try:
            # fastai draws its progress on standard output, which belongs to the result.
            with network.short_timeout(), contextlib.redirect_stdout(io.StringIO()):
                untar_data(url)
        except (OSError, HTTPException, tarfile.TarError, zipfile.BadZipFile) as e:  # URLError, time-outs: OSErrors
            problem = str(getattr(e, "reason", e)) or type(e).__name__
        except Exception as e:
            if "corrupt" not in str(e):  # the words of fastdownload's plain Exception
                raise
            problem = str(e)
    if problem is not None:
        raise DataError(
            f"the data set {name} is not here\n  looked for: {target}\n  from: {url}\n  not downloaded: {problem}",
            f"fetch the file elsewhere and unpack it to {target}, or give a folder of your own: --data PATH",
        )


def _parse(path: str) -> tuple[str, str, str]:
    """Name, URL, and the folder inside, of ``fastai:NAME/FOLDER``."""
    name, _, folder = path[len(PREFIX) :].partition("/")
    known = _urls()
    if name not in known:
        raise ConfigError(
            f"data.path: fastai has no data set '{name}'.{did_you_mean(name, known)}",
            f"one of {', '.join(sorted(known))}",
        )
    return name, known[name], folder


def _urls() -> dict[str, str]:
    from fastai.data.external import URLs

    found = {name: url for name, url in vars(URLs).items() if isinstance(url, str) and url.endswith(ARCHIVES)}
    return {name: url for name, url in found.items() if not url.startswith(URLs.S3_MODEL)}


def _unpacked(url: str) -> Path:
    """As fastdownload names it: the archive without its endings, in fastai's data folder."""
    from fastai.data.external import fastai_path

    return Path(fastai_path("data")) / Path(url).stem.removesuffix(".tar")
