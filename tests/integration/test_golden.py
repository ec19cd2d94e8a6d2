"""The losses of a small seeded run are those of the list that scripts/make_golden.py wrote."""

import importlib.util
import json

import pytest
import torch
from support import ROOT


@pytest.fixture(scope="module")
def golden():
    spec = importlib.util.spec_from_file_location("make_golden", ROOT / "scripts" / "make_golden.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("engine", ["fastai", "fused"])
def test_losses_are_the_golden_ones(engine, golden, tmp_path):
    written = json.loads(golden.TARGET.read_text())
    if golden.drawn() != written["drawn"]:
        pytest.skip(f"torch {torch.__version__} draws other numbers from a seed than torch {written['torch']}")
    expected = written[engine]
    threads = torch.get_num_threads()
    try:
        found = golden.losses(engine, tmp_path)
    finally:
        torch.set_num_threads(threads)
    # Bit for bit on one machine; other processors and torch versions add in another order.
    assert found == pytest.approx(expected, rel=0.02)
