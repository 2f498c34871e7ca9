"""The two pages in a real browser: headless Chromium, driven by Playwright, against what the command line serves."""

import io
import os
import re
import shutil
import sqlite3

import numpy as np
import pytest
from apps.conftest import WAIT, Server
from PIL import Image
from scipy import stats

import data_prep
from colorize_lib.apps import trained

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytest.importorskip("playwright", reason="Playwright is not installed: make setup")
pytestmark = [
    pytest.mark.skipif("COLORIZE_BROWSER" not in os.environ, reason="minutes: make test-browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
SCREENS = os.environ.get("COLORIZE_SCREENS")  # folder for screenshots
GUIDED = "Zhang et al. 2017, which takes your own colours (SIGGRAPH17)"
(DEFAULT,) = trained.titles(trained.bundled()[:1])


@pytest.fixture(scope="module")
def turing_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("turing")
    server = Server(folder, "turing-test", "--images", "24", "--store", str(folder / "answers.sqlite"))
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

    What a page asks of other hosts, and errors of its scripts or of its security policy, fail the test.
    """
    opened, strange, errors = [], set(), []

    def open_page(server, width=1280, scheme="light"):
        context = playwright.chromium.launch_persistent_context(
            tmp_path / f"profile{len(opened)}",
            executable_path=CHROMIUM,
            headless=True,
            args=FLAGS,
            viewport={"width": width, "height": 800},
            color_scheme=scheme,
        )
        opened.append(context)
        context.set_default_timeout(1000 * WAIT)
        page = context.new_page()
        page.on("request", lambda request: strange.add(request.url) if request.url.startswith("http") else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
        page.goto(server.address)
        return page

    yield open_page
    for context in opened:
        context.close()
    assert not {url for url in strange if not url.startswith("http://127.0.0.1:")}
    assert not errors


def screenshot(page, name):
    if SCREENS:
        page.screenshot(path=os.path.join(SCREENS, f"{name}.png"), full_page=True)


def check_accessible(page, name):
    """Every control has a name in the accessibility tree, and every picture a text; nothing is cut at 360 pixels."""
    tree = page.locator("body").aria_snapshot()
    controls = re.findall(r"- '?(button|combobox|slider|spinbutton|textbox|checkbox|radio|img)\b(.*)", tree)
    assert controls
    assert not [control for control in controls if not re.match(r' ["/]', control[1])]
    assert "level=1" in tree or page.locator("body.asking").count()
    assert not page.evaluate("() => [...document.querySelectorAll('[tabindex]')].filter((e) => e.tabIndex > 0).length")
    assert page.evaluate("() => document.documentElement.lang") == "en"
    size = page.viewport_size
    for width, height in ((360, 740), (1280, 800)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert contrast(page) >= 4.5
            screenshot(page, f"{name}-{width}-{scheme}")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(size)


def contrast(page):
    """The ratio of contrast of the page's text with its ground (WCAG 2.1)."""
    colors = page.evaluate("() => { const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]; }")
    values = np.array([[float(value) for value in re.findall(r"[\d.]+", color)[:3]] for color in colors]) / 255
    linear = np.where(values <= 0.03928, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    dark, light = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return (light + 0.05) / (dark + 0.05)


def colourfulness(page, selector):
    """Mean distance of red and blue in a shown picture, in levels."""
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


def gray_photo(size=(900, 600)):
    content = next(photo.content for photo in data_prep.photographs() if photo.name == "landscape/desert-hike.jpg")
    with Image.open(io.BytesIO(content)) as photo:
        buffer = io.BytesIO()
        photo.convert("L").resize(size).save(buffer, "JPEG", dpi=(200, 200))
    return buffer.getvalue()


def upload(page, *files):
    page.locator("#file").set_input_files(
        [{"name": name, "mimeType": "image/jpeg", "buffer": content} for name, content in files]
    )


def wait_for_colours(page, title, network=DEFAULT):
    page.wait_for_selector(f"#status:has-text('{title} is colorized by {network}.')")
    assert page.locator("#after").is_visible()


def test_photographs_come_back_in_colour(photo_server, browser, tmp_path):
    page = browser(photo_server)
    check_accessible(page, "photos-empty")
    upload(
        page,
        ("old <b>photo</b>.jpg", gray_photo()),
        ("notes.jpg", b"no photograph"),
        ("second.png", gray_photo((60, 90))),
    )
    wait_for_colours(page, "old <b>photo</b>")
    assert not page.locator("b").count()
    page.wait_for_selector("#alarm:has-text('notes.jpg: This file cannot be used: no image of a known format')")
    assert page.locator("#strip .one").count() == 2
    assert page.inner_text("#about") == "900 × 600 pixels"
    assert page.locator("#against option").all_inner_texts() == ["gray", "Polychromify (Ghiotto 2021)", GUIDED]
    assert colourfulness(page, "#before") == 0
    once = colourfulness(page, "#after")
    assert once > 3
    width = page.locator("#viewer").bounding_box()["width"]
    assert width > 0.8 * 1280  # 900 pixels, shown larger

    # Saturation and the divided picture: by keyboard, and by dragging in it.
    page.get_by_label("Saturation").focus()
    page.keyboard.press("End")
    page.wait_for_function("(once) => document.querySelector('#status').textContent.includes('is colorized')", arg=once)
    page.wait_for_timeout(300)
    wait_for_colours(page, "old <b>photo</b>")
    assert colourfulness(page, "#after") > 1.2 * once
    page.get_by_label("Before and after").focus()
    page.keyboard.press("Home")
    cut = "() => getComputedStyle(document.querySelector('#viewer')).getPropertyValue('--cut')"
    assert page.evaluate(cut) == "0%"
    box = page.locator("#viewer").bounding_box()
    middle = min(box["y"] + box["height"] / 2, 700)
    page.mouse.move(box["x"] + 10, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, middle, steps=4)
    page.mouse.up()
    assert 70 < float(page.evaluate(cut).rstrip("%")) < 80
    check_accessible(page, "photos")

    # The download is in sight, and is the same photograph in its own size.
    button = page.get_by_role("button", name="Download", exact=True)
    assert button.bounding_box()["y"] < 800
    with page.expect_download() as download:
        button.press("Enter")
    download.value.save_as(tmp_path / "result.jpg")
    assert download.value.suggested_filename == "old bphotob-colorized.jpg"
    with Image.open(tmp_path / "result.jpg") as result:
        assert (result.format, result.size) == ("JPEG", (900, 600))
        assert round(float(result.info["dpi"][0])) == 200
        rgb = np.asarray(result).astype(int)
    assert np.abs(rgb[..., 0] - rgb[..., 2]).mean() > 3

    # A reload keeps photographs and settings.
    page.reload()
    wait_for_colours(page, "old <b>photo</b>")
    assert page.locator("#strip .one").count() == 2
    assert page.input_value("#saturation") == "2"
    assert 70 < float(page.evaluate(cut).rstrip("%")) < 80

    # After a refused file nothing stale is shown.
    upload(page, ("x.jpg", b"no photograph"))
    page.wait_for_selector("#alarm:has-text('x.jpg: This file cannot be used')")
    assert not page.locator("#result").is_visible()
    page.locator("#strip .pick").nth(1).press("Enter")
    assert (
        page.evaluate("() => document.activeElement.getAttribute('aria-pressed')") == "true"
    )  # the keyboard stays there
    wait_for_colours(page, "second")
    page.get_by_role("button", name="Remove second").click()
    wait_for_colours(page, "old <b>photo</b>")
    page.reload()
    wait_for_colours(page, "old <b>photo</b>")
    assert page.locator("#strip .one").count() == 1


def test_a_bundled_photograph_by_keyboard_with_own_colours(photo_server, browser):
    page = browser(photo_server)
    page.wait_for_selector("#thumbnails button", state="attached")
    assert page.locator("#thumbnails button").count() == 115
    names = page.locator("#thumbnails img").evaluate_all("(images) => images.map((image) => image.alt)")
    assert len(set(names)) > 110
    assert not [name for name in names if re.search(r"\bIMG\b|\d{4}$|Pollinationn", name)]
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.id") == "file"
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.tagName") == "SUMMARY"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_for_colours(page, names[0])
    assert "Jee & Rani Nature Photography, CC BY SA 4.0" in page.inner_text("#about")
    page.select_option("#against", "original")
    page.wait_for_selector("#beforeName:has-text('the original colours')")
    assert colourfulness(page, "#before") > 3

    # Own colours: by number, then clicked, then removed.
    page.select_option("#network", "siggraph17")
    wait_for_colours(page, names[0], GUIDED)
    hints = page.get_by_role("region", name="Your own colours")

    def shown():
        wait_for_colours(page, names[0], GUIDED)
        return page.get_attribute("#after", "src"), colourfulness(page, "#after")

    without = shown()[1]
    hints.get_by_label("from the left").fill("25")
    hints.get_by_role("button", name="Add point").press("Enter")
    page.wait_for_selector("#hintList li:has-text('#c03030, 25 % from the left, 50 % from the top')")
    page.wait_for_function(
        "(former) => document.querySelector('#after').src !== former", arg=page.get_attribute("#after", "src")
    )
    one = shown()[1]
    assert one != without
    hints.get_by_role("button", name="Click the picture").click()
    address = page.get_attribute("#after", "src")
    page.locator("#viewer").click()
    page.wait_for_function("(former) => document.querySelector('#after').src !== former", arg=address)
    assert page.locator("#hintList li").count() == page.locator(".mark").count() == 2
    check_accessible(page, "photos-hints")
    address = page.get_attribute("#after", "src")
    hints.get_by_role("button", name="Remove point 2").press("Enter")
    page.wait_for_function("(former) => document.querySelector('#after').src !== former", arg=address)
    assert shown()[1] == one
    assert page.evaluate("() => document.activeElement.ariaLabel") == "Remove point 1"
    page.reload()
    wait_for_colours(page, names[0], GUIDED)
    assert page.locator("#hintList li").count() == 1


def test_a_photograph_that_is_opened_before_the_networks_are_there_is_colorized_later(photo_server, browser):
    page, ready = browser(photo_server), []

    def answer(route):
        found = route.fetch()
        route.fulfill(response=found, json=found.json() | ({} if ready else {"networks": None}))

    page.route("**/state", answer)
    page.reload()
    upload(page, ("early.jpg", gray_photo()))
    page.wait_for_selector("#result:visible")
    page.wait_for_timeout(1500)  # two more looks at the state
    assert "is colorized" not in page.inner_text("#status")
    ready.append(True)
    wait_for_colours(page, "early")


def test_files_are_dropped_and_pasted(photo_server, browser):
    page = browser(photo_server, width=360, scheme="dark")
    page.wait_for_selector("#thumbnails button", state="attached")
    give = """([event, name, data]) => {
        const files = new DataTransfer();
        files.items.add(new File([Uint8Array.from(data)], name, { type: 'image/jpeg' }));
        const given = event === 'paste' ? new ClipboardEvent(event, { clipboardData: files, bubbles: true })
            : new DragEvent(event, { dataTransfer: files, bubbles: true, cancelable: true });
        document.querySelector('main').dispatchEvent(given);
    }"""
    for number, event in enumerate(("drop", "paste"), 1):
        page.evaluate(give, [event, f"{event}ped.jpg", list(gray_photo((90, 60)))])
        wait_for_colours(page, f"{event}ped")
        assert page.locator("#strip .one").count() == number


FAST = (5, 14)  # questions that are answered at once


def start(page, form="One picture"):
    page.get_by_label(form).check()
    page.get_by_role("button", name="Start").press("Enter")


def answer(page, place, total, button):
    """Answer question `place` after one and a half seconds of the page's clock."""
    page.wait_for_selector(f"h2:has-text('{place} of {total}')")
    page.wait_for_selector(".answers button:enabled")
    page.clock.fast_forward(1500)
    if place % 2:
        page.locator(".answers button").nth(button).click()
    else:
        page.keyboard.press(("ArrowLeft", "ArrowRight")[button])


def answer_at_once(page, place, button):
    """Let the page click as soon as question `place` can be answered: in less than a second on a busy machine, too."""
    page.evaluate(
        """([place, button]) => {
            const timer = setInterval(() => {
                const buttons = document.querySelectorAll('.answers button:enabled');
                if (!buttons.length || !document.querySelector('h2').textContent.includes(` ${place} of`)) return;
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
        page.wait_for_selector("text=Start")
        check_accessible(page, "turing-start")
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
                assert page.get_attribute(".asked img", "alt") == "Picture 11 of 20: real or colorized?"
                check_accessible(page, "turing-question")
                page.reload()  # which continues the round
                page.wait_for_selector("h2:has-text('11 of 20')")
    for page in pages:
        page.wait_for_selector("h2:has-text('Thank you')")
    pages[0].reload()  # the statistics of both: the first to finish saw fewer answers of the other
    pages[0].wait_for_selector("text=Start")
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
        DEFAULT,
        cell([right for _, right in judged]),
        cell([right for truth, right in judged if not truth]),
        cell([right for truth, right in judged if truth]),
        line[5],
        "2",
        "4",
    ]
    assert 1.5 <= float(line[5].removesuffix(" s")) < 60
    mine = [truth == bool(button) for truth, (button, fast) in zip(truths[0], given[0], strict=True) if not fast]
    assert pages[0].inner_text("#yours").startswith(f"You were right in {sum(mine)} of {len(mine)} answers; 2 in less")
    assert pages[0].get_by_role("button", name="You have seen all pictures").is_disabled()
    assert [row.split("\t")[2] for row in pages[0].inner_text("tbody").splitlines()[-3:]] == [
        "60.30 %",
        "47.43 %",
        "40.26 %",
    ]
    # What was answered wrongly in this round, next to the truth.
    wrong = [truth != bool(button) for truth, (button, _) in zip(truths[0][20:], given[0][20:], strict=True)]
    assert pages[0].locator("#review article").count() == sum(wrong)
    assert pages[0].locator("#review img").count() == 2 * sum(wrong)
    check_accessible(pages[0], "turing-results")


def test_side_by_side_by_keyboard_alone(turing_server, browser):
    page = browser(turing_server)
    page.clock.install()
    page.wait_for_selector("text=Start")
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
        page.wait_for_selector(".answers button:enabled")
        if place == 1:
            assert page.locator(".pair img").count() == 2
            page.keyboard.press("Tab")
            assert "First one" in page.evaluate(focused)
            page.keyboard.press("Tab")
            assert "Second one" in page.evaluate(focused)
            check_accessible(page, "turing-pair")
        page.clock.fast_forward(1500)
        page.keyboard.press("ArrowRight")
    page.wait_for_selector("h2:has-text('Thank you')")
    assert re.fullmatch(r"You were right in \d+ of 20 answers\.", page.inner_text("#yours"))
    assert not page.get_by_role("button", name="delete my answers").is_visible()  # it takes two steps
    page.get_by_text("Delete my answers", exact=True).press("Enter")
    page.get_by_role("button", name="Yes, delete my answers").press("Enter")
    page.wait_for_selector("text=Start")
    with sqlite3.connect(turing_server.answers) as database:
        assert not database.execute("SELECT COUNT(*) FROM trials WHERE form = 'compare'").fetchone()[0]
