"""Adversarial training of a colorizer, with and without a classifier, under plain `fit` on TensorFlow and JAX.

Source: Galvão, Santos and Sánchez-Mateos 2019, sections 4.2, 4.3 and 5.1, and their released code. L and ab are scaled by the
convention. G is the generator, D the discriminator, and C the classifier; D and C see L and ab joined. Losses are means over
images, and over patches, or pixels and channels. Each batch goes through these phases, in which each network has its own Adam:

    C      mean CE(C(x, y)) + mean CE(C(x, G(x)))                           only with a classifier
    D      mean BCE(D(x, y), 1 - smoothing) + mean BCE(D(x, G(x)), 0)       equation 6
    G, G   mean BCE(D(x, G(x)), 1) + λ mean |G(x) - y| + γ (CE + CE)        equations 5 and 7

Dropout is G's noise, and the code draws new masks for each phase. With `shared_masks`, C, D and G's first update see the same
colorized images, which saves a pass of G in each of the first two phases. This changes the training: the images have the same
distribution in each phase, but C and D have just learned from the very images that G's first update shows them.
The generator's adversarial term is the non-saturating one (equation 3, right). The report does not say which images its γ CE is
about: the code takes the real and the colorized ones, and only the latter have a gradient.

This module has code for each backend, because they compute gradients differently, and JAX passes the state in and out.
"""

import keras
from keras import ops

from colorize_lib.errors import InputError
from colorize_lib.training.colorizer import Colorizer


class ExponentialDecay(keras.optimizers.schedules.ExponentialDecay):
    """Learning rate max(floor, initial · decay_rate ^ (step / decay_steps)), without a staircase.

    Args:
        initial_learning_rate: the rate at step 0.
        decay_steps: number of updates in which the rate falls by the factor `decay_rate` (section 5.1).
        decay_rate: the factor, in (0, 1].
        floor: the lowest rate. The code has 1e-6 for both GANs and none for the U-Net.
    """

    def __init__(self, initial_learning_rate, decay_steps, decay_rate, floor=1e-6, name="ExponentialDecay"):
        super().__init__(initial_learning_rate, decay_steps, decay_rate, name=name)
        self.floor = floor

    def __call__(self, step):
        return ops.maximum(super().__call__(step), self.floor)

    def get_config(self):
        config = super().get_config()
        del config["staircase"]
        return config | {"floor": self.floor}


def adam_optimizers(learning_rate=3e-4, decay_steps=20_000, decay_rate=0.1, floor=1e-6, generator_updates=2):
    """The three optimizers of the released code, as arguments of `AdversarialColorizer.compile`.

    Discriminator and classifier learn at a tenth of the generator's rate. Schedules count batches in the code and updates in Keras.
    The generator has `generator_updates` a batch, so its schedule is stretched accordingly.

    Args:
        learning_rate, decay_steps, decay_rate, floor: the generator's schedule, see `ExponentialDecay`; `decay_steps` are batches.
        generator_updates: as in `AdversarialColorizer`.
    """

    def adam(factor, updates):
        schedule = ExponentialDecay(factor * learning_rate, updates * decay_steps, decay_rate, factor * floor)
        return keras.optimizers.Adam(schedule, epsilon=1e-8)  # TensorFlow 1's default, as in the code

    return {
        "optimizer": adam(1, generator_updates),
        "discriminator_optimizer": adam(0.1, 1),
        "classifier_optimizer": adam(0.1, 1),
    }


class AdversarialColorizer(Colorizer):
    """A `Colorizer` whose network is trained against a discriminator and, in VAC+GAN, together with a classifier.

    `fit` and `evaluate` take batches of (RGB, class numbers) with a classifier, and of RGB without one. The columns of the history
    are `loss`, the distance to the true colours without its weight λ, `discriminator_loss`, `generator_loss` (the sum of its three
    terms), `generator_adversarial_loss` and, with a classifier, `classifier_loss` (real + colorized). In training these are the
    values before each update, of the generator before its last update in the batch. The columns `val_…` are without dropout.

    Args:
        generator: network from L to ab, such as "kth_generator".
        discriminator: network from L and ab to logits, or to probabilities if its last layer is a sigmoid, such as
            "patch_discriminator".
        classifier: network from L and ab to logits of the classes, such as "vac_classifier", or None.
        convention: key of `color.CONVENTIONS`, or a convention.
        reconstruction_weight: λ.
        classifier_weight: γ.
        label_smoothing: one-sided: true images have the label 1 - label_smoothing in the discriminator's loss; 0 in the code.
        generator_updates: number of updates of the generator on each batch.
        shared_masks: whether classifier, discriminator and the generator's first update see the same colorized images, which saves
            time; False draws new dropout masks for each, as in the code.
        accelerate: see `Colorizer`.
    """

    def __init__(
        self,
        generator,
        discriminator,
        classifier=None,
        convention="kth",
        *,
        reconstruction_weight=100.0,
        classifier_weight=0.01,
        label_smoothing=0.0,
        generator_updates=2,
        shared_masks=False,
        accelerate=True,
    ):
        if keras.backend.backend() not in ("tensorflow", "jax"):
            raise InputError(
                f"Adversarial training runs on TensorFlow and on JAX, not on {keras.backend.backend()}: "
                "set KERAS_BACKEND to tensorflow or jax."
            )
        super().__init__(generator, convention, accelerate=accelerate)
        self.discriminator, self.classifier = discriminator, classifier
        self._discriminate = self._faster(discriminator)
        self._classify = None if classifier is None else self._faster(classifier)
        self.reconstruction_weight, self.classifier_weight = reconstruction_weight, classifier_weight
        self.label_smoothing, self.generator_updates = label_smoothing, generator_updates
        self.shared_masks = shared_masks
        is_probability = getattr(discriminator.layers[-1], "activation", None) is keras.activations.sigmoid
        self._judged = _entropy_of_probabilities if is_probability else _entropy_of_logits
        names = ["discriminator_loss", "generator_loss", "generator_adversarial_loss"]
        if classifier is not None:
            names.append("classifier_loss")
        self._phase_metrics = [keras.metrics.Mean(name=name) for name in names]

    def settings(self):
        return super().settings() | {
            "reconstruction_weight": self.reconstruction_weight,
            "classifier_weight": self.classifier_weight,
            "label_smoothing": self.label_smoothing,
            "generator_updates": self.generator_updates,
            "shared_masks": self.shared_masks,
        }

    @property
    def optimizers(self):
        """The generator's, the discriminator's and, if there is one, the classifier's optimizer."""
        return self.optimizer.optimizers

    def compile(self, optimizer, discriminator_optimizer, classifier_optimizer=None, *, loss="mae", **arguments):
        """Choose optimizers, for example `**adam_optimizers()`, the distance to the true colours, and metrics.

        Args:
            optimizer: the generator's optimizer.
            discriminator_optimizer, classifier_optimizer: the others'; without a classifier the latter is ignored.
            loss: the distance, "mae" for L1 (equation 1) or "mse" for L2 (equation 2).
            arguments: the other arguments of `keras.Model.compile`.

        Raises:
            InputError: the classifier has no optimizer.
        """
        optimizers = {
            "generator": optimizer,
            "discriminator": discriminator_optimizer,
            "classifier": classifier_optimizer,
        }
        networks = {"generator": self.network, "discriminator": self.discriminator, "classifier": self.classifier}
        if self.classifier is not None and classifier_optimizer is None:
            raise InputError("A colorizer with a classifier needs a classifier_optimizer: give one to compile.")
        self._phases = {}
        for phase, network in networks.items():
            if network is not None:
                self._phases[phase] = (network, self._faster_optimizer(optimizers[phase]))
        # Joined in one optimizer, so that Keras' trainers handle the state of all of them.
        owner = {id(v): optimizer for network, optimizer in self._phases.values() for v in network.trainable_variables}
        super().compile(keras.optimizers.MultiOptimizer(lambda variable: owner[id(variable)]), loss=loss, **arguments)
        self.optimizer.build(self.trainable_variables)

    def train_step(self, *arguments):
        """All phases of one batch, in one compiled call. TensorFlow: data → logs; JAX: state, data → logs, state."""
        return self._on_backend(self._train, arguments, [self.optimizer.variables])

    def test_step(self, *arguments):
        """All losses and metrics of one batch, without dropout. Arguments and results are those of `train_step`."""
        return self._on_backend(self._test, arguments, [])

    def _on_backend(self, step, arguments, optimizer_variables):
        """Run `step`, a function of data that reads and changes variables, in the form that the backend's trainer expects."""
        if keras.backend.backend() == "tensorflow":
            return step(*arguments)
        state, data = arguments
        groups = [
            self.trainable_variables,
            self.non_trainable_variables,
            *optimizer_variables,
            self.metrics_variables,
        ]
        pairs = [pair for group, values in zip(groups, state, strict=True) for pair in zip(group, values, strict=True)]
        with keras.StatelessScope(pairs):
            logs = step(data)
            return logs, tuple([variable.value for variable in group] for group in groups)

    def _train(self, data):
        rgb, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        lightness, target = self.convention.encode(rgb)
        real = ops.concatenate([lightness, target], axis=-1)

        def colorize():
            return ops.concatenate([lightness, self._run(lightness, training=True)], axis=-1), None

        weights, optimizer = self.network.trainable_variables, self._phases["generator"][1]
        shared = self._pullback(colorize, weights) if self.shared_masks else None
        losses = {}
        if self.classifier is not None:
            seen_by_classifier, *_ = shared or colorize()
            losses |= self._minimize(
                "classifier", lambda: self._classifier_losses(real, seen_by_classifier, labels, training=True)
            )
        seen, *_ = shared or colorize()
        losses |= self._minimize("discriminator", lambda: self._discriminator_losses(real, seen, training=True))
        for _ in range(self.generator_updates):
            fake, _, to_weights = shared or self._pullback(colorize, weights)
            shared = None  # the second update always has new masks
            found, (of_fake,) = self._gradients(
                "generator", lambda fake: self._generator_losses(real, fake, labels, training=True), [], fake
            )
            optimizer.apply(to_weights(of_fake), weights)
            losses |= found
        return self._logs(losses, rgb, {"target": target, "prediction": fake[..., 1:]})

    def _test(self, data):
        rgb, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        lightness, target = self.convention.encode(rgb)
        prediction = self._run(lightness)
        real = ops.concatenate([lightness, target], axis=-1)
        fake = ops.concatenate([lightness, prediction], axis=-1)
        losses = self._discriminator_losses(real, fake, training=False)
        losses |= self._generator_losses(real, fake, labels, training=False)
        if self.classifier is not None:
            losses |= self._classifier_losses(real, fake, labels, training=False)
        return self._logs(losses, rgb, {"target": target, "prediction": prediction})

    def _logs(self, losses, rgb, predicted):
        for metric in self.metrics:
            if metric.name in losses:
                metric.update_state(losses[metric.name], sample_weight=ops.shape(rgb)[0])
        return self.compute_metrics(rgb, None, predicted)

    # The losses of the phases. `real` is L joined with the true ab, `fake` with the predicted ab.

    def _classifier_losses(self, real, fake, labels, training):
        if labels is None:
            raise InputError("A colorizer with a classifier needs labels: make the batches with labels=True.")
        entropies = (
            ops.sparse_categorical_crossentropy(labels, self._classify(images, training), from_logits=True)
            for images in (real, fake)
        )
        return {"classifier_loss": sum(ops.mean(entropy) for entropy in entropies)}

    def _discriminator_losses(self, real, fake, training):
        on_real = self._judged(self._discriminate(real, training), 1 - self.label_smoothing)
        on_fake = self._judged(self._discriminate(fake, training), 0)
        return {"discriminator_loss": on_real + on_fake}

    def _generator_losses(self, real, fake, labels, training):
        adversarial = self._judged(self._discriminate(fake, training), 1)
        # Keras divides a compiled loss by the number of replicas; `_gradients` does so for all losses.
        distance = _replicas() * self.compute_loss(y_pred={"target": real[..., 1:], "prediction": fake[..., 1:]})
        total = adversarial + self.reconstruction_weight * distance
        if self.classifier is not None:
            losses = self._classifier_losses(real, fake, labels, training)
            total += self.classifier_weight * losses["classifier_loss"]
        return {"generator_loss": total, "generator_adversarial_loss": adversarial, "loss": distance}

    def _minimize(self, phase, losses):
        """Update the phase's network once. `losses`: function without arguments → dictionary with "PHASE_loss"."""
        network, optimizer = self._phases[phase]
        results, gradients = self._gradients(phase, losses, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)
        return results

    def _gradients(self, phase, losses, variables, *tensors):
        """The losses, and the gradients of "PHASE_loss" by `tensors`, the arguments of `losses`, and then by `variables`."""

        def loss(*tensors):
            results = losses(*tensors)
            return results[f"{phase}_loss"], results

        value, results, back = self._pullback(loss, variables, *tensors)
        return results, back(ops.ones_like(value) / _replicas())  # the optimizer sums the replicas' gradients

    def _pullback(self, function, variables, *tensors):
        """Apply `function` to `tensors`, to be differentiated later.

        Returns:
            The two values that `function` returns, a tensor and something that is not differentiated; and a function from the
            tensor's gradient to the gradients of `tensors` and then of `variables`, which may be called once.
        """
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            sources = [*tensors, *(variable.value for variable in variables)]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(sources)  # no gradients of the other networks' weights
                output, more = function(*tensors)
            return output, more, lambda gradient: tape.gradient(output, sources, gradient)

        import jax

        state = [(variable, variable.value) for variable in self.variables]

        def pure(*values):
            with keras.StatelessScope([*state, *zip(variables, values[len(tensors) :], strict=True)]):
                output, more = function(*values[: len(tensors)])
                return output, (more, [v.value for v in self.non_trainable_variables])

        values = [variable.value for variable in variables]
        output, back, (more, updated) = jax.vjp(pure, *tensors, *values, has_aux=True)
        for variable, value in zip(self.non_trainable_variables, updated, strict=True):  # dropout's seeds among them
            variable.assign(value)
        return output, more, back


def _entropy_of_logits(logits, label):
    """Mean of -label log σ(logits) - (1 - label) log(1 - σ(logits))."""
    return ops.mean(ops.softplus(logits) - label * logits)


def _entropy_of_probabilities(probabilities, label):
    """Mean of -label log p - (1 - label) log(1 - p)."""
    return ops.mean(ops.binary_crossentropy(label * ops.ones_like(probabilities), probabilities))


def _replicas():
    """The number of devices that share the batch under `tf.distribute`; on JAX, a mean is over all devices anyway."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync
