"""The Turing test: the page's server side. What is asked and kept: `colorize_lib.apps.turing`.

The pictures are made by a process that ends when it has made them, so that the server keeps no network. A visitor is a
participant's number, which the browser keeps; whoever has one can continue the round, and see or delete the answers.
"""

import base64
import contextlib
import json

from starlette.concurrency import run_in_threadpool

from colorize_lib.apps import turing
from colorize_lib.apps.web import server, studio
from colorize_lib.apps.web.decoding import Refused
from colorize_lib.errors import InputError

NEW = server.Rate(40, 60)  # participants of one address: a class at once, then one a minute
_NOTE = (
    "In brackets: counts, and 95 % Wilson intervals in per cent. Half of the pictures are real, so that guessing gives 50 %. "
    "The paper prints one share for each network and neither intervals nor the number of its participants."
)


class Preparation(studio.Reporter):
    """Makes the pictures in a process of its own; for one event loop.

    Args:
        run_folders: runs whose networks are tested; none: the default network.
        photographs: list of `colorize_lib.dataset.Photograph`.

    Attributes:
        pictures: `turing.Pictures`; None until they are made.
        done: photographs that are done, and all of them.
        failure: the sentence that says why there are none, or None.
    """

    RESULT, ENDED = "pictures", "The process that makes the pictures ended: is there enough memory?"

    def __init__(self, run_folders, photographs):
        self._arguments = [str(folder) for folder in run_folders], photographs
        self.pictures, self.done = None, (0, len(photographs))

    def start(self):
        """Start the process."""
        self.spawn(_prepare, *self._arguments)


def _prepare(report, run_folders, photographs):
    from colorize_lib.apps import trained

    networks = [item for folder in run_folders for item in trained.of_run(folder)] or trained.bundled()[:1]
    report("pictures", turing.prepare(networks, photographs, report=lambda *done: report("done", done)))


def application(preparation, store, place, length=turing.LENGTH):
    """The page as an ASGI application.

    Args:
        preparation: `Preparation`, which the application starts and stops.
        store: `turing.Store`.
        place: `server.Place`.
        length: questions of a round.
    """
    limiter = server.Limiter(NEW)

    @contextlib.asynccontextmanager
    async def lifespan(_):
        preparation.start()
        yield
        preparation.stop()

    def state():
        pictures = preparation.pictures
        settings = {
            "ready": pictures is not None,
            "failure": preparation.failure,
            "done": preparation.done,
            "length": min(length, len(pictures.credits)) if pictures else length,
            "headings": turing.HEADINGS,
        }
        return "application/json", json.dumps(settings).encode()

    def picture(name):
        """A picture by the name of its file, for those who have answered."""
        pictures = preparation.pictures
        return ("image/jpeg", pictures.files[name].read_bytes()) if pictures and name in pictures.files else None

    def action(function):
        async def answer(request, body):
            if preparation.pictures is None:
                raise server.Busy("The pictures are not ready yet: wait a moment.", 2)
            try:
                given = json.loads(body)
            except (ValueError, RecursionError):
                given = None
            if not isinstance(given, dict):
                raise Refused("The request is damaged: load the page again.")
            try:
                return await run_in_threadpool(function, request, given)
            except InputError as error:
                if error.__cause__ is None:  # of what was sent, not of the disk
                    raise Refused("The request is damaged: load the page again.") from error
                raise

        return answer

    def start(request, given):
        """A round for a new or a known participant; the first question."""
        participant = given.get("participant")
        if not store.knows(participant):
            limiter.take(request.client.host, "participants")
            participant = store.participant()
        store.plan(participant, preparation.pictures, given.get("form"), length)
        return _question(store, preparation.pictures, participant)

    def resume(request, given):
        """The question that waits for a participant, if any does."""
        participant = given.get("participant")
        if not store.knows(participant) or not store.waits(participant, preparation.pictures):
            return {"finished": True}
        return _question(store, preparation.pictures, participant)

    def answer(request, given):
        """Keep an answer; the next question, or the end."""
        participant = given.get("participant")
        if not store.knows(participant):
            raise Refused("Your answers are not here any more: start again.")
        store.answer(participant, given.get("number"), given.get("answer"), given.get("seconds"))
        return _question(store, preparation.pictures, participant, given.get("first"))

    def forget(request, given):
        """Delete the answers of a participant."""
        store.forget(given.get("participant"))
        return {}

    actions = {f"/{function.__name__}": action(function) for function in (start, resume, answer, forget)}
    files = {"/state": state, "/pictures/{name}": picture}
    return server.application("turing.html", actions, files, place, lifespan)


def _question(store, pictures, participant, first=None):
    trial, waiting = store.next(participant)
    if trial is None:
        return {"participant": participant, **_end(store, pictures, participant, first)}
    real, colorized = pictures.read(trial.image), pictures.read(trial.image, trial.model)
    if trial.form == "compare":
        shown = [real, colorized] if trial.colorized else [colorized, real]
    else:
        shown = [colorized if trial.colorized else real]
    return {
        "participant": participant,
        "number": trial.number,
        "waiting": waiting,
        "form": trial.form,
        "pictures": [base64.b64encode(content).decode() for content in shown],
    }


def _end(store, pictures, participant, first):
    """The statistics, and the answers of the round from question number `first` on, next to the truth."""
    mine = store.answers(participant)
    counted = [answer for answer in mine if not answer["dropped"]]
    right = sum(answer["right"] for answer in counted)
    yours = f"You were right in {right} of {len(counted)} answers"
    if len(counted) < len(mine):
        yours += f"; {len(mine) - len(counted)} in less than a second do not count"
    seen = {answer["image"] for answer in mine}
    begun = first if isinstance(first, int) else 0
    return {
        "finished": True,
        "yours": f"{yours}.",
        "table": turing.table(turing.statistics(store.answers())),
        "note": _NOTE,
        "left": len(set(pictures.credits) - seen),
        "review": [
            {
                "credit": pictures.credits[answer["image"]],
                "form": answer["form"],
                "right": bool(answer["right"]),
                "dropped": bool(answer["dropped"]),
                "colorized": bool(answer["colorized"]),
                "real": pictures.path(answer["image"]).name,
                "network": pictures.path(answer["image"], answer["model"]).name,
            }
            for answer in mine
            if answer["number"] >= begun and answer["pictures"] == pictures.folder.name
        ],
    }


def serve(photographs, store, run_folders, place):
    """Serve the page until it is stopped.

    Args:
        photographs, run_folders: see `Preparation`.
        store: `turing.Store`.
        place: `server.Place`.

    Raises:
        InputError: the port is taken, a run folder holds no network, or no photograph has colours.
    """
    preparation = Preparation(run_folders, photographs)
    app = application(preparation, store, place)
    server.serve(app, "The Turing test", place, preparation.wait_until_ready)
