import json
import shutil
import struct

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from imgclf import runs
from imgclf.errors import ModelError
from imgclf.shipping import bundle


@pytest.fixture
def copy(model, tmp_path):
    """A bundle that may be damaged."""
    return shutil.copytree(model, tmp_path / "copy")


@pytest.fixture(scope="module")
def content(model):
    return (model / runs.WEIGHTS).read_bytes()


def header_of(content):
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def file_of(header, tensors):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


@pytest.mark.parametrize("form", ["folder", "file"])
def test_a_saved_model_gives_the_same_answers(net, model, make_record, form):
    loaded, record = bundle.load(model if form == "folder" else model / runs.WEIGHTS)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(x), net(x))
    assert record == make_record()
    assert not loaded.training


def test_the_weights_open_with_plain_safetensors(model, net):
    state = load_file(model / runs.WEIGHTS)
    assert state.keys() == net.state_dict().keys()


def test_half_precision_weights_are_written_in_full(net, make_record, tmp_path):
    state = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    bundle.save(tmp_path, state, make_record())
    loaded, _ = bundle.load(tmp_path)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}


def test_saving_leaves_the_training_model_as_it_is(make_network, make_record, tmp_path):
    net = make_network().train()
    bundle.save(tmp_path, net.state_dict(), make_record())
    assert net.training and all(p.requires_grad for p in net.parameters())
    bundle.load(tmp_path)[0][1][-1].weight.zero_()
    assert net[1][-1].weight.abs().sum() > 0


def test_a_diverged_model_is_not_saved(net, make_record, tmp_path):
    state = {**net.state_dict(), "1.8.weight": torch.full((3, 512), torch.nan)}
    with pytest.raises(ModelError, match="NaN"):
        bundle.save(tmp_path, state, make_record())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c", "d")])
def test_the_number_of_classes_must_be_that_of_the_outputs(net, make_record, tmp_path, classes):
    with pytest.raises(ModelError, match="3 outputs"):
        bundle.save(tmp_path, net.state_dict(), make_record(classes=classes))


def test_update_changes_both_files_and_not_the_weights(copy, net):
    bundle.update(copy, temperature=2.5, metrics={"error_rate": 0.25})
    for path in (copy, copy / runs.WEIGHTS):
        loaded, record = bundle.load(path)
        assert (record.temperature, record.metrics) == (2.5, {"error_rate": 0.25})
        assert torch.equal(loaded[1][-1].weight, net[1][-1].weight)
    assert json.loads((copy / runs.RECORD).read_text())["temperature"] == 2.5


def test_update_refuses_a_wrong_value_and_changes_nothing(copy):
    before = (copy / runs.WEIGHTS).read_bytes()
    with pytest.raises(ModelError):
        bundle.update(copy, temperature=-1.0)
    assert (copy / runs.WEIGHTS).read_bytes() == before
    bundle.load(copy)


def test_a_record_from_another_model_is_noticed(copy):
    path = copy / runs.RECORD
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "weights": {**data["weights"], "sha256": "0" * 64}}))
    with pytest.raises(ModelError, match="was not written for") as caught:
        bundle.load(copy)
    assert runs.WEIGHTS in caught.value.hint
    bundle.load(copy / runs.WEIGHTS)  # the way out that the hint names


@pytest.mark.parametrize("left", ["older", "none"])
def test_a_save_killed_between_its_files_is_completed(copy, left):
    older = (copy / runs.RECORD).read_bytes()
    bundle.update(copy, temperature=2.5)
    (copy / runs.RECORD).write_bytes(older) if left == "older" else (copy / runs.RECORD).unlink()
    bundle.complete(copy)
    assert bundle.load(copy)[1].temperature == 2.5


def test_a_whole_bundle_is_left_as_it_is(copy):
    path = copy / runs.RECORD
    before = path.stat().st_mtime_ns, path.read_bytes()
    bundle.complete(copy)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


def test_an_edited_record_is_noticed(copy):
    path = copy / runs.RECORD
    path.write_text(json.dumps({**json.loads(path.read_text()), "classes": ["a", "b", "c"]}))
    with pytest.raises(ModelError, match="differ"):
        bundle.load(copy)


@pytest.mark.parametrize("text", [b"", b"null", b"{}", b"\xff\xfe", b"[[[["])
def test_a_broken_record_is_refused(copy, text):
    (copy / runs.RECORD).write_bytes(text)
    with pytest.raises(ModelError):
        bundle.load(copy)


@pytest.mark.parametrize("name", [runs.RECORD, runs.WEIGHTS])
def test_half_a_bundle_is_refused(copy, name):
    (copy / name).unlink()
    with pytest.raises(ModelError, match=name):
        bundle.load(copy)


def test_weights_of_others_are_refused_with_their_use(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="not imgclf's record") as caught:
        bundle.load(tmp_path / "other.safetensors")
    assert "model.weights" in caught.value.hint


HEADERS = {
    "empty": b"",
    "short": b"\x01\x02",
    "huge header": struct.pack("<Q", 1 << 62) + b"{}",
    "header longer than the file": struct.pack("<Q", 1000) + b"{}",
    "not JSON": struct.pack("<Q", 4) + b"abcd",
    "deep": struct.pack("<Q", 200_000) + b"[" * 200_000,
    "list": struct.pack("<Q", 2) + b"[]",
    "no record": struct.pack("<Q", 2) + b"{}",
    "metadata is a list": file_of({"__metadata__": []}, b""),
    "record is a number": file_of({"__metadata__": {"imgclf": 1}}, b""),
    "tensor is a number": file_of({"__metadata__": {}, "a": 1}, b""),
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS.keys())
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        bundle.load(path)


def forged(model, tmp_path, record=None, **tensors):
    """A file with a right hash, made by somebody who knows the format."""
    state, true = bundle.read(model)
    state |= tensors
    text = json.dumps({**json.loads(true.to_json()), **(record or {})})
    metadata = {"imgclf": text, "sha256": bundle._fingerprint(text, state)}
    save_file(state, tmp_path / "forged.safetensors", metadata=metadata)
    return tmp_path / "forged.safetensors"


def test_the_forger_of_these_tests_can_make_a_good_file(model, tmp_path):
    bundle.load(forged(model, tmp_path))


BAD_WEIGHTS = {
    "NaN": ({"1.8.weight": torch.full((3, 512), torch.nan)}, "NaN"),
    "infinity": ({"1.8.weight": torch.full((3, 512), -torch.inf)}, "NaN or infinity"),
    "shape": ({"1.8.weight": torch.zeros(4, 512)}, "layers need"),
    "type": ({"1.8.weight": torch.zeros(3, 512, dtype=torch.int64)}, "layers need"),
    "double": ({"1.8.weight": torch.zeros(3, 512, dtype=torch.float64)}, "types"),
    "one more": ({"2.weight": torch.zeros(1)}, "1 unknown"),
}


@pytest.mark.parametrize(("tensors", "message"), BAD_WEIGHTS.values(), ids=BAD_WEIGHTS.keys())
def test_weights_that_do_not_fit_are_refused(model, tmp_path, tensors, message):
    with pytest.raises(ModelError, match=message):
        bundle.load(forged(model, tmp_path, **tensors))


BAD_RECORDS = {
    "code as a layer": ({"head": [{"layer": "os.system"}]}, "unknown layer"),
    "path as arch": ({"arch": "../../secret"}, "unknown architecture"),
    "other arch": ({"arch": "resnet34"}, "do not fit"),
    "newer": ({"schema": 99}, "schema 99"),
    "huge": ({"head": [{"layer": "Linear", "in_features": 1 << 50, "out_features": 3, "bias": True}]}, "in_features"),
    "huge image": ({"preprocess": {"size": 1 << 30}}, "preprocess"),
}


@pytest.mark.parametrize(("record", "message"), BAD_RECORDS.values(), ids=BAD_RECORDS.keys())
def test_a_forged_record_is_refused(model, tmp_path, record, message):
    with pytest.raises(ModelError, match=message):
        bundle.load(forged(model, tmp_path, record=record))


quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(data=st.data())
def test_a_file_cut_short_is_refused(content, tmp_path, data):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(ModelError):
        bundle.load(path)


@quick
@given(data=st.data())
def test_flipped_bytes_are_refused_or_change_nothing(model, content, tmp_path, data):
    where = data.draw(st.integers(0, 12_000) | st.integers(0, len(content) - 1))  # the header, or anywhere
    flip = data.draw(st.integers(1, 255))
    path = tmp_path / "x.safetensors"
    path.write_bytes(content[:where] + bytes([content[where] ^ flip]) + content[where + 1 :])
    try:
        state, record = bundle.read(path)
    except ModelError:
        return
    true_state, true_record = bundle.read(model)  # such as a space in the header that became a tab
    assert record == true_record
    assert state.keys() == true_state.keys() and all(torch.equal(state[k], true_state[k]) for k in state)


@quick
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        bundle.load(path)
    path.write_bytes(struct.pack("<Q", len(content)) + content)
    with pytest.raises(ModelError):
        bundle.load(path)


def test_a_key_that_is_there_twice_is_refused(copy, content):
    record = (copy / runs.RECORD).read_text()
    (copy / runs.RECORD).write_text(record.replace("{", '{"temperature": 9.0,', 1))
    with pytest.raises(ModelError, match="'temperature' is there twice"):
        bundle.load(copy)
    header, tensors = header_of(content)
    text = json.dumps(header).replace("{", '{"0.0.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},', 1)
    (copy / "twice.safetensors").write_bytes(struct.pack("<Q", len(text.encode())) + text.encode() + tensors)
    with pytest.raises(ModelError, match="holds a key twice"):
        bundle.load(copy / "twice.safetensors")
