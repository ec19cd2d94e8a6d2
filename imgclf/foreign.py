"""Code of the user's own, named in a configuration or a model file: run only where the user says so (``--trust``)."""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from imgclf.errors import ModelError

FORM = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"  # package.module:function


def check(path: str, trust: bool, what: str) -> None:
    """Refuse to go on with code that the user has not said is trusted.

    Args:
        path: ``package.module:function``.
        what: Who asks for it, for the message.

    Raises:
        ModelError: if it is not trusted, or no import path.
    """
    if not re.fullmatch(FORM, path):
        raise ModelError(f"{what}: '{path[:80]}' is no import path such as package.module:function")
    if not trust:
        raise ModelError(
            f"{what} needs code that is not part of imgclf: {path}; it is not run unasked",
            "if you know that code and trust it, add --trust",
        )


def call(path: str, *arguments: Any) -> Any:
    """Import a function and call it; modules of the working folder are found, as for ``python -m``.

    Only after ``check``.

    Raises:
        ModelError: if it cannot be imported, or fails.
    """
    module, name = path.split(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        function = getattr(importlib.import_module(module), name)
        return function(*arguments)
    except Exception as e:  # whatever that code raises
        raise ModelError(
            f"{path}{arguments} failed: {type(e).__name__}: {e}",
            f"it is looked for in {here} and among the installed packages; --debug shows the traceback",
        ) from e
    finally:
        sys.path.remove(here)
