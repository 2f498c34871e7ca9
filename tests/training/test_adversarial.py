import shutil

import keras
import numpy as np
import pytest
from keras import layers, ops

from colorize_lib.color import CONVENTIONS
from colorize_lib.dataset import Split
from colorize_lib.errors import InputError
from colorize_lib.reproduction import parameters
from colorize_lib.training import runs
from colorize_lib.training.adversarial import AdversarialColorizer, ExponentialDecay, adam_optimizers
from colorize_lib.training.data import Batches

CLASSES = 3
SCHEDULE = dict(learning_rate=1e-2, decay_steps=2, decay_rate=0.3, floor=2e-3)  # falls to its floor within five batches


class Counting(AdversarialColorizer):
    python_steps = 0

    def train_step(self, *arguments):
        self.python_steps += 1
        return super().train_step(*arguments)


def networks(dtype=None):
    """Small ones with what the paper's have: dropout, moving statistics, patches."""
    keras.utils.set_random_seed(3)
    policy, float32 = dict(dtype=dtype), dict(dtype="float32")

    def network(channels, *hidden):
        x = inputs = keras.Input((8, 8, channels))
        for layer in hidden:
            x = layer(x)
        return keras.Model(inputs, x)

    def convolution(strides=1):
        return layers.Conv2D(4, 3, strides, "same", activation="tanh", **policy)

    generator = network(
        1,
        convolution(),
        layers.BatchNormalization(**policy),
        layers.Dropout(0.5, **policy),
        layers.Conv2D(2, 3, padding="same", activation="tanh", **float32),
    )
    discriminator = network(3, convolution(2), layers.Conv2D(1, 3, padding="same", **float32))
    classifier = network(3, convolution(2), layers.Flatten(**policy), layers.Dense(CLASSES, **float32))
    return generator, discriminator, classifier


def build(classifier=True, dtype=None, **options):
    made = networks(dtype)
    return Counting(*(made if classifier else made[:2]), **options)


def batches(count, size, seed=None, labels=True):
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (count, 8, 8, 3), dtype="uint8")
    return Batches(Split(images, random.integers(0, CLASSES, count).astype("int32")), size, seed, labels)


# The training written out: nothing of `AdversarialColorizer`, no Keras optimizer, nothing compiled.


def value_and_gradients(function, values):
    """`function` of a list of tensors returns a loss and something more; the value of both, and the loss' gradients."""
    if keras.backend.backend() == "jax":
        import jax

        return *(value := jax.value_and_grad(function, has_aux=True)(values))[0], value[1]
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(values)
        loss, more = function(values)
    return loss, more, tape.gradient(loss, values)


class PlainNetwork:
    """A network's variables as plain values, and Adam (Kingma and Ba 2015, end of section 2)."""

    def __init__(self, network, factor=1.0, updates_per_batch=1):
        self.network, self.factor, self.decay_steps = network, factor, updates_per_batch * SCHEDULE["decay_steps"]
        self.weights = [ops.convert_to_tensor(np.asarray(v)) for v in network.trainable_variables]
        self.state = [ops.convert_to_tensor(np.asarray(v)) for v in network.non_trainable_variables]
        self.first = self.second = [0.0] * len(self.weights)
        self.updates = 0

    def __call__(self, weights, inputs):
        """The output in training, and the new state: seeds of dropout, moving statistics."""
        return self.network.stateless_call(weights, self.state, inputs, training=True)

    def minimize(self, function):
        loss, more, gradients = value_and_gradients(function, self.weights)
        rate = SCHEDULE["learning_rate"] * SCHEDULE["decay_rate"] ** (self.updates / self.decay_steps)
        self.updates += 1
        rate = self.factor * max(SCHEDULE["floor"], rate)
        rate *= np.sqrt(1 - 0.999**self.updates) / (1 - 0.9**self.updates)
        gradients = [np.asarray(gradient) for gradient in gradients]
        self.first = [0.9 * m + 0.1 * g for m, g in zip(self.first, gradients, strict=True)]
        self.second = [0.999 * v + 0.001 * g**2 for v, g in zip(self.second, gradients, strict=True)]
        self.weights = [
            ops.convert_to_tensor((np.asarray(w) - rate * m / (np.sqrt(v) + 1e-8)).astype("float32"))
            for w, m, v in zip(self.weights, self.first, self.second, strict=True)
        ]
        return float(loss), more


def plain_losses(model, images, labels, steps, distance, smoothing, shared_masks):
    """The losses of `steps` batches, all of them `images`, from the model's present variables on."""
    lightness, ab = CONVENTIONS["kth"].encode(images)
    real = ops.concatenate([lightness, ab], -1)
    one_hot = np.eye(CLASSES, dtype="float32")[labels]
    g, d = PlainNetwork(model.network, updates_per_batch=2), PlainNetwork(model.discriminator, factor=0.1)
    c = model.classifier and PlainNetwork(model.classifier, factor=0.1)

    def judged(weights, pairs, label):
        probability = ops.sigmoid(d(weights, pairs)[0])
        return -ops.mean(label * ops.log(probability) + (1 - label) * ops.log(1 - probability))

    def entropy(weights, pairs):
        return -ops.mean(ops.sum(one_hot * ops.log(ops.softmax(c(weights, pairs)[0])), -1))

    def generator_loss(weights):
        prediction, state = g(weights, lightness)
        fake = ops.concatenate([lightness, prediction], -1)
        adversarial, difference = judged(d.weights, fake, 1.0), ops.mean(distance(prediction - ab))
        total = adversarial + 100 * difference
        if c:
            total += 0.01 * (entropy(c.weights, real) + entropy(c.weights, fake))
        return total, (adversarial, difference, state)

    def colorized():
        """Images for C and D; shared masks are those that the first update of `g` draws again."""
        prediction, state = g(g.weights, lightness)
        if not shared_masks:
            g.state = state
        return ops.concatenate([lightness, prediction], -1)

    history = []
    for _ in range(steps):
        row = {}
        if c:
            fake = colorized()
            row["classifier_loss"], _ = c.minimize(lambda w, fake=fake: (entropy(w, real) + entropy(w, fake), None))
        fake = colorized()
        row["discriminator_loss"], _ = d.minimize(
            lambda w, fake=fake: (judged(w, real, 1 - smoothing) + judged(w, fake, 0.0), None)
        )
        for _ in range(2):
            row["generator_loss"], (adversarial, difference, g.state) = g.minimize(generator_loss)
            row["generator_adversarial_loss"], row["loss"] = float(adversarial), float(difference)
        history.append(row)
    return history


@pytest.mark.parametrize(
    ("options", "loss", "distance"),
    [
        (dict(classifier=False), "mae", ops.abs),
        (dict(classifier=True, label_smoothing=0.1), "mse", ops.square),
        (dict(classifier=False, shared_masks=False), "mae", ops.abs),
        (dict(classifier=True, shared_masks=False), "mae", ops.abs),
    ],
    ids=["gan", "vac+gan", "gan with masks of its own", "vac+gan with masks of its own"],
)
def test_every_phase_as_written_out(options, loss, distance):
    model, train = build(**options), batches(8, 8, labels=options["classifier"])
    chosen = options.get("label_smoothing", 0.0), options.get("shared_masks", False)
    plain = plain_losses(model, train.split.images, train.split.labels, 5, distance, *chosen)
    model.compile(**adam_optimizers(**SCHEDULE), loss=loss)
    history = model.fit(train, epochs=5, verbose=0).history
    assert set(history) == set(plain[0])
    for name, values in history.items():
        expected = [row[name] for row in plain]
        assert values == pytest.approx(expected, rel=1e-4, abs=1e-4), name
        assert np.ptp(expected) > 1e-3, f"{name} hardly moves, so that the comparison shows little"
    assert model.python_steps <= 2, "a step runs in Python instead of being compiled once"


@pytest.mark.parametrize("shared", [True, False])
def test_shared_masks_save_passes_of_the_generator(shared):
    """One pass for each update of the generator, and one more for classifier and discriminator each, as the code has it."""
    model, passes = build(shared_masks=shared), []
    run = model._run
    model._run = lambda *arguments, **options: passes.append(1) or run(*arguments, **options)
    model.compile(**adam_optimizers(), run_eagerly=True)
    model.fit(batches(4, 4), verbose=0)
    passes.clear()  # JAX's trainer looks at the shapes once before the first step
    model.fit(batches(4, 4), verbose=0)
    assert len(passes) == (2 if shared else 4)


def test_a_discriminator_that_ends_in_a_sigmoid_has_the_losses_of_its_logits():
    losses = []
    for activation in (None, "sigmoid"):
        generator, discriminator, _ = networks()
        discriminator.layers[-1].activation = keras.activations.get(activation)
        model = AdversarialColorizer(generator, discriminator, label_smoothing=0.1, accelerate=False)
        model.compile(**adam_optimizers(**SCHEDULE), run_eagerly=True)
        losses.append(model.fit(batches(4, 4, labels=False), epochs=3, verbose=0).history)
    for name, values in losses[0].items():
        assert losses[1][name] == pytest.approx(values, rel=1e-4), name


def test_each_phase_moves_its_own_network_only():
    model, train = build(), batches(4, 4)
    names = ("network", "discriminator", "classifier")
    for moving in names:
        rates = [0.1 * (name == moving) for name in names]
        model.compile(*map(keras.optimizers.SGD, rates), run_eagerly=True)
        before = {name: [v.numpy().copy() for v in getattr(model, name).trainable_variables] for name in names}
        model.fit(train, verbose=0)
        for name in names:
            after = [v.numpy() for v in getattr(model, name).trainable_variables]
            moved = [not np.array_equal(old, new) for old, new in zip(before[name], after, strict=True)]
            assert np.mean(moved) > 0.9 if name == moving else not any(moved)


def test_resume_goes_on_exactly():
    """Dropout, the optimizers, their schedules and the order of the images go on where they were."""
    run = runs.Run("vacgan", parameters.resolve({"quick": {}}, {}))
    train, validation = batches(12, 6, seed=0), batches(6, 6)

    def make():
        model = build()
        model.compile(**adam_optimizers(**SCHEDULE), metrics=["mae"])
        return model

    class KillAfterFirstEpoch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                shutil.copytree(run.folder / "undisturbed", run.folder / "killed")

    undisturbed, history = run.fit("undisturbed", make, train, validation, epochs=3, callbacks=[KillAfterFirstEpoch()])
    resumed, resumed_history = run.fit("killed", make, train, validation, epochs=3)
    for row, expected in zip(resumed_history, history, strict=True):
        assert row | {"seconds": None} == expected | {"seconds": None}
    weights = resumed.network.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(weights, undisturbed.network.get_weights(), strict=True))


def test_validation_has_no_dropout_and_all_losses():
    model, validation = build(), batches(6, 4)
    model.compile(**adam_optimizers(), metrics=["mae"], run_eagerly=True)
    logs = model.evaluate(validation, verbose=0, return_dict=True)
    lightness, ab = CONVENTIONS["kth"].encode(validation.split.images)
    error = np.abs(np.asarray(model.network(lightness, training=False)) - np.asarray(ab)).mean()
    assert logs["mae"] == pytest.approx(error, rel=1e-5)
    assert logs["loss"] == pytest.approx(error, rel=1e-5)
    terms = logs["generator_adversarial_loss"] + 100 * logs["loss"] + 0.01 * logs["classifier_loss"]
    assert logs["generator_loss"] == pytest.approx(terms, rel=1e-5)
    assert logs["discriminator_loss"] == pytest.approx(2 * np.log(2), rel=0.2)  # it is untrained


def test_mixed_precision_has_losses_and_variables_in_float32():
    model, reference, train = build(dtype="mixed_bfloat16"), build(), batches(4, 4)
    for each in (model, reference):
        each.compile(**adam_optimizers(**SCHEDULE), run_eagerly=True)
    expected = reference.evaluate(train, verbose=0, return_dict=True)
    losses = model.evaluate(train, verbose=0, return_dict=True)
    for name, value in losses.items():
        assert value == pytest.approx(expected[name], rel=0.02), name
        assert float(ops.cast(ops.cast(value, "bfloat16"), "float32")) != value, (
            f"{name} has no more digits than bfloat16"
        )
    trained = model.fit(train, verbose=0).history
    assert np.isfinite(list(trained.values())).all()
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}


def test_schedules_count_batches_and_end_at_the_floor():
    schedule = ExponentialDecay(1e-3, 100, 0.1)
    assert float(schedule(50)) == pytest.approx(1e-3 * 0.1**0.5)  # continuous, not in steps of 100
    assert float(schedule(1000)) == pytest.approx(1e-6)
    assert ExponentialDecay.from_config(schedule.get_config()).get_config() == schedule.get_config()
    optimizers = adam_optimizers(3e-4, 100, 0.1)
    for name, update, rate in (
        ("optimizer", 200, 3e-5),  # two updates a batch
        ("discriminator_optimizer", 100, 3e-6),
        ("classifier_optimizer", 100, 3e-6),
        ("optimizer", 10_000, 1e-6),
        ("discriminator_optimizer", 10_000, 1e-7),
    ):
        optimizers[name].iterations.assign(update)
        assert float(optimizers[name].learning_rate) == pytest.approx(rate), name
    released = adam_optimizers()  # 3e-4, which falls to a tenth in 20,000 batches
    for name, updates, rate in (("optimizer", 40_000, 3e-4), ("classifier_optimizer", 20_000, 3e-5)):
        for batches_done, factor in ((0, 1), (0.5, 0.1**0.5), (1, 0.1)):
            released[name].iterations.assign(int(batches_done * updates))
            assert float(released[name].learning_rate) == pytest.approx(factor * rate, rel=1e-4), name


def test_what_is_missing_is_one_clear_sentence():
    model = build()
    with pytest.raises(InputError, match="needs a classifier_optimizer"):
        model.compile("adam", "adam")
    model.compile("adam", "adam", "adam")
    with pytest.raises(InputError, match="needs labels: make the batches with labels=True"):
        model.fit(batches(4, 4, labels=False), verbose=0)
