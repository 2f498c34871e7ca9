"""The two pages in a real browser: headless Chromium, driven by Playwright, against what the command line serves."""

import contextlib
import io
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from colorize_lib.apps import public_weights, turing

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytest.importorskip("playwright", reason="Playwright is not installed: make setup")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
WAIT = 120_000  # ms; a kernel with TensorFlow starts slowly on a busy machine
SCREENS = os.environ.get("COLORIZE_SCREENS")  # folder for screenshots


class Server:
    """A page served by the command line on a free port."""

    def __init__(self, folder, *arguments):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}/"
        self.log = open(folder / "log.txt", "w+")  # noqa: SIM115
        command = [sys.executable, "-m", "colorize_lib", *arguments, "--port", str(self.port), "--no-browser"]
        environment = os.environ | {"COLORIZE_DATA": str(folder / "data"), "COLORIZE_RUNS": str(folder / "runs")}
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT, env=environment)
        begun = time.monotonic()
        while f"is at {self.address}" not in self.text():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() - begun < WAIT / 1000, self.text()
            time.sleep(0.2)

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
    """The photographs' page; in the data home lie weights of SIGGRAPH17, random ones."""
    import keras

    from colorize_lib import models

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


@pytest.fixture(scope="module")
def turing_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("turing")
    server = Server(
        folder, "turing-test", "--images", "24", "--visitors", "6", "--store", str(folder / "answers.sqlite")
    )
    server.answers = folder / "answers.sqlite"
    yield server
    server.stop()


@pytest.fixture(scope="module")
def playwright():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        yield started


@pytest.fixture
def browser(playwright, tmp_path):
    """Function that opens a page in a new browser with a profile of its own; in the end, all of them are closed.

    What a page asks of other hosts, and errors of its scripts, fail the test.
    """
    opened, strange, errors = [], set(), []

    def open_page(server, width=1100):
        profile = tmp_path / f"profile{len(opened)}"
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, headless=True, args=FLAGS, viewport={"width": width, "height": 900}
        )
        opened.append(context)
        context.set_default_timeout(WAIT)
        page = context.new_page()
        page.on("request", lambda request: strange.add(request.url) if request.url.startswith("http") else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(server.address)
        page.wait_for_selector(".cz-page")
        return page

    yield open_page
    for context in opened:
        for page in context.pages:
            page.goto("about:blank")  # a page that is left ends its kernel, a browser that is killed does not
            page.wait_for_timeout(300)
        context.close()
    assert not {url for url in strange if not url.startswith("http://127.0.0.1:")}
    assert not errors


def screenshot(page, name):
    if SCREENS:
        page.screenshot(path=os.path.join(SCREENS, f"{name}.png"), full_page=True)


def check_accessible(page):
    """Every control has a name, every picture a text, the order of the focus is that of the page, nothing is cut at 360 pixels."""
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('.cz-page :is(input, select, button, summary)')].filter(
            (control) => !control.labels?.length && !control.textContent.trim() && !control.ariaLabel).map((c) => c.outerHTML)"""
    )
    assert not unnamed
    assert not page.evaluate("() => [...document.querySelectorAll('.cz-page img[src]:not([alt])')].length")
    assert not page.evaluate(
        "() => [...document.querySelectorAll('.cz-page [tabindex]')].filter((e) => e.tabIndex > 0).length"
    )
    assert page.evaluate("() => document.documentElement.lang") == "en"
    size = page.viewport_size
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    page.set_viewport_size(size)


def colourfulness(page, selector):
    """Mean distance of the channels of a shown picture, in levels."""
    return page.eval_on_selector(
        selector,
        """(image) => {
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            const context = canvas.getContext('2d');
            context.drawImage(image, 0, 0);
            const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
            let sum = 0;
            for (let i = 0; i < data.length; i += 4) sum += Math.abs(data[i] - data[i + 2]);
            return sum / (data.length / 4);
        }""",
    )


def idle(page):
    page.wait_for_function("() => !document.querySelector('.cz-page').hasAttribute('aria-busy')")


def gray_photo(size=(900, 600)):
    with Image.open(turing.photo_table()[1] / "landscape" / "desert-hike.jpg") as photo:
        buffer = io.BytesIO()
        photo.convert("L").resize(size).save(buffer, "JPEG", dpi=(200, 200))
    return buffer.getvalue()


def test_a_photo_is_uploaded_and_comes_back_in_colour(photo_server, browser, tmp_path):
    page = browser(photo_server)
    check_accessible(page)
    upload = page.get_by_label("Your photograph")
    upload.set_input_files({"name": "old photo.jpg", "mimeType": "image/jpeg", "buffer": gray_photo()})
    page.wait_for_selector("text=old photo: colorized by polychromify, siggraph17.")
    assert page.inner_text(".cz-credit") == "900 × 600 pixels"
    assert page.locator("figure").count() == 3  # it is gray: there is no original to show
    assert colourfulness(page, "figure:nth-of-type(1) img") == 0
    assert colourfulness(page, "figure:nth-of-type(2) img") > 3
    assert page.get_attribute("figure:nth-of-type(2) img", "alt") == "old photo: polychromify"
    check_accessible(page)

    # Saturation, by keyboard.
    before = page.inner_text("figure:nth-of-type(2) figcaption")
    page.get_by_label("Saturation").focus()
    page.keyboard.press("End")
    idle(page)
    assert page.inner_text("figure:nth-of-type(2) figcaption") != before
    assert "2.0" in page.inner_text("label:has-text('Saturation')")
    page.get_by_label("Before and after").focus()
    page.keyboard.press("Home")
    assert "100%" in page.get_attribute(".cz-after", "style")

    # The download is the same photo at its own resolution.
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").press("Enter")
    download.value.save_as(tmp_path / "result.jpg")
    assert download.value.suggested_filename == "old photo-colorized.jpg"
    with Image.open(tmp_path / "result.jpg") as result:
        assert (result.format, result.size) == ("JPEG", (900, 600))
        assert round(float(result.info["dpi"][0])) == 200
        rgb = np.asarray(result).astype(int)
    assert np.abs(rgb[..., 0] - rgb[..., 2]).mean() > 3

    # Hints: clicked, then added by numbers, then removed.
    def guided():
        return colourfulness(page, "figure:nth-of-type(3) img")

    without = guided()
    picture = page.locator(".cz-place img")
    box = picture.bounding_box()
    picture.click(position={"x": box["width"] * 0.25, "y": box["height"] * 0.75})
    idle(page)
    hinted = guided()
    assert hinted != without
    assert "#c03030 at 25 % from the left, 75 % from the top" in page.inner_text(".cz-hints")
    page.get_by_label("From the left").fill("100")
    page.get_by_role("button", name="Add point").press("Enter")
    idle(page)
    assert page.locator(".cz-hints li").count() == page.locator(".cz-mark").count() == 2
    assert guided() not in (without, hinted)
    page.get_by_role("button", name="Remove point 2").click()
    idle(page)
    assert guided() == hinted
    check_accessible(page)
    page.get_by_role("button", name="Remove all points").click()
    idle(page)
    assert guided() == without

    # What is no photograph, or too much of one.
    upload.set_input_files({"name": "x.jpg", "mimeType": "image/jpeg", "buffer": b"no photograph"})
    page.wait_for_selector("[role=alert]:has-text('no image of a known format')")
    with open(tmp_path / "huge.png", "wb") as file:
        file.truncate(60_000_000)
    upload.set_input_files(tmp_path / "huge.png")
    page.wait_for_selector("[role=alert]:has-text('more than the 50 that are taken')")

    # A bundled photograph, with its author; without the network that has random weights, for the eye.
    page.get_by_role("checkbox", name="siggraph17").press("Space")
    idle(page)
    page.get_by_label("Saturation").fill("1")
    page.get_by_label("or one that comes along").select_option("landscape/desert-hike.jpg")
    page.wait_for_selector("text=desert-hike: colorized by polychromify.")
    assert "Budgie Desktop Developers, CC0 1.0" in page.inner_text(".cz-credit")
    assert [caption.split(",")[0] for caption in page.locator("figcaption").all_inner_texts()] == [
        "gray",
        "polychromify",
        "original",
    ]
    page.get_by_label("Before and after").fill("50")
    screenshot(page, "photos")


FAST = (5, 14)  # questions that are answered at once


def start(page, form="One picture"):
    page.get_by_label(form).check()
    page.get_by_role("button", name="Start").press("Enter")


def answer(page, place, total, button):
    """Answer question `place` after one and a half seconds of the page's clock."""
    page.wait_for_selector(f"h2:has-text('{place} of {total}')")
    page.wait_for_selector(".cz-answers button:enabled")
    page.clock.fast_forward(1500)
    if place % 2:
        page.locator(".cz-answers button").nth(button).click()
    else:
        page.keyboard.press(("ArrowLeft", "ArrowRight")[button])


def answer_at_once(page, place, button):
    """Let the page click as soon as question `place` can be answered: in less than a second on a busy machine, too."""
    page.evaluate(
        """([place, button]) => {
            const timer = setInterval(() => {
                const buttons = document.querySelectorAll('.cz-answers button:enabled');
                if (!buttons.length || !document.querySelector('.cz-page h2').textContent.includes(` ${place} of`)) return;
                clearInterval(timer);
                buttons[button].click();
            }, 5);
        }""",
        [place, button],
    )


def cell(answers):
    """A cell of the statistics, from (right) of answers, with the interval of another library."""
    right, count = sum(answers), len(answers)
    low, high = stats.binomtest(right, count).proportion_ci(method="wilson")
    return f"{100 * right / count:.0f} % ({right} of {count}) [{100 * low:.0f}, {100 * high:.0f}]"


def test_twenty_answers_are_in_the_statistics_and_two_people_at_once(turing_server, browser):
    pages = [browser(turing_server), browser(turing_server)]
    for page in pages:
        page.clock.install()
        check_accessible(page)
        start(page)
    generator = np.random.default_rng(0)
    given = [[], []]
    for place in range(1, 21):
        for person, page in enumerate(pages):
            button, fast = int(generator.integers(2)), place in FAST
            given[person].append((button, fast))
            if fast:
                answer_at_once(page, place, button)  # waits for the question that the next line leads to
                answer(page, place - 1, 20, given[person][-2][0])
            elif place + 1 not in FAST:
                answer(page, place, 20, button)
            if (person, place) == (0, 10):
                page.wait_for_selector("h2:has-text('11 of 20')")
                assert page.get_attribute(".cz-one img", "alt") == "Picture 11 of 20: real or colorized?"
                check_accessible(page)
                screenshot(page, "turing-question")
    for page in pages:
        page.wait_for_selector("h2:has-text('Thank you')")
    pages[0].reload()  # the statistics of both: the first to finish saw fewer answers of the other
    pages[0].wait_for_selector(".cz-page")
    start(pages[0])
    for place in range(1, 5):  # 24 photographs: four are left
        given[0].append((0, False))
        answer(pages[0], place, 4, 0)
    pages[0].wait_for_selector("h2:has-text('Thank you')")

    with sqlite3.connect(turing_server.answers) as database:
        persons = [row[0] for row in database.execute("SELECT id FROM participants ORDER BY rowid")]
        truths = [
            [
                bool(row[0])
                for row in database.execute(
                    "SELECT colorized FROM trials WHERE participant = ? ORDER BY number", [person]
                )
            ]
            for person in persons
        ]
        seen = [
            len(set(database.execute("SELECT image FROM trials WHERE participant = ?", [person]))) for person in persons
        ]
    assert sorted(map(len, truths)) == [20, 24]  # the two, and nobody else
    assert sorted(seen) == [20, 24]
    truths.sort(key=len, reverse=True)  # the first person's round of four more
    judged = [
        (truth, bool(button) == truth)
        for person in range(2)
        for truth, (button, fast) in zip(truths[person], given[person], strict=True)
        if not fast
    ]
    assert len(judged) == 40
    line = pages[0].locator("tbody tr").first.locator("th, td").all_inner_texts()
    assert line == [
        "one at a time",
        "polychromify",
        cell([right for _, right in judged]),
        cell([right for truth, right in judged if truth]),
        cell([right for truth, right in judged if not truth]),
        line[5],
        "2",
        "4",
    ]
    assert 1.5 <= float(line[5].removesuffix(" s")) < 60
    mine = [truth == bool(button) for truth, (button, fast) in zip(truths[0], given[0], strict=True) if not fast]
    assert (
        pages[0].inner_text(".cz-yours").startswith(f"You were right in {sum(mine)} of {len(mine)} answers; 2 in less")
    )
    assert pages[0].get_by_role("button", name="You have seen all pictures").is_disabled()
    assert [row.split("\t")[2] for row in pages[0].inner_text("tbody").splitlines()[-3:]] == [
        "60.30 %",
        "47.43 %",
        "40.26 %",
    ]
    check_accessible(pages[0])
    screenshot(pages[0], "turing-results")


def test_side_by_side_by_keyboard_alone(turing_server, browser):
    page = browser(turing_server)
    page.clock.install()
    page.keyboard.press("Tab")
    focused = "() => document.activeElement.value || document.activeElement.textContent"
    while page.evaluate(focused) != "single":
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == "compare"
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Start"
    page.keyboard.press("Enter")
    for place in range(1, 21):
        page.wait_for_selector(f"h2:has-text('Pair {place} of 20')")
        page.wait_for_selector(".cz-answers button:enabled")
        if place == 1:
            assert page.locator(".cz-pair img").count() == 2
            page.keyboard.press("Tab")
            assert "The left one" in page.evaluate(focused)
            page.keyboard.press("Tab")
            assert "The right one" in page.evaluate(focused)
            check_accessible(page)
            screenshot(page, "turing-pair")
        page.clock.fast_forward(1500)
        page.keyboard.press("ArrowRight")
    page.wait_for_selector("h2:has-text('Thank you')")
    assert re.fullmatch(r"You were right in \d+ of 20 answers\.", page.inner_text(".cz-yours"))
    page.get_by_role("button", name="Delete my answers").press("Enter")
    page.wait_for_selector("text=Start")
    with sqlite3.connect(turing_server.answers) as database:
        assert not database.execute("SELECT COUNT(*) FROM trials WHERE form = 'compare'").fetchone()[0]


def test_a_visitor_cannot_run_code_or_read_files(turing_server, browser, tmp_path):
    page = browser(turing_server)
    page.evaluate(
        """(code) => new Promise((resolve) => {
            const kernel = JSON.parse(document.getElementById('jupyter-config-data').textContent).kernelId;
            const socket = new WebSocket(`ws://${location.host}/api/kernels/${kernel}/channels`);
            const header = { msg_id: 'm', msg_type: 'execute_request', username: '', session: 's', date: '', version: '5.3' };
            const content = { code, silent: false, store_history: false, user_expressions: {}, allow_stdin: false };
            socket.onopen = () => {
                socket.send(JSON.stringify({ header, parent_header: {}, metadata: {}, content, channel: 'shell', buffers: [] }));
                setTimeout(resolve, 500);
            };
        })""",
        f"open({str(tmp_path / 'written')!r}, 'w')",
    )
    start(page)
    page.wait_for_selector("h2:has-text('1 of')")  # the kernel has answered something later
    assert not (tmp_path / "written").exists()
    for path in (
        "voila/files/turing_test.ipynb",
        "voila/files/../README.md",
        "api/contents",
        "voila/api/contents/",
        "api/kernels",
    ):
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(turing_server.address + path) as reply:
            content = reply.read().decode(errors="replace")
            assert "nbformat" not in content
            assert "kernel_id" not in content


def test_it_listens_on_this_machine_alone(turing_server):
    addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in addresses:
        with socket.socket() as other:
            other.settimeout(2)
            assert other.connect_ex((address, turing_server.port)) != 0
    assert "Warning" not in turing_server.text()


def test_a_taken_port_is_one_sentence(turing_server):
    command = [sys.executable, "-m", "colorize_lib", "turing-test", "--port", str(turing_server.port), "--no-browser"]
    done = subprocess.run([*command, "--images", "1"], capture_output=True, text=True, timeout=WAIT / 1000)
    assert done.returncode == 2
    assert f"error: Cannot listen on port {turing_server.port}" in done.stderr.splitlines()[-1]
