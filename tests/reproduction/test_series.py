"""Series of runs, on small notebooks that train nothing."""

import json

import pytest
import toy_project
from PIL import Image

from colorize_lib import __main__, files, papers
from colorize_lib.reproduction import results, series

PARAMETERS = """from colorize_lib.reproduction import parameters
PROFILE = "quick"
EPOCHS = None
SEED = 0
RUN = None
PROFILES = parameters.profiles(quick={"epochs": 2}, paper={"epochs": 25})"""

FINISH = """from PIL import Image
from colorize_lib import files
resolved = parameters.read(PROFILES, globals())
folder = files.run_root() / "NAME" / resolved.key()
psnr = 20 + resolved.seed
systems = {"cnn": {"psnr_rgb": {"mean": psnr, "low": psnr - 1, "high": psnr + 1}, "images": 9}, "gray": {"ssim": 0.5}}
metrics = {"format": 1, "label": resolved.label, "systems": systems, "epochs": {"cnn": 2}, "minutes": {"cnn": 1.5 + resolved.seed}}
files.write_json(folder / "metrics.json", metrics | {"claims": {"a": {"verdict": "for" if psnr > 20 else "undecided"}}})
files.write_text(folder / "paper_vs_here.csv", f'system,paper,here\\ncnn,21.6,"{psnr} [19, 24]"\\ngray,–,24.5\\n')
files.write_text(folder / "cnn" / "history.csv", f"epoch,loss\\n1,{psnr}\\n2,1.0\\n")
(folder / "figures").mkdir(parents=True, exist_ok=True)
Image.new("RGB", (40, 30), (resolved.seed, 0, 0)).save(folder / "figures" / "photos.png")
manifest = {"format": 1, "notebook": "NAME", "finished": f"2026-01-0{1 + resolved.seed}", "wall_seconds": 5}
manifest |= {"command": "make reproduce-NAME SEED=0", "parameters": {"seed": resolved.seed, "profile": "paper"}}
manifest |= {"label": resolved.label, "versions": {}, "hardware": {}, "datasets": {}, "started": "2026-01-01", "earlier": []}
files.write_json(folder / "manifest.json", manifest)
with open(files.run_root() / "ran.txt", "a") as file:
    file.write(f"NAME {resolved.seed}\\n")"""


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """Function that writes the small notebook of a paper, with the given parameters and last cell."""
    write = toy_project.make(tmp_path / "checkout")
    monkeypatch.chdir(tmp_path / "checkout")
    written = []

    def paper(name, source=FINISH, first=PARAMETERS):
        write(name, first, source.replace("NAME", name))
        written[:] = dict.fromkeys([*written, name])
        monkeypatch.setattr(papers, "KEYS", tuple(written))

    return paper


def ran():
    path = files.run_root() / "ran.txt"
    return path.read_text().splitlines() if path.exists() else []


def test_all_papers_a_failing_one_stops_none_and_a_finished_one_is_not_repeated(notebooks, capsys):
    notebooks("polychromify")
    notebooks("unet", "raise ValueError('the moon is too bright')")
    notebooks("vacgan")
    assert __main__.main(["reproduce", "all", "EPOCHS=3"]) == 1
    printed = capsys.readouterr().out
    assert "3 papers: polychromify, unet, vacgan" in printed
    table = printed[printed.rindex("\npaper ") + 1 :].splitlines()
    assert [line.split()[0] for line in table[1:4]] == ["polychromify", "unet", "vacgan"]
    assert "done" in table[1]
    assert str(files.run_root() / "polychromify") in table[1]
    assert "failed" in table[2]
    assert "the moon is too bright" in table[4]
    assert ran() == ["polychromify 0", "vacgan 0"]
    notebooks("unet")
    assert __main__.main(["reproduce", "all", "EPOCHS=3"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("finished before") == 2
    assert ran() == ["polychromify 0", "vacgan 0", "unet 0"]


def test_a_wrong_parameter_of_one_paper_starts_none(notebooks, capsys):
    notebooks("polychromify")
    notebooks("vacgan", first=PARAMETERS.replace("EPOCHS = None\n", "").replace('"epochs"', '"size"'))
    assert __main__.main(["reproduce", "all", "EPOCHS=3"]) == 2
    assert "There is no parameter EPOCHS" in capsys.readouterr().err
    assert not ran()


def test_seeds_give_mean_and_spread(notebooks, capsys, tmp_path):
    notebooks("polychromify")
    assert __main__.main(["reproduce", "polychromify", "SEEDS=3", "SEED=1", "RUN=real"]) == 0
    assert ran() == [f"polychromify {seed}" for seed in (1, 2, 3)]
    assert "22 ± 1" in capsys.readouterr().out
    folder = files.run_root() / "polychromify" / "real"
    metrics = json.loads((folder / "metrics.json").read_text())
    psnr = metrics["systems"]["cnn"]["psnr_rgb"]
    assert psnr["per_seed"] == [21, 22, 23]
    assert (psnr["mean"], psnr["spread"]) == (22, 1)
    assert psnr["high"] - 22 == pytest.approx(4.303 / 3**0.5, rel=1e-3)  # Student's t, 2 degrees of freedom
    assert metrics["systems"]["gray"] == {"ssim": 0.5}
    assert metrics["seeds"] == [1, 2, 3]
    assert metrics["epochs"] == {"cnn": 2}
    assert metrics["minutes"]["cnn"]["mean"] == 3.5
    assert (folder / "cnn" / "history.csv").read_text().splitlines()[1:] == ["1,22.0", "2,1.0"]
    assert Image.open(folder / "figures" / "photos.png").getpixel((0, 0)) == (1, 0, 0)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["runs"] == ["real-seed1", "real-seed2", "real-seed3"]
    assert manifest["command"].endswith("SEEDS=3")
    assert manifest["wall_seconds"] == 15
    # A further seed trains only that; the same again trains nothing.
    (files.run_root() / "polychromify" / "real" / "manifest.json").unlink()
    assert __main__.main(["reproduce", "polychromify", "SEEDS=4", "SEED=1", "RUN=real"]) == 0
    assert ran()[3:] == ["polychromify 4"]
    assert __main__.main(["reproduce", "polychromify", "SEEDS=4", "SEED=1", "RUN=real"]) == 0
    assert len(ran()) == 4
    place = results.collect(folder, tmp_path / "results")
    kept = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    assert kept >= {"metrics.json", "manifest.json", "paper_vs_here.csv", "cnn/history.csv", "figures/photos.jpg"}
    assert results.RunFolder.read(place).seeds() == 4


def test_a_notebook_with_seeds_of_its_own_gets_them(notebooks, capsys):
    first = PARAMETERS.replace("RUN = None", "RUN = None\nSEEDS = None")
    first = first.replace('"epochs": 2', '"epochs": 2, "seeds": 1').replace('"epochs": 25', '"epochs": 25, "seeds": 3')
    notebooks("unet", first=first)
    assert __main__.main(["reproduce", "unet", "SEEDS=2"]) == 0
    assert ran() == ["unet 0"]
    notebooks("polychromify")
    assert __main__.main(["reproduce", "polychromify", "SEEDS=1"]) == 2
    assert "it takes at least 2" in capsys.readouterr().err


def test_merged():
    assert series.merged([{"a": True, "b": "x"}, {"a": True, "b": "y"}]) == {"a": True, "b": {"per_seed": ["x", "y"]}}
    assert series.merged([[1, 2], [1, 2]]) == [1, 2]
    assert series.merged([{"a": 1, "b": 2}, {"a": 1}]) == {"a": 1}
