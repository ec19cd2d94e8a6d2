"""A server in a thread of this process, and what speaks to it."""

import http.client
import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from imgclf.data.images import Preprocess
from imgclf.shipping.inference import Predictor
from imgclf.shipping.server.limits import Limits
from imgclf.shipping.server.running import Announced
from imgclf.workflow import serve

BOUNDARY = "boundary-of-the-test"


def colours(**changes: Any) -> Predictor:
    """A model one can see through: the mean of each colour decides."""

    def forward(images: np.ndarray) -> np.ndarray:
        return images.mean((1, 2), dtype=np.float64).astype(np.float32) / 16

    values = {"classes": ("red", "green", "blue"), "temperature": 1.0, "forward": forward, **changes}
    return Predictor(name="colours", preprocess=Preprocess(size=8), format="onnx", **values)


def colours_onnx(path: Path) -> Path:
    """A tiny graph that keeps the contract: the mean of each colour, then softmax. It loads without torch."""
    import onnx

    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["pixels"], to=kinds.FLOAT),
            helper.make_node("ReduceMean", ["pixels", "axes"], ["colours"], keepdims=0),
            helper.make_node("Softmax", ["colours"], ["probs"], axis=1),
        ],
        "colours",
        [helper.make_tensor_value_info("image", kinds.UINT8, ["batch", 8, 8, 3])],
        [helper.make_tensor_value_info("probs", kinds.FLOAT, ["batch", 3])],
        [helper.make_tensor("axes", kinds.INT64, [2], [1, 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    facts = {"classes": ["red", "green", "blue"], "preprocess": Preprocess(size=8).to_dict()}
    helper.set_model_props(model, {key: json.dumps(value) for key, value in facts.items()})
    onnx.save(model, path)
    return path


@dataclass
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)


@dataclass
class Client:
    """Speaks to the server; each request has a connection of its own."""

    url: str
    server: Announced

    @property
    def port(self) -> int:
        return urlsplit(self.url).port

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def send(self, *files: Path | tuple[str, bytes], query: str = "") -> Answer:
        """Files as a browser sends them."""
        return self.ask(
            "POST", "/predict" + query, form(*files), content_type=f"multipart/form-data; boundary={BOUNDARY}"
        )

    def raw(self, data: bytes, timeout: float = 20) -> bytes:
        """Bytes as they are; what comes back until the connection ends."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(data)
            found = b""
            while part := connection.recv(1 << 16):
                found += part
            return found


def form(*files: Path | tuple[str, bytes]) -> bytes:
    """A multipart body with each file as a field ``file``."""
    named = [(file.name, file.read_bytes()) if isinstance(file, Path) else file for file in files]
    head = '--{}\r\nContent-Disposition: form-data; name="file"; filename="{}"\r\nContent-Type: image/png\r\n\r\n'
    parts = [head.format(BOUNDARY, name).encode() + data + b"\r\n" for name, data in named]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


@contextmanager
def running(predictor: Predictor, limits: Limits = Limits(), **more: Any):
    """A server; it has ended when the block has."""
    facts = serve.describe(predictor, Path(), limits, {}) if predictor.network is None else more.pop("facts")
    app = serve.application(predictor, facts, limits, **more)
    ready = threading.Event()
    listening = serve.listen("127.0.0.1", 0)
    server = Announced(app, limits, ready.set)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        assert ready.wait(20), "the server did not start"
        yield Client(serve.address(listening), server)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not end"
