"""The two notebooks for people as web pages, by Voilà.

Sources are hidden, and a browser can send messages to its page's widget only, no code. Every visitor has an own kernel, which ends
when the page is closed; there are not more than `visitors` at once.
"""

import asyncio
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from colorize_lib.errors import InputError

PORT = 8866
VISITORS = 4
LEFT_SECONDS = 180  # the kernel of a page whose browser vanished ends after this time
_SETTINGS = "COLORIZE_PAGE"  # the kernels' environment: JSON

WARNING = """
Warning: this page is open to everybody who can reach port {port} of this machine, without password and without encryption.
Visitors use this machine's processor and memory, and photographs and answers travel readable. Stop it with Ctrl+C when it is not
needed any more.
"""


def settings(**defaults):
    """What `serve` was told for the page's notebook, else `defaults`."""
    given = os.environ.get(_SETTINGS)
    return defaults | (json.loads(given) if given else {})


def elsewhere(function, *arguments):
    """Call a function of this module in a process of its own: the server need not keep the memory that networks take."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def network_labels(run_folders):
    """Labels of the networks that the photographs' page offers. Raises InputError for a folder without networks."""
    from colorize_lib.apps import trained

    return [item.label for item in trained.find(run_folders)]


def prepared_pictures(run_folders, dataset, limit):
    """Folder of the Turing test's pictures, made now if they are not there yet: `turing.prepare`.

    By the networks of `run_folders`; without any, by the bundled and the public ones.
    """
    from colorize_lib.apps import trained, turing

    networks = [item for folder in run_folders for item in trained.of_run(folder)]
    return str(turing.prepare(networks or trained.find(), dataset, limit).folder)


def serve(notebook, *, port=PORT, open_to_others=False, visitors=VISITORS, browser=True, **page):
    """Serve a notebook of `notebooks/` as a page until it is stopped.

    Args:
        notebook: name without suffix.
        port: of the page.
        open_to_others: listen on all addresses of the machine, after a printed warning, instead of 127.0.0.1 alone.
        visitors: at most so many at once: each needs a process, for the photographs' page of about 1 GB.
        browser: open the page in the user's browser.
        page: settings for the notebook, see `settings`.

    Raises:
        InputError: the port is taken, or is none.
    """
    from colorize_lib import files

    if not 1 <= port <= 65535:
        raise InputError(f"The port is {port}: it must be a number from 1 to 65535.")
    if visitors < 1:
        raise InputError(f"There are {visitors} visitors: at least 1 must be allowed.")
    os.environ[_SETTINGS] = json.dumps(page)
    os.environ["JUPYTER_PATH"] = os.pathsep.join(
        filter(None, [str(Path(__file__).parent / "jupyter"), os.environ.get("JUPYTER_PATH")])
    )
    from tornado.ioloop import IOLoop
    from traitlets.config import Config
    from voila.app import Voila

    _bound_headers()

    def announce():
        if open_to_others:
            print(WARNING.format(port=port).strip(), file=sys.stderr, flush=True)
        print(f"{notebook} is at http://127.0.0.1:{port}/ (stop it with Ctrl+C)", flush=True)

    class Application(Voila):
        def listen(self):
            IOLoop.current().add_callback(announce)
            super().listen()

    config = Config()
    config.Voila.ip = "0.0.0.0" if open_to_others else "127.0.0.1"
    config.Voila.port = port
    config.Voila.port_retries = 0
    config.Voila.open_browser = browser
    config.Voila.config_file_paths = []  # nothing but what stands here
    config.Voila.log_level = "ERROR"
    # A page that is closed ends its kernel by a request without a token. There is no login that the token would protect.
    config.Voila.tornado_settings = {"disable_check_xsrf": True}
    config.VoilaConfiguration.template = "colorize"
    config.VoilaConfiguration.show_tracebacks = False
    config.VoilaConfiguration.file_denylist = [".*"]  # no file is served beside the page
    config.VoilaConfiguration.multi_kernel_manager_class = _kernel_manager(visitors)
    manager = config.MappingKernelManager
    manager.cull_idle_timeout, manager.cull_interval, manager.cull_connected = LEFT_SECONDS, 30, False
    application = Application.instance(config=config)
    application.initialize([str(files.project_root() / "notebooks" / f"{notebook}.ipynb")])
    try:
        application.start()
    except (OSError, SystemExit) as error:
        raise InputError(
            f"Cannot listen on port {port}: it is taken or not allowed; choose another with --port."
        ) from error


def _bound_headers():
    """Let Voilà read no header beyond its message.

    It takes the first eight bytes for a number of offsets, also in a message of the older protocol, which any client may ask for
    and which begins otherwise: it would count until the machine has no memory left.
    """
    from voila.tornado import kernel_websocket_handler as handler

    read = handler.read_header_from_binary_message

    def bounded(message):
        return read(message) if 8 * (int.from_bytes(message[:8], "little") + 1) <= len(message) else None

    handler.read_header_from_binary_message = bounded


def _kernel_manager(visitors):
    from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
    from tornado.web import HTTPError

    class LimitedKernelManager(AsyncMappingKernelManager):
        """Refuses a kernel more than `visitors`, after a while in which a page that was closed or reloaded frees its own."""

        _starting = 0

        async def start_kernel(self, **options):
            for _ in range(40):
                if len(self) + self._starting < visitors:
                    break
                await asyncio.sleep(0.25)
            else:
                raise HTTPError(503, f"All {visitors} places are taken: try again in some minutes.")
            self._starting += 1
            try:
                return await super().start_kernel(**options)
            finally:
                self._starting -= 1

    return LimitedKernelManager
