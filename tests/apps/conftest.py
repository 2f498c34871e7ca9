"""The two pages as the command line serves them, once for all tests of a module that want them, and requests without a browser."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

WAIT = 120  # seconds; the networks load slowly on a busy machine


class Server:
    """A page served by the command line on a free port; what it keeps is in `folder`."""

    def __init__(self, folder, *arguments):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.address = folder, f"http://127.0.0.1:{self.port}/"
        (folder / "tmp").mkdir()
        self.log = open(folder / "log.txt", "w")  # noqa: SIM115
        command = [sys.executable, "-m", "colorize_lib", *arguments, "--port", str(self.port), "--no-browser"]
        places = {"COLORIZE_DATA": "data", "COLORIZE_RUNS": "runs", "TMPDIR": "tmp"}
        environment = os.environ | {name: str(folder / place) for name, place in places.items()}
        begun = time.monotonic()
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT, env=environment)
        while f"is at {self.address}" not in self.text():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() - begun < WAIT, self.text()
            time.sleep(0.05)
        self.started_in = time.monotonic() - begun

    def text(self):
        self.log.flush()
        with open(self.log.name) as file:
            return file.read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.log.close()


@pytest.fixture(scope="module")
def photo_server(tmp_path_factory):
    """The photographs' page; weights of SIGGRAPH17, random ones, are in the data home."""
    import keras

    from colorize_lib import models
    from colorize_lib.apps import public_weights

    folder = tmp_path_factory.mktemp("app")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLORIZE_DATA", str(folder / "data"))
        path = public_weights.weights_path("siggraph17")
        path.parent.mkdir(parents=True)
        keras.utils.set_random_seed(0)
        models.build("siggraph17", classes=True).save_weights(path)
    server = Server(folder, "app")
    yield server
    server.stop()


@pytest.fixture
def asgi():
    """Function that sends one request to an ASGI application: its status, headers, and its body, from JSON if it is that.

    With `pause`, the body is one byte in so many seconds, for a long time. None stands for no answer.
    """

    def ask(app, method, path, body=b"", *, address="127.0.0.1", leave=False, pause=None, **headers):
        given = {"host": "127.0.0.1:8866", "content-length": str(len(body))} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        path, _, query = path.partition("?")
        scope = {"type": "http", "http_version": "1.1", "method": method, "path": path, "query_string": query.encode()}
        scope |= {"headers": [(name.encode(), value.encode()) for name, value in given.items() if value is not None]}
        scope |= {"client": (address, 1), "server": ("127.0.0.1", 8866), "scheme": "http", "root_path": ""}
        sent, received = [], []

        async def receive():
            if pause:
                received.append(await asyncio.sleep(pause))
                return {"type": "http.request", "body": b"x", "more_body": len(received) * pause < 5}
            if received:
                await asyncio.sleep(0 if leave else 60)
                return {"type": "http.disconnect"}
            received.append(True)
            return {"type": "http.request", "body": body}

        async def send(message):
            sent.append(message)

        asyncio.run(app(scope, receive, send))
        if not sent:
            return None
        content = b"".join(message.get("body", b"") for message in sent)
        answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        if answered.get("content-type") == "application/json":
            content = json.loads(content)
        return sent[0]["status"], answered, content

    return ask
