"""The server: what it answers, and what it refuses, over real connections."""

import io
import json
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from serving import BOUNDARY, colours, form, running

from imgclf.errors import PackageError, UserError
from imgclf.shipping import inference
from imgclf.shipping.server import page
from imgclf.shipping.server.limits import Limits
from imgclf.workflow import serve

LIMITS = Limits(
    body_bytes=200_000, files=4, pixels=100_000, header_seconds=0.6, stall_seconds=0.6, body_seconds=1.5, requests=4,
    connections=12,
)  # fmt: skip


@pytest.fixture(scope="module")
def client():
    with running(colours(), LIMITS) as found:
        yield found


def png(colour=(250, 10, 10), size=(20, 16)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


RED, GREEN, BLUE = (png(tuple(250 if i == j else 10 for j in range(3))) for i in range(3))


def refused(answer, status: int) -> str:
    """The message of a clean refusal."""
    assert answer.status == status, answer.body
    error = answer.json["error"]
    assert error["status"] == status
    assert error.keys() == {"status", "message", "hint"}
    assert "Traceback" not in answer.body.decode()
    return error["message"]


# -- Answers ----------------------------------------------------------------------------------------------------------


def test_several_files_give_a_row_each_in_their_order(client):
    rows = client.send(("a.png", RED), ("blau ü 猫.png", BLUE), ("c.png", GREEN)).json["predictions"]
    assert [(row["file"], row["label"]) for row in rows] == [
        ("a.png", "red"), ("blau ü 猫.png", "blue"), ("c.png", "green")
    ]  # fmt: skip
    assert all(sum(row["probs"].values()) == pytest.approx(1) for row in rows)


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg", "application/octet-stream", "Image/PNG; x=y"])
def test_one_image_as_the_body(client, kind):
    [row] = client.ask("POST", "/predict?top_k=1", GREEN, content_type=kind).json["predictions"]
    assert row.keys() == {"label", "prob", "probs"}
    assert (row["label"], list(row["probs"])) == ("green", ["green"])


def test_a_bad_file_is_a_row_and_the_others_are_answered(client):
    answer = client.send(("a.png", RED), ("notes.txt", b"hello"))
    assert answer.status == 200
    assert answer.json["predictions"][1] == {
        "file": "notes.txt",
        "error": "not an image, or of a kind Pillow does not know",
    }


def test_the_answer_is_that_of_the_predictor(model, photos):
    predictor = inference.load(model)
    facts = serve.describe(predictor, model, LIMITS, {})
    expected = [row.to_row(predictor.classes) for row in predictor.predict(photos)]
    with running(predictor, facts=facts, batch_size=4) as client:
        together = client.send(*photos).json["predictions"]
        alone = [client.send(photo).json["predictions"][0] for photo in photos]
        heated = client.send(photos[0], query="?heatmap=1&top_k=1").json["predictions"][0]
    for rows in (together, alone):
        assert [row["label"] for row in rows] == [row["label"] for row in expected]
        for row, other in zip(rows, expected, strict=True):
            assert row["probs"] == pytest.approx(other["probs"], abs=1e-5)
    assert heated["heatmap"]["class"] == heated["label"]
    size = predictor.preprocess.size
    for name, mode in (("seen", "RGB"), ("map", "RGBA")):
        head, data = heated["heatmap"][name].split(",")
        assert head == "data:image/png;base64"
        import base64

        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        assert (picture.size, picture.mode) == ((size, size), mode)


def test_images_of_many_requests_go_through_the_model_together_with_the_same_answers():
    sizes, slow = [], colours()

    def forward(images):
        sizes.append(len(images))
        time.sleep(0.02)  # so that the next batch gathers meanwhile
        return slow.forward(images)

    pictures = [png((9 * i, 200 - 5 * i, 7 * i)) for i in range(20)]
    with running(colours(forward=forward), Limits(requests=64), batch_size=8) as client:
        found = [None] * 20
        threads = [
            threading.Thread(target=lambda i=i: found.__setitem__(i, client.send((f"{i}", pictures[i])).json))
            for i in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert sum(sizes) == 20
    assert 2 <= max(sizes) <= 8
    for i, answer in enumerate(found):
        pixels = slow.preprocess.load_stranger(pictures[i], 10**6)
        [probs] = slow.probs(pixels[None])
        assert list(answer["predictions"][0]["probs"].values()) == sorted(map(float, probs), reverse=True)  # to the bit


def test_unsure_answers_are_unknown(client):
    with running(colours(), least=0.9) as strict:
        sure, unsure = strict.send(("a", RED), ("b", png((100, 104, 100)))).json["predictions"]
    assert (sure["label"], sure["abstained"]) == ("red", False)
    assert (unsure["label"], unsure["abstained"]) == ("unknown", True)
    assert max(unsure["probs"].values()) < 0.9


def test_several_labels():
    with running(colours(task="multi", thresholds=(0.5, 0.5, 1.0))) as client:
        [row] = client.send(("a", png((200, 200, 0)))).json["predictions"]
    assert row["labels"] == ["red", "green"]
    assert "label" not in row


# -- What else it says ------------------------------------------------------------------------------------------------


def test_health_and_model_say_nothing_of_the_machine(client, model):
    assert client.ask("GET", "/health").json["status"] == "ok"
    said = client.ask("GET", "/model").json
    assert said["classes"] == ["red", "green", "blue"]
    assert said["preprocess"]["size"] == 8
    assert not said["heatmaps"]
    predictor = inference.load(model)
    facts = serve.describe(predictor, model, LIMITS, {})
    assert facts["metrics"]["accuracy"]["n"] == 3
    assert facts["heatmaps"]
    assert "/" not in json.dumps({key: value for key, value in facts.items() if key != "classes"})


def test_openapi_names_every_address_and_every_key_of_an_answer(client):
    said = client.ask("GET", "/openapi.json").json
    assert said["openapi"].startswith("3.1")
    for path, operations in said["paths"].items():
        for method in operations:
            assert client.ask(method.upper(), path).status not in (404, 405)
    [row] = client.send(("a.png", RED)).json["predictions"]
    assert row.keys() <= said["components"]["schemas"]["Row"]["properties"].keys()


def test_the_page_brings_everything_itself(client):
    answer = client.ask("GET", "/")
    html = answer.body.decode()
    assert answer.headers["content-type"].startswith("text/html")
    assert "http:" not in html and "https:" not in html and "//" not in html.replace("  // ", "")
    policy = answer.headers["content-security-policy"]
    assert policy == page.policy(html) and "default-src 'none'" in policy and "unsafe" not in policy
    assert page.policy(html.replace("SHOWN = 5", "SHOWN = 6")) != policy


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not here to run the page's script")
def test_the_page_shows_the_most_probable_classes_first_whatever_they_are_called():
    script = re.search(r"<script>(.*?)</script>", page.HTML, re.S)[1]
    there = "{ getElementById: () => ({}), addEventListener() {}, createElement: () => ({ setAttribute() {} }) }"
    row = {"probs": {"7": 0.6, "seven": 0.2, "1": 0.15, "0": 0.04, "3": 0.008, "2": 0.002}}
    asked = f"process.stdout.write(JSON.stringify(highest({json.dumps(row)})))"
    code = f"const document = {there}, fetch = () => Promise.reject(); {script}; {asked}"
    done = subprocess.run(["node", "-"], input=code, capture_output=True, text=True, check=True)
    # JavaScript lists keys that look like numbers first, and by their size.
    assert json.loads(done.stdout) == [["7", 0.6], ["seven", 0.2], ["1", 0.15], ["0", 0.04], ["3", 0.008]]


# -- Refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("top_k=0", "top_k is '0'"), ("top_k=4", "a number from 1 to 3"), ("top_k=²", "top_k"),
        ("heatmap=yes", "heatmap is 'yes'"),
        ("topk=1", "no parameter 'topk'"), ("top_k=" + "9" * 5000, "top_k"), ("top_k=00000000" + "1" * 5000, "top_k"),
    ],
)  # fmt: skip
def test_wrong_parameters(client, query, said):
    from urllib.parse import quote

    assert said in refused(client.send(("a.png", RED), query="?" + quote(query, safe="=")), 400)


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "application/json", ""])
def test_wrong_content_type(client, kind):
    assert "content type" in refused(client.ask("POST", "/predict", b"x" * 100, content_type=kind), 415)


def test_no_body_and_no_file(client):
    assert "empty" in refused(client.ask("POST", "/predict", b"", content_type="image/png"), 400)
    assert "no file" in refused(client.send(), 400)
    assert "no file" in refused(client.send(("", b"")), 400)
    field = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"\r\n\r\ntext\r\n--{BOUNDARY}--\r\n'
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    assert "no file" in refused(client.ask("POST", "/predict", field.encode(), content_type=kind), 400)
    assert refused(client.ask("POST", "/predict", field.encode(), content_type="multipart/form-data"), 400)


def test_a_form_that_was_cut_short_is_no_smaller_form(client):
    whole = form(("a.png", RED), ("b.png", BLUE))
    for length in (len(whole) - 6, len(whole) - 40, len(whole) // 2, 60, 3):
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        refused(client.ask("POST", "/predict", whole[:length], content_type=kind), 400)


def test_too_many_files_and_too_many_bytes(client):
    assert "Too many files" in refused(client.send(*[("a.png", RED)] * 5), 400)
    noise = np.random.default_rng(0).bytes(LIMITS.body_bytes + 1)
    assert "larger than" in refused(client.ask("POST", "/predict", noise, content_type="image/png"), 413)
    assert "larger than" in refused(client.send(("a.png", noise)), 413)
    pieces = (noise[i : i + 10_000] for i in range(0, len(noise), 10_000))  # chunked: no length is announced
    assert "larger than" in refused(client.ask("POST", "/predict", pieces, content_type="image/png"), 413)


def test_far_too_many_bytes_still_get_an_answer(client):
    """Also a client that sends everything before it listens."""
    answer = client.ask("POST", "/predict", b"x" * 8_000_000, content_type="image/png")
    assert "larger than" in refused(answer, 413)


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that says it has ``side`` x ``side`` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


def test_large_images_are_decoded_one_at_a_time(client, monkeypatch):
    from imgclf.data import images

    monkeypatch.setattr(images, "LARGE", 100)
    now = most = 0

    def slow(*given, upright=images._upright):
        nonlocal now, most
        now += 1
        most = max(most, now)
        time.sleep(0.05)
        now -= 1
        return upright(*given)

    monkeypatch.setattr(images, "_upright", slow)
    with running(colours(), workers=4) as other:
        large = other.send(*[("a.png", png(size=(20, 16)))] * 4).json["predictions"]
        assert most == 1
        small = other.send(*[("a.png", png(size=(9, 8)))] * 4).json["predictions"]
        assert most > 1
    assert [row.get("label", row) for row in large + small] == ["red"] * 8


@pytest.mark.parametrize("side", [400, 12_000, 60_000])
def test_bombs_are_not_decoded(client, side):
    said = refused(client.send(("bomb.png", bomb(side))), 422)
    assert "more than the limit of 100,000" in said


def test_kinds_that_pillow_hands_to_other_programs_are_not_read(client):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n"
    assert "not an image" in refused(client.send(("a.png", eps)), 422)
    assert "none of the 2 files" in refused(client.send(("a.png", eps), ("b.png", b"GIF89a")), 422)


def test_unknown_addresses_and_methods(client):
    assert "/nothing" in refused(client.ask("GET", "/nothing"), 404)
    answer = client.ask("GET", "/predict")
    refused(answer, 405)
    assert answer.headers["allow"] == "POST"
    assert client.ask("HEAD", "/health").status == 200


def test_pages_of_other_sites_may_not_use_a_visitors_browser(client):
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    for site, status in (("cross-site", 403), ("same-origin", 200), ("none", 200)):
        body = form(("a.png", RED))
        assert client.ask("POST", "/predict", body, content_type=kind, sec_fetch_site=site).status == status


@pytest.mark.parametrize("path", ["/", "/predict", "/model", "/health", "/openapi.json", "/nothing"])
def test_a_name_that_is_not_the_servers_gets_no_answer(client, path):
    """As a page of a stranger sends it whose name leads to this machine (DNS rebinding)."""
    said = refused(client.ask("GET", path, host="evil.example"), 421)
    assert said == "this server is not called 'evil.example'"


HOSTS = ["localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1", "127.0.0.1:80", "[::1]:8000", "[::1]"]


@pytest.mark.parametrize("host", HOSTS)
def test_the_servers_own_names_are_answered(client, host):
    assert client.ask("GET", "/health", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["localhost.evil.example", "evil.example:8000", "localhost@evil.example", "127.0.0.1.evil.example",
     "[evil.example]", "localhost:80:90", "localhost:x", "127.0.0.2", "::1", "localhost/",
     "localhost localhost", "photos.example"],
)  # fmt: skip
def test_what_only_looks_like_a_name_of_the_server_is_refused(client, host):
    assert "is not called" in refused(client.ask("GET", "/health", host=host), 421)


def test_no_name_and_two_names_are_refused(client):
    assert client.raw(b"GET /health HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 421 ")
    assert client.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n")[9:12] in (b"400", b"421")


def test_further_names_are_answered_if_allowed():
    with running(colours(), hosts=("photos.example", "192.0.2.7")) as client:
        for host in ("photos.example:8000", "Photos.Example", "192.0.2.7", "localhost"):
            assert client.ask("GET", "/health", host=host).status == 200
        refused(client.ask("GET", "/health", host="other.example"), 421)


# -- Slow and rude clients --------------------------------------------------------------------------------------------


def test_a_slow_header_and_a_slow_body_are_given_up(client):
    assert client.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n").startswith(b"HTTP/1.1 408 ")
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n"
    found = client.raw(head + b"abc")
    assert found.startswith(b"HTTP/1.1 408 ")
    assert (
        json.loads(found.split(b"\r\n\r\n")[1])["error"]["message"] == "the body did not arrive in time, after 3 bytes"
    )


def test_a_body_that_drips_is_given_up_too(client):
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
        connection.sendall(head)
        connection.settimeout(0.2)
        found = b""
        for _ in range(100):
            try:
                connection.sendall(b"x")
                found = connection.recv(4096)
                break
            except TimeoutError:
                continue
    assert found.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_does_not_read_is_left():
    many = tuple(f"a class with a long name, number {i}" for i in range(15_000))

    def forward(images):
        return np.zeros((len(images), len(many)), np.float32)

    with running(colours(classes=many, forward=forward), Limits(read_seconds=0.5)) as client:
        body = form(*[("a.png", RED)] * 8)
        head = (
            f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
        )
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # the rest waits in the server
            connection.connect(("127.0.0.1", client.port))
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert connection.recv(12) == b"HTTP/1.1 200"
            end = time.monotonic() + 20
            while client.server.server_state.connections:
                assert time.monotonic() < end, "the server waits for ever"
                time.sleep(0.05)


def test_a_connection_without_a_word_is_closed_without_one(client):
    assert client.raw(b"") == b""


def test_what_is_not_http_gets_json(client):
    for rubbish in (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"x" * 100_000):
        found = client.raw(rubbish)
        assert found.startswith(b"HTTP/1.1 400 ")
        assert b'"this is not HTTP"' in found
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    broken = head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    assert client.raw(broken).startswith(b"HTTP/1.1 400 ")


def test_more_connections_than_allowed_are_sent_away(client):
    held = [socket.create_connection(("127.0.0.1", client.port), timeout=20) for _ in range(LIMITS.connections)]
    try:
        found = client.raw(b"")
        assert found.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1" in found.lower()
    finally:
        for one in held:
            one.close()


def test_more_requests_than_places_are_sent_away_and_come_again():
    release = threading.Event()

    def forward(images):
        assert release.wait(20)
        return colours().forward(images)

    with running(colours(forward=forward), Limits(requests=2)) as client:
        found = []
        waiting = [threading.Thread(target=lambda: found.append(client.send(("a", RED)).status)) for _ in range(2)]
        for thread in waiting:
            thread.start()
        while client.ask("GET", "/health").json["running"] < 2:
            time.sleep(0.01)
        answer = client.send(("b", RED))
        refused(answer, 503)
        assert answer.headers["retry-after"] == "1"
        release.set()
        for thread in waiting:
            thread.join(20)
        assert found == [200, 200]
        assert client.send(("b", RED)).status == 200


def test_a_failing_model_is_500_without_details_and_the_server_goes_on(caplog):
    broken = iter([True])

    def forward(images):
        if next(broken, False):
            raise RuntimeError("secret of the machine")
        return colours().forward(images)

    with running(colours(forward=forward)) as client:
        answer = client.send(("a", RED))
        assert "log" in refused(answer, 500)
        assert b"secret" not in answer.body
        assert client.send(("a", RED)).status == 200
    assert "secret of the machine" in caplog.text


def test_requests_in_progress_are_finished_at_the_end():
    entered = threading.Event()

    def forward(images):
        entered.set()
        time.sleep(0.4)
        return colours().forward(images)

    found = []
    with running(colours(forward=forward)) as client:
        thread = threading.Thread(target=lambda: found.append(client.send(("a", RED)).status))
        thread.start()
        assert entered.wait(20)
    thread.join(20)
    assert found == [200]


mutations = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from(["drop", "set", "insert"]), st.binary(max_size=6)), max_size=6
)
bodies = st.one_of(
    st.binary(max_size=300),
    st.tuples(st.sampled_from([form(("a.png", RED)), form(("a", RED[:40]), ("b", b""))]), mutations),
)
kinds = st.one_of(
    st.sampled_from([f"multipart/form-data; boundary={BOUNDARY}", "image/png", "multipart/form-data; boundary=",
                     'multipart/form-data; boundary="\\', "multipart/form-data; charset=x; boundary=b"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
)  # fmt: skip


@given(bodies, kinds, st.booleans())
@settings(max_examples=250, deadline=None)
def test_whatever_comes_is_answered_or_cleanly_refused(client, body, kind, chunked):
    if isinstance(body, tuple):
        body = mutated(*body)
    sent = iter([body[:50], body[50:]] if len(body) > 50 else [body]) if chunked and body else body
    answer = client.ask("POST", "/predict", sent, content_type=kind)
    assert answer.status == 200 or 400 <= answer.status < 500
    assert "Traceback" not in json.dumps(answer.json)
    assert answer.status == 200 or answer.json["error"]["status"] == answer.status


def mutated(whole: bytes, changes) -> bytes:
    found = bytearray(whole)
    for at, how, data in changes:
        at %= len(found) + 1
        found[at : at + (0 if how == "insert" else len(data))] = b"" if how == "drop" else data
    return bytes(found)


# -- Addresses and packages -------------------------------------------------------------------------------------------


def test_addresses_that_cannot_be_used():
    with serve.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--port {port} is taken") as found:
            serve.listen("127.0.0.1", port)
        assert taken.proto == socket.IPPROTO_TCP  # else asyncio leaves out TCP_NODELAY: 40 ms an answer
    assert "--port 0" in found.value.hint
    with pytest.raises(UserError, match=r"--host no such host\.invalid"):
        serve.listen("no such host.invalid", 0)
    with pytest.raises(UserError, match=r"--host 203\.0\.113\.7"):
        serve.listen("203.0.113.7", 0)


def test_missing_packages_name_the_extra(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(PackageError, match="uvicorn") as found:
        serve.serve(tmp_path)
    assert found.value.hint == 'pip install "imgclf[serve]"'
