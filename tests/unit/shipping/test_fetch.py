"""Fetching from a server on this machine: limits of size and time, redirects, and servers that misbehave."""

import contextlib
import http.server
import threading
import time

import pytest

from imgclf.shipping.fetch import Address

BODY = bytes(range(256)) * 40


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        getattr(self, "at_" + self.path.strip("/").split("?")[0])()

    def answer(self, body=BODY, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def at_whole(self):
        self.answer(content_length=str(len(BODY)))

    def at_unannounced(self):
        self.answer()

    def at_short(self):
        self.answer(content_length=str(len(BODY) + 5))

    def at_gone(self):
        self.answer(b"", 404)

    def at_moved(self):
        self.answer(b"", 302, location="/whole")

    def at_elsewhere(self):
        self.answer(b"", 302, location="file:///etc/hostname")

    def at_round(self):
        self.answer(b"", 302, location="/round")

    def at_drip(self):
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):  # the client gives up, as it should
            for _ in range(200):
                self.wfile.write(b"x")
                time.sleep(0.02)

    def at_silence(self):
        time.sleep(0.6)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def url():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    """Whatever proxy the machine has, it is not for this server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize("name", ["whole", "unannounced", "moved"])
def test_what_is_there(url, name):
    assert Address(url + name).fetch() == BODY


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone", "the server answers 404 Not Found"), ("short", "the connection ended 5 bytes early"),
        ("elsewhere", "302"), ("round", "redirect"),
    ],
)  # fmt: skip
def test_what_is_not(url, name, said):
    with pytest.raises(OSError, match=said):
        Address(url + name).fetch()


def test_limits(url):
    with pytest.raises(OSError, match="more than 0 MB"):
        Address(url + "whole").fetch(most_bytes=len(BODY) - 1)
    for name in ("drip", "silence"):
        started = time.monotonic()
        with pytest.raises(OSError, match=r"not there after 0\.3 seconds"):
            Address(url + name).fetch(most_seconds=0.3)
        assert time.monotonic() - started < 3  # far below what the server would have taken without the limit


def test_nobody_listens_and_no_address():
    with pytest.raises(OSError, match=r"cannot be fetched: .*refused"):
        Address("http://127.0.0.1:9/x.png").fetch()
    for bad in ("http://", "http://[::1", "http://127.0.0.1:99999999/"):
        with pytest.raises(OSError, match="cannot be fetched"):
            Address(bad).fetch()
