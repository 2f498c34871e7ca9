"""Colorize your photographs: the page's server side.

The browser keeps the visitor's photographs; the server keeps none. "/open" answers a photograph's file with its preview, a JPEG
file, "/preview" answers a preview with the same in colour, and "/download" a photograph's file with the file in colour. A file's
name stays in the browser.
"""

import contextlib
import json

from colorize_lib.apps.web import decoding, server, studio
from colorize_lib.images import MAX_PIXELS


def application(photographs, room, place):
    """The page as an ASGI application.

    Args:
        photographs: list of `colorize_lib.dataset.Photograph` that the page offers.
        room: `studio.Studio`, which the application starts and stops.
        place: `server.Place`.
    """
    offered = {photo.name: photo for photo in photographs}
    listed = [{"name": photo.name, "title": photo.title, "credit": photo.credit} for photo in photographs]

    @contextlib.asynccontextmanager
    async def lifespan(_):
        room.start()
        yield
        room.stop()

    def state():
        return "application/json", json.dumps(
            {
                "networks": room.networks,
                "failure": room.failure,
                "photographs": listed,
                "maxBytes": server.MAX_BYTES,
                "maxPixels": MAX_PIXELS,
                "preview": decoding.PREVIEW,
            }
        ).encode()

    def photograph(name):
        return ("image/jpeg", offered[name].content) if name in offered else None

    def action(do):
        async def answer(request, body):
            value, (content,) = await room.run({"do": do, **_settings(request)}, body)
            return server.sent(value.pop("type", "image/jpeg"), content, **value)

        return answer

    actions = {f"/{do}": action(do) for do in ("open", "preview", "download")}
    files = {"/state": state, "/photographs/{name:path}": photograph}
    return server.application("photos.html", actions, files, place, lifespan)


def _settings(request):
    """What a request says of network, hints, saturation and vividness, as JSON in the query; checked where it is used."""
    text = request.query_params.get("settings", "{}")
    try:
        settings = json.loads(text)
        return {name: settings[name] for name in ("network", "hints", "saturation", "vivid") if name in settings}
    except (ValueError, TypeError, RecursionError) as error:
        raise decoding.Refused("The request is damaged: load the page again.") from error


def serve(photographs, run_folders, place):
    """Serve the page until it is stopped.

    Args:
        photographs: see `application`.
        run_folders: runs whose networks are offered next to the bundled and the public ones.
        place: `server.Place`.

    Raises:
        InputError: the port is taken, or a run folder holds no network.
    """
    room = studio.Studio(run_folders)
    app = application(photographs, room, place)
    server.serve(app, "The page that colorizes photographs", place, room.wait_until_ready)
