"""What a model has to beat: against scikit-learn used plainly, and on answers known by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from probed import NAMES, frozen, several

from imgclf.results import baselines, beside, learning_curve
from imgclf.results.compare import mcnemar
from imgclf.results.evaluate import Predictions, evaluate
from imgclf.results.sections import baselines as section
from imgclf.results.sections.content import Content


def test_logistic_regression_is_scikit_learns():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import normalize

    f = frozen()
    plain = LogisticRegression(C=10, max_iter=300, tol=1e-3).fit(normalize(f.train), f.targets)
    np.testing.assert_allclose(baselines.logistic(f, 10.0), plain.predict_proba(normalize(f.judged)), atol=1e-6)


def test_logistic_regression_is_fitted_on_one_thread_as_more_wait_for_each_other(monkeypatch):
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_info

    seen = []
    fit = LogisticRegression.fit

    def look(self, *args):
        seen.append({pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})
        return fit(self, *args)

    monkeypatch.setattr(LogisticRegression, "fit", look)
    before = threadpool_info()
    baselines.logistic(frozen(), 1.0)
    assert seen == [{1}]
    assert threadpool_info() == before


def test_logistic_regression_learns_many_classes_too():
    """The slope of its loss begins below scikit-learn's tolerance there, and it would answer one class for all."""
    rng, n_classes = np.random.default_rng(0), 200
    centres = rng.normal(3, 0.5, (n_classes, 64))
    y = np.repeat(np.arange(n_classes), 2)
    x, judged = (np.repeat(centres, 2, 0) + rng.normal(0, 0.1, (2 * n_classes, 64)) for _ in range(2))
    many = baselines.Frozen(
        x.astype(np.float32), y, judged.astype(np.float32), y, tuple(map(str, range(n_classes))), "body", len(x)
    )
    assert (baselines.logistic(many, 10.0).argmax(1) == y).mean() > 0.9


def test_neighbours_are_scikit_learns():
    from sklearn.neighbors import KNeighborsClassifier

    f = frozen()
    plain = KNeighborsClassifier(10, metric="cosine", weights=lambda d: np.maximum(1 - d, 1e-6))
    np.testing.assert_allclose(baselines.nearest(f), plain.fit(f.train, f.targets).predict_proba(f.judged), atol=1e-9)


@given(st.integers(1, 40), st.floats(0.1, 100))
@settings(max_examples=20, deadline=None)
def test_the_length_of_features_does_not_matter(seed, factor):
    f = frozen(seed=seed, n=30, m=9)
    scaled = frozen(seed=seed, n=30, m=9, judged=f.judged * factor)
    np.testing.assert_allclose(baselines.nearest(f), baselines.nearest(scaled), atol=1e-6)
    np.testing.assert_allclose(baselines.logistic(f, 1.0), baselines.logistic(scaled, 1.0), atol=1e-6)


def test_a_class_without_training_images_is_never_given():
    f = frozen()
    lacking = f.subset(np.flatnonzero(f.targets != 1))
    assert (baselines.logistic(lacking, 10.0)[:, 1] == 0).all()
    only = f.subset(np.flatnonzero(f.targets == 2))
    assert (baselines.logistic(only, 10.0).argmax(1) == 2).all()


def test_probes_tell_what_they_reach_and_the_paired_test():
    f = frozen(apart=0.6)
    right = np.ones(45, dtype=bool)
    found = baselines.probes(f, right, trained=True)
    probe = baselines.logistic(f, found["logistic_regression"]["C"]).argmax(1) == f.truth
    assert found["logistic_regression"]["accuracy"]["value"] == pytest.approx(probe.mean())
    assert 0 < probe.sum() < 45
    paired = found["paired"]
    assert (paired["only_model"], paired["only_probe"], paired["n"]) == ((~probe).sum(), 0, 45)
    assert paired["p_value"] == mcnemar(int((~probe).sum()), 0) < 0.05
    assert paired["sentence"].startswith("fine-tuning against the probe (logistic regression): of 45 images")
    assert paired["sentence"].endswith("fine-tuning is better")
    assert (found["n_train"], found["n_train_of"], found["features"], found["body"]) == (60, 60, 8, "net")


@pytest.mark.parametrize(
    ("model", "probe", "trained", "end"),
    [
        ([1] * 10, [1] * 9 + [0], True, "p = 1 (exact McNemar test): no clear difference"),
        ([0] * 10, [1] * 10, True, "p = 0.002 (exact McNemar test): the probe is better"),
        ([1] * 10, [0] * 10, False, "this model, of which only the head was trained is better"),
    ],
)
def test_the_sentence_says_no_more_than_the_test(model, probe, trained, end):
    made = baselines.paired("x", np.array(model, bool), np.array(probe, bool), trained)
    assert made["sentence"].endswith(end)


def test_where_logistic_regression_would_take_long_the_neighbours_stand_for_it(monkeypatch):
    monkeypatch.setattr(baselines, "MOST_WORK", 100)
    found = baselines.probes(frozen(), np.ones(45, dtype=bool), trained=True)
    assert "logistic_regression" not in found
    assert found["paired"]["probe"] == "nearest neighbours"


def test_several_labels():
    f = several()
    found = baselines.probes(f, np.zeros(50, dtype=bool), trained=True)
    scores = baselines.logistic(f, found["logistic_regression"]["C"])
    assert (scores[:, 2] == 0).all()
    right = ((scores >= 0.5) == (f.truth > 0)).all(1)
    assert found["logistic_regression"]["accuracy"]["value"] == pytest.approx(right.mean())
    assert found["logistic_regression"]["mAP"] > found["knn"]["mAP"] > 0.5  # of the two labels that occur
    assert found["paired"]["only_probe"] == right.sum()


def test_majority_is_the_commonest_of_training_judged_elsewhere():
    found = baselines.majority(np.array([0, 1, 1]), np.array([1, 0, 0, 0]), NAMES)
    assert (found["label"], found["accuracy"]["value"], found["accuracy"]["n"]) == ("b", 0.25, 4)
    found = baselines.majority(np.array([[1, 0, 1], [1, 0, 1], [0, 1, 0]]), np.array([[1, 0, 1], [0, 0, 1]]), NAMES)
    assert (found["labels"], found["accuracy"]["value"]) == (["a", "c"], 0.5)
    assert found["mAP"] == pytest.approx((0.5 + 1) / 2)  # a: of one in two images, c: of both


def test_lines_for_a_terminal():
    common = baselines.majority(np.array([0, 1, 1]), np.array([1, 0, 0, 0]), NAMES)
    lines = beside.baselines({"majority": common, "probe": None, "why": baselines.RANDOM})
    assert lines[0].startswith("baseline: always 'b' 0.250 (")
    assert lines[1] == f"no frozen-feature probe: {baselines.RANDOM}"
    probe = baselines.probes(frozen(), np.ones(45, dtype=bool), trained=True)
    lines = beside.baselines({"majority": common, "probe": probe, "why": None})
    assert lines[2] == probe["paired"]["sentence"]
    assert "logistic regression 1.000 (0.9" in lines[1]
    assert "nearest neighbours 1.000 (0.9" in lines[1]


def test_the_section_of_several_labels_has_their_mean_average_precision():
    f = several()
    logits = np.where(f.truth > 0, 2.0, -2.0)
    names = tuple(f"{i}.jpg" for i in range(len(logits)))
    figures = evaluate(Predictions(names, logits, f.truth, NAMES, 1.0, "multi")).to_dict()
    found = {
        "majority": baselines.majority(f.targets, f.truth, NAMES),
        "probe": {**baselines.probes(f, np.ones(len(logits), dtype=bool), trained=True), "seconds": 1.0},
        "why": None,
    }
    content = Content("", evaluation={**figures, "baselines": found, "learning_curve": learning_curve.curve(f, 10.0)})
    page = section.section(content)
    assert page.count("<tr>") == 5
    assert '<th scope="col" class="number"><bdi>mAP</bdi></th>' in page
    assert "all labels right" in page
    assert f"{found['probe']['knn']['mAP']:.3f}" in page
    assert "Fine-tuning against the probe (logistic regression)" in page
    assert "right decisions, half" in section.more_images(content)
    assert section.section(Content("")) == section.more_images(Content("")) == section.unlike(Content("")) == ""
