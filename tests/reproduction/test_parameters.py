import shlex

import pytest
import toy_project

from colorize_lib.errors import InputError
from colorize_lib.reproduction import parameters
from data_prep import registry

PROFILES = {
    "quick": {"dataset": "photos", "epochs": 2, "width": 0.5, "train_limit": None, "dtype": "float32"},
    "paper": {"dataset": "tiny-imagenet", "epochs": None, "width": 1.0, "train_limit": None, "dtype": "auto"},
}


def test_profile_and_overrides():
    quick = parameters.resolve(PROFILES, {"EPOCHS": None})
    assert (quick.label, quick.epochs, quick.width, quick.seed) == ("quick (budgeted)", 2, 0.5, 0)
    budgeted = parameters.resolve(PROFILES, {"PROFILE": "paper", "EPOCHS": 3, "WIDTH": 1})
    assert (budgeted.label, budgeted.profile, budgeted.epochs) == ("budgeted", "paper", 3)
    assert isinstance(budgeted.width, float)
    assert parameters.resolve(PROFILES, {"PROFILE": "paper", "SEED": 3, "SYSTEMS": "cnn"}).label == "paper"


def test_key_names_the_training_not_what_is_shown():
    def key(**given):
        return parameters.resolve(PROFILES, given).key()

    assert key() == key(SYSTEMS="cnn") == key(KEEP="last")
    assert len({key(), key(EPOCHS=3), key(SEED=1), key(PROFILE="paper")}) == 4
    assert key(RUN="mine") == "mine"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"EPOCH": 3}, r"no parameter EPOCH \(did you mean 'EPOCHS'\?\): this notebook takes .*EPOCHS"),
        ({"EPOCHS": 0}, "EPOCHS is 0: it must be a whole number from 1"),
        ({"EPOCHS": "3"}, "must be a whole number"),
        ({"EPOCHS": True}, "must be a whole number"),
        ({"EPOCHS": 2.5}, "must be a whole number"),
        ({"WIDTH": float("nan")}, "WIDTH is nan"),
        ({"WIDTH": -1.0}, "WIDTH is -1.0: it must be a number from 0.01 to 16"),
        ({"DTYPE": "float16"}, "one of auto, float32, mixed_bfloat16"),
        ({"PROFILE": "papre"}, "PROFILE is 'papre': it must be one of quick, paper"),
        ({"RUN": "../up"}, "RUN is '../up'"),
        ({"RUN": ""}, "RUN is ''"),
    ],
)
def test_wrong_parameters_are_one_sentence(given, message):
    with pytest.raises(InputError, match=message):
        parameters.resolve(PROFILES, given)


def test_systems():
    names = ["cnn", "polychromify", "polychromify_a"]
    assert parameters.resolve(PROFILES, {}).chosen(names, ["cnn"]) == ["cnn"]
    assert parameters.resolve(PROFILES, {"SYSTEMS": "all"}).chosen(names, []) == names
    assert parameters.resolve(PROFILES, {"SYSTEMS": "polychromify, cnn"}).chosen(names, []) == names[:2]
    with pytest.raises(InputError, match=r"no system 'cn' \(did you mean 'cnn'\?\)"):
        parameters.resolve(PROFILES, {"SYSTEMS": "cn"}).chosen(names, [])


def test_parse_the_command_line():
    parsed = parameters.parse(["EPOCHS=3", "WIDTH=0.5", "RUN=001", "SYSTEMS=a,b", "NEW=x", "SEED="])
    assert parsed == {"EPOCHS": 3, "WIDTH": 0.5, "RUN": "001", "SYSTEMS": "a,b", "NEW": "x"}
    with pytest.raises(InputError, match="not of the form NAME=VALUE"):
        parameters.parse(["EPOCHS"])
    with pytest.raises(InputError, match="EPOCHS is 'many'"):
        parameters.parse(["EPOCHS=many"])


SEVERAL = {"quick": {"splits": "70, 90", "learning_rates": "1e-3,1e-4", "photos": None}}


def test_several_numbers_in_one_parameter():
    found = parameters.resolve(SEVERAL, {})
    assert found.numbers("splits") == [70, 90]
    assert found.numbers("learning_rates") == [1e-3, 1e-4]
    assert found.label == "quick (budgeted)"
    assert parameters.resolve(SEVERAL, parameters.parse(["SPLITS=90,80,90"])).numbers("splits") == [90, 80]
    assert parameters.resolve(SEVERAL, {"SPLITS": 80}).label == "budgeted"
    for wrong in ("70;80", "70,", "0,80", "70.5"):
        with pytest.raises(InputError, match=r"SPLITS is .*whole number from 1 to 99 \(per cent"):
            parameters.resolve(SEVERAL, {"SPLITS": wrong})


def test_a_path_is_meant_from_where_the_command_is_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = parameters.parse(["PHOTOS=mine"])
    assert given == {"PHOTOS": str(tmp_path / "mine")}
    own, none = parameters.resolve(SEVERAL, given), parameters.resolve(SEVERAL, {})
    assert (own.label, own.key()) == ("quick (budgeted)", none.key())


def test_a_path_where_a_word_stands_for_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    profiles = {"quick": {"backbone_weights": "random"}}
    assert parameters.parse(["BACKBONE_WEIGHTS=imagenet"]) == {"BACKBONE_WEIGHTS": "imagenet"}
    given = parameters.parse(["BACKBONE_WEIGHTS=files"])
    assert parameters.resolve(profiles, given).backbone_weights == str(tmp_path / "files")
    with pytest.raises(InputError, match="must be one of imagenet, random, or a path"):
        parameters.resolve(profiles, {"BACKBONE_WEIGHTS": 5})


def test_the_command_of_a_run_repeats_it():
    given = {
        "PROFILE": "paper",
        "EPOCHS": 3,
        "WIDTH": 0.25,
        "TRAIN_LIMIT": 7,
        "SYSTEMS": "cnn, polychromify",
        "RUN": "x",
    }
    first = parameters.resolve(PROFILES, given)
    program, target, *assignments = shlex.split(first.command("polychromify"))
    assert (program, target) == ("make", "reproduce-polychromify")
    again = parameters.resolve(PROFILES, parameters.parse(assignments))
    assert again.trained() == first.trained()
    assert again.systems == first.systems
    assert again.key() == parameters.resolve(PROFILES, given | {"RUN": None}).key()


CELL = """from colorize_lib.reproduction import parameters
EPOCHS = None
PROFILES = parameters.profiles(quick={"epochs": 2})"""
READ = "parameters.read(PROFILES, globals()).epochs"


def test_papermill_does_not_swallow_an_unknown_parameter(tmp_path):
    import papermill

    toy_project.make(tmp_path)("toy", CELL, READ)

    def execute(**given):
        path = tmp_path / "notebooks" / "toy.ipynb"
        return papermill.execute_notebook(path, tmp_path / "out.ipynb", given, progress_bar=False)

    assert execute(EPOCHS=3).cells[-1].outputs[0].data["text/plain"] == "3"
    for name in ("EPOCH", "epochs"):
        with pytest.raises(
            papermill.PapermillExecutionError, match=rf"There is no parameter {name} \(did you mean 'EPOCHS'"
        ):
            execute(**{name: 3})


@pytest.fixture
def shell():
    """Function that executes cells as a notebook does: the last one's value, or the error that stopped them."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()

    def execute(*cells):
        for cell in cells:
            outcome = shell.run_cell(cell, store_history=True)
            if not outcome.success:
                return outcome.error_before_exec or outcome.error_in_exec
        return outcome.result

    yield execute
    InteractiveShell.clear_instance()


def test_a_typing_error_in_the_parameters_cell_is_corrected_in_the_same_session(shell, capsys):
    wrong = CELL.replace("EPOCHS = None", "EPOCH = 3")
    for _ in range(2):  # executed again, it is refused again
        assert "There is no parameter EPOCH (did you mean 'EPOCHS'?)" in str(shell(wrong, READ))
    assert shell(wrong.replace("EPOCH =", "EPOCHS ="), READ) == 3
    assert "There is no parameter epochs" in str(shell(CELL.replace("EPOCHS = None", "epochs = 3")))


def test_names_in_capitals_elsewhere_are_the_user_s_own(shell):
    assert shell("MINE = 1", CELL, READ) == 2
    assert shell("N = 10", READ) == 2
    assert shell("SEED = 'not of this cell'", CELL.replace("EPOCHS = None", "EPOCHS, SEED = 4, 0"), READ) == 4
    assert shell("N = 11", CELL, READ) == 2


def test_numbers_to_choose_from_are_named():
    profiles = {"quick": {"input_scale": 1}}
    assert parameters.resolve(profiles, parameters.parse(["INPUT_SCALE=255"])).input_scale == 255
    with pytest.raises(InputError, match="INPUT_SCALE is 2: it must be one of 1, 255"):
        parameters.resolve(profiles, {"INPUT_SCALE": 2})


def test_a_run_is_the_papers_only_if_nothing_that_is_learned_differs():
    """Whatever parameter of either profile has another value makes the run budgeted; only what it is called may differ."""
    others = {"dataset": "cifar10", "epochs": 7, "width": 0.75, "train_limit": 100, "dtype": "mixed_bfloat16"}
    for profile, label in (("paper", "paper"), ("quick", "quick (budgeted)")):
        assert parameters.resolve(PROFILES, {"PROFILE": profile}).label == label
        for name, value in others.items():
            changed = parameters.resolve(PROFILES, {"PROFILE": profile, name.upper(): value})
            assert changed.label == "budgeted", name
        free = {"SEED": 3, "KEEP": "last", "RUN": "x", "SYSTEMS": "cnn", "DEVICES": 2}
        assert parameters.resolve(PROFILES, {"PROFILE": profile, **free}).label == label


def test_a_folder_is_one_here_or_keeps_its_name_in_the_data_home(tmp_path, monkeypatch):
    (tmp_path / "home" / "scenes").mkdir(parents=True)
    (tmp_path / "here" / "own").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("COLORIZE_DATA", str(tmp_path / "home"))
    for text, found in (("own", str(tmp_path / "here" / "own")), ("scenes", "scenes")):
        assert parameters.parse([f"PHOTOS={text}"]) == {"PHOTOS": found}
    assert parameters.parse(["PHOTOS=nowhere"]) == {"PHOTOS": str(tmp_path / "here" / "nowhere")}


def test_a_dataset_is_a_name_or_a_folder_here(tmp_path, monkeypatch):
    """The notebook runs in another folder."""
    assert set(parameters._DATASETS) == set(registry.DATASETS)
    for name in ("own", "photos"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    for text, found in (("own", str(tmp_path / "own")), ("photos", "photos"), ("nowhere", "nowhere")):
        given = parameters.parse([f"{name}={text}" for name in ("DATASET", "SCENES", "LABELS")])
        assert given == dict.fromkeys(("DATASET", "SCENES", "LABELS"), found)
