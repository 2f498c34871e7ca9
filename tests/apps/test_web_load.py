"""Fifty visitors at once, five hundred pictures, broken ones among them. `pytest -s` shows the figures."""

import http.client
import io
import json
import os
import threading
import time
from collections import Counter
from urllib.parse import urlencode

import numpy as np
import psutil
import pytest
from PIL import Image

VISITORS, PICTURES = 50, 10  # pictures of each visitor
TRIES = 200

pytestmark = pytest.mark.skipif("COLORIZE_SOAK" not in os.environ, reason="takes minutes: make soak")


def memory(server):
    """MB of the server and its processes; pages that they share count in each of them."""
    processes = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:  # a process that opened a file, and is done
            continue
    return total / 1e6


def send(server, source, path, body):
    """Send by POST until the server has time: status, body, and how often it said to wait."""
    for waited in range(TRIES):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300, source_address=(source, 0))
        connection.request("POST", path, body)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status != 429:
            return answer.status, content, waited
        time.sleep(json.loads(content)["again"])
    return 429, content, TRIES


def visit(server, number, results):
    """One visitor: of ten pictures eight are photographs, every other one seen in colour, and two are broken."""
    source = f"127.0.1.{number + 1}"
    values = np.random.default_rng(number).integers(0, 256, (6, 9, 3), dtype="uint8")
    file = io.BytesIO()
    Image.fromarray(values).resize((1200, 800), Image.Resampling.BICUBIC).save(file, "JPEG")
    settings = urlencode({"settings": json.dumps({"network": "polychromify", "saturation": 1})})
    for picture in range(PICTURES):
        content = {3: file.getvalue()[:2000], 7: b"no photograph"}.get(picture, file.getvalue())
        status, preview, waited = send(server, source, "/open", content)
        expected = 422 if picture in (3, 7) else 200
        if status == 200 and picture % 2 == 0:
            status, _, more = send(server, source, f"/preview?{settings}", preview)
            waited += more
        results.append((status, expected, waited))


def test_everyone_is_answered_and_no_memory_is_left_behind(photo_server):
    first = []
    visit(photo_server, 200, first)  # the first ten pictures
    before, begun, results = memory(photo_server), time.monotonic(), []
    threads = [threading.Thread(target=visit, args=(photo_server, number, results)) for number in range(VISITORS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begun
    after = memory(photo_server)
    waited = sum(waited for _, _, waited in results)
    print(f"\n{len(results)} pictures of {VISITORS} visitors in {seconds:.0f} s; told to wait {waited} times;", end=" ")
    print(f"{before:.0f} MB after the first ten, {after:.0f} MB at the end")
    assert Counter(status for status, _, _ in results) == {200: 400, 422: 100}
    assert all(status == expected for status, expected, _ in results)
    assert after < 1.1 * before
