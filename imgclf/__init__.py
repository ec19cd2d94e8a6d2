"""imgclf: train, evaluate and ship image classifiers from the command line, over fastai.

The public functions are resolved on first use, so that ``import imgclf`` costs nothing:

>>> import imgclf
>>> model = imgclf.load("runs/my-run")           # doctest: +SKIP
>>> next(model.predict(["photo.jpg"])).label      # doctest: +SKIP
'Abyssinian'
"""

from importlib import import_module
from typing import Any

__version__ = "1.0.0"

_PUBLIC = {
    "train": "imgclf.workflow.train",
    "find_lr": "imgclf.workflow.lrfind",
    "evaluate": "imgclf.workflow.evaluate",
    "export": "imgclf.workflow.export",
    "load": "imgclf.shipping.inference",
    "load_config": "imgclf.config",
}

__all__ = ["__version__", "evaluate", "export", "find_lr", "load", "load_config", "train"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'imgclf' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
