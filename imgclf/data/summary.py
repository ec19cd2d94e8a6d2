"""fastai's ``DataBlock.summary`` for a configuration, in a form a person can read."""

import contextlib
import io
import re

from imgclf.data import channels
from imgclf.data.loaders import data_block, preprocess_record, source
from imgclf.data.samples import Sample
from imgclf.data.split import Dataset
from imgclf.schema import Config

ARGUMENTS = " -- {"  # how fastai prints a transform's settings: whole tensors and records among them
STEPS = {
    "OpenImage": "decode the file: upright, RGB, no finer than the next step needs",
    "KnownLabels": "the label; of several, those that are classes",
    "Categorize": "the label as the number of its class",
    "MultiCategorize": "the labels as the numbers of their classes",
    "OneHotEncode": "those numbers as a row of 0 and 1",
    "Presize": "presizing, part one: a square of {presize} pixels from a random place (validation: {size} at once)",
    "ToTensor": "pixels as a tensor, channels first",
    "IntToFloatTensor": "0 to 255 becomes 0 to 1",
    "Fused": "crop, flip, rotate, zoom and warp to {size} pixels in one interpolation, and lighting",
    "LookUp": "the device does that for all images of the batch",
    "TrainOnly": "augmentation of training batches only",
    "Brightness": "change the brightness",
    "Contrast": "change the contrast",
    "Standardise": "subtract the mean, divide by the deviation of each channel",
}


class _Source(list):
    """A list of samples whose printed form is one line: ``DataBlock.summary`` prints its source."""

    def __repr__(self) -> str:
        return f"{len(self)} samples, such as {_line(self[0])}"


class _Shown(Sample):
    """A sample that prints as one line."""

    def __repr__(self) -> str:
        return _line(self)


def summary(cfg: Config, dataset: Dataset) -> str:
    """Each step from a file to a batch, as fastai tells it, then what each of the steps is for."""
    # As with pretrained weights: without them images that are all grey may make a grey model.
    preprocess = preprocess_record(cfg, channels.resolve(cfg, dataset, pretrained=True)[0])
    block = data_block(cfg, dataset, preprocess)
    presize = next(step.presize for step in block.item_tfms if hasattr(step, "presize"))
    shown = _Source(_Shown(s.path, s.labels, s.split, s.group) for s in source(dataset))
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        block.summary(shown, bs=min(4, len(dataset.train)))
    story = tidy(text.getvalue())
    width = max(map(len, STEPS))
    legend = [
        f"  {name:{width}}  {what.format(presize=presize, size=preprocess.size)}"
        for name, what in STEPS.items()
        if re.search(rf"\b{name}\b", story)
    ]
    return "\n".join([story, "", "What the steps do", *legend]) + "\n"


def tidy(text: str) -> str:
    """fastai's text without the settings of each transform and without runs of empty lines."""
    while ARGUMENTS in text:
        start = text.index(ARGUMENTS)
        text = text[:start] + " " + text[_end_of_braces(text, start + len(ARGUMENTS) - 1) :].lstrip()
    text = re.sub(r" *\n? *(gives|->) *", r" \1 ", text)
    text = re.sub(r"(?<=\S) *(?=Setting up |Building |Final sample|Applying |Collating )", "\n", text)
    text = re.sub(r"[ \t]*\n\s*(?=starting from)", "\n    ", re.sub(r"(?<=\S) +(?=starting from)", "\n", text))
    text = re.sub(r"[ \t]+\n", "\n", text)
    text = re.sub(r"\n+(?=Building |Final sample|Collecting |Applying |Adding |Collating )", "\n\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _end_of_braces(text: str, start: int) -> int:
    """Where the brace that opens at ``start`` is closed."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return i + 1
    return len(text)


def _line(sample: Sample) -> str:
    return f"{sample.path} ({', '.join(sample.labels) or 'no label'})"
