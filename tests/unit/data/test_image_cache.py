"""The cache of decoded images: the same pixels with and without, bounded, shared by processes, never in the way."""

import errno
import os
import pickle
import random
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imgclf.data import block, image_cache, image_disk, loaders, shared_memory, survey
from imgclf.data.block import Block
from imgclf.data.forms import Detail, File, Fitted, nbytes
from imgclf.data.image_disk import Disk
from imgclf.data.image_ram import Ram, places
from imgclf.data.presize import ImageLost
from imgclf.data.samples import Sample
from imgclf.data.split import Dataset

CPU = torch.device("cpu")
FORMS = Detail(20, True), Fitted(16, "crop")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IMGCLF_CACHE", str(tmp_path / "cache"))


def file(number=0, digest="d", training=True, size=(30, 20)) -> File:
    return File(number, digest, *size, False, training)


def noise(form, known: File, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*form.shape(known), 3), dtype=np.uint8)


@pytest.fixture
def dataset(tmp_path, pictures) -> Dataset:
    """Six training images and three of validation: JPEG, PNG, grey, turned; some twice as fine as is needed."""
    root = tmp_path / "photos"
    root.mkdir()
    names = [f"{'ab'[i % 2]}{i}.{'jpg' if i < 5 else 'png'}" for i in range(9)]
    for i, name in enumerate(names):
        picture = pictures.noise(90 + 11 * i, 160 - 9 * i, seed=i)
        turned = Image.Exif()
        turned[0x0112] = 6 if i == 1 else 1
        (picture.convert("L") if i == 2 else picture).save(root / name, exif=turned)
    parts = {"train": names[:3] + names[5:8], "valid": [*names[3:5], names[8]]}
    return Dataset(
        root, ("a", "b"), **{part: tuple(Sample(n, (n[0],), part) for n in found) for part, found in parts.items()}
    )


@pytest.fixture
def build(make_config, dataset):
    """Loaders of the data set above with their checks."""
    checks = survey.inspect(dataset.root, (*dataset.train, *dataset.valid))

    def run(**more) -> loaders.Loaders:
        small = {"augment.size": 16, "augment.presize": 24, "data.batch_size": 3, "data.workers": 0}
        return loaders.build(make_config(dataset.root, **{**small, **more}), dataset, CPU, checks=checks)

    return run


def passes(made: loaders.Loaders, n=2) -> list[torch.Tensor]:
    """The images of several epochs: training, validation, and training without augmentation."""
    found = []
    for epoch in range(n):
        loaders.reseed(made.dls, epoch)
        for loader in (made.dls.train, made.dls.valid, loaders.unaugmented(made.dls)):
            found += [x.as_subclass(torch.Tensor).clone() for x, _ in loader]
    return found


# The same pixels


@pytest.mark.parametrize("kind", ["ram", "disk"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"augment.resize": "pad"}, {"augment.resize": "squish"}, {"augment.engine": "fastai"}, {"data.channels": 1}],
    ids=str,
)
def test_every_epoch_has_the_pixels_it_has_without(build, kind, settings):
    without = passes(build(**settings))
    made = build(**settings, **{"data.cache": kind})
    assert all(torch.equal(a, b) for a, b in zip(passes(made), without, strict=True))


@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_epochs_after_the_first_read_no_file(build, kind, dataset):
    made = build(**{"data.cache": kind})
    before = [x for loader in (made.dls.train, made.dls.valid) for x, _ in loader]
    for photo in dataset.root.iterdir():
        photo.unlink()
    again = [x for loader in (made.dls.train, made.dls.valid) for x, _ in loader]
    assert [x.shape for x in before] == [x.shape for x in again]


def test_a_later_run_finds_what_is_on_disk(build, dataset):
    passes(build(**{"data.cache": "disk"}))
    note = build(**{"data.cache": "disk"}).notes[-1]
    assert "9 of 9 are there" in note
    files = [p for p in image_disk.folder().rglob("*") if p.is_file()]
    assert len(files) == 9 + 6  # and the training images without augmentation
    assert not list(dataset.root.rglob("images"))


@pytest.mark.parametrize("kind", ["ram", "disk"])
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_share_it(kind, start):
    """What one process puts there another finds."""
    known = file()
    store = Ram([10_000], True) if kind == "ram" else Disk(image_disk.folder(), 10**6, True)
    wanted = noise(FORMS[0], known)
    worker = get_context(start).Process(target=store.put, args=(known, FORMS[0], wanted))
    worker.start()
    worker.join()
    np.testing.assert_array_equal(store.get(known, FORMS[0]), wanted)


def test_progressive_sizes_keep_what_each_needs(build):
    settings = {"augment.sizes": [8, 16], "augment.presize": 24}
    made, without = build(**settings, **{"data.cache": "ram"}), build(**settings)
    for size in (8, 16, 8):
        for each in (made, without):
            loaders.train_at(each.dls, size)
        assert all(torch.equal(a, b) for a, b in zip(passes(made), passes(without), strict=True))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 90), st.booleans(), st.sampled_from(["JPEG", "PNG"]))
def test_shapes_are_foreseen(tmp_path_factory, width, height, at_least, average, kind):
    path = tmp_path_factory.getbasetemp() / "foreseen"
    Image.new("RGB", (width, height)).save(path, kind)
    known, form = File(0, "", width, height, kind == "JPEG", True), Detail(at_least, average)
    made = form.make(path)
    assert made.size[::-1] == form.shape(known)
    assert min(made.size) >= min(at_least, width, height)
    assert not average or min(made.size) < 2 * at_least
    assert nbytes(form, known) == len(made.tobytes())


# In memory


def test_memory_holds_each_image_in_its_own_place():
    known = [file(i, training=bool(i)) for i in range(3)]
    kept = [FORMS[0] if f.training else FORMS[1] for f in known]
    store = Ram([nbytes(form, f) for form, f in zip(kept, known, strict=True)], False)
    assert store.get(known[1], FORMS[0]) is None
    for i in (2, 0, 1):
        store.put(known[i], kept[i], noise(kept[i], known[i], i))
    for i in range(3):
        np.testing.assert_array_equal(store.get(known[i], kept[i]), noise(kept[i], known[i], i))
    store.put(known[1], FORMS[1], noise(FORMS[1], known[1]))  # the probe's form: it has no place
    assert store.get(known[1], FORMS[1]) is None
    assert store.get(known[1], FORMS[0]) is not None


def test_memory_refuses_what_was_not_foreseen():
    store, known = Ram([10_000, 0], False), file()
    store.put(known, FORMS[0], np.zeros((5, 5, 3), np.uint8))
    assert store.get(known, FORMS[0]) is None
    store.put(file(1), FORMS[0], noise(FORMS[0], file(1)))
    assert store.get(file(1), FORMS[0]) is None


@given(st.lists(st.integers(1, 50)), st.integers(0, 300))
def test_no_more_is_kept_than_has_room(sizes, room):
    kept = places(sizes, room)
    assert sum(kept) <= room
    assert all(k in (0, size) for k, size in zip(kept, sizes, strict=True))
    assert kept == sizes or min((s for s, k in zip(sizes, kept, strict=True) if not k)) > room - sum(kept)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"data.cache_gb": 3e-6}, "data.cache_gb: 3e-06"),
        ({"available": 5000}, "of memory are free"),
        ({"free": 36_000, "data.workers": 1}, "/dev/shm has 0 MB free of"),
    ],
)
def test_what_has_no_room_in_memory_is_said_and_decoded(build, monkeypatch, limit, said):
    if "available" in limit:
        monkeypatch.setattr(block, "available", lambda: limit["available"])
    if "free" in limit:
        monkeypatch.setattr(shared_memory, "free", lambda: limit["free"])
        monkeypatch.setattr(shared_memory, "size", lambda: "/dev/shm has 0 MB free of 0 MB")
    given_settings = {k: v for k, v in limit.items() if "." in k}
    made = build(**given_settings, **{"data.cache": "ram"})
    note = next(n for n in made.notes if n.startswith("cache:"))
    assert said in note
    assert "of 9 decoded images have room" in note
    without = build(**given_settings)
    assert all(torch.equal(a, b) for a, b in zip(passes(made, 1), passes(without, 1), strict=True))


def test_a_containers_limit_counts(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    8000 kB\n")
    monkeypatch.setattr(block, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(block, "CGROUP", tmp_path)
    assert block.available() == 8000 * 1024
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("4000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 700\n")
    assert block.available() == 1700
    (tmp_path / "memory.max").write_text("max\n")
    assert block.available() == 8000 * 1024
    monkeypatch.setattr(block, "MEMINFO", tmp_path / "none")
    assert block.available() is None


def test_a_block_is_freed_by_its_maker_alone():
    made = Block(100, True)
    name = made._memory.name
    other = pickle.loads(pickle.dumps(made))
    other.view(np.uint8, 3, 1)[:] = 7
    del other
    assert made.view(np.uint8, 3, 1)[0] == 7
    assert Path("/dev/shm", name).exists() or not Path("/dev/shm").is_dir()
    del made
    assert not Path("/dev/shm", name).exists()


# On disk


def test_a_torn_or_foreign_file_is_written_again():
    store, known, wanted = Disk(image_disk.folder(), 10**6, False), file(), noise(FORMS[0], file())
    store.put(known, FORMS[0], wanted)
    path = image_disk.path(store.where, known, FORMS[0])
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole[:10], b"x" * len(whole), whole[:-1] + bytes([whole[-1] ^ 1]), whole + b"x"):
        path.write_bytes(damaged)
        assert store.get(known, FORMS[0]) is None
        store.put(known, FORMS[0], wanted)
        np.testing.assert_array_equal(store.get(known, FORMS[0]), wanted)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_content_and_form_decide_not_the_place():
    store, other = Disk(image_disk.folder(), 10**6, False), file(5, "other")
    store.put(file(), FORMS[0], noise(FORMS[0], file()))
    assert store.get(file(number=3), FORMS[0]) is not None
    assert store.get(other, FORMS[0]) is None
    assert store.get(file(), Detail(10, True)) is None
    assert store.get(file(), FORMS[1]) is None


def test_no_more_is_written_than_has_room():
    size = nbytes(FORMS[0], file()) + image_disk.HEAD.size
    store = Disk(image_disk.folder(), 2 * size + size // 2, False)
    for i in range(4):
        store.put(file(i, str(i)), FORMS[0], noise(FORMS[0], file(i)))
    assert [store.get(file(i, str(i)), FORMS[0]) is not None for i in range(4)] == [True, True, False, False]


def test_files_unused_for_longest_make_room_and_ones_own_never(tmp_path):
    folder = tmp_path / "cache"
    names = [folder / "aa" / str(i) for i in range(4)]
    names[0].parent.mkdir(parents=True)
    for i, name in enumerate(names):
        name.write_bytes(bytes(100))
        os.utime(name, (1000 + i, 1000 + i))
    own = {str(names[0]): 100, str(folder / "aa" / "new"): 150}
    found = image_disk.make_room(folder, own, 400)
    assert found == (1, 150, 200, 200)
    assert [name.exists() for name in names] == [True, False, False, True]
    assert names[0].stat().st_mtime > 2000  # used today
    assert image_disk.make_room(folder, own, 100) == (1, 150, 0, 100)
    assert [name.exists() for name in names] == [True, False, False, False]


def test_a_small_limit_on_disk_is_said(build):
    made = build(**{"data.cache": "disk", "data.cache_gb": 3e-6})
    assert "have room (data.cache_gb: 3e-06): the rest is decoded anew" in made.notes[-1]
    passes(made)
    assert sum(p.stat().st_size for p in image_disk.folder().rglob("*") if p.is_file()) <= 3000


def test_a_full_disk_ends_the_writing_and_is_told_once(build, monkeypatch):
    made = build(**{"data.cache": "disk"})

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(image_disk.runs, "atomic_write", full)
    without = build()
    assert all(torch.equal(a, b) for a, b in zip(passes(made), passes(without), strict=True))
    told: list[str] = []
    callback = loaders.TellTrouble(told.append)
    callback.learn = SimpleNamespace(dls=made.dls)
    callback.after_epoch()
    callback.after_epoch()
    assert len(told) == 1
    assert "No space left on device" in told[0]


def test_a_folder_that_cannot_be_written_is_a_warning(build, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IMGCLF_CACHE", str(tmp_path / "file" / "below"))
    made = build(**{"data.cache": "disk"})
    assert "cannot be written (Not a directory)" in made.warning
    drawn, every = len(made.dls.train) * made.batch_size, made.dls.train.n + made.dls.valid.n
    assert sum(map(len, passes(made, 1))) == drawn + every


def test_never_in_the_data_folder(build, dataset, monkeypatch):
    monkeypatch.setenv("IMGCLF_CACHE", str(dataset.root / "sub"))
    made = build(**{"data.cache": "disk"})
    assert "never writes there" in made.warning
    assert not (dataset.root / "sub").exists()


def test_only_files_that_were_checked_are_kept(make_config, dataset):
    cfg = make_config(dataset.root, **{"augment.size": 16, "augment.presize": 24, "data.cache": "ram"})
    made = loaders.build(cfg, dataset, CPU)
    assert loaders.image_opener(made.dls).cache is None


def test_unreadable_files_stay_errors(build, dataset):
    made = build(**{"data.cache": "ram"})
    opener = loaders.image_opener(made.dls)
    path = dataset.root / dataset.train[0].path
    path.write_bytes(b"no image")
    with pytest.raises(ImageLost, match=f"{path}: cannot identify"):
        opener(path, split_idx=0)


def test_what_is_averaged_first_looks_the_same(tmp_path, pictures):
    """A PNG ten times as fine as is needed: averaged before the square is cut out instead of after it.

    Where the square may begin is then a multiple of ten pixels, less than one of the result; here there is one place.
    """
    from imgclf.data.geometry import Geometry
    from imgclf.data.images import Preprocess
    from imgclf.data.presize import Fused

    path = tmp_path / "large.png"
    pictures.picture(480, 480).save(path)
    step = Fused(60, Preprocess(32), Geometry(min_scale=0.75, do_flip=True, max_rotate=10.0))
    results = []
    for image in (Image.open(path), Detail(step.detail, True).make(path)):
        random.seed(3)
        results.append(np.asarray(step(image, split_idx=0)).astype(int))
    assert np.abs(results[0] - results[1]).max() <= 10
    assert np.abs(results[0] - results[1]).mean() < 1.5


def test_the_note_names_what_is_used():
    assert image_cache._gb(1_500_000_000) == "1.5 GB"
    assert image_cache._gb(4_200_000) == "4 MB"
