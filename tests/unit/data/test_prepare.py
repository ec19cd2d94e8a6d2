"""Preparing: Python looks for garbage seldom meanwhile, and as before afterwards."""

import gc

import pytest

from imgclf.console import Terminal
from imgclf.data import prepare as module
from imgclf.data.garbage import SELDOM
from imgclf.errors import DataError


def test_garbage_is_looked_for_seldom_while_images_are_prepared(tmp_path, pictures, make_config, monkeypatch):
    before, seen = gc.get_threshold(), []
    scan = module.scan.scan
    monkeypatch.setattr(module.scan, "scan", lambda *a, **k: (seen.append(gc.get_threshold()), scan(*a, **k))[1])
    pictures.files(tmp_path, *(f"{label}/{i}.png" for label in "ab" for i in range(5)))
    made = module.prepare(make_config(tmp_path), Terminal(quiet=True))
    assert made.findings["bad"] == 0 and made.split_csv
    with pytest.raises(DataError):
        module.prepare(make_config(tmp_path / "nothing"), Terminal(quiet=True))
    assert (seen, gc.get_threshold()) == ([SELDOM] * len(seen), before) and seen
