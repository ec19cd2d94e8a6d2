"""Data sets by fastai's names: found where fastai puts them, fetched to there, and clear without a network."""

import tarfile

import pytest
from fastai.data.external import URLs, fastai_cfg

from imgclf.console import Terminal
from imgclf.data import named, scan
from imgclf.data.location import location
from imgclf.errors import ConfigError, DataError


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder of fastai's own."""
    monkeypatch.setenv("FASTAI_HOME", str(tmp_path / "fastai"))
    fastai_cfg.cache_clear()
    yield tmp_path / "fastai"
    fastai_cfg.cache_clear()


def test_what_fastai_has_is_used_without_the_network(home, make_config, pictures):
    root = pictures.files(home / "data" / "mnist_sample", *(f"train/{c}/{i}.png" for c in "37" for i in range(3)))
    pictures.files(root, *(f"valid/{c}/{i}.png" for c in "37" for i in range(2)))
    found = scan.scan(make_config("fastai:MNIST_SAMPLE", offline=True))
    assert found.root == root and found.class_counts == {"3": 5, "7": 5}
    inner = scan.scan(make_config("fastai:MNIST_SAMPLE/train", offline=True))
    assert inner.root == root / "train" and inner.class_counts == {"3": 3, "7": 3}


def test_a_download_goes_where_fastai_puts_it(home, make_config, pictures, tmp_path, monkeypatch, capsys):
    pictures.files(tmp_path / "made" / "tiny", *(f"{c}/{i}.png" for c in "ab" for i in range(2)))
    with tarfile.open(tmp_path / "tiny.tgz", "w:gz") as tar:
        tar.add(tmp_path / "made" / "tiny", "tiny")
    monkeypatch.setattr(URLs, "MNIST_TINY", (tmp_path / "tiny.tgz").as_uri())
    cfg = make_config("fastai:MNIST_TINY")
    assert location(cfg) == home / "data" / "tiny" and not (home / "data" / "tiny").exists()
    assert scan.scan(cfg, terminal=Terminal()).class_counts == {"a": 2, "b": 2}
    out, err = capsys.readouterr()
    assert out == "" and "downloading file:" in err
    assert sorted(p.name for p in (home / "data").iterdir()) == ["tiny"]


@pytest.mark.parametrize(("offline", "said"), [(True, "says offline"), (False, "No such file")])
def test_without_a_network_it_says_what_from_where_to_where(home, make_config, monkeypatch, offline, said):
    url = "file:///nowhere/at/all.tgz"
    monkeypatch.setattr(URLs, "PETS", url)
    with pytest.raises(DataError) as caught:
        scan.scan(make_config("fastai:PETS", offline=offline))
    for part in ("data set PETS", url, str(home / "data" / "all"), said):
        assert part in caught.value.message
    assert caught.value.exit_code == 3


def test_a_damaged_download_is_said(home, make_config, monkeypatch, tmp_path):
    (tmp_path / "bad.tgz").write_bytes(b"no archive")
    monkeypatch.setattr(URLs, "PETS", (tmp_path / "bad.tgz").as_uri())
    with pytest.raises(DataError, match="not downloaded: "):
        scan.scan(make_config("fastai:PETS"))


def test_a_name_fastai_does_not_have(home, make_config):
    with pytest.raises(ConfigError, match=r"no data set 'PET'\. Did you mean 'PETS'"):
        location(make_config("fastai:PET"))


def test_models_are_no_data_sets():
    assert "WT103_FWD" not in named._urls() and "IMAGENETTE_160" in named._urls()


def test_the_pets_are_in_their_images_folder(home):
    assert named.place("fastai:PETS") == home / "data" / "oxford-iiit-pet" / "images"
