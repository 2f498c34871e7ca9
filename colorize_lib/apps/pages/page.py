"""What the pages share: a widget that asks and a Python object that answers."""

import logging
from pathlib import Path

import anywidget

from colorize_lib.errors import InputError

_HERE = Path(__file__).parent


def script(name):
    """The JavaScript module of a page: the shared functions, then `NAME.js`."""
    return "\n".join((_HERE / file).read_text(encoding="utf-8") for file in ("page.js", f"{name}.js"))


class Page(anywidget.AnyWidget):
    """Answers the requests of its JavaScript.

    A request is {"do": NAME, "id": …, …} with buffers; a subclass lists the methods that may be asked for in `requests`, each a
    function of (request, buffers) that returns a dictionary and a list of bytes. An `InputError` becomes the answer's "error".
    """

    _css = (_HERE / "page.css").read_text(encoding="utf-8")
    requests = ()

    def __init__(self):
        super().__init__()
        self.on_msg(lambda _, request, buffers: self.send(*self.reply(request, buffers)))

    def reply(self, request, buffers=()):
        """The answer to one request: (dictionary with the request's "id", list of bytes)."""
        try:
            name = request.get("do")
            if name not in self.requests:
                raise InputError(f"There is no request {name!r}.")
            content, results = getattr(self, name)(request, [bytes(buffer) for buffer in buffers])
        except InputError as error:
            content, results = {"error": str(error)}, []
        except Exception:
            logging.getLogger(__name__).exception("A page's request failed")
            content, results = {"error": "Something went wrong here; the terminal of the server says what."}, []
        return {**content, "id": request.get("id")}, results
