import pytest

from imgclf.errors import GateError, UserError
from imgclf.results import gate
from imgclf.results.metrics import wilson

FOUND = wilson(23, 25)  # 0.92, 0.750 to 0.978


@pytest.mark.parametrize(
    ("at_least", "on", "passed"),
    [(0.92, "value", True), (0.9200001, "value", False), (0.75, "low", True), (0.76, "low", False)],
)
def test_what_passes(at_least, on, passed):
    found = gate.gate(FOUND, at_least, on)
    assert found.passed == passed
    assert found.to_dict()["reached"] == (FOUND.value if on == "value" else FOUND.low)
    if passed:
        gate.enforce(found, FOUND)
        return
    with pytest.raises(GateError, match=r"accuracy 0\.9200 \(0\.750\d–0\.97\d+, n=25\).* at least 0\.") as e:
        gate.enforce(found, FOUND)
    assert e.value.exit_code == 6
    assert ("lower end" in e.value.message) == (on == "low")


@pytest.mark.parametrize(
    ("at_least", "on", "said"),
    [
        (92, None, "92 % is --fail-under 0.92"),
        (0, None, "above 0"),
        (float("nan"), None, "above 0"),
        (None, "low", "--fail-under is not given"),
        (0.5, "lwo", "Did you mean 'low'"),
    ],
)
def test_what_cannot_be_meant(at_least, on, said):
    with pytest.raises(UserError, match=said) as e:
        gate.check_options(at_least, on)
    assert e.value.exit_code == 2
