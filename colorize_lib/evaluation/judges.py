"""Networks that judge colorized images: what they show, and whether they are real.

Galvão, Santos and Sánchez-Mateos 2019 (section 6) lack a quantitative measure of colorized images, and ask people which images are
real. Two measures do without people:

- A *classifier* is trained on true images and asked for the classes of other images, colorized.
- A *detector* is trained to tell real from colorized versions of images that no colorizer was trained on, and tested on
  others. If it is right half of the time, it cannot tell them apart.

Both see RGB of 8 bits, as people do, converted to L and ab in the convention's scaling. For the detector, class 0 is real and 1 is
colorized.
"""

import keras
import numpy as np
from keras import ops

from colorize_lib import color, models
from colorize_lib.dataset import Split
from colorize_lib.errors import InputError
from colorize_lib.training.classification import Classifier
from colorize_lib.training.data import Batches


def judge(classes, learning_rate, **options):
    """A network that puts colour images into classes, ready for training by cross entropy with Adam.

    It has the layers of the paper's classifier (section 4.3); a detector is a judge of two classes.

    Args:
        classes: how many.
        learning_rate: of Adam.
        options: of `models.build("vac_classifier")`: size, width, dtype.
    """
    model = Classifier(models.build("vac_classifier", classes=classes, **options), "kth")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(learning_rate), loss=loss, metrics=["accuracy"])
    return model


def colorized(system, split, batch_size=250):
    """The images of a split, colorized from their lightness.

    Args:
        system: object with `predict_color`, as `evaluate.score` takes it.
        split: `dataset.Split`.
        batch_size: images at once.

    Returns:
        `Split` of uint8 RGB in memory, with the split's labels, files and gray rows.
    """
    images = np.empty((len(split), *split.images.shape[1:]), "uint8")
    for index in range(0, len(split), batch_size):
        rows = slice(index, index + batch_size)
        images[rows] = ops.convert_to_numpy(color.to_uint8(system.predict_color(split.images[rows])[1]))
    return Split(images, split.labels, split.files, split.gray)


def real_and_colorized(real, fake):
    """The images for a detector: those of `real`, with label 0, then those of `fake`, with label 1.

    Raises:
        InputError: the two differ in length, so that a constant answer would be right more than half of the time.
    """
    if len(real) != len(fake):
        raise InputError(
            f"{len(real)} real and {len(fake)} colorized images: a detector needs the same number of both."
        )
    labels = np.repeat(np.arange(2, dtype="int32"), len(real))
    return Split(np.concatenate([real.images[:], fake.images[:]]), labels, [*real.files, *fake.files])


def right(judge, split, batch_size=250):
    """Whether the judge finds the class of each image of a split: (n,) float32, 1 or 0."""
    batches = Batches(split, batch_size)
    logits = [ops.convert_to_numpy(judge(batches[index][0])) for index in range(len(batches))]
    return (np.concatenate(logits).argmax(-1) == split.labels).astype("float32")
