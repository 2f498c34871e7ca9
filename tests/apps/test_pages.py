"""The pages' Python side, asked as their JavaScript asks. `test_browser.py` does the same in a browser."""

import io
import json

import keras
import numpy as np
import pytest
from PIL import Image

from colorize_lib import __main__, models
from colorize_lib.apps import public_weights, turing
from colorize_lib.apps.pages import photo, serve
from colorize_lib.apps.pages import turing as turing_page
from colorize_lib.errors import InputError


def file_of(kind="JPEG", size=(300, 200), **options):
    small = np.random.default_rng(0).integers(60, 190, (3, 4, 3), dtype="uint8")
    buffer = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).convert("L").save(buffer, kind, **options)
    return buffer.getvalue()


def upload(page, content, name="photo.jpg", piece=1000, size=None):
    size = len(content) if size is None else size
    for start in range(0, len(content), piece):
        request = {"do": "upload", "id": 1, "name": name, "size": size, "start": start}
        answer, buffers = page.reply(request, [memoryview(content[start : start + piece])])
        if "error" in answer:
            break
    return answer, buffers


@pytest.fixture(scope="module")
def page():
    return photo.PhotoPage()


def test_an_upload_comes_back_in_colour_and_in_its_own_format(page):
    exif = Image.Exif()
    exif[0x0112] = 6
    answer, buffers = upload(page, file_of(exif=exif, dpi=(150, 150)), "../../etc/été 1.jpg")
    assert (answer["width"], answer["height"], answer["colour"], answer["id"]) == (200, 300, False, 1)
    assert [Image.open(io.BytesIO(buffer)).size for buffer in buffers] == [(200, 300)] * 2
    answer, (preview,) = page.reply({"do": "colorize", "network": "polychromify", "saturation": 1})
    assert answer["colorfulness"] > 1
    assert Image.open(io.BytesIO(preview)).size == (200, 300)
    answer, (content,) = page.reply({"do": "download", "network": "polychromify", "saturation": 2.0})
    assert answer["name"] == "etcété 1-colorized.jpg"
    with Image.open(io.BytesIO(content)) as result:
        assert (result.format, result.size, result.mode) == ("JPEG", (200, 300), "RGB")
        assert round(float(result.info["dpi"][0])) == 150
    assert (answer["type"], answer["width"], answer["height"]) == ("image/jpeg", 200, 300)
    vivid = photo._colorfulness(Image.open(io.BytesIO(content)))
    gray, _ = page.reply({"do": "colorize", "network": "polychromify", "saturation": 0})
    assert gray["colorfulness"] < 1 < vivid


def test_a_bundled_photograph_has_its_credit(page):
    answer, _ = page.reply({"do": "choose", "photo": "animals/macaw.jpg"})
    assert "Dcoetzee" in answer["credit"]
    assert "public domain" in answer["credit"]
    assert answer["colour"]
    assert "No bundled photograph" in page.reply({"do": "choose", "photo": "../photos.csv"})[0]["error"]
    assert len(page.settings["photos"]) == 115


@pytest.mark.parametrize(
    ("content", "size", "message"),
    [
        (file_of()[:500], None, "cannot be decoded"),
        (b"GIF89a, but only by its name", None, "no image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", None, "no image of a known format"),
        (file_of("PNG", (9000, 9000)), None, "more than the 52,000,000"),
        (b"x", photo.MAX_BYTES + 1, "photographs of 1 to 50,000,000 bytes"),
        (b"x", -1, "photographs of 1 to"),
        (b"x", "1", "photographs of 1 to"),
        (b"xyz", 2, "interrupted"),
    ],
)
def test_what_is_no_photograph_is_refused(page, content, size, message):
    assert message in upload(page, content, size=size, piece=1 << 20)[0]["error"]


def test_an_upload_out_of_order_is_refused_and_the_next_one_works(page):
    answer, _ = page.reply({"do": "upload", "name": "a", "size": 10, "start": 5}, [b"12345"])
    assert "interrupted" in answer["error"]
    assert "error" not in upload(page, file_of())[0]


def test_odd_requests_are_sentences(page):
    assert "no request" in page.reply({"do": "_opened"})[0]["error"]
    assert "no request" in page.reply({"do": "close"})[0]["error"]
    assert "no network called" in page.reply({"do": "colorize", "network": "x", "saturation": 1})[0]["error"]
    for saturation in (None, "1", -1, float("nan"), 1e9):
        request = {"do": "colorize", "network": "polychromify", "saturation": saturation}
        assert "saturation" in page.reply(request)[0]["error"]
    assert "no photograph yet" in photo.PhotoPage().reply({"do": "download"})[0]["error"]


def test_hints_are_offered_only_with_the_public_weights(tmp_path, monkeypatch):
    page = photo.PhotoPage()
    assert not page.settings["guided"]
    keras.utils.set_random_seed(0)
    path = public_weights.weights_path("siggraph17")
    path.parent.mkdir(parents=True)
    models.build("siggraph17", classes=True).save_weights(path)
    page = photo.PhotoPage()
    assert page.settings["guided"]
    assert page.settings["networks"] == [["polychromify", False], ["siggraph17", True]]
    upload(page, file_of())
    request = {"do": "colorize", "network": "siggraph17", "saturation": 1}
    plain, hinted = (page.reply({**request, "hints": hints})[1][0] for hints in ([], [[0.5, 0.5, "#ff0000"]]))
    assert plain != hinted
    for hints in ([[2, 0, "#ff0000"]], [[0, 0, "red"]], "x", [[0, 0]], [[0, 0, "#ff0000"]] * 101):
        assert "error" in page.reply({**request, "hints": hints})[0]


def test_a_failure_of_ours_says_nothing_of_the_machine(page, monkeypatch, caplog):
    monkeypatch.setattr(page, "choose", lambda request, buffers: 1 / 0)
    answer, _ = page.reply({"do": "choose"})
    assert answer["error"] == "Something went wrong here; the terminal of the server says what."
    assert "ZeroDivisionError" in caplog.text


@pytest.fixture
def turing_pages(tmp_path):
    folder = tmp_path / "pictures-x"
    folder.mkdir()
    credits = {f"{number}": f"title {number}" for number in range(6)}
    for image in credits:
        for form in ("real", "0"):
            (folder / f"{turing._file(image)}-{form}.jpg").write_text(f"{image} {form}")
    (folder / "index.json").write_text(json.dumps({"models": ["polychromify"], "credits": credits}))
    store = turing.Store(tmp_path / "answers.sqlite")
    return lambda: turing_page.TuringPage(turing.open_pictures(folder), store, length=4)


@pytest.mark.parametrize("form", turing.FORMS)
def test_a_round_of_the_turing_test(turing_pages, form):
    page = turing_pages()
    answer, buffers = page.reply({"do": "start", "participant": None, "form": form})
    participant, truths = answer["participant"], []
    for place in range(1, 5):
        assert (answer["place"], answer["total"], answer["form"]) == (place, 4, form)
        shown = [bytes(buffer).decode().split() for buffer in buffers]
        assert len(shown) == (1 if form == "single" else 2)
        assert len({image for image, _ in shown}) == 1
        truths.append(shown[-1][1] != "real")
        assert not {"colorized", "model", "image"} & set(answer)  # nothing tells
        given = truths[-1] if place > 1 else not truths[-1]
        request = {
            "do": "answer",
            "participant": participant,
            "number": answer["number"],
            "answer": given,
            "seconds": 0.5 + place,
        }
        answer, buffers = page.reply(request)
    assert sum(truths) == 2
    assert answer["finished"]
    assert answer["yours"] == "You were right in 3 of 4 answers."
    assert answer["table"][0][2].startswith("75 % (3 of 4)")
    assert answer["left"] == 2
    assert len(answer["credits"]) == 4
    # The same person after a reload: the photographs that are left, then none.
    answer, _ = turing_pages().reply({"do": "start", "participant": participant, "form": "single"})
    assert (answer["participant"], answer["total"]) == (participant, 2)
    page.reply({"do": "forget", "participant": participant})
    assert not page.store.answers()


def test_the_turing_page_needs_no_keras():
    import subprocess
    import sys

    code = (
        "import sys; from colorize_lib.apps.pages import turing, serve; "
        "print('keras' in sys.modules, 'tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == [
        "False",
        "False",
    ]


def test_settings_of_a_served_page(monkeypatch):
    assert serve.settings(runs=[], store=None) == {"runs": [], "store": None}
    monkeypatch.setenv("COLORIZE_PAGE", '{"runs": ["a"]}')
    assert serve.settings(runs=[], store=None) == {"runs": ["a"], "store": None}


def test_a_visitor_too_many_is_refused_and_a_left_place_taken_again(monkeypatch):
    from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
    from tornado.web import HTTPError

    async def start(self, **options):
        number = str(len(self._kernels))
        self._kernels[number] = None
        return number

    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 50:
            manager._kernels.clear()

    monkeypatch.setattr(AsyncMappingKernelManager, "start_kernel", start)
    monkeypatch.setattr(serve.asyncio, "sleep", sleep)
    manager = serve._kernel_manager(2)()
    run(manager.start_kernel())
    run(manager.start_kernel())
    assert not pauses
    with pytest.raises(HTTPError, match="All 2 places are taken"):
        run(manager.start_kernel())
    assert run(manager.start_kernel()) == "0"  # a page was closed while this one waited


def run(coroutine):
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    return ended.value.value


def test_what_cannot_be_served_is_one_sentence(capsys):
    with pytest.raises(InputError, match="from 1 to 65535"):
        serve.serve("turing_test", port=0)
    with pytest.raises(InputError, match="at least 1"):
        serve.serve("turing_test", visitors=0)
    assert __main__.main(["app", "--run", "/nonexistent", "--no-browser"]) == 2
    assert "No trained network lies in /nonexistent" in capsys.readouterr().err


def test_a_message_of_the_older_protocol_does_not_fill_the_memory():
    from jupyter_client.session import json_packer
    from jupyter_server.services.kernels.connection.base import serialize_binary_message, serialize_msg_to_ws_v1
    from voila.tornado import kernel_websocket_handler as handler

    serve._bound_headers()
    message = {"header": {"msg_type": "comm_msg"}, "buffers": [b"pixels"]}
    assert handler.read_header_from_binary_message(serialize_binary_message(message)) is None
    parts = [json_packer({"msg_type": "execute_input"}), b"{}", b"{}", b"{}"]
    current = serialize_msg_to_ws_v1(parts, "iopub")
    assert handler.read_header_from_binary_message(current) == {"msg_type": "execute_input"}
