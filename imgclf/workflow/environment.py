"""What a run was made with: recorded in its manifest."""

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from imgclf import __version__

PACKAGES = ("fastai", "torch", "torchvision", "numpy", "pillow", "timm", "onnxruntime")


def facts() -> dict[str, Any]:
    """Versions, platform and the working folder's git commit."""
    return {
        "versions": {"imgclf": __version__, "python": platform.python_version(), **versions()},
        "platform": platform.platform(),
        "git": git_commit(),
    }


def versions() -> dict[str, str]:
    """Installed versions of the packages that decide a result; nothing is imported."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """The commit of the working folder with ``+`` when files differ from it; None outside a repository."""
    try:
        commit = _git("rev-parse", "HEAD")
        return f"{commit}+" if _git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=5, check=True)
    return done.stdout.strip()


def command_line() -> str:
    """The command that was typed, as it can be typed again."""
    import shlex

    return shlex.join(["imgclf", *sys.argv[1:]])
