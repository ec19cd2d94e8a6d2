"""One label a cell, several a cell, a column for each: what a table says, and what is only a name with a space."""

import pytest

from imgclf.data.labels import recognise_delimiter
from imgclf.data.scan import scan
from imgclf.errors import DataError


@pytest.fixture
def read(make_config, tmp_path):
    def run(text, **settings):
        (tmp_path / "data").mkdir(exist_ok=True)
        table = tmp_path / "data" / "labels.csv"
        table.write_text(text)
        return scan(make_config(table, **{f"data.{k}": v for k, v in settings.items()}))

    return run


def of(found):
    return [s.labels for s in found.items]


@pytest.mark.parametrize("delimiter", ["|", ";", ",", " "])
def test_several_labels_in_a_cell_are_recognised_and_said(read, delimiter):
    cells = ["car", "person", "car person", "bus person", "bus", "", "person  car"]
    text = "image,labels\n" + "".join(f'{i}.jpg,"{c.replace(" ", delimiter)}"\n' for i, c in enumerate(cells))
    found = read(text)
    assert found.multi_label
    assert of(found)[2:] == [("car", "person"), ("bus", "person"), ("bus",), (), ("car", "person")]
    assert f"split at {delimiter!r}; data.label_delim" in found.layout
    assert found.class_counts == {"bus": 2, "car": 3, "person": 4}


def test_the_recognised_delimiter_can_be_refused(read):
    found = read("image,labels\n1,car\n2,person\n3,car person\n4,person car\n", label_delim="none")
    assert not found.multi_label
    assert of(found) == [("car",), ("person",), ("car person",), ("person car",)]


@pytest.mark.parametrize(
    "cells",
    [
        ["golden retriever", "labrador retriever", "tabby cat", "persian cat", "beagle"],
        ["cat", "dog", "bird"],
        ["Smith, John", "Smith, Jane", "Doe, John"],
        [],
    ],
)
def test_names_with_spaces_and_commas_stay_whole(cells):
    assert recognise_delimiter(cells) is None


def test_a_given_delimiter_makes_any_column_multi_label(read):
    found = read("image,label\n1,a; b\n2,b\n3,\n4,b;b;\n", label_delim=";")
    assert found.multi_label
    assert of(found) == [("a", "b"), ("b",), (), ("b",)]
    assert not read("image,label\n1,a; b\n2,b\n").multi_label


def test_a_column_for_each_label_is_recognised(read):
    found = read("image,car,person,is_valid,width\n1,1,0,0,640\n2,1,1,1,480\n3,0,0,0,9\n")
    assert found.multi_label
    assert of(found) == [("car",), ("car", "person"), ()]
    assert [s.split for s in found.items] == ["train", "valid", "train"]
    assert "labels car, person (a column for each; data.label_columns)" in found.layout


def test_one_mark_in_every_row_is_a_single_label_unless_the_columns_are_named(read):
    text = "image,MEL,NV\n1,1.0,0.0\n2,0.0,1.0\n"
    assert not read(text).multi_label
    assert of(read(text)) == [("MEL",), ("NV",)]
    assert read(text, label_columns=["MEL", "NV"]).multi_label


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["car", "persn"], r"no column 'persn' \(data\.label_columns\)\. Did you mean 'person'"),
        (["car", "n"], "holds '7'"),
    ],
)
def test_named_columns_that_do_not_fit(read, columns, said):
    with pytest.raises(DataError, match=said):
        read("image,car,person,n\n1,1,0,7\n2,0,1,1\n", label_columns=columns)


def test_a_misnamed_label_column_is_not_taken_for_marks(read):
    with pytest.raises(DataError, match="no column 'specie'"):
        read("image,car,person\n1,1,0\n2,1,1\n", label_column="specie")
