"""Configuration: precedence, origins, all problems at once, what YAML may and may not say."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from imgclf import config
from imgclf.config import Override, dump, load, load_config, parse_set
from imgclf.errors import ConfigError
from imgclf.schema import Config, leaves
from imgclf.starter import starter

EMBEDDED = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def file(here):
    """Write a YAML file, return its name."""

    def write(text: str, name: str = "c.yaml") -> str:
        (here / name).write_text(text, encoding="utf-8")
        return name

    return write


def problem(source: str | None, *overrides: Override) -> str:
    with pytest.raises(ConfigError) as caught:
        load(source, overrides)
    assert caught.value.exit_code == 2
    return caught.value.message


def flag(key: str, value: object, origin: str = "--flag") -> Override:
    return Override(key, value, origin)


# Precedence and origin


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sizes": [32, 16], "size": 16}, "each must be larger than the one before"),
        ({"sizes": [16, 24], "size": 32}, "augment.sizes ends at 24 while augment.size is 32"),
        ({"sizes": [16, 32, 64], "size": 64, "presize": 40}, "augment.presize (40) is smaller than augment.size (64)"),
        ({"sizes": [32]}, "at least 2 items"),
        ({"sizes": [1, 32]}, "greater than or equal to 4"),
        ({"sizes": [16.5, 32]}, "augment.sizes"),
        ({"sizes": "big"}, "augment.sizes"),
    ],
    ids=str,
)
def test_sizes_that_cannot_be(settings, said):
    with pytest.raises(ConfigError) as caught:
        load("digits", [flag(f"augment.{key}", value) for key, value in settings.items()])
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("share", [0, 1.01, -0.5, "half", True, None])
def test_a_share_of_the_shorter_side_that_cannot_be(share):
    assert "augment.crop_pct" in problem("digits", flag("augment.crop_pct", share))


def test_only_a_crop_shows_a_share_of_the_shorter_side():
    given = flag("augment.crop_pct", 0.9), flag("augment.resize", "pad")
    assert "augment.crop_pct is 0.9 while augment.resize is pad" in problem("digits", *given)
    assert load("digits", [flag("augment.crop_pct", 1.0), given[1]]).config.augment.crop_pct == 1


def test_the_size_is_the_last_of_the_sizes(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("data: {path: x}\naugment:\n  sizes: [128, 160]\n")
    loaded = load(str(file))
    assert loaded.config.augment.size == 160
    assert loaded.origin["augment.size"] == loaded.origin["augment.sizes"] == f"{file}:3"
    again = tmp_path / "again.yaml"
    again.write_text(dump(loaded.config))
    assert load(str(again)).config == loaded.config


def test_schema_defaults_give_way_to_yaml_to_flags_to_set(file):
    name = file("data: {path: x}\ntrain:\n  epochs: 4\n  freeze_epochs: 5\n  lr: 0.1\n")
    loaded = load(name, [flag("train.freeze_epochs", 6), flag("train.lr", 0.2), parse_set("train.lr=0.3")])
    train = loaded.config.train
    assert (train.lr_mult, train.epochs, train.freeze_epochs, train.lr) == ("auto", 4, 6, 0.3)


def test_the_last_of_two_assignments_wins(file):
    assert load(file("data: {path: x}"), [parse_set("seed=1"), parse_set("seed=2")]).config.seed == 2


def test_origin_names_file_and_line_flag_or_default(file):
    name = file("# comment\ndata:\n  path: x\n\ntrain:\n  epochs: 4\n")
    origin = load(name, [flag("train.lr", 0.2, "--lr"), parse_set("seed=7")]).origin
    assert origin["data.path"] == "c.yaml:3"
    assert origin["train.epochs"] == "c.yaml:6"
    assert origin["train.lr"] == "--lr"
    assert origin["seed"] == "--set seed"
    assert origin["augment.size"] == "default"


def test_every_leaf_has_an_origin(file):
    assert set(load(file("data: {path: x}")).origin) == set(leaves())


def test_nothing_at_all_means_the_embedded_digits():
    loaded = load()
    assert (loaded.config.data.path, loaded.config.model.pretrained) == ("digits", "auto")
    assert loaded.source.endswith("digits.yaml")


def test_data_without_a_configuration_means_the_schemas_defaults():
    loaded = load(None, [flag("data.path", "photos")])
    assert (loaded.config.model.pretrained, loaded.config.augment.size) == (True, 224)
    assert loaded.source == "schema defaults"


def test_naming_the_embedded_data_uses_their_configuration():
    assert load(None, [flag("data.path", "digits")]).config.augment.size == 32


def test_imgclf_yaml_in_the_working_folder_is_used_unless_another_is_named(file):
    file("data: {path: mine}\nseed: 5\n", "imgclf.yaml")
    assert load().config.seed == 5
    assert load(None, [flag("data.path", "other")]).config.seed == 5
    assert load("digits").config.seed == 42


def test_a_file_in_the_working_folder_goes_before_an_embedded_name(file):
    file("data: {path: x}\nseed: 9\n", "pets")
    assert load("pets").config.seed == 9


def test_relative_paths_become_absolute_and_home_is_expanded(file, here, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    cfg = load(file("data: {path: some/photos}\nmodel: {weights: ~/w.pth}\n")).config
    assert (cfg.data.path, cfg.model.weights) == (str(here / "some/photos"), "/home/someone/w.pth")


def test_a_home_folder_that_nobody_has_is_a_path_like_any_other(file, here):
    assert load(file("data: {path: ~nobody-of-that-name/photos}\n")).config.data.path == str(
        here / "~nobody-of-that-name/photos"
    )


@pytest.mark.parametrize("name", ["digits"])
def test_names_of_known_data_stay_as_they_are(file, name):
    assert load(file("{}"), [flag("data.path", name)]).config.data.path == name


def test_a_section_whose_keys_are_all_commented_out_is_a_section(file):
    name = file("data: {path: x}\ntrain:\n  # epochs: 3\n")
    assert load(name).config.train.epochs == 3
    assert load(name, [parse_set("train.epochs=9")]).config.train.epochs == 9


def test_merge_keys_of_yaml_are_understood(file):
    name = file("data: &d\n  path: x\ntrain:\n  epochs: 2\naugment:\n  <<: {size: 64}\n  presize: 80\n")
    loaded = load(name)
    assert loaded.config.augment.size == 64
    assert loaded.origin["augment.size"].startswith("c.yaml:")


def test_load_config_takes_dotted_keys():
    assert load_config("digits", **{"train.epochs": 1}).train.epochs == 1


# Problems


def test_all_problems_come_in_one_error_under_their_dotted_keys(file):
    name = file("data:\n  path: x\n  batchsize: 3\ntrain:\n  epochs: many\n  opt: adamm\nsed: 1\n")
    text = problem(name, parse_set("augment.sise=3"))
    assert "5 problems" in text
    for expected in (
        "data.batchsize: there is no such key (c.yaml, line 3). Did you mean 'data.batch_size'?",
        "sed: there is no such key (c.yaml, line 7). Did you mean 'seed'?",
        "augment.sise: there is no such key (--set augment.sise). Did you mean 'augment.size'?",
        "train.epochs: ",
        "'many' (c.yaml:5)",
        "train.opt: ",
        "'adamm' (c.yaml:6)",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("data: {path: x, batch_size: true}", "data.batch_size", "True"),
        ("data: {path: x}\nseed: true", "seed", "True"),
        ("data: {path: x}\ntrain: {lr: true}", "train.lr", "True"),
        ("data: {path: x}\ntrain: {epochs: 1.5}", "train.epochs", "1.5"),
        ("data: {path: x}\ntrain: {epochs: '3'}", "train.epochs", "'3'"),
        ("data: {path: x, stratify: 1}", "data.stratify", "1"),
        ("data: {path: x, stratify: yes}", "data.stratify", "'yes'"),
        ("data: {path: x, valid_pct: 0.0}", "data.valid_pct", "0.0"),
        ("data: {path: x, valid_pct: 1}", "data.valid_pct", "1"),
        ("data: {path: x, batch_size: 1}", "data.batch_size", "1"),
        ("data: {path: x, workers: some}", "data.workers", "'some'"),
        ("data: {path: x}\ntrain: {lr: 0}", "train.lr", "0"),
        ("data: {path: x}\ntrain: {lr: .inf}", "train.lr", "inf"),
        ("data: {path: x}\ntrain: {lr: .nan}", "train.lr", "nan"),
        ("data: {path: x}\ntrain: {lr: fast}", "train.lr", "'fast'"),
        ("data: {path: x}\naugment: {max_zoom: .inf}", "augment.max_zoom", "inf"),
        ("data: {path: x}\ntrain: {moms: 0.9}", "train.moms", "0.9"),
        ("data: {path: x}\ntrain: {moms: [0.9, 0.8]}", "train.moms", "[0.9, 0.8]"),
        ("data: {path: x}\ntrain: {moms: [0.9, 0.8, 2.0]}", "train.moms", "2.0"),
        ("data: {path: x}\ntrain: {metrics: []}", "train.metrics", "[]"),
        ("data: {path: x}\ntrain: {metrics: error_rate}", "train.metrics", "'error_rate'"),
        ("data: {path: ''}", "data.path", "''"),
        ("data: {path: 2024}", "data.path", "2024"),
        ("data: {path: x}\nversion: 2", "version", "2"),
    ],
)
def test_a_wrong_value_is_shown_with_its_key(file, text, key, value):
    message = problem(file(text))
    assert f"  {key}: " in message
    assert f"got {value} (c.yaml:" in message
    assert "a problem" in message


@pytest.mark.parametrize("lr", [0.001, 1, "auto"])
def test_a_learning_rate_is_a_number_or_auto(file, lr):
    assert load(file("data: {path: x}"), [flag("train.lr", lr)]).config.train.lr == lr


def test_a_missing_data_path_says_how_to_give_it(file):
    assert "data.path: where are the images? (--data PATH)" in problem(file("seed: 1"))
    assert "data.path: where are the images? (--data PATH)" in problem(file(""))


def test_presize_smaller_than_size_is_refused(file):
    assert "augment.presize (200) is smaller than augment.size (224)" in problem(
        file("data: {path: x}\naugment: {presize: 200}")
    )


def test_no_epoch_at_all_is_refused_and_one_of_either_kind_is_enough(file):
    name = file("data: {path: x}\ntrain: {epochs: 0}")
    assert load(name).config.train.freeze_epochs == "auto"
    assert "both 0" in problem(name, flag("train.freeze_epochs", 0))


def test_turning_all_ways_without_flipping_is_refused(file):
    assert "augment.flip_vert" in problem(file("data: {path: x}\naugment: {flip: false, flip_vert: true}"))


@pytest.mark.parametrize("section", ["data: 5", "data: [1]", "train: fast\ndata: {path: x}"])
def test_a_value_where_a_section_belongs_is_one_clear_problem(file, section):
    text = problem(file(section))
    assert "is a section with keys below it, not a value (c.yaml, line 1)" in text
    assert "a problem" in text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("data: {path: x\ntrain: 3", 2),
        ("data:\n  path: x\n\tseed: 1", 3),
        ("seed: 1\nseed: 2", 2),
        ("data: {path: x}\ntrain:\n  epochs: 1\n  epochs: 2", 4),
    ],
)
def test_broken_yaml_and_duplicate_keys_name_the_line(file, text, line):
    assert f"c.yaml, line {line}: " in problem(file(text))


@pytest.mark.parametrize("text", ["- a\n- b", "just words", "3"])
def test_what_is_not_a_mapping_is_refused(file, text):
    assert "c.yaml: a configuration is a mapping of keys" in problem(file(text))


def test_a_file_that_cannot_be_read_is_named(here):
    (here / "c.yaml").write_bytes(b"seed: \xff\xfe")
    assert "cannot read the configuration c.yaml" in problem("c.yaml")


def test_an_unknown_name_lists_the_embedded_ones_and_the_closest():
    with pytest.raises(ConfigError) as caught:
        load("pet")
    assert "Did you mean 'pets'?" in caught.value.message
    for name in config.embedded():
        assert name in caught.value.hint


@pytest.mark.parametrize("text", ["train.lr", "", "novalue"])
def test_set_without_an_equals_sign_says_how(text):
    with pytest.raises(ConfigError, match="no '='"):
        parse_set(text)


def test_set_with_broken_yaml_names_the_key():
    with pytest.raises(ConfigError, match=r"--set data\.pattern"):
        parse_set("data.pattern=[a-z]+_(.*)")


# What YAML says


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E3", 1e3),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("[1, 2]", [1, 2]),
        ("a=b", "a=b"),
        ("'3'", "3"),
        ("010", 10),
    ],
)
def test_values_are_read_as_yaml_1_2(text, value):
    item = parse_set(f"key={text}")
    assert item.value == value
    assert type(item.value) is type(value) or isinstance(value, list | int | float)


def test_a_word_that_yaml_1_1_takes_for_false_stays_a_word(file):
    assert load(file("data: {path: x, label_column: no}")).config.data.label_column == "no"


# The result


def test_the_configuration_is_frozen():
    loaded = load()
    with pytest.raises(ValidationError):
        loaded.config.seed = 1
    with pytest.raises(ValidationError):
        loaded.config.train.epochs = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.config = None


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=30)
shares = st.floats(0, 1)
valid = st.fixed_dictionaries(
    {
        "data.path": words.map(lambda w: "/" + w),
        "seed": st.integers(0, 2**32 - 1),
    },
    optional={
        "offline": st.booleans(),
        "data.pattern": words,
        "data.csv": st.none() | words,
        "data.label_column": words | st.sampled_from(["no", "1e-3", "null", "~", "true", " x", "#", "- a", "0o7"]),
        "data.valid_pct": st.floats(0, 1, exclude_min=True, exclude_max=True),
        "data.workers": st.just("auto") | st.integers(0, 64),
        "augment.flip_vert": st.booleans(),
        "augment.max_rotate": st.floats(0, 180),
        "augment.max_warp": shares,
        "model.pretrained": st.booleans() | st.just("auto"),
        "model.lin_ftrs": st.none() | st.lists(st.integers(1, 4096), max_size=3),
        "model.init": st.none() | st.just("xavier_normal"),
        "train.lr": st.just("auto") | st.floats(0, 10, exclude_min=True),
        "train.wd": st.none() | st.floats(0, 1),
        "train.moms": st.tuples(shares, shares, shares).map(list),
        "train.metrics": st.lists(words, min_size=1, max_size=3),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=valid)
def test_what_is_dumped_loads_to_the_same(values, here):
    (here / "empty.yaml").write_text("{}")
    made = load("empty.yaml", [flag(k, v) for k, v in values.items()]).config
    (here / "dumped.yaml").write_text(dump(made), encoding="utf-8")
    assert load("dumped.yaml").config == made


@pytest.mark.parametrize("path", EMBEDDED, ids=lambda p: p.stem)
def test_every_embedded_configuration_is_valid_and_found_by_name(path):
    assert config.embedded()[path.stem].read_text() == path.read_text()
    assert isinstance(load(path.stem).config, Config)


@pytest.mark.parametrize("path", EMBEDDED, ids=lambda p: p.stem)
def test_every_embedded_configuration_begins_with_the_command_that_runs_it(path):
    first = path.read_text().splitlines()[0]
    assert re.match(r"# imgclf train( |$)", first)
    named = re.search(r"-c (\S+)", first)
    assert named is None or named.group(1) == path.stem
    assert named or path.stem == config.EMBEDDED_DEFAULT


def test_there_are_embedded_configurations():
    assert {"digits", "pets", "folder"} <= {p.stem for p in EMBEDDED}


def test_the_starter_loads_to_the_defaults_and_names_every_leaf(file):
    text = starter("/photos")
    loaded = load(file(text))
    assert loaded.config == load(None, [flag("data.path", "/photos")]).config
    assert [key for key, origin in loaded.origin.items() if origin == "default"] == []


def test_the_starter_explains_every_key():
    plain = " ".join(line.strip().lstrip("# ") for line in starter("x").splitlines())
    for key, description in leaves().items():
        assert description, key
        assert " ".join(description.split()) in plain, key


@pytest.mark.parametrize("data", ["it's", 'a "b"', "C:\\photos", "Ünï/猫 #1: x", "no", "123"])
def test_the_starter_keeps_awkward_paths(file, data):
    assert load(file(starter(data))).config.data.path == str(Path(data).absolute())


def test_the_json_schema_is_json_and_forbids_unknown_keys():
    schema = json.loads(json.dumps(Config.model_json_schema()))
    assert schema["additionalProperties"] is False
    assert all(part["additionalProperties"] is False for part in schema["$defs"].values())
    assert set(schema["properties"]) == {"version", "seed", "offline", "data", "augment", "model", "train"}
