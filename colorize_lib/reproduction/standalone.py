"""Pages that open from disk, run no script, and load nothing from other hosts, made from Markdown or from an executed notebook.

They are light or dark, as the reader's system is.
"""

import base64
import hashlib
import io
import re
from html import escape, unescape
from pathlib import Path

from colorize_lib import files

STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")


def from_markdown(text, title):
    """Make a page from a Markdown text."""
    import mistune

    class Renderer(mistune.HTMLRenderer):
        def heading(self, text, level, **attributes):
            anchor = re.sub(r"[^\w-]+", "-", re.sub("<[^>]+>", "", text).lower()).strip("-")
            return f'<h{level} id="{anchor}">{text}</h{level}>\n'

        def image(self, text, url, title=None):
            return f'<img loading="lazy" src="{url}" alt="{escape(text)}">'

    body = mistune.create_markdown(renderer=Renderer(escape=False), plugins=["table"])(text)
    # By the first heading; tables of words become lists on telephones.
    kinds = {"paper": "words papers", "claim": "words"}

    def scrollable(found):
        return f'<div class="wide {kinds.get(found[1].partition("<")[0], "")}" tabindex="0">{found[0]}</div>'

    body = re.sub(r"<table>\n<thead>\n<tr>\n  <th>(.*?)</th>.*?</table>", scrollable, body, flags=re.S)
    return _page(body, title)


def _page(body, title, style=STYLE, head=""):
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{head}<title>{escape(title)}</title><style>\n{style}</style></head><body>\n{body}\n</body></html>\n"
    )


def write_picture(source, target, largest):
    """Write a picture as JPEG of at most `largest` bytes; a JPEG that is small enough is copied."""
    from PIL import Image

    image = Image.open(source)
    small = image.format == "JPEG" and source.stat().st_size <= largest
    target.write_bytes(source.read_bytes() if small else _jpeg(image, largest))


def _jpeg(image, largest=200_000):
    image = image.convert("RGB")
    for quality in (90, 80, 65, 50):
        data = io.BytesIO()
        image.save(data, "JPEG", quality=quality, optimize=True)
        if data.tell() <= largest or max(image.size) <= 100:
            return data.getvalue()
    return _jpeg(image.resize((image.width // 2, image.height // 2)), largest)


def _smallest(content):
    """(media type, bytes) of a picture, in the smallest of three forms."""
    from PIL import Image

    image = Image.open(io.BytesIO(content))
    jpeg, chart = io.BytesIO(), io.BytesIO()
    image.convert("RGB").save(jpeg, "JPEG", quality=70, optimize=True, progressive=True)
    image.convert("RGB").quantize(64).save(chart, "PNG", optimize=True)
    forms = [(Image.MIME[image.format], content), ("image/jpeg", jpeg.getvalue()), ("image/png", chart.getvalue())]
    return min(forms, key=lambda form: len(form[1]))


def write_notebook(source, target):
    """Write an executed notebook as a page, with smaller pictures: photographs as JPEG, charts as PNG of few colours."""
    import nbformat
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter

    notebook = nbformat.read(source, as_version=4)
    for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
        data = output.get("data", {})
        for kind in {"image/png", "image/jpeg"} & data.keys():
            smaller, content = _smallest(base64.b64decode(data.pop(kind)))
            data[smaller] = base64.b64encode(content).decode()
    body, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    light, dark = (HtmlFormatter(style=name).get_style_defs(".highlight") for name in ("default", "github-dark"))
    style = f"{STYLE}{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"
    title = re.search(r"<h1[^>]*>(.*?)<", body)
    files.write_text(target, _page(body, unescape(title[1]) if title else source.stem, style, _source(source)))


def is_of(source, target):
    """Whether the page `target` was made from the executed notebook `source` as it is now."""
    return target.exists() and _source(source) in target.read_text(encoding="utf-8")


def _source(notebook):
    return f'<meta name="source" content="sha256:{hashlib.sha256(notebook.read_bytes()).hexdigest()}">\n'
