"""Short trainings on JAX alone, as on a machine without TensorFlow, through the same `Run.fit` as in the notebooks.

Those of Polychromify and VAC+GAN on JAX are in `test_colorizer`, `test_adversarial` and `test_devices`.
"""

import json

CODE = """
import json, sys
sys.modules["tensorflow"] = None  # an import of it is an error
import keras, numpy as np
from functools import partial
from colorize_lib.reproduction import parameters; from colorize_lib.training import runs
from colorize_lib.training.colorizer import Colorizer
from colorize_lib.training.data import Batches; from colorize_lib.dataset import Split

random = np.random.default_rng(0)
tints = random.integers(60, 200, (16, 1, 1, 3))
images = np.clip(tints + random.integers(-40, 40, (16, 32, 32, 1)), 0, 255).astype("uint8")
split = Split(images, np.arange(16, dtype="int32") % 4)

def compiled(name, **options):
    model = Colorizer.from_name(name, **options)
    model.compile(keras.optimizers.Adam(3e-3), loss="mse")
    return model

make = {
    "autoencoders": partial(compiled, "autoencoder", size=32, width=0.05),
    "unet": partial(compiled, "yosemite_unet", size=64, width=0.1, target="ab", convention="kth"),
    "resnet-mrf": partial(compiled, "colornet", size=32, width=0.1),
}
found = {}
for paper, function in make.items():
    run = runs.Run(paper, parameters.resolve({"quick": {"epochs": 4}}, {}))
    of_size = Split(images.repeat(2, 1).repeat(2, 2), split.labels) if paper == "unet" else split
    model, history = run.fit("main", function, Batches(of_size, 8, 0), Batches(of_size, 8), epochs=4)
    ab, rgb = model.predict_color(of_size.images[:1])
    found[paper] = [history[0]["loss"], history[-1]["loss"], float(np.abs(ab).max()), float(np.ptp(rgb))]
print("FOUND" + json.dumps(found))
"""


def test_one_short_training_for_each_paper(run_on_jax, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")  # compiles faster than it would run faster
    found = json.loads(run_on_jax(CODE).partition("FOUND")[2])
    assert list(found) == ["autoencoders", "unet", "resnet-mrf"]
    for paper, (first, last, chroma, contrast) in found.items():
        assert last < 0.97 * first, f"{paper}: the loss did not fall"
        assert 0 < chroma < 200, paper
        assert contrast > 0.01, paper
