"""Who validates: what the data says, else a stratified draw that depends on the seed and on nothing else."""

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from imgclf.data import draw, split
from imgclf.data.labels import join, parse
from imgclf.data.samples import Sample, Samples
from imgclf.errors import DataError

ROOT = Path("/data")


def make(counts, given_split=None):
    return [Sample(f"{label}/{i}.jpg", (label,), given_split) for label, n in counts.items() for i in range(n)]


counts = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 40), min_size=1)
pcts = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=200, deadline=None)
@given(counts, pcts, st.booleans(), seeds)
def test_every_image_is_on_exactly_one_side(n, pct, stratify, seed):
    items = make(n)
    made = draw.hold_out(items, pct, stratify, seed)
    assert sorted(s.path for s in made) == sorted(s.path for s in items)
    assert {s.split for s in made} <= {"train", "valid"}
    assert {s.path: s.label for s in made} == {s.path: s.label for s in items}


@settings(max_examples=200, deadline=None)
@given(counts, pcts, st.booleans(), seeds, st.randoms())
def test_the_split_depends_on_the_seed_and_not_on_the_order(n, pct, stratify, seed, shuffler):
    items = make(n)
    mixed = list(items)
    shuffler.shuffle(mixed)
    assert draw.hold_out(items, pct, stratify, seed) == draw.hold_out(mixed, pct, stratify, seed)


def test_another_seed_gives_another_split():
    items = make({"a": 50, "b": 50})
    assert draw.hold_out(items, 0.3, True, 1) != draw.hold_out(items, 0.3, True, 2)


def test_the_split_does_not_use_or_change_the_global_random_state():
    items = make({"a": 50, "b": 50})
    random.seed(1)
    first, after = draw.hold_out(items, 0.3, True, 1), random.random()
    random.seed(1)
    assert random.random() == after
    random.seed(2)
    assert draw.hold_out(items, 0.3, True, 1) == first


@settings(max_examples=200, deadline=None)
@given(counts, pcts, seeds)
def test_stratified_each_class_is_within_one_image_of_its_share_and_on_both_sides(n, pct, seed):
    held = Counter(s.label for s in draw.hold_out(make(n), pct, True, seed) if s.split == "valid")
    for label, total in n.items():
        assert abs(held[label] - total * pct) <= 1
        assert total == 1 or 1 <= held[label] <= total - 1


@settings(max_examples=200, deadline=None)
@given(counts, pcts, st.booleans(), seeds)
def test_no_class_is_in_validation_alone_and_singletons_train(n, pct, stratify, seed):
    made = draw.hold_out(make(n), pct, stratify, seed)
    trained = {s.label for s in made if s.split == "train"}
    assert trained == set(n)


@settings(max_examples=50, deadline=None)
@given(pcts, seeds)
def test_unstratified_the_whole_is_within_one_image_of_its_share(pct, seed):
    held = sum(s.split == "valid" for s in draw.hold_out(make({"a": 60, "b": 60}), pct, False, seed))
    assert abs(held - 120 * pct) <= 2


def test_an_image_added_to_one_class_leaves_the_others_split_alone():
    before = draw.hold_out(make({"a": 20, "b": 20}), 0.2, True, 7)
    after = draw.hold_out(make({"a": 20, "b": 21}), 0.2, True, 7)
    assert [s for s in before if s.label == "a"] == [s for s in after if s.label == "a"]


@pytest.fixture
def divide(make_config):
    def run(items, **settings):
        cfg = make_config("/data", **{f"data.{k}": v for k, v in settings.items()})
        return split.split(cfg, Samples(ROOT, tuple(items), "test"))

    return run


def test_a_given_split_is_kept(divide):
    items = [
        *make({"a": 3, "b": 3}, "train"),
        *(Sample(f"v/{c}", (c,), "valid") for c in "ab"),
        Sample("t/a", ("a",), "test"),
    ]
    made = divide(items, valid_pct=0.5)
    assert {s.path for s in made.valid} == {"v/a", "v/b"}
    assert {s.path for s in made.test} == {"t/a"}
    assert len(made.train) == 6
    assert made.left_out == ()


def test_images_without_a_split_train_where_others_validate(divide):
    made = divide([*make({"a": 3, "b": 3}), Sample("v/a", ("a",), "valid")])
    assert [s.path for s in made.valid] == ["v/a"]
    assert {s.split for s in made.train} == {"train"}
    assert len(made.train) == 6


def test_where_only_a_test_split_is_given_validation_comes_out_of_training(divide):
    made = divide([*make({"a": 10, "b": 10}, "train"), Sample("t/a", ("a",), "test")], valid_pct=0.2)
    assert (len(made.train), len(made.valid), len(made.test)) == (16, 4, 1)
    assert made.test[0].path == "t/a"


def test_classes_come_from_training_in_order_and_others_are_left_out(divide):
    items = make({"b": 2, "a": 2}, "train")
    extra = [Sample("v/b", ("b",), "valid"), Sample("v/c", ("c",), "valid"), Sample("t/d", ("d",), "test")]
    made = divide([*items, *extra])
    assert made.classes == ("a", "b")
    assert {s.path for s in made.left_out} == {"v/c", "t/d"}
    assert made.targets(made.valid) == [1]
    assert made.targets(made.train) == [{"a": 0, "b": 1}[s.label] for s in made.train]


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (make({"a": 5}), "1 class to train on under /data: 'a'"),
        ([], "0 classes to train on"),
        (make({"a": 1, "b": 1}), "no image under /data is left to validate on"),
        (
            [*make({"a": 2, "b": 2}, "train"), Sample("v", ("c",), "valid")],
            "no image under /data is left to validate on",
        ),
    ],
)
def test_what_cannot_be_split_is_said(divide, items, said):
    with pytest.raises(DataError) as caught:
        divide(items)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("items", "settings", "hint"),
    [
        (make({"a": 1, "b": 1}), {}, "raise data.valid_pct"),
        (make({"a": 2, "b": 2}), {"folds": 9, "fold": 9}, "fewer data.folds"),
        ([*make({"a": 2, "b": 2}, "train"), Sample("v", ("c",), "valid")], {}, "names of its classes"),
    ],
    ids=["drawn", "folds", "given"],
)
def test_nobody_to_validate_on_is_told_with_a_way_that_helps(divide, items, settings, hint):
    with pytest.raises(DataError, match="left to validate on") as caught:
        divide(items, **settings)
    assert hint in caught.value.hint
    assert ("1 held-out image has a label" in caught.value.message) == (hint == "names of its classes")


def test_the_seed_of_the_configuration_decides(make_config):
    items = Samples(ROOT, tuple(make({"a": 50, "b": 50})), "test")
    first, again, other = (split.split(make_config("/data", seed=s), items) for s in (1, 1, 2))
    assert first == again
    assert first.valid != other.valid


awkward = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=10)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(awkward, awkward), min_size=1, max_size=8, unique_by=lambda p: p[0]))
def test_the_table_of_a_split_reads_back(tmp_path_factory, pairs):
    assume(all("\r" not in path + label for path, label in pairs))
    rows = [Sample(path, (label,), "train" if i % 2 else "valid") for i, (path, label) in enumerate(pairs)]
    parts = {part: tuple(s for s in rows if s.split == part) for part in ("train", "valid")}
    file = tmp_path_factory.getbasetemp() / "split.csv"
    file.write_text(split.to_csv(split.Dataset(ROOT, (), **parts), {}), encoding="utf-8")
    assert split.read_csv(file) == [*parts["train"], *parts["valid"]]


label_sets = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=6), max_size=4
)


@settings(max_examples=200, deadline=None)
@given(label_sets | st.lists(st.text("a;\\\n ", min_size=1, max_size=5), max_size=4))
def test_several_labels_in_one_cell_read_back(labels):
    assert parse(join(labels)) == tuple(labels)


combinations = st.lists(st.sets(st.sampled_from("abcdef"), max_size=4), min_size=2, max_size=60)


def several(rows):
    return [Sample(f"{i}.jpg", tuple(sorted(row))) for i, row in enumerate(rows)]


@settings(max_examples=200, deadline=None)
@given(combinations, pcts, st.booleans(), seeds, st.randoms())
def test_several_labels_split_completely_by_the_seed_and_no_label_leaves_training(rows, pct, stratify, seed, shuffler):
    items = several(rows)
    made = draw.hold_out_multi(items, pct, stratify, seed)
    assert {s.path: s.labels for s in made} == {s.path: s.labels for s in items}
    assert {s.split for s in made} <= {"train", "valid"}
    assert {x for s in made if s.split == "train" for x in s.labels} == {x for s in items for x in s.labels}
    mixed = list(items)
    shuffler.shuffle(mixed)
    assert draw.hold_out_multi(mixed, pct, stratify, seed) == made


def test_several_labels_are_held_out_in_proportion_the_rare_ones_too():
    rows = [{"person"}] * 300 + [{"person", "car"}] * 100 + [{"car"}] * 60 + [{"person", "tie"}] * 5 + [set()] * 50
    made = draw.hold_out_multi(several(rows), 0.2, True, 3)
    held = Counter(x for s in made if s.split == "valid" for x in s.labels)
    assert abs(held["person"] - 81) <= 1 and abs(held["car"] - 32) <= 1 and held["tie"] == 1
    assert sum(s.split == "valid" and not s.labels for s in made) == 10


def test_targets_of_several_labels_are_rows_of_marks(make_config):
    items = [Sample("1", ("a", "b"), "train"), Sample("2", (), "train"), Sample("3", ("b", "z"), "valid")]
    made = split.split(make_config("/data"), Samples(ROOT, tuple(items), "test", multi_label=True))
    assert (made.classes, made.multi_label, made.left_out) == (("a", "b"), True, ())
    assert made.targets(made.train) == [[1, 1], [0, 0]]
    assert made.targets(made.valid) == [[0, 1]]


def test_the_table_holds_size_and_hash():
    made = split.Dataset(ROOT, ("a",), (Sample("1", ("a",), "train"),), (Sample("2", ("a",), "valid"),))
    assert split.to_csv(made, {"1": (7, "beef")}) == "path,label,split,size,hash\n1,a,train,7,beef\n2,a,valid,,\n"


def test_the_table_holds_groups_where_there_are_any(tmp_path):
    train, valid = (
        (Sample("1", ("a",), "train", "film, 1"), Sample("2", ("a",), "train")),
        (Sample("3", ("a",), "valid"),),
    )
    table = tmp_path / "split.csv"
    table.write_text(split.to_csv(split.Dataset(ROOT, ("a",), train, valid), {}), encoding="utf-8")
    assert table.read_text(encoding="utf-8").splitlines()[0] == "path,label,split,size,hash,group"
    assert split.read_csv(table) == [*train, *valid]


@pytest.mark.parametrize(("word", "meant"), [("valid", "valid"), ("val", "valid"), ("Train", "train")])
def test_a_table_written_by_hand_may_say_it_otherwise(tmp_path, word, meant):
    (tmp_path / "split.csv").write_text(f"path,label,split\n1,a,{word}\n", encoding="utf-8-sig")
    assert split.read_csv(tmp_path / "split.csv") == [Sample("1", ("a",), meant)]


@pytest.mark.parametrize("word", ["", "holdout"])
def test_a_row_on_no_side_does_not_vanish(tmp_path, word):
    (tmp_path / "split.csv").write_text(f"path,label,split\n1,a,train\n2,a,{word}\n")
    with pytest.raises(DataError, match=f"split.csv, image 2: '{word}' is no split"):
        split.read_csv(tmp_path / "split.csv")


@pytest.mark.parametrize("content", [None, b"path,label\n1,a\n", b"path,label,split\n\xff,a,train\n"])
def test_a_table_that_cannot_be_read_is_said(tmp_path, content):
    if content is not None:
        (tmp_path / "split.csv").write_bytes(content)
    with pytest.raises(DataError, match="cannot read the split"):
        split.read_csv(tmp_path / "split.csv")
