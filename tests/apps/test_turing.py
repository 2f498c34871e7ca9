import csv
import io
import random
import sqlite3
import threading
from collections import Counter

import numpy as np
import pytest
from PIL import Image

import data_prep
from colorize_lib import __main__, color
from colorize_lib.apps import trained, turing
from colorize_lib.errors import InputError

MODELS = ("first", "second")


@pytest.fixture
def pictures(tmp_path):
    """Pictures whose files do not matter."""
    return turing.Pictures(tmp_path / "pictures-a", MODELS, {f"photo {number}": "" for number in range(30)})


@pytest.fixture
def store(tmp_path):
    return turing.Store(tmp_path / "answers.sqlite")


def answer_all(store, participant, reply=lambda trial: trial.colorized, seconds=2.0):
    while (trial := store.next(participant)[0]) is not None:
        assert store.answer(participant, trial.number, reply(trial), seconds)


def test_a_round_is_balanced_and_shows_no_photograph_twice(store, pictures):
    for form in turing.FORMS:
        person = store.participant()
        assert store.plan(person, pictures, form) == 20
        answer_all(store, person)
        answers = store.answers(person)
        assert Counter((answer["model"], answer["colorized"]) for answer in answers) == {
            (model, colorized): 5 for model in MODELS for colorized in (0, 1)
        }
        # The second round has the ten photographs that are left, the third none.
        assert store.plan(person, pictures, form) == 10
        answer_all(store, person)
        assert store.plan(person, pictures, form) == 0
        images = [answer["image"] for answer in store.answers(person)]
        assert len(images) == len(set(images)) == 30


def test_no_photograph_in_both_forms_even_by_another_program(store, pictures):
    person = store.participant()
    store.plan(person, pictures, "single")
    image = store.next(person)[0].image
    with sqlite3.connect(store.path) as database, pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        database.execute(
            "INSERT INTO trials VALUES (?, 99, 'single', ?, 'first', 'pictures-a', 0, NULL, NULL)", [person, image]
        )


def test_what_was_shown_least_is_shown_first(store, pictures):
    """After fifteen people with 20 of 30 photographs each, every photograph was real and colorized about equally often."""
    for seed in range(15):
        person = store.participant()
        store.plan(person, pictures, rng=random.Random(seed))
        answer_all(store, person)
    shown = Counter((answer["image"], answer["colorized"]) for answer in store.answers())
    counts = [shown[image, colorized] for image in pictures.credits for colorized in (0, 1)]
    assert sum(counts) == 300
    assert min(counts) >= 3
    assert max(counts) <= 7


def test_the_order_is_random(pictures):
    orders = {tuple(turing.draw(list(pictures.credits), MODELS, 20, {}, random.Random(seed))) for seed in range(20)}
    assert len(orders) == 20
    firsts = Counter(order[0][2] for order in orders)
    assert set(firsts) == {0, 1}
    assert min(firsts.values()) >= 3


def test_an_unfinished_round_goes_on_and_old_pictures_are_given_up(store, pictures):
    person = store.participant()
    store.plan(person, pictures)
    first = store.next(person)[0]
    store.answer(person, first.number, True, 2.0)
    reopened = turing.Store(store.path)  # as after a crash
    assert reopened.knows(person)
    assert reopened.waits(person, pictures)
    assert reopened.plan(person, pictures) == 19
    assert reopened.next(person)[0].number == first.number + 1
    others = turing.Pictures(pictures.folder.with_name("pictures-b"), MODELS, pictures.credits)
    assert not reopened.waits(person, others)
    assert reopened.plan(person, others) == 20
    assert len(reopened.answers(person)) == 1
    assert reopened.plan(person, others, "compare") == 20


def test_an_answer_counts_once_and_in_turn(store, pictures):
    person = store.participant()
    store.plan(person, pictures)
    number = store.next(person)[0].number
    assert not store.answer(person, number + 1, True, 2.0)
    assert store.answer(person, number, True, 2.0)
    assert not store.answer(person, number, False, 2.0)
    assert not store.answer(store.participant(), number, True, 2.0)
    (kept,) = store.answers()
    assert (kept["answer"], kept["seconds"]) == (1, 2.0)
    for odd in ("1", None, True, 1.5, [1]):
        with pytest.raises(InputError, match="whole number"):
            store.answer(person, odd, True, 2.0)
    for answer, seconds in ((1, 2.0), ("yes", 2.0), (True, -1), (True, float("nan")), (True, "2"), (True, True)):
        with pytest.raises(InputError):
            store.answer(person, number + 1, answer, seconds)


def test_participants_are_random_numbers(store):
    persons = {store.participant() for _ in range(5)}
    assert len(persons) == 5
    assert all(len(person) == 32 for person in persons)
    assert all(store.knows(person) for person in persons)
    for foreign in ("0" * 32, "Robert'); DROP TABLE trials;--", None, 7, [], {}):
        assert not store.knows(foreign)
        store.forget(foreign)
    with sqlite3.connect(store.path) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(participants)")]
    assert columns == ["id", "day"]


def test_who_never_answered_is_removed_the_next_day(store, pictures):
    silent, answered = store.participant(), store.participant()
    for person in (silent, answered):
        store.plan(person, pictures)
    store.answer(answered, store.next(answered)[0].number, True, 2.0)
    assert store.knows(silent)
    store.participant()
    assert store.knows(silent)  # of today
    with sqlite3.connect(store.path) as database:
        database.execute("UPDATE participants SET day = '2020-01-01'")
    store.participant()
    assert [store.knows(person) for person in (silent, answered)] == [False, True]
    assert store.next(silent) == (None, 0)
    assert len(store.answers()) == 1


def test_forgetting_deletes_one_persons_answers_alone(store, pictures):
    persons = [store.participant() for _ in range(2)]
    for person in persons:
        store.plan(person, pictures, length=4)
        answer_all(store, person)
    store.forget(persons[0])
    assert {answer["participant"] for answer in store.answers()} == {persons[1]}


def test_people_at_once(store, pictures):
    """Eight threads with a connection each: nothing is lost and nobody is locked out."""
    failures = []

    def take_part():
        try:
            own = turing.Store(store.path)
            person = own.participant()
            own.plan(person, pictures, length=10)
            answer_all(own, person)
        except Exception as error:  # shown by the main thread
            failures.append(error)

    threads = [threading.Thread(target=take_part) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert Counter(Counter(answer["participant"] for answer in store.answers()).values()) == {10: 8}


def test_a_damaged_file_is_one_sentence(tmp_path):
    (tmp_path / "answers.sqlite").write_text("no database at all, but longer than a header of one hundred bytes" * 9)
    with pytest.raises(InputError, match=r"Cannot use the answers in .*answers\.sqlite"):
        turing.Store(tmp_path / "answers.sqlite")


def test_statistics_of_answers_written_by_hand():
    def answer(participant, model, colorized, given, seconds, form="single"):
        return dict(
            participant=participant, form=form, model=model, colorized=colorized, answer=given, seconds=seconds
        ) | {
            "right": int(colorized == given),
            "dropped": int(seconds < 1),
        }

    answers = [
        answer("p", "first", 1, 1, 2.0),
        answer("p", "first", 1, 0, 4.0),
        answer("p", "first", 0, 0, 3.0),
        answer("q", "second", 1, 1, 1.0),  # exactly one second counts
        answer("q", "second", 0, 1, 5.0),
        answer("q", "second", 0, 0, 0.999),
        answer("p", "first", 1, 1, 2.0, "compare"),
    ]
    rows = {(row["form"], row["model"]): row for row in turing.statistics(answers)}
    assert set(rows) == {("single", "all"), ("single", "first"), ("single", "second"), ("compare", "first")}
    total = rows["single", "all"]
    assert (total["participants"], total["answers"], total["dropped"], total["seconds"]) == (2, 5, 1, 3.0)
    assert [total[name][3:] for name in ("accuracy", "true_positive", "true_negative")] == [(3, 5), (1, 2), (2, 3)]
    assert rows["single", "second"]["accuracy"][3:] == (1, 2)
    assert rows["compare", "first"]["true_positive"][4] == 0
    lines = turing.table(turing.statistics(answers))
    assert lines[0][2] == "60 % (3 of 5) [23, 88]"
    assert [line[2] for line in lines[-3:]] == ["60.30 %", "47.43 %", "40.26 %"]
    assert all(len(line) == len(turing.HEADINGS) for line in lines)
    assert [line[0] for line in turing.table(turing.statistics([]))] == ["the paper, CIFAR-10"] * 3


def test_export(store, pictures, tmp_path, capsys):
    person = store.participant()
    store.plan(person, pictures, length=6)
    answer_all(store, person, lambda trial: True, 0.5)
    target = tmp_path / "out" / "answers.csv"
    assert __main__.main(["turing-test", "--store", str(store.path), "--export", str(target), "--statistics"]) == 0
    rows = list(csv.DictReader(target.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 6
    assert set(rows[0]) == set(turing.COLUMNS)
    assert {row["dropped"] for row in rows} == {"1"}
    printed = capsys.readouterr().out
    assert "6 answers in" in printed
    assert "the paper, CIFAR-10 | VAC+GAN | 40.26 %" in printed


def test_pictures_differ_in_colour_alone(tmp_path):
    networks, photographs = trained.bundled()[:1], data_prep.photographs()[:2]
    made = turing.prepare(networks, photographs, tmp_path)
    assert len(made.credits) == 2
    assert all(text.count(",") >= 2 for text in made.credits.values())  # title, author, licence
    for image in made.credits:
        files = [made.read(image), made.read(image, *made.models)]
        real, colorized = (Image.open(io.BytesIO(content)) for content in files)
        assert real.size == colorized.size
        assert turing.SIDE // 2 <= max(real.size) <= turing.SIDE
        assert real.quantization == colorized.quantization
        assert real.info.keys() == colorized.info.keys()
        lightness = [np.asarray(color.lightness(np.asarray(picture))) for picture in (real, colorized)]
        assert np.abs(lightness[0] - lightness[1]).mean() < 2
        assert np.abs(np.asarray(real, "float32") - np.asarray(colorized)).mean() > 3
    before = {path: path.stat().st_mtime_ns for path in made.folder.iterdir()}
    assert sorted(made.files.values()) == sorted(made.folder.glob("*.jpg"))
    again = turing.prepare(networks, photographs, tmp_path)
    assert again == made
    assert {path: path.stat().st_mtime_ns for path in made.folder.iterdir() if path.name != ".lock"} == {
        path: time for path, time in before.items() if path.name != ".lock"
    }


def test_pictures_of_a_prepared_dataset(tmp_path):
    """Small images are enlarged, images without colour are left out."""
    folder = tmp_path / "own" / "subject"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(20):
        values = generator.integers(0, 256, (40, 40, 1 if number % 2 else 3), dtype="uint8")
        Image.fromarray(np.broadcast_to(values, (40, 40, 3)).copy()).save(folder / f"{number}.png")
    drawn = data_prep.drawn_photographs(str(tmp_path / "own"), 2)
    assert 0 < len(drawn) <= 2
    assert len(data_prep.drawn_photographs(str(tmp_path / "own"), 1)) == 1
    made = turing.prepare(trained.bundled()[:1], drawn, tmp_path / "made")
    assert len(made.credits) == len(drawn)
    picture = Image.open(io.BytesIO(made.read(next(iter(made.credits)))))
    assert max(picture.size) >= turing.SIDE // 2
    with pytest.raises(InputError, match="needs a network"):
        turing.prepare([], drawn)
