"""The server of the two pages, asked as a browser asks, and as nobody should. `test_browser.py` looks at the pages."""

import asyncio
import contextlib
import http.client
import io
import json
import re
import resource
import socket
import struct
import threading
import time
import zlib
from multiprocessing import Pipe

import numpy as np
import psutil
import pytest
from PIL import Image

from colorize_lib import __main__, images
from colorize_lib.apps import trained, turing
from colorize_lib.apps.web import decoding, server
from colorize_lib.apps.web import turing as turing_page
from colorize_lib.apps.web.decoding import Limits, Refused
from colorize_lib.errors import InputError

PATHS = re.compile(r"(^|[^\w/])/(home|root|tmp|usr|work)/|Traceback|\.py\b|0x[0-9a-f]{6}")


def file_of(kind="JPEG", size=(300, 200), **options):
    small = np.random.default_rng(0).integers(60, 190, (3, 4, 3), dtype="uint8")
    buffer = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).convert("L").save(buffer, kind, **options)
    return buffer.getvalue()


def many_scans(scans, side=2000):
    """A progressive JPEG whose last scan, which holds next to nothing, is there many times: small to send, long to decode."""
    buffer = io.BytesIO()
    Image.new("L", (side, side), 128).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * scans + content[-2:]


def header_only(width, height):
    """A PNG that says how large it is, and holds no pixel."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def ask(page, method, path, body=None, timeout=90, source="127.0.0.1", **headers):
    """Status, headers and body of a request; the body is read from JSON if it is that."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=timeout, source_address=(source, 0))
    with contextlib.closing(connection):
        with contextlib.suppress(ConnectionError):  # the server may answer, and close, before all of the body is sent
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        content = answer.read()
        kind = answer.headers["content-type"]
        return answer.status, answer.headers, json.loads(content) if kind == "application/json" else content


def settings(**values):
    from urllib.parse import urlencode

    return urlencode({"settings": json.dumps({"network": "polychromify", "saturation": 1, **values})})


def raw(page, content, timeout=90):
    """Send bytes and return what comes until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", page.port), timeout) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(content)
        received = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                received += piece
    return received


def processes(page):
    return {child.pid for child in psutil.Process(page.process.pid).children(recursive=True)}


def is_alive(page):
    status, headers, content = ask(page, "GET", "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"Colorize your photographs" in content
    return True


# Photographs


def test_the_page_is_there_while_the_networks_load(photo_server):
    assert photo_server.started_in < 60  # a second on an idle machine; the networks take many
    status, _, state = ask(photo_server, "GET", "/state")
    assert status == 200
    assert len(state["photographs"]) == 115
    deadline = time.monotonic() + 120
    while state["networks"] is None and time.monotonic() < deadline:
        time.sleep(0.5)
        _, _, state = ask(photo_server, "GET", "/state")
    assert [network["name"] for network in state["networks"]] == [item.label for item in trained.bundled()] + [
        "siggraph17"
    ]
    assert [network["hints"] for network in state["networks"]][-1]
    assert not any(re.search("[0-9a-f]{8}", network["title"]) for network in state["networks"])


def test_a_photograph_comes_back_in_colour_and_in_its_own_format(photo_server):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = file_of(exif=exif, dpi=(150, 150))
    status, headers, preview = ask(photo_server, "POST", "/open", content)
    assert status == 200
    assert json.loads(headers["x-about"]) == {"width": 200, "height": 300, "colour": False}
    status, _, colored = ask(photo_server, "POST", f"/preview?{settings()}", preview)
    assert status == 200
    status, headers, result = ask(photo_server, "POST", f"/download?{settings(saturation=2)}", content)
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert json.loads(headers["x-about"]) == {"suffix": "jpg", "width": 200, "height": 300, "notes": []}
    _, _, plain = ask(photo_server, "POST", f"/download?{settings(saturation=0)}", content)

    def chroma(content):
        with Image.open(io.BytesIO(content)) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (200, 300), "RGB")
            return np.ptp(np.asarray(image).astype(int), axis=-1).mean(), image.info.get("dpi", (0,))[0]

    (shown, _), (twice, dpi), (none, _) = map(chroma, (colored, result, plain))
    assert none < 2 < shown < twice
    assert round(float(dpi)) == 150


def test_hints_change_the_colours_of_the_network_that_takes_them(photo_server):
    _, _, preview = ask(photo_server, "POST", "/open", file_of())
    results = [
        ask(photo_server, "POST", f"/preview?{settings(network='siggraph17', hints=hints)}", preview)
        for hints in ([], [[0.5, 0.5, "#ff0000"]])
    ]
    assert [status for status, _, _ in results] == [200, 200]
    assert results[0][2] != results[1][2]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (settings(network="../secret"), "no network of this name"),
        (settings(network=["polychromify"]), "no network of this name"),
        ("", "no network of this name"),
        ("settings=[", "damaged"),
        ("settings=7", "damaged"),
        ("settings=" + "[" * 9000, "damaged"),
        *((settings(saturation=value), "saturation must be a number from 0 to 2") for value in ("1", -1, 1e9, True)),
        (settings().replace("1%7D", "NaN%7D"), "saturation must be a number"),
        (settings(vivid=2), "vivid must be a number from 0 to 1"),
        *((settings(network="siggraph17", hints=hints), "") for hints in ("x", [[0, 0]], [[0, 0, "#ff0000"]] * 101)),
        (settings(network="siggraph17", hints=[[2, 0, "#ff0000"]]), "outside the photo"),
        (settings(network="siggraph17", hints=[[0, 0, "/etc/passwd"]]), "not a colour"),
    ],
)
def test_odd_settings_are_one_sentence(photo_server, query, message):
    status, _, answer = ask(photo_server, "POST", f"/preview?{query}", file_of(size=(20, 20)))
    assert status == 422
    assert message in answer["error"]
    assert not PATHS.search(answer["error"].replace("/etc/passwd", ""))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (file_of()[:500], "cannot be decoded"),
        (b"GIF89a, but only by its name", "no image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "no image of a known format"),
        (header_only(60_000, 60_000), "more than the 52,000,000"),
        (header_only(65_500, 65_500), "more than the 52,000,000"),
        (header_only(1, 52_000_000), "no side may have more than 20,000"),
        (header_only(9_000, 9_000), "more than the 52,000,000"),
    ],
)
def test_what_is_no_photograph_is_refused_in_one_sentence(photo_server, content, message):
    status, _, answer = ask(photo_server, "POST", "/open", content, timeout=30)
    assert status == 422
    assert message in answer["error"]
    assert not PATHS.search(answer["error"])


def test_an_upload_says_its_size_and_keeps_to_it(photo_server):
    status, _, answer = ask(photo_server, "POST", "/open", iter([b"x"]))  # in chunks, without a length
    assert (status, "length" in answer["error"]) == (411, True)
    head = (
        f"POST /open HTTP/1.1\r\nHost: 127.0.0.1:{photo_server.port}\r\nContent-Length: {server.MAX_BYTES + 1}\r\n\r\n"
    )
    assert b"413" in raw(photo_server, head.encode())  # before a byte of it is sent
    assert is_alive(photo_server)


def test_nothing_of_a_photograph_is_left_on_the_disk(photo_server):
    before = {path for path in photo_server.folder.rglob("*") if path.is_file()}
    requests = [("/open", file_of()), (f"/download?{settings()}", file_of()), ("/open", b"no photograph")]
    assert [ask(photo_server, "POST", *request)[0] for request in requests] == [200, 200, 422]
    assert {path for path in photo_server.folder.rglob("*") if path.is_file()} <= before


def test_a_get_starts_nothing(photo_server):
    ask(photo_server, "POST", "/open", file_of())
    before = processes(photo_server)
    memory = psutil.Process(photo_server.process.pid).memory_info().rss
    foreign = {"Referer": "http://evil.example/", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}
    for path in ("/", "/?template=base", "/state", "/photos.js", "/voila/render/x.ipynb", "/api/kernels"):
        for _ in range(10):
            assert ask(photo_server, "GET", path, **foreign)[0] in (200, 404)
    assert processes(photo_server) == before
    assert psutil.Process(photo_server.process.pid).memory_info().rss < memory + 20e6
    assert ask(photo_server, "GET", "/?template=base")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/../README.md", "/%2e%2e/README.md", "/photographs/../photos.csv", "/photographs/%2e%2e%2fphotos.csv"),
        *(
            "/photographs//etc/passwd",
            "/static/",
            "/photographs/",
            "/photos.html",
            "/server.py",
            "/api/contents",
            "/open",
        ),
    ],
)
def test_no_other_file_is_served_and_nothing_is_listed(photo_server, path):
    status, _, answer = ask(photo_server, "GET", path)
    assert status in (404, 405)
    assert set(answer) == {"error", "again"}
    assert not PATHS.search(answer["error"])


def test_the_bundled_photographs_are_served_as_they_are(photo_server):
    _, _, state = ask(photo_server, "GET", "/state")
    macaw = next(photo for photo in state["photographs"] if photo["name"] == "animals/macaw.jpg")
    assert macaw["credit"] == "Dcoetzee, public domain"
    status, headers, content = ask(photo_server, "GET", "/photographs/animals/macaw.jpg")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(content)).format == "JPEG"


# Who may ask


def test_only_its_own_names_are_answered(photo_server):
    port = photo_server.port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"):
        assert ask(photo_server, "GET", "/state", Host=host)[0] == 200
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "localhost",
        "localhost:1",
        f"localhost.evil.example:{port}",
        "",
    ):
        for method in ("GET", "POST"):
            status, _, answer = ask(photo_server, method, "/state", b"", Host=host)
            assert status == 421
            assert "another name" in answer["error"]
    assert raw(photo_server, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400")  # names nobody
    evil = b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n"
    assert b" 421 " in raw(photo_server, evil)


def test_only_its_own_page_may_do_something(photo_server):
    port = photo_server.port
    own = {"Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}
    assert ask(photo_server, "POST", "/open", file_of(), **own)[0] == 200
    for origin in (
        "http://evil.example",
        "null",
        "http://127.0.0.1:1",
        f"http://10.0.0.1:{port}",
        f"http://localhost:{port}",
    ):
        status, _, answer = ask(photo_server, "POST", "/open", file_of(), Origin=origin)
        assert (status, answer["error"]) == (403, "Only this server's own page may do that.")
    assert ask(photo_server, "POST", "/open", file_of(), **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert ask(photo_server, "PUT", "/open", b"")[0] == 405
    _, headers, _ = ask(photo_server, "GET", "/")
    assert "access-control-allow-origin" not in headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"


def test_the_public_name_of_a_reverse_proxy(asgi):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = server.Guard(app, ["colors.example.org"])
    for host in ("colors.example.org", "colors.example.org:8866", "127.0.0.1:8866"):  # proxies keep the name, or do not
        assert asgi(guard, "POST", "/open", host=host, origin="https://colors.example.org")[0] == 200
    assert asgi(guard, "POST", "/open", host="colors.example.org", origin="https://evil.example")[0] == 403
    assert asgi(server.Guard(app), "GET", "/", host="colors.example.org")[0] == 421


def test_opened_to_others_it_says_what_is_open(capfd, monkeypatch):
    monkeypatch.setattr(server.uvicorn, "Server", Stopped)
    place = server.Place(free_port(), open_to_others=True, browser=False, visitors=8)
    server.serve(None, "A page", place, check=lambda: asyncio.sleep(0))
    said = capfd.readouterr().err
    assert "open to everyone who can reach port" in said
    assert "8 requests at once, 2 for one address" in " ".join(said.split())
    assert "no password and no encryption" in said
    assert socket.gethostname() in place.names
    assert not server.Place().names


class Stopped:
    """A server that is stopped as soon as it is started."""

    started = True

    def __init__(self, config):
        pass

    async def serve(self, sockets):
        assert sockets[0].getsockname()[0] == "0.0.0.0"
        sockets[0].close()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


# How much, how often, how long


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack("<3Q", 0x10000000, 0, 0),
        struct.pack(">6I", 0x10000000, 0, 0, 0, 0, 0),
        struct.pack("<Q", 2**63),
        b"\x82\x98\0\0\0\0" + struct.pack("<3Q", 0x10000000, 0, 0),  # as a frame of a websocket
        b"\0",
        bytes(range(256)) * 400,
    ],
    ids=["24 bytes", "24 bytes, big endian", "2**63 offsets", "websocket frame", "one byte", "100 kB"],
)
def test_binary_messages_close_the_connection(photo_server, frame):
    memory = psutil.Process(photo_server.process.pid).memory_info().rss
    upgrade = (
        f"GET /api/kernels/x/channels HTTP/1.1\r\nHost: 127.0.0.1:{photo_server.port}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Protocol: v1.kernel.websocket.jupyter.org\r\n\r\n"
    ).encode()
    for content in (frame, upgrade + frame):
        begun = time.monotonic()
        assert b" 101 " not in raw(photo_server, content)
        assert time.monotonic() - begun < server.SILENT_SECONDS + 60
    assert is_alive(photo_server)
    assert psutil.Process(photo_server.process.pid).memory_info().rss < memory + 50e6


def test_half_sent_requests_lock_nobody_out_and_end(photo_server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(4096, hard) if hard != resource.RLIM_INFINITY else 4096
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    head = f"POST /open HTTP/1.1\r\nHost: 127.0.0.1:{photo_server.port}\r\nContent-Length: 1000\r\n".encode()
    connections = []
    try:
        for number in range(1100):
            connections.append(socket.create_connection(("127.0.0.1", photo_server.port), 30))
            # Most stop in their head, and as many as one address may have stop in their body.
            connections[-1].sendall(head + b"\r\n123" if number >= 1100 - 6 else head)
        assert is_alive(photo_server)
        status, headers, answer = ask(photo_server, "POST", "/open", file_of())
        assert status == 429
        assert "Your earlier pictures are still being worked on" in answer["error"]
        assert int(headers["retry-after"]) == answer["again"] > 0
        assert ask(photo_server, "POST", "/open", file_of(), source="127.0.0.2")[0] == 200  # another visitor
        deadline = time.monotonic() + server.SILENT_SECONDS + 60
        for number, connection in enumerate(connections):
            connection.settimeout(max(0.1, deadline - time.monotonic()))
            received = b""
            with contextlib.suppress(ConnectionError):
                while piece := connection.recv(65536):
                    received += piece
            assert number < 1094 or b" 408 " in received, received
    finally:
        for connection in connections:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert ask(photo_server, "POST", "/open", file_of())[0] == 200


def test_a_file_ends_with_its_visitor(photo_server):
    """A file that decodes for long, twice, so that both lanes are busy: the visitors leave, and the next one is served."""
    bomb = many_scans(40_000)
    assert len(bomb) < 3_000_000
    ask(photo_server, "POST", "/open", file_of())
    before = processes(photo_server)
    head = f"POST /open HTTP/1.1\r\nHost: 127.0.0.1:{photo_server.port}\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    connections = [socket.create_connection(("127.0.0.1", photo_server.port), 30) for _ in range(2)]
    for connection in connections:
        connection.sendall(head + bomb)
    deadline = time.monotonic() + 60
    while len(processes(photo_server) - before) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for connection in connections:
        connection.close()
    deadline, spent = time.monotonic() + 60, 0.0
    while left := processes(photo_server) - before:
        assert time.monotonic() < deadline
        with contextlib.suppress(psutil.NoSuchProcess):
            spent = max(spent, *(psutil.Process(pid).cpu_times().user for pid in left))
        time.sleep(0.05)
    assert spent < Limits().seconds / 2  # they did not end with their time
    assert ask(photo_server, "POST", "/open", file_of())[0] == 200


def test_a_file_may_not_take_longer_than_its_time():
    begun = time.monotonic()
    with pytest.raises(Refused, match="takes longer than the 1 seconds"):
        decoding.run({"do": "open"}, many_scans(40_000), Limits(seconds=1))
    assert time.monotonic() - begun < 60


def test_a_file_may_not_take_more_than_its_memory():
    content = file_of("PNG", (7000, 7000))
    with pytest.raises(Refused, match="more than the 400 MB of memory"):
        decoding.run({"do": "open"}, content, Limits(memory=400 << 20))
    assert decoding.run({"do": "open"}, content, Limits())[0]["width"] == 7000


def test_a_large_photograph_of_16_bits_is_downloaded_in_the_colours_of_its_preview():
    gray = np.linspace(0, 65535, 1700 * 30).astype(np.uint16).reshape(30, 1700)
    for pixels in (np.stack([gray, gray // 2, gray // 3], axis=-1), gray):
        content, seen = images.encode([images.Frame(pixels)], "PNG"), []

        def predict_ab(preview, seen=seen):
            seen.append(preview)
            return np.zeros((8, 8, 2), "float32")

        def colorize(photo, ab):
            return photo if photo.ndim == 3 else np.repeat(photo[..., None], 3, axis=-1)

        calls = {"predict_ab": predict_ab, "colorize": colorize}
        _, (preview,) = decoding.run({"do": "open"}, content, Limits())
        decoding.run({"do": "preview"}, preview, Limits(), calls)
        about, (result,) = decoding.run({"do": "download"}, content, Limits(), calls)
        assert (about["suffix"], about["width"], about["height"]) == ("png", 1700, 30)
        assert images.Photo(io.BytesIO(result)).frame().pixels.dtype == np.uint16
        np.testing.assert_array_equal(*seen)


def test_strips_without_end_end_with_the_time():
    """A TIFF file with millions of strips, each of them one row of one pixel: their table alone takes long."""
    rows = 2_000_000
    entries = [(256, 3, 1, 1), (257, 4, 1, 15_000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(273, 4, rows, 200), (277, 3, 1, 1), (278, 3, 1, 1), (279, 4, rows, 200)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    content = (b"II*\0" + struct.pack("<I", 8) + directory).ljust(200, b"\0") + struct.pack("<I", 1) * rows
    begun = time.monotonic()
    with pytest.raises(Refused, match="takes longer than the 1 seconds"):
        decoding.run({"do": "open"}, content, Limits(seconds=1))
    assert time.monotonic() - begun < 60


def test_a_process_that_opens_a_file_ends_when_it_is_told():
    ours, theirs = Pipe()
    timer = threading.Timer(0.5, ours.send, ["stop"])
    timer.start()
    begun = time.monotonic()
    with pytest.raises(decoding.Stopped):
        decoding.run({"do": "open"}, many_scans(40_000), Limits(), stop=theirs)
    assert time.monotonic() - begun < 60


def test_admission_is_limited_in_number_rate_and_bytes():
    admission = server.Admission(8, server.Rate(5, 60), 1000)
    with admission.admitted("a", 10), admission.admitted("a", 10):
        with pytest.raises(server.Busy, match="Your earlier pictures"), admission.admitted("a", 10):
            pass
        with pytest.raises(server.Busy, match="Too many visitors"), admission.admitted("b", 981):
            pass
        with contextlib.ExitStack() as stack:
            for address in "bcdefg":
                stack.enter_context(admission.admitted(address, 10))
            with pytest.raises(server.Busy, match="Too many visitors"), admission.admitted("h", 10):
                pass
    with admission.admitted("a", 1000), contextlib.suppress(server.Busy), admission.admitted("a", 0):
        pass
    with pytest.raises(server.Busy, match="Too many requests") as told, admission.admitted("a", 1):
        pass
    assert 50 < told.value.seconds <= 60
    with pytest.raises(InputError, match="at least 1"):
        server.Admission(0)


@pytest.mark.parametrize(("limit", "pause"), [("BODY_SECONDS", 0.01), ("SILENT_SECONDS", 5)])
def test_a_body_without_end_ends_with_its_time(asgi, monkeypatch, limit, pause):
    monkeypatch.setattr(server, limit, 0.1)
    app = server.application("photos.html", {"/takes": lambda request, body: None}, {}, server.Place())
    status, headers, answer = asgi(app, "POST", "/takes", pause=pause)
    assert (status, headers["connection"]) == (408, "close")
    assert "took too long" in answer["error"]


def test_a_request_without_end_ends_with_its_time(asgi, monkeypatch):
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.1)

    async def works(request, body):
        await asyncio.sleep(5)

    app = server.application("photos.html", {"/works": works}, {}, server.Place())
    assert asgi(app, "POST", "/works") is None


def test_a_failure_of_ours_says_nothing_of_the_machine(asgi, caplog):
    async def fails(request, body):
        raise ValueError("in /home/somebody/colorize.py")

    async def cannot(request, body):
        raise InputError("Cannot write /home/somebody/answers.sqlite: no space is left there.")

    app = server.application("photos.html", {"/fails": fails, "/cannot": cannot}, {}, server.Place())
    for path in ("/fails", "/cannot"):
        status, _, answer = asgi(app, "POST", path)
        assert (status, answer["error"]) == (500, decoding.FAILED)
    assert "/home/somebody/answers.sqlite" in caplog.text  # in the terminal


def test_a_network_process_that_ends_is_started_again(photo_server):
    assert ask(photo_server, "POST", "/open", file_of(), timeout=120)[0] == 200  # it is there
    worker = max(psutil.Process(photo_server.process.pid).children(), key=lambda child: child.memory_info().rss)
    worker.kill()
    status, _, answer = ask(photo_server, "POST", "/open", file_of())
    assert (status, "try again in a moment" in answer["error"]) == (422, True)
    assert ask(photo_server, "POST", "/open", file_of(), timeout=120)[0] == 200


def test_it_listens_on_this_machine_alone(photo_server):
    addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in {address for address in addresses if not address.startswith("127.")}:
        with socket.socket() as other:
            other.settimeout(2)
            assert other.connect_ex((address, photo_server.port)) != 0
    connections = psutil.Process(photo_server.process.pid).net_connections("inet")
    assert {each.laddr.ip for each in connections if each.status == "LISTEN"} == {"127.0.0.1"}
    assert "open to everyone" not in photo_server.text()


def test_what_cannot_be_served_is_one_sentence(photo_server, capsys):
    assert __main__.main(["app", "--port", str(photo_server.port), "--no-browser"]) == 2
    assert capsys.readouterr().err == (
        f"error: Cannot listen on port {photo_server.port}: it is taken or not allowed; choose another with --port.\n"
    )
    for arguments in (["app", "--port", "0"], ["app", "--visitors", "0"], ["turing-test", "--images", "0"]):
        with pytest.raises(SystemExit):
            __main__.main([*arguments, "--no-browser"])
        assert "'0' is not a whole number from 1 to" in capsys.readouterr().err


def test_a_run_folder_without_networks_ends_the_server_with_a_sentence(capfd):
    assert __main__.main(["app", "--run", "/nonexistent", "--no-browser", "--port", str(free_port())]) == 2
    assert "error: There is no trained network in /nonexistent" in capfd.readouterr().err


# The Turing test


class Prepared:
    """A `Preparation` whose pictures are there."""

    failure, done = None, (6, 6)

    def __init__(self, pictures):
        self.pictures = pictures


@pytest.fixture
def round_of(tmp_path, asgi):
    """Function of (path, request) → the page's answer, for six made-up photographs; and the store."""
    folder = tmp_path / "pictures-x"
    folder.mkdir()
    pictures = turing.Pictures(folder, ("polychromify",), {f"{number}": f"title {number}" for number in range(6)})
    for image in pictures.credits:
        pictures.path(image).write_text(f"{image} real")
        pictures.path(image, "polychromify").write_text(f"{image} colorized")
    store = turing.Store(tmp_path / "answers.sqlite")
    app = turing_page.application(Prepared(pictures), store, turing_page.server.Place(), length=4)

    def send(path, address="127.0.0.1", **request):
        status, _, answer = asgi(app, "POST", path, json.dumps(request).encode(), address=address)
        return answer if status == 200 else (status, answer["error"])

    send.store, send.app = store, app
    return send


def shown(answer):
    import base64

    return [base64.b64decode(content).decode().split() for content in answer["pictures"]]


@pytest.mark.parametrize("form", turing.FORMS)
def test_a_round_of_the_turing_test(round_of, asgi, form):
    answer = round_of("/start", participant=None, form=form)
    participant, first, truths = answer["participant"], answer["number"], []
    for place in range(1, 5):
        assert (answer["waiting"], answer["form"]) == (5 - place, form)
        assert round_of("/resume", participant=participant) == answer  # as after a reload
        pictures = shown(answer)
        assert len(pictures) == (1 if form == "single" else 2)
        assert len({image for image, _ in pictures}) == 1
        truths.append(pictures[-1][1] == "colorized")
        assert not {"colorized", "model", "image"} & set(answer)  # nothing tells
        given = {
            "number": answer["number"],
            "answer": truths[-1] if place > 1 else not truths[-1],
            "seconds": 0.5 + place,
        }
        answer = round_of("/answer", participant=participant, first=first, **given)
    assert sum(truths) == 2
    assert answer["yours"] == "You were right in 3 of 4 answers."
    assert answer["table"][0][2].startswith("75 % (3 of 4)")
    assert (answer["left"], len(answer["review"])) == (2, 4)
    (wrong,) = [question for question in answer["review"] if not question["right"]]
    assert wrong["colorized"] == truths[0]
    assert asgi(round_of.app, "GET", f"/pictures/{wrong['real']}")[2].endswith(b"real")
    assert asgi(round_of.app, "GET", f"/pictures/{wrong['network']}")[2].endswith(b"colorized")
    # The next round has the photographs that are left; a new one begins with its own review.
    answer = round_of("/start", participant=participant, form="single")
    assert (answer["participant"], answer["waiting"], answer["number"]) == (participant, 2, 5)
    assert round_of("/forget", participant=participant) == {}
    assert not round_of.store.answers()
    assert round_of("/resume", participant=participant) == {"finished": True}
    assert round_of("/answer", participant=participant, number=5, answer=True, seconds=2)[0] == 422


def test_nobody_adds_participants_without_end(round_of):
    answers = [round_of("/start", participant=f"{number}", form="single") for number in range(100)]
    added = [answer for answer in answers if isinstance(answer, dict)]
    assert len(added) == turing_page.NEW.burst
    status, sentence = answers[-1]
    assert (status, "Too many participants come from your address" in sentence) == (429, True)
    known = added[0]["participant"]
    assert round_of("/start", participant=known, form="single")["participant"] == known
    assert isinstance(round_of("/start", address="10.0.0.7", participant=None, form="single"), dict)


@pytest.mark.parametrize(
    ("path", "field", "odd", "expected"),
    [
        ("/start", "participant", {"a": 1}, {"waiting": 4, "form": "single"}),  # a new one
        ("/start", "form", "neither", 422),
        ("/start", "form", ["single"], 422),
        ("/answer", "participant", ["x"], 422),
        ("/answer", "participant", "\ud800", 422),
        ("/answer", "participant", "'; DROP TABLE trials; --", 422),
        *(("/answer", "number", odd, 422) for odd in ("1", None, 1.0, [], 2**70)),
        ("/answer", "number", 99, {"waiting": 4}),  # out of turn: it does not count
        *(("/answer", "answer", odd, 422) for odd in ("true", 1, None)),
        *(("/answer", "seconds", odd, 422) for odd in ("2", -1, float("inf"), True)),
        ("/answer", "first", "x", {"waiting": 3}),
        ("/answer", "seconds", 10**400, {"waiting": 3}),
        ("/resume", "participant", 7, {"finished": True}),
        ("/forget", "participant", None, {}),
        ("/forget", "participant", "\ud800", {}),
    ],
)
def test_one_odd_field_is_refused_or_stands_for_nobody(round_of, path, field, odd, expected):
    begun = round_of("/start", participant=None, form="single")
    whole = {
        "/start": {"participant": None, "form": "single"},
        "/answer": {"number": begun["number"], "answer": True, "seconds": 2, "first": begun["number"]},
    }
    request = {"participant": begun["participant"], **whole.get(path, {}), field: odd}
    answer = round_of(path, **request)
    assert not PATHS.search(json.dumps(answer))
    if expected == 422:
        assert answer[0] == 422
    else:
        assert {key: answer[key] for key in expected} == expected
    assert len(round_of.store.answers()) == (expected == {"waiting": 3})


def test_what_is_no_request_is_refused(round_of, asgi):
    for body in (b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000):
        status, _, answer = asgi(round_of.app, "POST", "/start", body)
        assert (status, answer["error"]) == (422, "The request is damaged: load the page again.")
    for path in ("/pictures/index.json", "/pictures/..", "/pictures/%2e%2e%2fanswers.sqlite", "/pictures/"):
        assert asgi(round_of.app, "GET", path)[0] == 404
    for markup in ("<script>alert(1)</script>", '"><img src=x>'):
        content = json.dumps({"participant": markup, "form": markup}).encode()
        status, headers, _ = asgi(round_of.app, "POST", "/start", content)
        assert status == 422
        assert headers["content-type"] == "application/json"
        assert headers["x-content-type-options"] == "nosniff"
