import dataclasses
import http.client

import pytest
import torch
from safetensors.torch import save_file

from imgclf.config import load_config
from imgclf.errors import ConfigError, ModelError
from imgclf.training import archs, weights

ARCH = archs.arch("resnet18")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    torch.hub._hub_dir = None
    return tmp_path


def resolve(**settings):
    return weights.resolve(load_config("folder", **{"data.path": ".", **settings}), ARCH)


def no_network(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)


def test_a_missing_local_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere\.pth") as e:
        resolve(**{"model.weights": str(tmp_path / "nowhere.pth")})
    assert e.value.exit_code == 4


def test_weights_that_cannot_be_had_name_file_url_place_and_three_ways_out(monkeypatch):
    no_network(monkeypatch, OSError("Name or service not known"))
    with pytest.raises(ModelError) as e:
        resolve()
    for part in (ARCH.weights_file, ARCH.weights_url, str(weights.cache_path(ARCH)), "Name or service not known"):
        assert part in e.value.message
    for way in ("--set model.weights=FILE", f"put {ARCH.weights_file} into", "--set model.pretrained=false"):
        assert way in e.value.hint


def test_offline_does_not_touch_the_network(monkeypatch):
    no_network(monkeypatch, AssertionError("the network was used"))
    with pytest.raises(ModelError, match="offline"):
        resolve(offline=True)
    assert not resolve(**{"offline": True, "model.pretrained": "auto"}).pretrained
    assert not resolve(**{"model.pretrained": False}).pretrained


@pytest.mark.parametrize("offline", [True, False])
def test_an_architecture_whose_weights_nobody_has_published_is_told_as_one(monkeypatch, offline):
    """Two hundred of timm's."""
    no_network(monkeypatch, AssertionError("the network was used"))
    unpublished = dataclasses.replace(ARCH, weights_url="")
    settings = {"data.path": ".", "offline": offline}
    with pytest.raises(ModelError, match="no weights of resnet18 have been published") as e:
        weights.resolve(load_config("folder", **settings), unpublished)
    assert "--set model.pretrained=false" in e.value.hint and "put " not in e.value.hint
    found = weights.resolve(load_config("folder", **settings, **{"model.pretrained": "auto"}), unpublished)
    assert found.loud and found.note.startswith("NOT PRETRAINED: no weights of resnet18 have been published; training")


@pytest.mark.parametrize("error", [http.client.BadStatusLine("x"), http.client.IncompleteRead(b"")])
def test_a_server_that_speaks_nonsense_is_a_download_that_failed(monkeypatch, error):
    no_network(monkeypatch, error)
    with pytest.raises(ModelError, match="not downloaded: "):
        resolve()


def test_auto_says_loudly_that_nothing_is_pretrained(monkeypatch):
    no_network(monkeypatch, OSError("no route"))
    found = resolve(**{"model.pretrained": "auto"})
    assert found.loud
    assert "NOT PRETRAINED" in found.note
    assert "no route" in found.note


def test_a_download_is_checked_against_the_hash_in_its_name(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda url, dst, **more: seen.update(url=url, dst=dst, **more)
    )
    assert resolve().pretrained
    assert seen["url"] == ARCH.weights_url
    assert seen["hash_prefix"] == "f37072fd"
    assert seen["dst"] == str(weights.cache_path(ARCH))


def test_a_cached_file_is_used_as_it_is(monkeypatch):
    no_network(monkeypatch, AssertionError("the network was used"))
    path = weights.cache_path(ARCH)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"whatever")
    assert resolve().path == path


def state(arch=ARCH):
    torch.manual_seed(0)
    return {k: v + 1 if v.is_floating_point() else v for k, v in arch.build().state_dict().items()}


@pytest.mark.parametrize("form", ["pth", "safetensors", "nested", "prefixed", "body", "half"])
def test_every_usual_form_loads(form, tmp_path):
    given = state()
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        save_file(given, path)
    else:
        torch.save(
            {
                "pth": given,
                "nested": {"state_dict": given, "epoch": 3},
                "prefixed": {f"module.{k}": v for k, v in given.items()},
                "body": {k: v for k, v in given.items() if not k.startswith("fc.")},
                "half": {k: v.half() if v.is_floating_point() else v for k, v in given.items()},
            }[form],
            path,
        )
    model = ARCH.build()
    note = weights.load_into(model, weights.Weights(path, "test"), ARCH)
    assert "missing" not in note
    assert torch.allclose(model.state_dict()["layer4.1.conv2.weight"], given["layer4.1.conv2.weight"], atol=1e-2)


def test_what_did_not_match_is_said(tmp_path):
    given = state()
    del given["layer1.0.conv1.weight"]
    torch.save({**given, "extra.weight": torch.zeros(3)}, tmp_path / "w.pth")
    note = weights.load_into(ARCH.build(), weights.Weights(tmp_path / "w.pth", "test"), ARCH)
    assert "1 missing: layer1.0.conv1.weight" in note
    assert "1 not used: extra.weight" in note


@pytest.mark.parametrize(
    ("file", "model", "said"),
    [
        ("resnet34", "resnet18", "80 more"),  # in which every tensor of the smaller one is found
        ("resnet18", "resnet34", "80 are missing"),
        ("resnet18", "resnet50", "are missing"),  # a few BatchNorms fit
    ],
)
def test_weights_of_another_size_are_an_error(file, model, said, tmp_path):
    other, own = archs.arch(file), archs.arch(model)
    torch.save(state(other), tmp_path / "w.pth")
    net = own.build()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(ModelError, match=f"are not those of {model}: .*{said}") as e:
        weights.load_into(net, weights.Weights(tmp_path / "w.pth", "test"), own)
    assert "model.arch" in e.value.hint
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_an_upper_case_suffix_is_read_as_what_it_is(tmp_path):
    save_file(state(), tmp_path / "W.SAFETENSORS")
    note = weights.load_into(ARCH.build(), weights.Weights(tmp_path / "W.SAFETENSORS", "test"), ARCH)
    assert "missing" not in note


def test_a_body_that_is_cut_needs_no_more_than_is_left_of_it(tmp_path):
    given = {k: v for k, v in state().items() if not k.startswith(("layer4.", "fc."))}
    torch.save(given, tmp_path / "w.pth")
    short = dataclasses.replace(ARCH, cut=-3)
    assert "missing" in weights.load_into(ARCH.build(), weights.Weights(tmp_path / "w.pth", "test"), short)


def test_nothing_matching_is_an_error(tmp_path):
    torch.save({"encoder.layer.weight": torch.zeros(3), "x": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="none of its 2 tensors fits"):
        weights.load_into(ARCH.build(), weights.Weights(tmp_path / "w.pth", "test"), ARCH)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"half a file", b"\x80\x02" + b"x" * 100, b"\x80\x02."])
def test_a_damaged_file_is_an_error(content, suffix, tmp_path):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="cannot read the weights"):
        weights.load_into(ARCH.build(), weights.Weights(path, "test"), ARCH)


def test_code_in_a_pickle_does_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"weight": Evil()}, tmp_path / "w.pth")
    with pytest.raises(ModelError):
        weights.load_into(ARCH.build(), weights.Weights(tmp_path / "w.pth", "test"), ARCH)
    assert not (tmp_path / "ran").exists()


def test_archs_know_their_file_and_hash():
    for arch in archs.all_archs():
        stem = arch.weights_file.removesuffix(".pth")
        assert stem.split("-")[0] == arch.name
        assert len(stem.split("-")[1]) == 8
        assert int(stem.split("-")[1], 16) >= 0
    assert [a.params for a in archs.all_archs()] == sorted(a.params for a in archs.all_archs())


def test_an_unknown_arch_names_the_closest():
    with pytest.raises(ConfigError, match="Did you mean 'resnet34'"):
        archs.arch("resnet43")
