"""The parts of the probe's cross-validation: what belongs together is held out together.

A probe that is judged on other pictures of what it has seen, of the same film or patient, knows them by heart and finds
itself far better than it is on new ones.
"""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from imgclf.data import draw
from imgclf.data.samples import Sample

FOLDS = 5


def groups(items: Sequence[Sample]) -> Tensor | None:
    """A number (N,) for the group of each image, its own for an image in none; None where no image is in a group."""
    if not any(s.group for s in items):
        return None
    known: dict[str | int, int] = {}
    return torch.tensor([known.setdefault(s.group or i, len(known)) for i, s in enumerate(items)])


def folds(targets: Tensor, groups: Tensor | None = None) -> Tensor:
    """The part, 0 to ``FOLDS - 1``, that each image is held out in: (N,).

    The images of a class take turns; with several labels an image all images do. The images of a group are in one part.

    Args:
        targets: Class numbers (N,), or 0 and 1 (N, C).
        groups: The number (N,) of each image's group. Not heeded where most images are of a class, or all of them are,
            that one group alone shows: of them nothing could be held out.
    """
    if groups is None or not _parted(targets, groups):
        return _turns(targets)
    numbers = groups.unique(return_inverse=True)[1]
    counts: list[Counter[int]] = [Counter() for _ in range(int(numbers.max()) + 1)]
    for group, label in zip(*_labels(targets, numbers), strict=True):
        counts[group][label] += 1
    part = draw.spread(counts, torch.bincount(numbers).tolist(), FOLDS, grouped=True)
    return torch.tensor(part)[numbers]


def _turns(targets: Tensor) -> Tensor:
    if targets.dim() == 2:
        return torch.arange(len(targets)) % FOLDS
    part = torch.empty_like(targets)
    for members in targets.argsort(stable=True).split(torch.bincount(targets).tolist()):
        part[members] = torch.arange(len(members)) % FOLDS
    return part


def _parted(targets: Tensor, groups: Tensor) -> bool:
    if targets.dim() == 2:
        return len(groups.unique()) > 1
    of_class = torch.stack([targets, groups]).unique(dim=1)[0]  # once for each group that shows it
    return bool((torch.bincount(of_class)[targets] > 1).double().mean() >= 0.5)


def _labels(targets: Tensor, groups: Tensor) -> tuple[list[int], list[int]]:
    """Group and label of every label there is; an image without any counts as one more label."""
    if targets.dim() == 1:
        return groups.tolist(), targets.tolist()
    image, label = targets.nonzero(as_tuple=True)
    bare = (targets == 0).all(1).nonzero()[:, 0]
    none = torch.full_like(bare, targets.shape[1])
    return groups[torch.cat([image, bare])].tolist(), torch.cat([label, none]).tolist()
