"""How long training takes, measured the same way for every model and device.

Slides "MNIST Dataset - A Multi Output Perceptron Model - Output & Evaluation" and its
sisters print microseconds per sample; "Assignment #2 will explore the change of parameters
in context of changes in running time when training models on GPUs vs. CPUs".

    from course.deep import models, timing
    print(timing.measure(models.ann, x_train, y_train, batch_size=128))

On another machine, with another device, the same from the command line:

    python -m course.deep.timing --batch-sizes 128 1024 --output my_gpu.json
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course.deep import devices
from course.deep.recordings import (
    Recording,
    RecordingError,
    Timing,
    load,
    load_recorded,
    save,
)

if TYPE_CHECKING:
    import keras
    import numpy as np

__all__ = ["Recording", "RecordingError", "Timing", "load", "load_recorded", "measure", "record"]

MODELS = ("perceptron", "ann", "cnn")


def _check(model_fn: Any, x: Any, y: Any, **counts: int) -> None:
    import keras

    if isinstance(model_fn, keras.Model) or not callable(model_fn):
        raise TypeError(
            "model_fn must be a function without arguments that returns a new Keras model, "
            f"such as models.ann, got {type(model_fn).__name__}"
        )
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(f"expected as many labels as samples, got {len(x)} and {len(y)}")
    for name, value in counts.items():
        if isinstance(value, bool) or int(value) != value or value < (0 if name == "warmup" else 1):
            raise ValueError(f"{name} must be a positive whole number, got {value!r}")


def measure(
    model_fn: "Callable[[], keras.Model]",
    x: "np.ndarray",
    y: "np.ndarray",
    batch_size: int = 128,
    epochs: int = 1,
    repeats: int = 5,
    warmup: int = 1,
    optimizer: "str | keras.optimizers.Optimizer" = "sgd",
    loss: Any = "categorical_crossentropy",
    progress: bool = False,
) -> Timing:
    """Time the training of a model.

    One `fit` trains ``warmup + repeats * epochs`` epochs. The warm-up, which holds the
    compilation and the copying of data to the device, is not counted; after it every
    `epochs` epochs are one measurement, from their first step to the moment when the device
    has finished the last.

    Args:
        model_fn: function without arguments that returns a new model: ``models.ann``, or
            ``lambda: models.ann(num_hidden=64)``. It is compiled here unless it is already.
        x: (samples, ...) float32 inputs.
        y: (samples, classes) float32 one-hot labels, or what `loss` takes.
        batch_size: samples per step.
        epochs: epochs per measurement.
        repeats: number of measurements.
        warmup: epochs before the first measurement.
        optimizer: name or Keras optimizer, for a model that is not compiled.
        loss: Keras loss, for a model that is not compiled.
        progress: print a line for every measurement.

    Raises:
        TypeError: `model_fn` is a model or cannot be called.
        ValueError: `x` and `y` differ in length, or a count is not a positive whole number.
    """
    import keras

    _check(model_fn, x, y, batch_size=batch_size, epochs=epochs, repeats=repeats, warmup=warmup)
    model = model_fn()
    if not isinstance(model, keras.Model):
        raise TypeError(f"model_fn must return a Keras model, it returned {model!r}")
    if not model.compiled:
        model.compile(loss=loss, optimizer=optimizer, metrics=["accuracy"])
    seconds: list[float] = []

    class Clock(keras.callbacks.Callback):
        start = 0.0

        def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
            if epoch >= warmup and (epoch - warmup) % epochs == 0:
                devices.synchronise(model)
                self.start = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            if epoch >= warmup and (epoch - warmup + 1) % epochs == 0:
                devices.synchronise(model)
                seconds.append(time.perf_counter() - self.start)
                if progress:
                    print(f"{model.name} {len(seconds)}/{repeats}: {seconds[-1]:.2f} s", flush=True)

    model.fit(
        x,
        y,
        batch_size=batch_size,
        epochs=warmup + repeats * epochs,
        callbacks=[Clock()],
        verbose=0,
    )
    return Timing(
        model=model.name,
        parameters=model.count_params(),
        samples=len(x),
        batch_size=batch_size,
        epochs=epochs,
        optimizer=model.optimizer.__class__.__name__,
        us_per_sample=tuple(1e6 * s / (len(x) * epochs) for s in seconds),
    )


def random_digits(samples: int, seed: int = 0) -> "tuple[np.ndarray, np.ndarray]":
    """Return noise in the shape of MNIST: (samples, 784) in 0..1 and (samples, 10) one-hot.

    The time of a training step does not depend on what is in the pictures.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 10, samples)
    return generator.random((samples, 784), dtype=np.float32), np.eye(10, dtype=np.float32)[labels]


def record(
    path: str | Path,
    names: Sequence[str] = MODELS,
    batch_sizes: Sequence[int] = (128,),
    samples: int = 60_000,
    repeats: int = 5,
    description: str | None = None,
    progress: bool = False,
) -> Recording:
    """Measure models of the lecture on this machine's device and write the times to `path`.

    The perceptron and the ANN train with SGD, the CNN with Adam, as on the slides.

    Args:
        path: JSON file to write.
        names: of ``"perceptron"``, ``"ann"``, ``"cnn"``.
        batch_sizes: samples per step; every model is timed with each.
        samples: training samples in an epoch.
        repeats: measured epochs, after one that is not counted.
        description: where this was measured, in words, for the readers of the file.
        progress: print a line for every measurement.

    Raises:
        ValueError: an unknown model, or a count that is not a positive whole number.
    """
    unknown = [name for name in names if name not in MODELS]
    if unknown or not names:
        raise ValueError(f"models must be of {MODELS}, got {list(names)}")
    from course.deep import models

    x, y = random_digits(samples)
    timings = []
    for name in names:
        inputs = x.reshape(-1, 28, 28, 1) if name == "cnn" else x
        optimizer = "adam" if name == "cnn" else "sgd"
        for batch_size in batch_sizes:
            timings.append(
                measure(
                    getattr(models, name),
                    inputs,
                    y,
                    batch_size=batch_size,
                    repeats=repeats,
                    optimizer=optimizer,
                    progress=progress,
                )
            )
            if progress:
                print(timings[-1], flush=True)
    device = devices.current()
    source = {
        "kind": "measured",
        "description": description
        or f"{device}, by `python -m course.deep.timing`; random pictures in MNIST's shape",
        "date": date.today().isoformat(),
    }
    return save(path, timings, device, source, devices.software())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; see ``python -m course.deep.timing --help``."""
    parser = argparse.ArgumentParser(
        prog="python -m course.deep.timing",
        description="Time the training of the lecture's MNIST models on this machine.",
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[128])
    parser.add_argument("--samples", type=int, default=60_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", choices=("default", "cpu"), default="default")
    parser.add_argument("--backend", choices=("tensorflow", "jax", "torch"))
    parser.add_argument("--description", help="where this is measured, in words")
    parser.add_argument("--output", required=True, type=Path, help="JSON file to write")
    options = parser.parse_args(arguments)
    if options.backend:
        os.environ["KERAS_BACKEND"] = options.backend
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    recording = record(
        options.output,
        options.models,
        options.batch_sizes,
        options.samples,
        options.repeats,
        options.description,
        progress=True,
    )
    print(f"{recording.device}: {len(recording.timings)} timings in {options.output}")


if __name__ == "__main__":
    main()
