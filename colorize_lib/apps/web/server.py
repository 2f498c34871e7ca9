"""HTTP for the two pages: who may ask, how often, how much and for how long.

- A request names this server in `Host`, or another site has made its name point here (DNS rebinding); a request that does something
  is a POST, and its `Origin` is this page's, or another site's page sends it. There are no websockets and no cookies.
- A GET is answered from memory and starts nothing.
- A POST is admitted before its body is read: there are limits on requests at once, for one address and for all, on requests a
  minute, and on bytes. A visitor who exceeds them is told so, and when to try again.
- A connection that has not sent a whole request is closed after `SILENT_SECONDS`, and the oldest of them at once when there are too
  many. A body has `BODY_SECONDS`, without a silence as long as that, and a request as a whole `REQUEST_SECONDS`.
- An answer says nothing of the machine: a `Refused` is its sentence, any other error one sentence, and the terminal has the rest.
"""

import asyncio
import contextlib
import ipaddress
import json
import logging
import socket
import sys
import time
import webbrowser
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from colorize_lib.apps.web.decoding import FAILED, Refused
from colorize_lib.errors import InputError

MAX_BYTES = 50_000_000  # of a body
SILENT_SECONDS, BODY_SECONDS, REQUEST_SECONDS = 10, 120, 600
MAX_WAITING = 256  # connections without a whole request
_PIECE = 1 << 16  # bytes of an answer that are sent at once
_STATIC = Path(__file__).parent / "static"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-cache",
}
_OPEN = """\
This page is open to everyone who can reach port {port} of this machine, at {places}.
Whoever opens it can have photographs colorized or take part in the Turing test, with this machine's processor and memory: at
most {visitors} requests at once, {each} for one address. There is no password and no encryption: photographs and answers can be
read on the way. Nothing else of this machine is served. Stop it with Ctrl+C when it is no longer needed."""


@dataclass(frozen=True)
class Place:
    """Where a page is served, and to whom.

    Attributes:
        port: on which the server listens.
        open_to_others: let other machines in.
        public_names: names under which a reverse proxy on this machine makes the page known; the proxy then says what address a
            visitor has.
        visitors: requests that are worked on or wait at once.
        browser: open the page in the user's browser.
    """

    port: int = 8866
    open_to_others: bool = False
    public_names: tuple = ()
    visitors: int = 24
    browser: bool = True

    @property
    def names(self):
        """Names under which the server is known, "HOST" or "HOST:PORT", next to localhost and addresses in numbers."""
        own = socket.gethostname()
        return [*self.public_names, *([own, f"{own}.local"] if self.open_to_others else [])]


class Busy(Exception):
    """Come back later: `sentence`, and after how many `seconds`."""

    def __init__(self, sentence, seconds):
        super().__init__(sentence)
        self.sentence, self.seconds = sentence, seconds


@dataclass(frozen=True)
class Rate:
    """`burst` at once, and one more each `seconds`."""

    burst: int
    seconds: float


class Limiter:
    """Counts what each address has used of a `Rate`."""

    def __init__(self, rate):
        self.rate, self._full = rate, {}  # address → when all of its burst is there again

    def take(self, address, what):
        """Use one. Raises Busy, which says `what` there are too many of."""
        now = time.monotonic()
        if len(self._full) > 10_000:
            self._full = {name: full for name, full in self._full.items() if full > now}
        full = max(now, self._full.get(address, now)) + self.rate.seconds
        wait = full - now - self.rate.burst * self.rate.seconds
        if wait > 0:
            raise Busy(f"Too many {what} come from your address: wait a moment, and try again.", wait)
        self._full[address] = full


class Admission:
    """Admits requests: `visitors` at once, a quarter of them for one address, `most_bytes` of bodies together, and a `Rate`."""

    def __init__(self, visitors, rate=Rate(120, 0.5), most_bytes=400_000_000):
        if visitors < 1:
            raise InputError(f"The number of visitors is {visitors}: it must be at least 1.")
        self.visitors, self.each, self.most_bytes = visitors, max(2, visitors // 4), most_bytes
        self._limiter, self._at_once, self._bytes = Limiter(rate), Counter(), 0

    @contextlib.contextmanager
    def admitted(self, address, size):
        """Count a request of `size` bytes in for as long as the block lasts. Raises Busy."""
        self._limiter.take(address, "requests")
        if self._at_once[address] >= self.each:
            raise Busy("Your earlier pictures are still being worked on: wait for them, and try again.", 2)
        if self._at_once.total() >= self.visitors or self._bytes + size > self.most_bytes:
            raise Busy("Too many visitors are here at the moment: wait a little, and try again.", 3)
        self._at_once[address] += 1
        self._bytes += size
        try:
            yield
        finally:
            self._at_once[address] -= 1
            self._at_once += Counter()  # drops what is 0
            self._bytes -= size


def application(page, actions, files, place, lifespan=None):
    """The application of one page.

    Args:
        page: name of its HTML file in `static`.
        actions: {path: async function of (request, body) → starlette `Response`, or a value that becomes JSON}, by POST.
        files: {path: function of the path's {parameters} → (media type, bytes), or None}, by GET.
        place: `Place`.
        lifespan: see `Starlette`.
    """
    admission = Admission(place.visitors)
    static = {f"/{path.name}": path for path in _STATIC.iterdir() if path.suffix != ".html"} | {"/": _STATIC / page}
    contents = {path: (_TYPES[file.suffix], file.read_bytes()) for path, file in static.items()}

    def get(content):
        @_answered
        async def answer(request):
            found = content(**request.path_params)
            if found is None:
                raise HTTPException(404, "There is nothing here.")
            kind, body = found
            return Response(body, media_type=kind)

        return answer

    def post(action):
        @_answered
        async def answer(request):
            length = request.headers.get("content-length", "")
            if not length.isascii() or not length.isdigit():
                raise HTTPException(411, "The length of the request is missing.")
            if int(length) > MAX_BYTES:
                raise HTTPException(
                    413, f"The file is larger than the {MAX_BYTES // 1_000_000} MB that are taken here."
                )
            with admission.admitted(request.client.host, int(length)):
                body = await _body(request)
                result = await while_there(request, action(request, body))
            return result if isinstance(result, Response) else JSONResponse(result)

        return answer

    routes = [Route(path, get(lambda content=content: content)) for path, content in contents.items()]
    routes += [Route(path, get(content)) for path, content in files.items()]
    routes += [Route(path, post(action), methods=["POST"]) for path, action in actions.items()]
    starlette = Starlette(routes=routes, exception_handlers={HTTPException: _refused}, lifespan=lifespan)
    return Guard(starlette, place.names)


async def _body(request):
    body, stream = bytearray(), request.stream()
    async with asyncio.timeout(BODY_SECONDS):
        while piece := await asyncio.wait_for(anext(stream, b""), SILENT_SECONDS):
            body += piece
    return bytes(body)


def sent(kind, content, **about):
    """An answer of bytes, with plain values about it in the header `x-about`; sent in pieces, as the visitor takes them."""

    async def pieces():
        for start in range(0, len(content), _PIECE):
            yield content[start : start + _PIECE]

    headers = {"content-type": kind, "content-length": str(len(content)), "x-about": json.dumps(about)}
    return StreamingResponse(pieces(), headers=headers)


async def while_there(request, work):
    """What the coroutine `work` returns; it is cancelled when the visitor leaves."""
    task = asyncio.ensure_future(work)
    left = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for waiting in (task, left):
            waiting.cancel()
        await asyncio.gather(task, left, return_exceptions=True)


async def _left(request):
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answered(answer):
    """The endpoint `answer`, with every error as an answer."""

    async def endpoint(request):
        try:
            return await answer(request)
        except Exception as error:
            return await _refused(request, error)

    return endpoint


async def _refused(request, error):
    seconds = None
    if isinstance(error, Busy):
        status, sentence, seconds = 429, error.sentence, max(1, round(error.seconds))
    elif isinstance(error, Refused):
        status, sentence = 422, str(error)
    elif isinstance(error, TimeoutError):
        status, sentence = 408, "The upload took too long: try again with a smaller file or a faster connection."
    elif isinstance(error, ClientDisconnect):
        status, sentence = 400, "The visitor left."
    elif isinstance(error, HTTPException):
        status, sentence = error.status_code, error.detail
    else:
        logging.getLogger(__name__).error("A request failed", exc_info=error)
        status, sentence = 500, FAILED
    headers = {"retry-after": str(seconds)} if seconds else {}
    if request.method == "POST" and status in (408, 411, 413, 429):
        headers["connection"] = "close"  # the rest of the body is not read
    return JSONResponse({"error": sentence, "again": seconds}, status, headers)


class Guard:
    """Lets only requests through that name this server and, if they do something, come from its own page.

    Args:
        app: ASGI application.
        names: see `Place`.
    """

    def __init__(self, app, names=()):
        self.app, self.names = app, {name.lower() for name in names}

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        status, reason = self._refusal(request) or (None, None)
        if status:
            response = JSONResponse({"error": reason}, status, {"connection": "close"})
            await response(scope, receive, _with_headers(send))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REQUEST_SECONDS):
                await self.app(scope, receive, _with_headers(send))

    def _refusal(self, request):
        hosts, origins = (request.headers.getlist(name) for name in ("host", "origin"))
        if len(hosts) != 1 or not self._is_ours(hosts[0].lower(), request.scope["server"][1]):
            return 421, "This server has another name: use the address that its terminal shows."
        if request.method not in ("GET", "POST"):
            return 405, "Only GET and POST are answered here."
        own = {hosts[0].lower(), *self.names}
        strange = any(origin.lower().partition("://")[2] not in own for origin in origins)
        if request.method == "POST" and (
            strange or request.headers.get("sec-fetch-site", "same-origin") != "same-origin"
        ):
            return 403, "Only this server's own page may do that."
        return None

    def _is_ours(self, host, port):
        name, _, given = host.rpartition(":") if host.rpartition(":")[2].isdigit() else (host, "", "80")
        here = name == "localhost" or name in self.names or _is_address(name.strip("[]"))
        return host in self.names or (here and given == str(port))


def _is_address(text):
    """Whether it is an IP address: those need no name server, which could be made to lie."""
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _with_headers(send):
    async def sending(message):
        if message["type"] == "http.response.start":
            given = {name for name, _ in message["headers"]}
            more = [(name.encode(), value.encode()) for name, value in _HEADERS.items() if name.encode() not in given]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending


class TimedProtocol(H11Protocol):
    """uvicorn's connection, which is closed if a whole request does not come in time; uvicorn waits for ever."""

    _silent = {}  # noqa: RUF012  connections without a whole request, the oldest first
    _clock = None

    def connection_made(self, transport):
        super().connection_made(transport)
        self._wait_for_request()

    def data_received(self, data):
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_clock()
            self._silent.pop(self, None)

    def on_response_complete(self):
        super().on_response_complete()
        self._wait_for_request()

    def connection_lost(self, exc):
        self._stop_clock()
        self._silent.pop(self, None)
        super().connection_lost(exc)

    def _wait_for_request(self):
        self._stop_clock()
        self._silent.pop(self, None)
        self._silent[self] = None
        self._clock = self.loop.call_later(SILENT_SECONDS, self.transport.abort)
        if len(self._silent) > MAX_WAITING:
            next(iter(self._silent)).transport.abort()

    def _stop_clock(self):
        if self._clock:
            self._clock.cancel()
            self._clock = None


def listen(port, open_to_others=False):
    """A socket that listens on `port` of this machine alone, or of all its addresses.

    Raises:
        InputError: the port is taken or not allowed.
    """
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("0.0.0.0" if open_to_others else "127.0.0.1", port))
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise InputError(
            f"Cannot listen on port {port}: it is taken or not allowed; choose another with --port."
        ) from error
    return listening


def serve(app, title, place, check):
    """Serve an application until it is stopped.

    Args:
        app: of `application`.
        title: what the page is, for the terminal.
        place: `Place`.
        check: coroutine function that runs next to the server; an `InputError` that it raises ends both.

    Raises:
        InputError: of `check`, or the port is taken.
    """
    listening = listen(place.port, place.open_to_others)
    address = f"http://127.0.0.1:{place.port}/"
    if place.open_to_others:
        places = ", ".join(f"http://{other}:{place.port}/" for other in _addresses()) or "its address"
        each = Admission(place.visitors).each
        text = _OPEN.format(port=place.port, places=places, visitors=place.visitors, each=each)
        print(text, file=sys.stderr, flush=True)
    config = uvicorn.Config(
        app,
        http=TimedProtocol,
        ws="none",
        log_config=None,
        log_level="critical",
        server_header=False,
        timeout_keep_alive=SILENT_SECONDS,
        timeout_graceful_shutdown=3,
        proxy_headers=bool(place.public_names),
        forwarded_allow_ips="127.0.0.1",
        h11_max_incomplete_event_size=16 << 10,
    )
    server = uvicorn.Server(config)

    async def run():
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        print(f"{title} is at {address} (stop it with Ctrl+C)", flush=True)
        if place.browser:
            asyncio.get_running_loop().run_in_executor(None, webbrowser.open, address)
        checking = asyncio.create_task(check())
        await asyncio.wait({serving, checking}, return_when=asyncio.FIRST_COMPLETED)
        failed = checking.exception() if checking.done() and not checking.cancelled() else None
        if failed:
            server.should_exit = True
        await serving
        if failed:
            raise failed

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())


def _addresses():
    with contextlib.suppress(OSError):
        found = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        return sorted({info[4][0] for info in found} - {"127.0.0.1"})
    return []
