"""The Turing test as a page: it asks, and shows the statistics at the end. What is asked and kept: `colorize_lib.apps.turing`."""

import traitlets

from colorize_lib.apps import turing
from colorize_lib.apps.pages.page import Page, script

_NOTE = (
    "In brackets: counts, and 95 % Wilson intervals in per cent. Half of the pictures are real, so that guessing gives 50 %. "
    "The paper prints one share for each network and neither intervals nor the number of its participants."
)


class TuringPage(Page):
    """The page, in one kernel for one visitor.

    Args:
        pictures: `turing.Pictures`.
        store: `turing.Store`.
        length: questions of a round.
    """

    _esm = script("turing")
    settings = traitlets.Dict().tag(sync=True)
    requests = ("start", "answer", "forget")

    def __init__(self, pictures, store, length=turing.LENGTH):
        self.pictures, self.store, self.length = pictures, store, length
        self._total = 0
        super().__init__()
        self.settings = {"length": min(length, len(pictures.credits)), "headings": list(turing.HEADINGS)}

    def start(self, request, _):
        """A round of questions for a new or a known participant; the answer holds the first question."""
        participant = self.store.participant(request.get("participant"))
        self._total = self.store.plan(participant, self.pictures, request.get("form"), self.length)
        return self._question(participant)

    def answer(self, request, _):
        """Keep an answer; the reply holds the next question, or the end."""
        participant = self.store.participant(request.get("participant"))
        self.store.answer(participant, request.get("number"), request.get("answer"), request.get("seconds"))
        return self._question(participant)

    def forget(self, request, _):
        """Delete the answers of this participant."""
        self.store.forget(request.get("participant"))
        return {}, []

    def _question(self, participant):
        trial, waiting = self.store.next(participant)
        if trial is None:
            return {"participant": participant, **self._end(participant)}, []
        real, colorized = self.pictures.read(trial.image), self.pictures.read(trial.image, trial.model)
        if trial.form == "compare":
            shown = [real, colorized] if trial.colorized else [colorized, real]
        else:
            shown = [colorized if trial.colorized else real]
        place = {"place": self._total - waiting + 1, "total": self._total}
        return {"participant": participant, "number": trial.number, "form": trial.form, **place}, shown

    def _end(self, participant):
        mine = self.store.answers(participant)
        seen = {answer["image"] for answer in mine}
        counted = [answer for answer in mine if not answer["dropped"]]
        right = sum(answer["right"] for answer in counted)
        yours = f"You were right in {right} of {len(counted)} answers"
        if len(counted) < len(mine):
            yours += f"; {len(mine) - len(counted)} in less than a second do not count"
        return {
            "finished": True,
            "yours": f"{yours}.",
            "table": [list(line) for line in turing.table(turing.statistics(self.store.answers()))],
            "note": _NOTE,
            "left": len(set(self.pictures.credits) - seen),
            "credits": [credit for image, credit in self.pictures.credits.items() if image in seen and credit],
        }


def prepared(settings):
    """The pictures of a page's settings: those in the folder `pictures`, else made by the networks of `runs`, see `serve`."""
    from colorize_lib.apps.pages import serve

    made = settings["pictures"] or serve.prepared_pictures(settings["runs"], settings["dataset"], settings["limit"])
    return turing.open_pictures(made)
