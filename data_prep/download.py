"""Bring a dataset's source into the data home: use what is already there, or download it.

A download is checked by hash, and resumed after an interruption.
"""

import logging
import os
import sys
import time
from urllib.parse import urlsplit

from colorize_lib import files
from colorize_lib.errors import InputError
from data_prep.unpack import unpack

RETRIES = 3  # in a row without a single new byte
PAUSE = 1.0  # seconds before the second try; each further one waits longer
TIMEOUT = 30  # seconds without a byte
BLOCK = 1 << 16  # bytes written at once; less than that is lost when a connection is cut


def obtain(archive, home, url=None, progress=False):
    """Make sure that the unpacked folder of `archive` is in `home`, and return it.

    The folder itself and the archive's file are used as they are if they exist, wherever they came from; `sources` counts what they
    must hold. Arguments and errors are those of `download`.
    """
    folder = home / archive.folder
    if folder.is_dir():
        return folder
    with files.lock(home / ".locks" / archive.folder, "download"):
        if not (home / archive.file).is_file():
            download(archive, home, url, progress)
        if progress:
            print(f"unpacking {archive.file}", file=sys.stderr)
        unpack(home / archive.file, folder)
    return folder


def download(archive, home, url=None, progress=False):
    """Download `archive.file` into `home`, through pooch.

    The part of an interrupted download that has arrived is in FILE.part, and the next call asks for the rest.

    Args:
        archive: `registry.Archive`.
        home: folder.
        url: a mirror's address instead of the publisher's, of the file or, ending with a slash, of its folder; the same hash is
            expected.
        progress: show a bar on the terminal.

    Raises:
        InputError: no network, an error of the server, wrong hash or size, no space.
    """
    import pooch
    import requests

    url = (url + archive.file if url.endswith("/") else url) if url else archive.url
    pooch.get_logger().setLevel(logging.ERROR)
    part = home / f"{archive.file}.part"
    pin = home / f"{archive.file}.sha256"
    known = archive.hash or (pin.read_text().strip() if pin.exists() else None)
    by_hand = f"copy {archive.file} into {home} by hand, or give a mirror with --url"
    with files.disk_errors(part):
        home.mkdir(parents=True, exist_ok=True)
        try:
            path = pooch.retrieve(url, known, archive.file, home, downloader=_Resuming(part, archive, progress))
        except requests.HTTPError as error:
            status = error.response.status_code
            raise InputError(f"{url} answers with status {status}: try again later, {by_hand}.") from error
        except requests.RequestException as error:
            raise InputError(
                f"The download of {url} ({archive.bytes / 1e6:,.0f} MB) failed ({_cause(error)}): check the network and run the "
                f"same command again, which resumes where it stopped; or {by_hand}."
            ) from error
        except ValueError as error:
            raise InputError(
                f"{url} delivers a file that is not {archive.file} as published (wrong hash); nothing of it was kept: "
                f"try again, or {by_hand}."
            ) from error
        if known is None:
            _pin(path, archive, pin, url)


def _pin(path, archive, pin, url):
    """Remember the hash of a file whose publisher gives none, so that a second download must be the same."""
    size = os.path.getsize(path)
    if size != archive.bytes:
        os.unlink(path)
        raise InputError(
            f"{url} delivers {size:,} bytes instead of {archive.bytes:,}; nothing was kept: try again, or give a mirror with --url."
        )
    files.write_text(pin, f"sha256:{files.sha256(path)}\n")


def _cause(error):
    import requests

    if isinstance(error, requests.Timeout):
        return "the server does not answer"
    if isinstance(error, requests.ConnectionError):
        return f"no connection to {urlsplit(error.request.url).hostname}" if error.request else "no connection"
    return type(error).__name__


class _Resuming:
    """A downloader for pooch that keeps what has arrived in `part` and asks for the rest."""

    def __init__(self, part, archive, progress):
        self._part, self._archive, self._progress = part, archive, progress

    def __call__(self, url, output_file, pooch):
        import requests

        tries = 0
        while True:
            before = self._arrived()
            try:
                self._fetch(url)
                break
            except requests.HTTPError as error:
                if error.response.status_code < 500 and error.response.status_code != 429:
                    raise
                failure = error
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                failure = error
            tries = 1 if self._arrived() > before else tries + 1
            if tries > RETRIES:
                raise failure
            time.sleep(PAUSE * tries)
        os.replace(self._part, output_file)

    def _arrived(self):
        return self._part.stat().st_size if self._part.exists() else 0

    def _fetch(self, url):
        import requests
        from tqdm import tqdm

        start = self._arrived()
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416:  # nothing is left, or the part is longer than the file
                if start == self._archive.bytes:
                    return
                self._part.unlink()
                raise requests.ConnectionError("the part does not belong to this file")
            response.raise_for_status()
            resumed = response.status_code == 206
            with (
                open(self._part, "ab" if resumed else "wb") as file,
                tqdm(
                    desc=self._archive.file,
                    total=self._archive.bytes,
                    initial=start if resumed else 0,
                    unit="B",
                    unit_scale=True,
                    disable=not self._progress,
                ) as bar,
            ):
                for block in response.iter_content(BLOCK):
                    file.write(block)
                    bar.update(len(block))
                    if file.tell() > self._archive.bytes:
                        self._part.unlink()
                        raise ValueError("more bytes than published")
