"""What `DistributedOptimizer` and the callbacks cost a rank that is alone.

Plain Keras and Horovod train in turns, epoch by epoch, in one process, so that what else the
machine does falls on both alike; the figure is the median of the ratios of neighbours, with
the interval that holds it with 95 % confidence (bootstrap).

    python benchmarks/horovod_one_rank.py
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import argparse
import csv
import time
from datetime import date
from pathlib import Path

import numpy as np

from course import data
from course.deep import distributed

RESULTS = Path(__file__).parent / "results" / "horovod_one_rank.csv"


def trainer(name, arrays, horovod):
    """Return a function that trains one more epoch and returns its seconds."""
    import keras

    from course.deep import models

    x, y = arrays
    keras.utils.set_random_seed(1)
    model = models.cnn() if name == "cnn" else getattr(models, name)()
    x = x[: 5000 if name == "cnn" else 30_000]
    x, y = (x[..., None] if name == "cnn" else x.reshape(-1, 784)), y[: len(x)]
    optimizer, callbacks = keras.optimizers.SGD(), []
    if horovod:
        optimizer = distributed.DistributedOptimizer(optimizer)
        callbacks = [distributed.BroadcastCallback(), distributed.MetricAverageCallback()]
    model.compile(loss="categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"])

    def epoch():
        start = time.perf_counter()
        model.fit(x, y, batch_size=128, epochs=1, verbose=0, callbacks=callbacks)
        return time.perf_counter() - start

    epoch()  # warm-up: compilation
    return epoch


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    world = distributed.init()
    assert world.size == 1, f"expected one rank, got {world.size}"
    import keras

    (x, y), _ = data.mnist()
    arrays = x.astype("float32") / 255, keras.utils.to_categorical(y, 10)
    rng = np.random.default_rng(0)
    rows = []
    for name in ("perceptron", "ann", "cnn"):
        plain, ranked = trainer(name, arrays, False), trainer(name, arrays, True)
        times = []
        for number in range(options.rounds):
            pair = (plain, ranked) if number % 2 else (ranked, plain)
            first, second = pair[0](), pair[1]()
            times.append((first, second) if number % 2 else (second, first))
        seconds = np.array(times)
        ratios = seconds[:, 1] / seconds[:, 0]
        medians = np.median(rng.choice(ratios, (2000, len(ratios))), axis=1)
        low, high = np.percentile(medians, [2.5, 97.5])
        row = [date.today(), name, options.rounds, f"{np.median(seconds[:, 0]):.4f}"]
        row += [f"{100 * (value - 1):+.2f}" for value in (np.median(ratios), low, high)]
        rows.append(row)
        print(*row, flush=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.writer(file)
        head = "date,model,rounds,plain_seconds,overhead_percent,low_percent,high_percent"
        writer.writerow(head.split(","))
        writer.writerows(rows)


if __name__ == "__main__":
    main()
