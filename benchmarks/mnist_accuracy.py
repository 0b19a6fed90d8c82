"""Train the lecture's MNIST models in their full setting, over several seeds.

Every finished run appends one row to ``results/mnist_accuracy.csv``; a run that is there
already is not repeated, so that the script can be stopped and started again:

    python benchmarks/mnist_accuracy.py --seeds 5
"""

import argparse
import csv
import os
import platform
import time
from datetime import date
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from course import data
from course.deep import models

FIELDS = "model seed epochs batch_size test_loss test_accuracy seconds".split()
FIELDS += "device cores tensorflow keras date".split()
RESULTS = Path(__file__).parent / "results" / "mnist_accuracy.csv"


def runs(num_seeds):
    for seed in range(num_seeds):
        for model in ("perceptron", "ann_relu", "ann_tanh", "cnn"):
            yield model, seed


def train(name, seed, epochs, batch_size, arrays):
    """One run as on the slide; returns (test loss, test accuracy, seconds of `fit`)."""
    x_train, y_train, x_test, y_test = arrays
    keras.utils.set_random_seed(seed)
    if name == "cnn":
        model, optimizer, split = models.cnn(), keras.optimizers.Adam(), 0.2
        x_train, x_test = x_train[..., np.newaxis], x_test[..., np.newaxis]
    else:
        x_train, x_test = x_train.reshape(-1, 784), x_test.reshape(-1, 784)
        model = models.perceptron() if name == "perceptron" else models.ann(activation=name[4:])
        optimizer, split = keras.optimizers.SGD(), 0.0
    model.compile(loss="categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    start = time.perf_counter()
    model.fit(
        x_train, y_train, batch_size=batch_size, epochs=epochs, validation_split=split, verbose=0
    )
    seconds = time.perf_counter() - start
    loss, accuracy = model.evaluate(x_test, y_test, batch_size=1000, verbose=0)
    return loss, accuracy, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=128)
    options = parser.parse_args()

    RESULTS.parent.mkdir(exist_ok=True)
    done = set()
    if RESULTS.exists():
        with RESULTS.open() as file:
            done = {(row["model"], int(row["seed"])) for row in csv.DictReader(file)}
    else:
        RESULTS.write_text(",".join(FIELDS) + "\n")

    (x_train, y_train), (x_test, y_test) = data.mnist()
    arrays = (
        x_train.astype("float32") / 255,
        keras.utils.to_categorical(y_train, 10),
        x_test.astype("float32") / 255,
        keras.utils.to_categorical(y_test, 10),
    )
    device = "gpu" if tf.config.list_physical_devices("GPU") else platform.machine()
    for model, seed in runs(options.seeds):
        if (model, seed) in done:
            continue
        loss, accuracy, seconds = train(model, seed, options.epochs, options.batch_size, arrays)
        row = [model, seed, options.epochs, options.batch_size, f"{loss:.4f}", f"{accuracy:.4f}"]
        row += [
            f"{seconds:.1f}",
            device,
            os.cpu_count(),
            tf.__version__,
            keras.__version__,
            date.today(),
        ]
        with RESULTS.open("a") as file:
            csv.writer(file).writerow(row)
        print(*row, flush=True)


if __name__ == "__main__":
    main()
