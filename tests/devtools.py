"""A real browser without a driver: Chromium's DevTools protocol over the two pipes it offers."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def chromium() -> str:
    """The browser; the test is skipped where there is none."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None or os.name == "nt":
        pytest.skip("needs Chromium and POSIX pipes")
    return found


class Browser:
    """One page of a browser."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, os.fdopen(read, "rb")
        self._ids, self._buffer, self.session = itertools.count(1), b"", None
        self.told: list[dict[str, Any]] = []  # console messages, errors, requests …
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its result."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.told.append(answer)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = self._read.read1(1 << 16)
            assert part, "the browser has ended"
            self._buffer += part
        one, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(one)

    def run(self, script: str) -> Any:
        """What an expression gives; promises are awaited."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, condition: str, seconds: float = 20) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < end, (
                f"not within {seconds} s: {condition}; the page: {self.run('document.body.innerText')}"
            )
            time.sleep(0.05)

    def close(self) -> None:
        self._read.close()

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def look(self, width: int, height: int, dark: bool = False, mobile: bool = False) -> None:
        """The window's size and the user's preference."""
        scale = 2 if mobile else 1
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)

    def choose(self, selector: str, *files: Path) -> None:
        """Files into a file field, as a user chooses them."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def press(self, key: str, code: int) -> None:
        """A key, down and up."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path) -> Path:
        """The whole page as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        data = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))
        return path

    @property
    def complaints(self) -> list[str]:
        """What went to the console: errors, warnings, violations of the page's policy."""
        logged = [m["params"]["entry"]["text"] for m in self.told if m.get("method") == "Log.entryAdded"]
        thrown = [str(m["params"]) for m in self.told if m.get("method") == "Runtime.exceptionThrown"]
        return logged + thrown

    @property
    def addresses(self) -> set[str]:
        """Everything the page asked the network for."""
        return {m["params"]["request"]["url"] for m in self.told if m.get("method") == "Network.requestWillBeSent"}


@contextmanager
def browser(profile: Path):
    """A browser with an empty profile; it has ended when the block has."""
    theirs, write = os.pipe()
    read, theirs_too = os.pipe()

    def pipes() -> None:  # Chromium reads from 3 and writes to 4
        low, high = os.dup(theirs), os.dup(theirs_too)
        low, high = (fd if fd > 4 else os.dup(fd) for fd in (low, high))
        os.dup2(low, 3)
        os.dup2(high, 4)

    process = subprocess.Popen(
        [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking", f"--user-data-dir={profile}", "--remote-debugging-pipe"],
        preexec_fn=pipes, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    os.close(theirs_too)
    found = Browser(write, read)
    try:
        yield found
    finally:
        os.close(write)
        found.close()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
