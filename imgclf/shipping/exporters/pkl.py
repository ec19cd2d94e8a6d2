"""The model as fastai's own ``export.pkl``, for those who go on in fastai: ``load_learner(file).predict(photo)``.

Made of pieces of fastai, torch and Pillow only, so that it loads where imgclf is not installed. What it cannot do as we
do: it decodes JPEGs at full size (``imgclf predict`` only as finely as the model needs, which changes answers a little;
``verify`` reports how much), its reading of transparency and of 16-bit grey is fastai's, and of images of some sizes it
cuts away a row and a column of pixels (``comparable``).
"""

import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from PIL import ImageOps
from torch import nn

from imgclf import runs
from imgclf.data.images import Preprocess, open_image
from imgclf.data.inspection import UNREADABLE
from imgclf.errors import ExportError
from imgclf.networks import timm_models
from imgclf.shipping import bundle as bundles
from imgclf.shipping import layers
from imgclf.shipping.record import Record


class ByName:
    """What ``torch.save`` wants of a pickle module; stores functions by name and paths in a form every system reads.

    fastai's default, cloudpickle, stores some of fastai's functions as byte code, which ties the file to this version
    of Python and puts paths of this machine into it. A plain pickle holds a PosixPath, which does not load on Windows.
    """

    class Pickler(pickle.Pickler):
        def reducer_override(self, obj: Any) -> Any:
            return (Path, obj.parts) if isinstance(obj, PurePath) else NotImplemented


def export(bundle: Path, target: Path, trust: bool = False) -> Path:
    """Write it.

    Raises:
        ModelError: if the bundle cannot be read.
        ExportError: if the calibration cannot be made part of the last layer, or fastai cannot pickle itself.
    """
    from fastai.learner import Learner

    net, record = bundles.load(bundle, trust)
    if layers.code(record.head) is None:
        _calibrate(net, record.temperature)
    else:
        net[1] = nn.Sequential(net[1], _divided_by(record.temperature, len(record.classes)))
    model = _with_fastai_layers(net).requires_grad_(True)
    learner = Learner(_dataloaders(record), model, loss_func=_loss_func(record), splitter=_groups(model))
    try:
        return runs.atomic_write(target, lambda path: learner.export(path.absolute(), pickle_module=ByName))
    except (pickle.PicklingError, TypeError, AttributeError) as e:  # fasttransform 0.0.2 beside a newer plum-dispatch
        raise ExportError(
            f"this fastai cannot store its pipeline as a pickle: {e}", "pip install --upgrade fastai fasttransform"
        ) from e


def probs(file: Path, paths: Sequence[Path], classes: Sequence[str]) -> np.ndarray:
    """What fastai answers from the exported file: (N, C) float32, in the order of ``paths`` and ``classes``.

    Runs the code in the file: for files just written only.
    """
    import fastai.callback.progress  # noqa: F401 - gives a Learner its no_bar()
    from fastai.learner import load_learner

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fastai warns that pickles run code; this one is ours
        learner = load_learner(file)
        names = list(learner.dls.vocab)
        with learner.no_bar(), learner.no_logging():
            loader = learner.dls.test_dl([Path(p) for p in paths], bs=16, num_workers=0)
            answers = learner.get_preds(dl=loader)[0]
    if sorted(names) != sorted(classes):
        raise ExportError(f"{file} names other classes than the model it came from")
    return np.asarray(answers.numpy()[:, [names.index(name) for name in classes]], np.float32)


def comparable(preprocess: Preprocess, paths: Sequence[Path]) -> list[Path]:
    """The files of which fastai makes the square we make: for some sides its ``Resize`` loses a pixel to rounding.

    All of them where that would leave none; and what cannot be read.
    """
    return [path for path in paths if not _loses_a_pixel(preprocess, path)] or list(paths)


def _loses_a_pixel(preprocess: Preprocess, path: Path) -> bool:
    if preprocess.resize == "squish":
        return False
    try:
        with open_image(path) as image:
            side = (min if preprocess.resize == "crop" else max)(image.size)
    except UNREADABLE:
        return False  # whoever reads it says so
    return int(side / preprocess.resized * preprocess.resized) != side


def _dataloaders(record: Record) -> Any:
    """fastai's pipeline from a file to a batch, as our preprocessing does it; holds no data."""
    from fastai.data.block import CategoryBlock, DataBlock, MultiCategoryBlock, TransformBlock
    from fastai.data.transforms import IndexSplitter, IntToFloatTensor, ItemGetter, Normalize, ToTensor, Transform
    from fastai.vision.augment import CropPad, Resize
    from fastai.vision.core import PILImage, PILImageBW

    p, names = record.preprocess, list(record.classes)
    several = record.task == "multi"
    # The second `create`: exif_transpose says that it returns a Pillow image, and fastai takes it at its word.
    cut = CropPad(p.size)
    cut.order = Resize.order
    steps = [PILImage.create, ImageOps.exif_transpose, PILImage.create, Resize(p.resized, method=p.resize), cut]
    if p.channels == 1:  # after the resize, as the other formats do
        steps += [Transform(ImageOps.grayscale, order=2), Transform(PILImageBW.create, order=3)]
    block = DataBlock(
        blocks=(
            TransformBlock(type_tfms=steps, item_tfms=ToTensor, batch_tfms=IntToFloatTensor),
            MultiCategoryBlock(vocab=names) if several else CategoryBlock(vocab=names, sort=False),
        ),
        getters=[ItemGetter(0), ItemGetter(1)],
        splitter=IndexSplitter([1]),
        batch_tfms=[Normalize.from_stats(p.mean, p.std, cuda=False)],
    )
    # fastai finds out what its pipeline takes by running it once; `export` drops these two again.
    black = np.zeros((p.size, p.size, 3), np.uint8)
    return block.dataloaders(
        [(black, names[:1] if several else names[0])] * 2, bs=1, num_workers=0, device=torch.device("cpu")
    )


def _loss_func(record: Record) -> Any:
    """fastai's loss for the task; it also makes probabilities and answers of what the network says."""
    from fastai.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat

    thresholds = record.cutoffs
    if thresholds is None:
        return CrossEntropyLossFlat()
    exact = np.array(thresholds)
    nearest = exact.astype(np.float32)
    above = np.where(nearest >= exact, nearest, np.nextafter(nearest, np.float32(2)))  # the first float32 that counts
    # fastai asks for more than its threshold, not for as much; a tensor gives each class its own.
    return BCEWithLogitsLossFlat(thresh=torch.from_numpy(np.nextafter(above, np.float32(-1))))


def _groups(model: Any) -> Any:
    """fastai's layer groups, so that freeze() and fine_tune() work: those of a whole ResNet, or body and head."""
    from fastai.vision.learner import default_split, model_meta
    from torchvision.models import resnet18

    whole = isinstance(model[0], nn.Sequential) and len(model[0]) > 6
    return model_meta[resnet18]["split"] if whole else default_split


def _with_fastai_layers(module: nn.Module) -> nn.Module:
    """The same network with fastai's own classes in place of ours."""
    from fastai.layers import AdaptiveConcatPool2d, SigmoidRange
    from fastai.vision.learner import TimmBody

    for name, child in module.named_children():
        if isinstance(child, layers.AdaptiveConcatPool2d):
            setattr(module, name, AdaptiveConcatPool2d(child.size))
        elif isinstance(child, layers.SigmoidRange):
            setattr(module, name, SigmoidRange(child.low, child.high))
        elif isinstance(child, timm_models.TimmBody):
            if child.channels_come_last:
                raise ExportError("fastai cannot use the feature map of this architecture: its channels come last")
            setattr(module, name, TimmBody(child.model))
        else:
            _with_fastai_layers(child)
    return module


def _divided_by(temperature: float, n: int) -> nn.Linear:
    """A layer that divides ``n`` logits: of a custom head nobody knows which layer is the last."""
    layer = nn.Linear(n, n, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(n) / temperature)
    return layer


def _calibrate(net: nn.Module, temperature: float) -> None:
    """Divide the logits by the temperature, in the last layer's own weights: fastai's softmax has no place for it."""
    last = [module for module in net.modules() if not isinstance(module, nn.Sequential | nn.Dropout)][-1]
    if isinstance(last, layers.SigmoidRange):
        last.low, last.high = last.low / temperature, last.high / temperature
        return
    if not isinstance(last, nn.Linear | nn.BatchNorm1d):
        raise ExportError(f"the calibration cannot be made part of the last layer, a {type(last).__name__}")
    with torch.no_grad():
        for weights in (last.weight, last.bias):
            if weights is not None:
                weights.div_(temperature)
