"""Keep decoded images, so that the epochs after the first do not decode again (``data.cache``).

What is kept is what decoding gives before anything random happens to it, at no more detail than the next step needs:
about half a megabyte for a photograph of 12 megapixels, whose decoding takes twenty times as long as the rest. So the
pixels are the same with and without, bit for bit, and a run may be resumed with another setting.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from imgclf import ranks
from imgclf.data import block, image_disk, shared_memory
from imgclf.data.forms import Detail, File, Fitted, Form, nbytes
from imgclf.data.image_disk import Disk
from imgclf.data.image_ram import Ram, places
from imgclf.data.inspection import FileCheck
from imgclf.data.split import Dataset
from imgclf.schema import Config

GB = 10**9
SHARE_OF_MEMORY = 0.7  # of what is available: the rest is for the network and the workers
LEFT_ON_DISK = GB


class ImageCache:
    """Images by path, from the store if they are in it, else made and put there."""

    def __init__(self, files: Mapping[str, File], store: Ram | Disk) -> None:
        self.files, self.store = files, store

    def image(self, path: Path, form: Form) -> Image.Image:
        """What ``form.make(path)`` gives.

        Raises:
            OSError, ValueError, SyntaxError, MemoryError: for files that cannot be read.
        """
        file = self.files.get(os.fspath(path))
        if file is None:
            return form.make(path)
        pixels = self.store.get(file, form)
        if pixels is not None:
            return Image.fromarray(pixels)
        made = form.make(path)
        self.store.put(file, form, np.asarray(made))
        return made


@dataclass(frozen=True)
class Resolved:
    """The cache, if there is one, and what to tell the user of it."""

    cache: ImageCache | None = None
    note: str = ""
    warning: str = ""


def resolve(
    cfg: Config, dataset: Dataset, checks: Sequence[FileCheck], forms: tuple[Detail, Fitted], workers: int, batch: int
) -> Resolved:
    """The cache that is asked for.

    Args:
        checks: What is known of the files; of others nothing is kept.
        forms: Of training images and of others.
        batch: Bytes of one batch, for which workers need shared memory too.
    """
    kind, most = cfg.data.cache, int(cfg.data.cache_gb * GB)
    files = _files(dataset, checks) if kind != "none" else {}
    if not files:
        return Resolved()
    kept = [forms[0] if file.training else forms[1] for file in files.values()]
    needs = [nbytes(form, file) for form, file in zip(kept, files.values(), strict=True)]
    if kind == "ram":
        store, note = _ram(needs, most, workers, batch)
        return Resolved(ImageCache(files, store), note)
    where = image_disk.folder()
    if where.resolve().is_relative_to(dataset.root.resolve()):
        why = f"{where} is inside the data folder, and imgclf never writes there (IMGCLF_CACHE names another place)"
        return Resolved(warning=f"data.cache: {why}; every image is decoded anew")
    names = [str(image_disk.path(where, file, form)) for file, form in zip(files.values(), kept, strict=True)]
    own = {name: image_disk.HEAD.size + n for name, n in zip(names, needs, strict=True)}
    try:
        disk, note = _disk(where, own, most, workers)
    except OSError as e:
        return Resolved(warning=f"data.cache: {where} cannot be written ({e.strerror}); every image is decoded anew")
    return Resolved(ImageCache(files, disk), note)


def _files(dataset: Dataset, checks: Sequence[FileCheck]) -> dict[str, File]:
    """The training and validation images by path; those of validation, which are small, come first."""
    known = {c.path: c for c in checks if c.look and c.digest}
    found: dict[str, File] = {}
    for sample in (*dataset.valid, *dataset.train):
        check = known.get(sample.path)
        if check and check.look:
            look, training = check.look, sample.split == "train"
            drafted = look.format in ("JPEG", "MPO")
            found.setdefault(
                os.fspath(dataset.root / sample.path),
                File(len(found), check.digest, look.width, look.height, drafted, training),
            )
    return found


def _ram(needs: list[int], most: int, workers: int, batch: int) -> tuple[Ram, str]:
    """As many images as memory has room for."""
    memory = block.available()
    limits = {f"data.cache_gb: {most / GB:g}": most}
    if memory is not None:
        limits[f"{_gb(memory)} of memory are free"] = int(SHARE_OF_MEMORY * memory)
    shm = shared_memory.free() if workers else None
    if shm is not None:
        batches = 2 * (shared_memory.PREFETCH * workers + 1) * batch
        limits[f"{shared_memory.size()}; {shared_memory.REMEDY}"] = shm - batches
    why, room = min(limits.items(), key=lambda limit: limit[1])
    kept = places(needs, max(0, room // ranks.world()))
    n, total = sum(map(bool, kept)), sum(needs)
    if n == len(kept):
        return Ram(kept, workers > 0), f"cache: {n:,} decoded images in memory, {_gb(total)} (data.cache: ram)"
    return Ram(kept, workers > 0), (
        f"cache: {n:,} of {len(kept):,} decoded images have room in memory, {_gb(sum(kept))} of {_gb(total)} ({why}); "
        "the others are decoded anew"
    )


def _disk(where: Path, own: Mapping[str, int], most: int, workers: int) -> tuple[Disk, str]:
    """The folder, with room made in it."""
    found = image_disk.make_room(where, own, most)
    spare = max(0, shutil.disk_usage(where).free - LEFT_ON_DISK)
    room = min(found.free, spare)
    note = f"cache: decoded images in {where}, {found.there:,} of {len(own):,} are there (data.cache: disk)"
    if found.removed:
        note += f"; {_gb(found.removed)} unused for longest made room"
    if found.missing > room:
        why = f"data.cache_gb: {most / GB:g}" if found.free <= spare else f"the disk has {_gb(spare)} to spare"
        note += f"; {_gb(found.missing)} are missing and {_gb(room)} have room ({why}): the rest is decoded anew"
    return Disk(where, room // ranks.world(), workers > 0), note


def _gb(n: int) -> str:
    return f"{n / GB:,.1f} GB" if n >= GB / 10 else f"{n / 1e6:,.0f} MB"
