"""The Turing test of Galvão, Santos and Sánchez-Mateos 2019: can people tell colorized photographs from real ones?

Sections 5.2 and 6, and their released form: one picture at a time, "real" or "colorized"; answers given in under one second
are dropped; accuracy and rates per model, participants, mean time. A second form shows the real and the colorized picture side
by side and asks which one is colorized.

- A participant is a random number and nothing else: no name, no address; a day, no hour.
- No participant sees a photograph in both forms: the database refuses it. The side-by-side form, which shows both pictures at once,
  uses up its photographs for the other form as well.
- Half of the pictures are real; of the other half each model has the same share. A real picture is shown in the place of one
  model, so that each model has as many of both. Order and places are random; what has been shown least is shown first.
- Positive means real, as in the released form: the true-positive rate is the share of real pictures that were recognized, the
  true-negative rate that of colorized pictures.

Answers are in one SQLite file, each written in a transaction of its own, which is safe with several people at once and after a
crash. Nothing here imports Keras, so that a process that only asks needs little memory.
"""

import contextlib
import datetime
import functools
import hashlib
import io
import json
import math
import random
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from colorize_lib import files
from colorize_lib.errors import InputError
from colorize_lib.images import jpeg

LENGTH = 20  # pictures of one round
TOO_FAST = 1.0  # seconds: quicker answers are dropped, as in the released form
SLOWEST = 3600.0  # seconds; a longer time means that the participant went away
FORMS = ("single", "compare")
SIDE = 1024  # pixels of a picture's longer side at most; those with less than half of it are enlarged to half
_VERSION = 2  # of the prepared pictures


@dataclass(frozen=True)
class Pictures:
    """Prepared pictures: `folder`/IMAGE-FORM.jpg, FORM "real" or the number of a model in `models`; `credits` {image: text}."""

    folder: Path
    models: tuple
    credits: dict

    def path(self, image, model=None):
        """The JPEG file of the real picture of `image`, or of the one that `model` colorized."""
        form = "real" if model is None else self.models.index(model)
        return self.folder / f"{_file(image)}-{form}.jpg"

    def read(self, image, model=None):
        """The bytes of `path`."""
        return self.path(image, model).read_bytes()

    @functools.cached_property
    def files(self):
        """{name: path} of all files."""
        paths = [self.path(image, model) for image in self.credits for model in (None, *self.models)]
        return {path.name: path for path in paths}


def _file(image):
    return hashlib.sha256(image.encode()).hexdigest()[:16]


def home():
    """Folder of the pictures and the answers: `turing-test`, among the runs."""
    return files.run_root() / "turing-test"


def prepare(trained, photographs, folder=None, report=None):
    """Make real and colorized pictures, the same for everyone; they are made once.

    Both go through the same steps, and both are stored as JPEG of quality 95 without chroma subsampling, so that only the colours
    differ. Photographs without any colour are left out.

    Args:
        trained: list of `trained.Trained`.
        photographs: list of `colorize_lib.dataset.Photograph`.
        folder: where the pictures go, in a folder of their own; None: `home()`.
        report: function of (done, all).

    Returns:
        `Pictures`.

    Raises:
        InputError: no networks, no pictures, damaged weights, no space.
    """
    if not trained:
        raise InputError("The Turing test needs a network that colorizes: name a run folder.")
    described = [
        [_VERSION, SIDE],
        [[item.label, files.sha256(item.weights)] for item in trained],
        [[photo.name, photo.credit, hashlib.sha256(photo.content).hexdigest()] for photo in photographs],
    ]
    key = hashlib.sha256(json.dumps(described).encode()).hexdigest()[:12]
    folder = Path(folder or home()) / f"pictures-{key}"
    with files.lock(folder, "pictures", wait=600):
        if not (folder / "index.json").exists():
            _write(folder, trained, photographs, report)
    index = files.read_json(folder / "index.json", "index of pictures")
    return Pictures(folder, tuple(index["models"]), index["credits"])


def _write(folder, trained, photographs, report):
    from colorize_lib.apps.trained import titles

    models, colorizers = titles(trained), [item.load() for item in trained]
    credits = {}
    for done, photograph in enumerate(photographs, 1):
        with Image.open(io.BytesIO(photograph.content)) as image:
            photo = _sized(image.convert("RGB"))
        values = np.asarray(photo)
        if (values.max(-1) != values.min(-1)).any():
            credits[photograph.name] = ", ".join(filter(None, [photograph.title, photograph.credit]))
            results = [Image.fromarray(network.colorize(photo)) for network in colorizers]
            for form, picture in {"real": photo, **dict(enumerate(results))}.items():
                with files.atomic(folder / f"{_file(photograph.name)}-{form}.jpg") as path:
                    path.write_bytes(jpeg(picture, 95, "4:4:4"))
        if report:
            report(done, len(photographs))
    if not credits:
        raise InputError("There is no photograph with colours to ask about: choose another dataset.")
    files.write_json(folder / "index.json", {"models": models, "credits": credits})


def _sized(photo):
    longer = max(photo.size)
    factor = SIDE / longer if longer > SIDE else max(1, SIDE // 2 / longer)
    size = tuple(max(1, round(side * factor)) for side in photo.size)
    return photo if size == photo.size else photo.resize(size, Image.Resampling.LANCZOS)


_SCHEMA = """
CREATE TABLE IF NOT EXISTS participants (id TEXT PRIMARY KEY, day TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS trials (
    participant TEXT NOT NULL REFERENCES participants (id),
    number INTEGER NOT NULL,
    form TEXT NOT NULL CHECK (form IN ('single', 'compare')),
    image TEXT NOT NULL,
    model TEXT NOT NULL,
    pictures TEXT NOT NULL,
    colorized INTEGER NOT NULL CHECK (colorized IN (0, 1)),
    answer INTEGER CHECK (answer IN (0, 1)),
    seconds REAL,
    PRIMARY KEY (participant, number),
    UNIQUE (participant, image)
);
"""
COLUMNS = ("participant", "day", "number", "form", "image", "model", "pictures", "colorized", "answer")
COLUMNS += ("right", "seconds", "dropped")


@dataclass(frozen=True)
class Trial:
    """One question.

    `colorized`: in the single form, whether the picture is colorized; in the compare form, whether the right-hand one is.
    """

    number: int
    form: str
    image: str
    model: str
    colorized: bool


class Store:
    """Participants, questions and answers in one SQLite file; each method is one transaction.

    Raises:
        InputError: the file is no such database, it is locked for longer than half a minute, or cannot be written.
    """

    def __init__(self, path=None):
        self.path = Path(path or home() / "answers.sqlite")
        with files.disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._transaction() as database:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                database.execute(statement)

    @contextlib.contextmanager
    def _transaction(self):
        try:
            database = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            try:
                database.execute("BEGIN IMMEDIATE")
                yield database
                database.execute("COMMIT")
            finally:
                database.close()  # rolls back what was not committed
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"Cannot use the answers in {self.path} ({error}): check the disk and the file, or choose another one with --store."
            ) from error

    def knows(self, participant):
        """Whether `participant`, which may be anything, is one here."""
        if not isinstance(participant, str) or not participant.isascii():
            return False
        with self._transaction() as database:
            return bool(database.execute("SELECT 1 FROM participants WHERE id = ?", [participant]).fetchone())

    def participant(self):
        """Add a participant: 32 hexadecimal digits, drawn at random. Those of earlier days who never answered are removed."""
        today = datetime.date.today().isoformat()
        silent = (
            "SELECT id FROM participants WHERE day < ? AND id NOT IN "
            "(SELECT participant FROM trials WHERE answer IS NOT NULL)"
        )
        with self._transaction() as database:
            database.execute(f"DELETE FROM trials WHERE participant IN ({silent})", [today])
            database.execute(f"DELETE FROM participants WHERE id IN ({silent})", [today])
            new = secrets.token_hex(16)
            database.execute("INSERT INTO participants VALUES (?, ?)", [new, today])
            return new

    def waits(self, participant, pictures):
        """Whether a question about these `Pictures` waits for the participant's answer."""
        with self._transaction() as database:
            query = "SELECT 1 FROM trials WHERE participant = ? AND pictures = ? AND answer IS NULL"
            return bool(database.execute(query, [participant, pictures.folder.name]).fetchone())

    def plan(self, participant, pictures, form="single", length=LENGTH, rng=None):
        """Draw a round of questions for a participant; an unfinished one of this form about these pictures is kept.

        Args:
            participant: from `participant`.
            pictures: `Pictures`.
            form: "single" or "compare".
            length: questions; fewer if fewer photographs are left that this participant has not seen.
            rng: `random.Random`; None: the system's.

        Returns:
            The number of questions that wait for an answer.
        """
        if form not in FORMS:
            raise InputError(f"The form is {form!r}: it must be {' or '.join(FORMS)}.")
        rng = rng or random.SystemRandom()
        with self._transaction() as database:
            waiting = database.execute(
                "SELECT form, pictures FROM trials WHERE participant = ? AND answer IS NULL", [participant]
            ).fetchall()
            if any(row != (form, pictures.folder.name) for row in waiting):
                database.execute("DELETE FROM trials WHERE participant = ? AND answer IS NULL", [participant])
            elif waiting:
                return len(waiting)
            asked = database.execute("SELECT image, number FROM trials WHERE participant = ?", [participant]).fetchall()
            shown = {
                tuple(row[:3]): row[3]
                for row in database.execute(
                    "SELECT image, model, colorized, COUNT(*) FROM trials WHERE form = ? GROUP BY 1, 2, 3", [form]
                )
            }
            left = [image for image in pictures.credits if image not in {row[0] for row in asked}]
            drawn = draw(left, pictures.models, min(length, len(left)), shown, rng)
            first = max((row[1] for row in asked), default=0) + 1
            database.executemany(
                "INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
                [
                    (participant, first + place, form, image, model, pictures.folder.name, colorized)
                    for place, (image, model, colorized) in enumerate(drawn)
                ],
            )
            return len(drawn)

    def next(self, participant):
        """The `Trial` that waits for this participant's answer, or None, and how many wait."""
        with self._transaction() as database:
            rows = database.execute(
                "SELECT number, form, image, model, colorized FROM trials WHERE participant = ? AND answer IS NULL "
                "ORDER BY number",
                [participant],
            ).fetchall()
        return (Trial(*rows[0][:4], bool(rows[0][4])) if rows else None), len(rows)

    def answer(self, participant, number, answer, seconds):
        """Keep an answer, `answer` as `Trial.colorized`; a second one to the same question, or one out of turn, is not kept.

        Returns:
            Whether it was kept.

        Raises:
            InputError: an answer that is neither true nor false, or a time or number that is none.
        """
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**31:
            raise InputError(f"The number of a question is {number!r}: it must be a whole number.")
        if not isinstance(answer, bool):
            raise InputError(f"The answer is {answer!r}: it must be true or false.")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
            raise InputError(f"The time of an answer is {seconds!r}: it must be a number of seconds.")
        with self._transaction() as database:
            changed = database.execute(
                "UPDATE trials SET answer = ?, seconds = ? WHERE participant = ? AND number = ? AND number = "
                "(SELECT MIN(number) FROM trials WHERE participant = ? AND answer IS NULL)",
                [int(answer), round(float(min(seconds, SLOWEST)), 3), participant, number, participant],
            )
            return changed.rowcount == 1

    def forget(self, participant):
        """Delete a participant and all of their answers."""
        if not self.knows(participant):
            return
        with self._transaction() as database:
            database.execute("DELETE FROM trials WHERE participant = ?", [participant])
            database.execute("DELETE FROM participants WHERE id = ?", [participant])

    def answers(self, participant=None):
        """All answers, or those of one participant, as dictionaries with `COLUMNS`, in order."""
        with self._transaction() as database:
            rows = database.execute(
                "SELECT participant, day, number, form, image, model, pictures, colorized, answer, answer = colorized, seconds, "
                "seconds < ? FROM trials JOIN participants ON id = participant "
                "WHERE answer IS NOT NULL AND (? IS NULL OR participant = ?) ORDER BY participants.rowid, number",
                [TOO_FAST, participant, participant],
            ).fetchall()
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows]

    def export(self, path):
        """Write all answers to a CSV file, atomically, one line each; returns how many. Raises InputError."""
        answers = self.answers()
        files.write_csv(path, answers, COLUMNS)
        return len(answers)


def draw(images, models, length, shown, rng):
    """Questions of one round: balanced, in random order, each image once.

    Args:
        images: keys of the photographs that may be shown.
        models: names.
        length: how many, at most as many as `images`.
        shown: {(image, model, colorized): how often}, over all participants.
        rng: `random.Random`.

    Returns:
        List of (image, model, colorized): half of them colorized, each model with as many of both, to within one.
    """
    conditions = [
        (model, colorized) for model in rng.sample(models, len(models)) for colorized in rng.sample((0, 1), 2)
    ]
    slots = [conditions[place % len(conditions)] for place in range(length)]
    rng.shuffle(slots)
    left = rng.sample(images, len(images))
    questions = []
    for model, colorized in slots:
        image = min(left, key=lambda image: shown.get((image, model, colorized), 0))
        left.remove(image)
        questions.append((image, model, colorized))
    return questions


def statistics(answers):
    """Numbers of the test, per form and model and in total.

    Args:
        answers: of `Store.answers`.

    Returns:
        List of dictionaries: `form`; `model`, "all" for the total; `participants`, `answers` and `seconds` (mean) of what counts;
        `dropped` answers under one second; `accuracy`, `true_positive`, `true_negative`, each (rate, low, high, right, count).
        The compare form has no rates of its own: its two are (NaN, NaN, NaN, 0, 0).
    """
    rows = []
    for form in FORMS:
        of_form = [answer for answer in answers if answer["form"] == form]
        models = sorted({answer["model"] for answer in of_form})
        for model in (["all"] if models else []) + (models if len(models) > 1 else []):
            given = [answer for answer in of_form if model in ("all", answer["model"])]
            counted = [answer for answer in given if not answer["dropped"]]
            single = counted if form == "single" else []
            rows.append(
                {
                    "form": form,
                    "model": model if len(models) > 1 or not models else models[0],
                    "participants": len({answer["participant"] for answer in counted}),
                    "answers": len(counted),
                    "dropped": len(given) - len(counted),
                    "seconds": sum(answer["seconds"] for answer in counted) / len(counted) if counted else math.nan,
                    "accuracy": _rate(counted),
                    "true_positive": _rate([answer for answer in single if not answer["colorized"]]),
                    "true_negative": _rate([answer for answer in single if answer["colorized"]]),
                }
            )
    return rows


def _rate(answers):
    """The share of right answers, the ends of Wilson's 95 % interval, and the counts; NaN without answers.

    The interval takes answers as independent, which those of one person are not quite.
    """
    from scipy.stats import binomtest

    right, count = sum(answer["right"] for answer in answers), len(answers)
    if not count:
        return math.nan, math.nan, math.nan, 0, 0
    return right / count, *binomtest(right, count).proportion_ci(method="wilson"), right, count


PAPER = {"unet_mae": "U-Net (MAE loss)", "gan": "GAN", "vac_gan": "VAC+GAN"}
HEADINGS = (
    "form",
    "model",
    "right answers",
    "real recognized",
    "colorized recognized",
    "mean time",
    "people",
    "dropped",
)


def table(rows):
    """`statistics` as text, with the paper's three numbers below: a list of tuples in the order of `HEADINGS`.

    The paper prints one share for each model and calls it the cases in which people could tell (section 6); it gives no number of
    participants and no intervals.
    """
    from colorize_lib.papers import published

    lines = [
        (
            "one at a time" if row["form"] == "single" else "side by side",
            row["model"],
            as_text(row["accuracy"]),
            as_text(row["true_positive"]),
            as_text(row["true_negative"]),
            f"{row['seconds']:.1f} s" if row["answers"] else "–",
            str(row["participants"]),
            str(row["dropped"]),
        )
        for row in rows
    ]
    for system, row in published("vacgan", "table1").items():
        if "turing" in row:
            name = PAPER.get(system, system)
            lines.append(("the paper, CIFAR-10", name, f"{100 * row['turing']:.2f} %", "–", "–", "–", "–", "–"))
    return lines


def as_text(rate):
    """A rate of `statistics` with its counts and its interval, in per cent."""
    value, low, high, right, count = rate
    if not count:
        return "–"
    return f"{100 * value:.0f} % ({right} of {count}) [{100 * low:.0f}, {100 * high:.0f}]"
