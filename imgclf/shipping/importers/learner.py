"""A fastai ``export.pkl`` as a bundle's parts. Loading one runs the code in it: for trusted files only."""

import contextlib
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from imgclf.data.samples import Task
from imgclf.errors import ModelError
from imgclf.networks import bodies
from imgclf.shipping import layers
from imgclf.shipping.importers import Original, on_fitted, pipeline
from imgclf.shipping.record import Record

CHILDREN = 10  # of a torchvision ResNet
ACTIVATIONS: dict[Task, Callable[[Tensor], Tensor]] = {"single": lambda x: torch.softmax(x, -1), "multi": torch.sigmoid}


def load(path: Path) -> Original:
    """The learner's network, classes and preparation of images.

    Raises:
        ModelError: if it is no learner, or holds what a bundle cannot.
    """
    learner = _unpickle(path)
    classes = _classes(learner)
    body, head = _parts(learner.model)
    arch, cut, channels = _body(body)
    task = _task(learner)
    seen = pipeline.read(learner.dls, channels)
    record = Record(
        classes=classes, preprocess=seen.preprocess, arch=arch, head=layers.describe(head), cut=cut,
        task=task, thresholds=_thresholds(learner, task, len(classes)),
        training={"imported": {"file": path.name, "kind": "fastai learner"}},
    )  # fmt: skip
    state = {name: tensor.detach() for name, tensor in nn.Sequential(body, head).state_dict().items()}
    same_pixels = on_fitted(learner.model, seen.preprocess, ACTIVATIONS[task])
    return Original("fastai learner", state, record, _answers(learner, task), same_pixels, seen.passed_over)


def _unpickle(path: Path) -> Any:
    import fastai.callback.progress  # noqa: F401 - gives a Learner its no_bar()
    from fastai.learner import Learner, load_learner

    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            learner = load_learner(path)
    except Exception as e:  # whatever the pickle runs into
        reason = (str(e) or type(e).__name__).strip().replace("\n", " ")
        raise ModelError(
            f"{path} cannot be loaded as a fastai learner: {type(e).__name__}: {reason[:300]}",
            "a learner's own functions must be importable here, and its fastai no older than 2.8; in the program that "
            "made it, learner.export() writes it anew",
        ) from e
    if not isinstance(learner, Learner):
        raise ModelError(
            f"{path} holds a {type(learner).__name__}, not a fastai Learner", "learner.export() writes one"
        )
    return learner


def _classes(learner: Any) -> tuple[str, ...]:
    vocab = getattr(learner.dls, "vocab", None)
    if vocab is None:
        raise ModelError("the learner has no class names (dls.vocab): it is no classifier")
    names = list(vocab)
    if any(not isinstance(name, str | int | np.integer | np.str_) for name in names):
        raise ModelError("the learner has more than one target, each with classes of its own; a bundle has one")
    return tuple(str(name) for name in names)


def _parts(model: Any) -> tuple[Any, Any]:
    if not isinstance(model, nn.Sequential) or len(model) != 2:
        raise ModelError(
            f"the learner's model is a {type(model).__name__}, not a body and a head as vision_learner makes them"
        )
    return model[0], model[1]


def _body(body: Any) -> tuple[str, int | None, int]:
    """Architecture, cut and channels."""
    if type(body).__name__ == "TimmBody":
        said = body.model.pretrained_cfg
        name = ".".join(part for part in (said.get("architecture"), said.get("tag")) if part)
        return name, None, int(next(body.parameters()).shape[1])
    if isinstance(body, nn.Sequential) and len(body) and isinstance(body[0], nn.Conv2d):
        channels = body[0].in_channels
        cut = None if len(body) - CHILDREN == bodies.CUT else len(body)
        have = _shapes(body)
        for name in bodies.BUILDERS if 0 < len(body) < CHILDREN else ():
            with torch.device("meta"):
                if _shapes(bodies.body(name, channels, cut)) == have:
                    return name, cut, channels
    inside = ", ".join(dict.fromkeys(type(part).__name__ for part in body.children()))
    raise ModelError(
        f"the learner's body is no network imgclf builds; it is a {type(body).__name__} of {inside[:200]}",
        f"it builds {bodies.known()}",
    )


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def _task(learner: Any) -> Task:
    """By what the loss makes of logits: fastai's own have an ``activation``, torch's are known by name."""
    loss, logits = learner.loss_func, torch.tensor([[-1.5, 0.25, 2.0]])
    by_name: dict[str, Task] = {"CrossEntropyLoss": "single", "BCEWithLogitsLoss": "multi"}
    if (task := by_name.get(type(loss).__name__)) is not None:
        return task
    made = loss.activation(logits) if hasattr(loss, "activation") else logits
    for task, activation in ACTIVATIONS.items():
        if made.shape == logits.shape and torch.allclose(made.float(), activation(logits)):
            return task
    raise ModelError(
        f"the learner's loss is a {type(loss).__name__}, which makes no softmax and no sigmoid of what the network says"
    )


def _thresholds(learner: Any, task: Task, n: int) -> tuple[float, ...] | None:
    if task == "single":
        return None
    given = torch.as_tensor(getattr(learner.loss_func, "thresh", 0.5), dtype=torch.float64).flatten()
    values = given.expand(n) if given.numel() == 1 else given
    return tuple(round(float(value), 7) for value in values)


def _answers(learner: Any, task: Task) -> Callable[[Sequence[Image.Image]], np.ndarray]:
    def probs(images: Sequence[Image.Image]) -> np.ndarray:
        from fastai.vision.core import PILImage, PILImageBW

        grey = next(learner.model.parameters()).shape[1] == 1
        items = [(PILImageBW if grey else PILImage).create(image) for image in images]
        with warnings.catch_warnings(), learner.no_bar(), learner.no_logging():
            warnings.simplefilter("ignore")
            loader = learner.dls.test_dl(items, bs=16, num_workers=0)
            logits = learner.get_preds(dl=loader, act=nn.Identity())[0]
        return np.asarray(ACTIVATIONS[task](logits.float()).numpy(), np.float32)

    return probs
