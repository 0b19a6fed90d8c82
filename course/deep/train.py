"""Train one of the lecture's MNIST models on all ranks, as a program for job scripts.

    mpiexec -n 4 python -m mpi4py -m course.deep.train ann --epochs 20 --output ann.keras

The joined batch keeps its size whatever the number of ranks is, so that the accuracy does, too.
Rank 0 prints and writes. MNIST comes with the course: no network is needed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MODELS = ("perceptron", "ann", "cnn")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line on every rank; see ``--help``."""
    parser = argparse.ArgumentParser(
        prog="python -m course.deep.train", description="Train a model on MNIST on all MPI ranks."
    )
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=128, help="of all ranks together")
    parser.add_argument("--rows", type=int, default=60_000, help="training pictures to use")
    parser.add_argument("--output", type=Path, help="file NAME.keras for the trained model")
    options = parser.parse_args(arguments)

    from mpi4py import MPI

    problem = _problem(options, MPI.COMM_WORLD.size)
    if problem:  # every rank sees the same
        sys.exit(f"course.deep.train: {problem}" if MPI.COMM_WORLD.rank == 0 else 2)
    train(options.model, options.epochs, options.batch_size, options.rows, options.output)


def _problem(options: argparse.Namespace, ranks: int) -> str:
    if options.epochs < 1:
        return f"expected at least 1 epoch, got {options.epochs}"
    if not ranks <= options.rows <= 60_000:
        return f"expected between {ranks} (ranks) and 60000 rows, got {options.rows}"
    if options.batch_size < ranks or options.batch_size % ranks:
        return f"expected a batch size that {ranks} ranks can share, got {options.batch_size}"
    if options.output is not None and options.output.suffix != ".keras":
        return f"expected --output NAME.keras, got {options.output}"
    if options.output is not None and not options.output.absolute().parent.is_dir():
        return f"expected a folder at {options.output.absolute().parent}, found none"
    return ""


def train(
    name: str, epochs: int, batch_size: int, rows: int, output: Path | None = None
) -> tuple[float, float]:
    """Train on all ranks of ``COMM_WORLD`` and return loss and accuracy on the test pictures.

    Args:
        name: one of `MODELS`.
        epochs: times that all rows are seen.
        batch_size: rows in one step, of all ranks together.
        rows: how many of the 60,000 training pictures to use.
        output: where rank 0 saves the model; nowhere if None.
    """
    from course.deep import distributed, models

    import keras  # isort: skip  # after MPI and Horovod

    from course.data import mnist

    world = distributed.init()
    (x, labels), (x_test, labels_test) = mnist()
    x, x_test = _pictures(x[:rows], name), _pictures(x_test, name)
    y, y_test = (keras.utils.to_categorical(part, 10) for part in (labels[:rows], labels_test))
    x, y = distributed.shard(x, y, rank=world.rank, size=world.size)

    keras.utils.set_random_seed(8)
    model = getattr(models, name)()
    optimizer = keras.optimizers.Adam() if name == "cnn" else keras.optimizers.SGD()
    model.compile(
        loss="categorical_crossentropy",
        optimizer=distributed.DistributedOptimizer(optimizer),
        metrics=["accuracy"],
    )
    callbacks = [distributed.BroadcastCallback(), distributed.MetricAverageCallback()]
    model.fit(
        x,
        y,
        batch_size=batch_size // world.size,
        epochs=epochs,
        callbacks=callbacks,
        verbose=2 if world.rank == 0 else 0,
    )
    loss, accuracy = (float(value) for value in model.evaluate(x_test, y_test, verbose=0))
    if world.rank == 0:
        print(f"{name} on {world.size} ranks: test loss {loss:.4f}, accuracy {accuracy:.4f}")
        if output is not None:
            model.save(output)
    return loss, accuracy


def _pictures(images: "np.ndarray", name: str) -> "np.ndarray":
    shape = (-1, 28, 28, 1) if name == "cnn" else (-1, 784)
    return images.reshape(shape).astype("float32") / 255


if __name__ == "__main__":
    main()
