"""From a data set to fastai ``DataLoaders``: one ``DataBlock``, with presizing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from fastai.vision.all import (
    Callback,
    CategoryMap,
    DataBlock,
    DataLoaders,
    IntToFloatTensor,
    L,
    MultiCategoryBlock,
    TransformBlock,
)

from imgclf import ranks
from imgclf.cores import cores
from imgclf.data import balance, channels, image_cache, levels, shared_memory
from imgclf.data.balance import Balance
from imgclf.data.images import IMAGENET_MEAN, IMAGENET_STD, Preprocess, ResizeRule
from imgclf.data.inspection import FileCheck
from imgclf.data.placed import PlacedLoader
from imgclf.data.presize import Fused, OpenImage, TrainOnly, transforms
from imgclf.data.samples import Sample
from imgclf.data.split import Dataset
from imgclf.data.steps import Categorize, KnownLabels, SamplePath, Standardise, ToTensor
from imgclf.data.suited import Suited
from imgclf.data.unsampled import LookUp
from imgclf.errors import ConfigError, DataError
from imgclf.schema import Config

# Below this side a decode is cheaper than handing the image from process to process.
TINY_PIXELS = 64
MAX_WORKERS = {"cpu": 8}  # the network needs the other cores; elsewhere it needs as many images as can be had
MOST_WORKERS = 16  # as fastai has it
CPU = torch.device("cpu")
Stats = tuple[tuple[float, ...], tuple[float, ...]]
IMAGENET: Stats = (IMAGENET_MEAN, IMAGENET_STD)
LARGEST_BATCH, SMALLEST_BATCH, ENOUGH_STEPS = 64, 8, 15
# From random weights there is more to learn, and BatchNorm follows the batches, which few images make unsteady.
SMALLEST_FROM_RANDOM, ENOUGH_FROM_RANDOM = 16, 30
# Without gradients a batch so many times as large takes less memory than one of training; one of a few images is slow.
VALID_BATCHES_LARGER = 4


@dataclass(frozen=True)
class Loaders:
    """``DataLoaders`` with what was decided for them.

    ``batch_size`` is that of each process; ``notes`` are for the user, and so is ``warning``, if there is one.
    """

    dls: DataLoaders
    preprocess: Preprocess
    batch_size: int
    workers: int
    balance: Balance
    suited: Suited
    notes: list[str]
    warning: str = ""


def label_block(dataset: Dataset) -> TransformBlock:
    """fastai's block for one label an image, or for any number."""
    vocab = list(dataset.classes)
    if dataset.multi_label:
        return MultiCategoryBlock(vocab=vocab)
    return TransformBlock(type_tfms=Categorize(vocab=CategoryMap(vocab, sort=False), sort=False))


def by_split(items: list[Sample]) -> tuple[list[int], list[int]]:
    """The splitter: indices of training and validation samples."""
    train = [i for i, s in enumerate(items) if s.split == "train"]
    return train, [i for i, s in enumerate(items) if s.split == "valid"]


def preprocess_record(
    cfg: Config, channels: Literal[1, 3] = 3, stats: Stats = IMAGENET, suited: Suited = Suited()
) -> Preprocess:
    """What the model sees after training, resolved once and stored in every artefact.

    Args:
        stats: Mean and deviation of the colours that the weights expect; for grey their averages.
        suited: What is taken where keys are auto.
    """
    record = Preprocess(
        sides(cfg)[0], resize_rule(cfg), channels=channels, grey_range=levels.asked(cfg),
        crop_pct=given_crop_pct(cfg) or suited.crop_pct or 1.0,
    )  # fmt: skip
    if not cfg.model.normalize:
        return replace(record, mean=(0.0,) * channels, std=(1.0,) * channels)
    own = _own_stats(cfg, channels)
    if own:
        return replace(record, mean=own[0], std=own[1])
    mean, std = stats if channels == 3 else ((round(sum(values) / 3, 4),) for values in stats)
    return replace(record, mean=mean, std=std)


def _own_stats(cfg: Config, channels: int) -> Stats | None:
    """The configured mean and deviation; one number is for all channels.

    Raises:
        ConfigError: for another number of them than channels.
    """
    mean, std = cfg.model.mean, cfg.model.std
    if mean is None or std is None:
        return None
    if not {len(mean), len(std)} <= {1, channels}:
        raise ConfigError(
            f"model.mean, model.std: {list(mean)}, {list(std)}, but data.channels makes it {channels}",
            "give one number, or one for each channel",
        )
    return tuple(values * channels if len(values) == 1 else values for values in (mean, std))  # type: ignore[return-value]


def resize_rule(cfg: Config) -> ResizeRule:
    """How images become square."""
    return cfg.augment.resize


def given_crop_pct(cfg: Config) -> float | None:
    """The share of the shorter side that is asked for; None: whatever suits."""
    wanted = cfg.augment.crop_pct
    return None if wanted == "auto" else wanted


def sides(cfg: Config) -> tuple[int, int]:
    """The final side and the presized one, pixels."""
    return cfg.augment.size, cfg.augment.presize


def on_device(cfg: Config, device: torch.device) -> bool:
    """Whether training images are looked up by the device that trains: a GPU has time for it, the workers have not."""
    wanted = cfg.augment.where
    return device.type == "cuda" if wanted == "auto" else wanted == "device"


def data_block(
    cfg: Config, dataset: Dataset, preprocess: Preprocess, device: torch.device = CPU, suited: Suited = Suited()
) -> DataBlock:
    """The DataBlock; its source is ``source(dataset)``."""
    presize = sides(cfg)[1]
    item, batch = transforms(cfg, presize, preprocess, on_device(cfg, device), suited)
    blocks = (
        TransformBlock(type_tfms=OpenImage(item, preprocess), batch_tfms=IntToFloatTensor),
        label_block(dataset),
    )
    for block in blocks:
        block.item_tfms = L(ToTensor)  # ours in the place of fastai's
    return DataBlock(
        blocks=blocks,
        dl_type=PlacedLoader,
        get_x=SamplePath(dataset.root),
        get_y=KnownLabels(dataset),
        splitter=by_split,
        item_tfms=item,
        batch_tfms=[*batch, Standardise.from_stats(preprocess.mean, preprocess.std, cuda=False)],
    )


def source(dataset: Dataset) -> list[Sample]:
    """Training and validation samples, in a fixed order."""
    return [*dataset.train, *dataset.valid]


def build(
    cfg: Config,
    dataset: Dataset,
    device: torch.device,
    pretrained: bool = True,
    stats: Stats = IMAGENET,
    checks: Sequence[FileCheck] = (),
    suited: Suited = Suited(),
) -> Loaders:
    """DataLoaders for training and validation, whose batches are up to four times as large.

    The batch size is lowered to the number of training images when there are fewer: the training loader drops an
    incomplete last batch (a batch of one breaks BatchNorm), and would otherwise give none at all.

    Args:
        pretrained: Whether the model's body is: `data.channels: auto` then stays with RGB.
        stats: Mean and deviation that the model's weights expect.
        checks: What is known of the files: only images known so can be kept in a cache (`data.cache`).
        suited: What is taken where keys are auto.
    """
    n_channels, why = channels.resolve(cfg, dataset, pretrained)
    preprocess = preprocess_record(cfg, n_channels, stats, suited)
    batch_size, note = choose_batch_size(cfg.data.batch_size, len(dataset.train), ranks.world(), pretrained)
    valid_size = max(batch_size, min(LARGEST_BATCH, VALID_BATCHES_LARGER * batch_size))
    # What the device looks up may have twice the sides of what is asked for, less one.
    side = sides(cfg)[1] * (2 if on_device(cfg, device) else 1)
    batch = n_channels * max(batch_size * side**2, valid_size * preprocess.size**2)
    workers, room = _workers(cfg, preprocess, batch, device)
    dls = data_block(cfg, dataset, preprocess, device, suited).dataloaders(
        source(dataset),
        bs=batch_size,
        val_bs=valid_size,
        num_workers=workers,
        device=device,
        pin_memory=device.type == "cuda",
    )
    for loader in dls.loaders:
        no_idle_workers(loader, workers)
    balanced = balance.resolve(cfg, dataset.train, dataset.classes, dataset.multi_label)
    dls.train.weights = balanced.sample_weights(dataset.train)
    opener = image_opener(dls)
    cached = image_cache.resolve(cfg, dataset, checks, opener.forms, workers, batch)
    opener.cache = cached.cache
    dls.workers = workers
    dls.path = dataset.root  # where fastai would write; nothing of ours lets it
    notes = [why, balanced.note, *(text for text in (note, room, cached.note) if text)]
    return Loaders(dls, preprocess, batch_size, workers, balanced, suited, notes, cached.warning)


def image_opener(dls: DataLoaders) -> OpenImage:
    """The step that all the loaders open image files with."""
    return next(tfm for tfm in dls.train.dataset.tls[0].tfms.fs if isinstance(tfm, OpenImage))


class TellTrouble(Callback):
    """Tell once, at the end of an epoch, when the cache of images gave up."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self.tell = tell

    def after_epoch(self) -> None:
        cache = image_opener(self.dls).cache
        if cache is not None and cache.store.trouble:
            self.tell(f"cache: {cache.store.trouble}; every image that is not there is decoded anew")
            self.tell = str


def choose_batch_size(wanted: int | str, n_train: int, processes: int = 1, pretrained: bool = True) -> tuple[int, str]:
    """The batch size of each process, and a note for the user where it needs one.

    A small data set at batch size 64 gives a handful of steps an epoch, too few to learn from: 244 photographs of ants
    and bees, three epochs of ResNet-18, 15 % error at 64, 9 % at 16 (docs/results.md).
    """
    most = n_train // processes
    if processes > 1 and most < 2:
        raise DataError(
            f"{n_train} training images are too few for {processes} processes", "use fewer: two images each"
        )
    each = f" for each of {processes} processes" if processes > 1 else ""
    if wanted == "auto":
        size = LARGEST_BATCH
        least, enough = (SMALLEST_BATCH, ENOUGH_STEPS) if pretrained else (SMALLEST_FROM_RANDOM, ENOUGH_FROM_RANDOM)
        while size > least and most // size < enough:
            size //= 2
        size = min(size, most)
        why = f", so that an epoch has {most // size} steps" if size < LARGEST_BATCH else ""
        return size, f"batch size: {size}{each}{why} (data.batch_size: auto)"
    size = min(int(wanted), most)
    few = f"batch size {size} instead of {wanted}{each}: there are {n_train} training images"
    return size, "" if size == wanted else few


def _workers(cfg: Config, preprocess: Preprocess, batch: int, device: torch.device) -> tuple[int, str]:
    """Worker processes, and a note where shared memory has no room for their batches of so many bytes."""
    chosen = cfg.data.workers
    if chosen != "auto":
        return chosen, shared_memory.warning(chosen, batch)
    most = MAX_WORKERS.get(device.type, MOST_WORKERS)
    wanted = 0 if preprocess.size <= TINY_PIXELS else min(most, cores())
    return shared_memory.afford(wanted, batch)


def unaugmented(dls: DataLoaders, numbers: Sequence[int] | None = None) -> PlacedLoader:
    """The training images in their order, or those of these numbers, each once, prepared as validation images are."""
    items = list(dls.train.items)
    made: PlacedLoader = dls.test_dl(items if numbers is None else [items[i] for i in numbers], with_labels=True)
    no_idle_workers(made, dls.workers)
    return made


def no_idle_workers(loader: PlacedLoader, workers: int) -> None:
    """Let a loader start as many processes as are wanted, but no more than it has batches: each takes a while."""
    loader.fake_l.num_workers = min(workers, len(loader))


def train_at(dls: DataLoaders, size: int) -> None:
    """Bring the training images of the passes that follow to ``size`` pixels; validation images stay as they are."""
    for tfm in (*dls.train.after_item.fs, *dls.train.after_batch.fs):
        if isinstance(tfm, Fused | LookUp | TrainOnly):
            tfm.resize(size)


def reseed(dls: DataLoaders, seed: int, first_batch: int = 0) -> None:
    """Make the next pass over the loaders a function of ``seed``, the training one from ``first_batch`` on."""
    for i, dl in enumerate(dls.loaders):
        dl.place(seed + i, 0 if i else first_batch)
