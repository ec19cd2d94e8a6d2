import pytest

from imgclf.results.phases import sentence, unfreezing


def row(phase, error_rate, best):
    return {"phase": phase, "error_rate": error_rate, "best": best}


def test_unfreezing_helped():
    rows = [row("frozen", 0.3, True), row("unfrozen", 0.35, False), row("unfrozen", 0.2, True)]
    found = unfreezing(rows, "error_rate")
    assert found == {"helped": True, "metric": "error_rate", "phase": "frozen", "frozen": 0.3, "best": 0.2}
    assert sentence(found) == "unfreezing helped: error_rate 0.3 with the body frozen, 0.2 after"


def test_the_probe_is_a_frozen_phase():
    found = unfreezing([row("probe", 0.3, True), row("unfrozen", 0.2, True)], "error_rate")
    assert sentence(found) == "unfreezing helped: error_rate 0.3 with the probe, the body frozen, 0.2 after"


@pytest.mark.parametrize("after", [0.3, 0.3 + 1e-8])  # as passes over the same batches add them up
def test_a_lower_loss_at_the_same_error_is_told_as_that(after):
    found = unfreezing([row("probe", 0.3, True), row("unfrozen", after, True)], "error_rate")
    said = "unfreezing lowered the loss alone: error_rate 0.3 with the probe, the body frozen, the same after"
    assert (found["helped"], sentence(found)) == (True, said)


def test_unfreezing_did_not_help():
    found = unfreezing([row("frozen", 0.3, True), row("unfrozen", 0.35, False)], "error_rate")
    assert (found["helped"], found["best"]) == (False, 0.3)
    assert "did not help" in sentence(found)


def test_one_phase_says_nothing():
    assert unfreezing([row("one_cycle", 0.3, True)], "error_rate") is None
    assert unfreezing([row("frozen", 0.3, True)], "error_rate") is None
