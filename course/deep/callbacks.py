"""Callbacks that keep the ranks of `model.fit` in step: same start, same metrics, warm-up."""

import itertools
from collections.abc import Iterable
from typing import Any

# MPI comes first: Horovod finds the MPI library that mpi4py has loaded.
from mpi4py import MPI  # noqa: F401

# isort: split
import horovod.tensorflow as hvd
import keras
import numpy as np
import tensorflow as tf

BROADCAST_BYTES = 1 << 28  # MPI counts bytes in 32-bit integers
SEED_STRIDE = 0x9E3779B9  # 2**32 / golden ratio: neighbouring ranks get far-apart seeds


def broadcast_variables(variables: "Iterable[keras.Variable]", root: int = 0) -> None:
    """Give `variables` the values that they have on rank `root`, bit by bit.

    Args:
        variables: Keras variables of the same shapes and types, in the same order, on all ranks.
        root: the rank whose values are kept.
    """
    if hvd.size() == 1:
        return
    variables = list(variables)
    arrays = [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in variables]
    buffer = np.concatenate(
        [np.zeros(0, np.uint8), *(np.frombuffer(a.tobytes(), np.uint8) for a in arrays)]
    )
    parts = [
        hvd.broadcast(tf.constant(buffer[start : start + BROADCAST_BYTES]), root, name="variables")
        for start in range(0, len(buffer), BROADCAST_BYTES)
    ]
    if hvd.rank() == root or not parts:
        return
    buffer = np.concatenate([part.numpy() for part in parts])
    start = 0
    for variable, array in zip(variables, arrays, strict=True):
        stop = start + array.nbytes
        variable.assign(buffer[start:stop].view(array.dtype).reshape(array.shape))
        start = stop


def _sum(variables: "Iterable[keras.Variable]", name: str) -> list[np.ndarray]:
    """Return the float64 sums of `variables` over all ranks."""
    arrays = [keras.ops.convert_to_numpy(variable) for variable in variables]
    flat = np.concatenate([array.astype(np.float64).ravel() for array in arrays])
    total = hvd.allreduce(tf.constant(flat), op=hvd.Sum, name=name).numpy()
    ends = np.cumsum([array.size for array in arrays])
    parts = np.split(total, ends[:-1])
    return [part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]


def _require_same(facts: dict[str, Any]) -> None:
    """Raise `ValueError` on all ranks when a fact is not the same on all of them."""
    everybody = hvd.allgather_object(facts, name="facts")
    for key in facts:
        values = [other[key] for other in everybody]
        if any(value != values[0] for value in values):
            rank = next(rank for rank, value in enumerate(values) if value != values[0])
            one, other = values[0], values[rank]
            if isinstance(one, list):
                # Of two long lists, what they differ in first.
                pairs = enumerate(itertools.zip_longest(one, other, fillvalue="missing"))
                number, one, other = next((i, a, b) for i, (a, b) in pairs if a != b)
                key = f"{key}, variable {number},"
            raise ValueError(
                f"the ranks do not train the same: {key} is {one} on rank 0 and {other} on rank "
                f"{rank}"
            )


class BroadcastCallback(keras.callbacks.Callback):
    """At the start of `fit`, give all ranks the weights and optimizer state of one.

    Before that it checks that the ranks have the same model, optimizer, epochs and steps per
    epoch, and raises `ValueError` on every rank where they have not: ranks that run different
    numbers of steps would wait for each other. (A generator does not tell its number of steps;
    there the deadline of `init` is what ends the wait.) A model that is not built yet is refused.

    After each epoch, and before validation, the weights that are not trained (the moving means
    and variances of batch normalisation, which each rank takes from its own batches) are
    averaged, so that the ranks also agree on those.

    The states of random seed generators (dropout) are those of `root` plus a number that
    differs by rank: equal masks on different data would be less random than one process.

    Args:
        root: the rank whose values are kept.
    """

    def __init__(self, root: int = 0) -> None:
        """See the class."""
        super().__init__()
        self.root = root
        self._fitting = False

    def set_model(self, model: keras.Model) -> None:
        """Take the model, and turn off XLA, which has no Horovod operations."""
        super().set_model(model)
        if hvd.size() > 1 and model.jit_compile:
            model.jit_compile = False

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Check that the ranks train the same, and broadcast."""
        if hvd.size() == 1:
            return
        model = self.model
        optimizer = model.optimizer
        if not model.built:
            raise ValueError(
                "expected a model with weights to broadcast, got one that is not built yet: give "
                "it a keras.Input, or call it on one batch before fit"
            )
        if not optimizer.built:
            optimizer.build(model.trainable_variables)

        def shapes(variables: Iterable[Any]) -> list[str]:
            return [f"{v.name} {v.dtype} {tuple(v.shape)}" for v in variables]

        _require_same(
            {
                "the number of epochs": self.params.get("epochs"),
                "the number of steps per epoch": self.params.get("steps"),
                "the class of the optimizer": type(optimizer).__name__,
                "the model": shapes(model.weights),
                "the optimizer's state": [
                    (str(v.dtype), tuple(v.shape)) for v in optimizer.variables
                ],
            }
        )
        weights = model.weights
        known = {id(variable) for variable in weights}
        seeds = [variable for variable in model.variables if id(variable) not in known]
        broadcast_variables([*weights, *seeds, *optimizer.variables], self.root)
        for state in seeds:
            value = keras.ops.convert_to_numpy(state).copy()
            shift = SEED_STRIDE * ((hvd.rank() - self.root) % hvd.size()) % (1 << 31)
            value[:1] += np.array([shift], value.dtype)
            state.assign(value)
        self._fitting = True

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Average the weights that are not trained, before validation."""
        if self._fitting:
            self._average_states()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Average the weights that are not trained."""
        self._average_states()

    def on_train_end(self, logs: dict | None = None) -> None:
        """Note that `fit` is over."""
        self._fitting = False

    def _average_states(self) -> None:
        states = [
            variable
            for variable in self.model.non_trainable_weights
            if keras.backend.is_float_dtype(variable.dtype)
        ]
        if hvd.size() > 1 and states:
            for variable, total in zip(states, _sum(states, "states"), strict=True):
                variable.assign(keras.ops.cast(total / hvd.size(), variable.dtype))


def average_metrics(model: keras.Model) -> dict[str, float]:
    """Return the metrics of `model` over the data of all ranks; every rank must call this.

    Keras's metrics keep sums and counts. These are added over the ranks, and the result is
    computed from the totals, so that it is that of one process on all the data, also where the
    ranks saw different numbers of samples, and also for metrics that are no mean, such as AUC.
    A metric of your own must keep sums and counts too. The model's own state does not change.

    Returns:
        The result by name, such as ``{"accuracy": 0.91, "loss": 0.33}``: after `fit` or
        `evaluate`, for the data of its last epoch.
    """
    variables = model.metrics_variables
    own = [keras.ops.convert_to_numpy(variable).copy() for variable in variables]
    if hvd.size() > 1 and own:
        for variable, total in zip(variables, _sum(variables, "metrics"), strict=True):
            variable.assign(keras.ops.cast(total, variable.dtype))
    result = {
        name: float(value)
        for name, value in model.get_metrics_result().items()
        if np.ndim(keras.ops.convert_to_numpy(value)) == 0
    }
    for variable, value in zip(variables, own, strict=True):
        variable.assign(value)
    return result


class MetricAverageCallback(keras.callbacks.Callback):
    """Replace each epoch's metrics, validation too, by those over the data of all ranks.

    Put it before the callbacks that act on metrics (`EarlyStopping`, `ReduceLROnPlateau`,
    `ModelCheckpoint`): with the metrics of its own rank each would act differently, and the
    ranks would no longer take the same steps. See `average_metrics` for how it is computed.
    """

    def __init__(self) -> None:
        """See the class."""
        super().__init__()
        self._fitting = False
        self._results: dict[str, float] = {}
        self._validated = False

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Note that `evaluate` from here on is validation."""
        self._fitting = hvd.size() > 1  # one rank has the metrics of all data anyway

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Forget the last epoch."""
        self._results, self._validated = {}, False

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Take the training metrics, which validation is about to overwrite."""
        if self._fitting:
            self._results.update(average_metrics(self.model))

    def on_test_end(self, logs: dict | None = None) -> None:
        """Take the validation metrics."""
        if self._fitting:
            results = average_metrics(self.model)
            self._results.update({f"val_{name}": value for name, value in results.items()})
            self._validated = True

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Put the averages into `logs`, for the callbacks after this one and the history."""
        if not self._fitting:
            return
        if not self._validated:
            self._results.update(average_metrics(self.model))
        if logs is not None:
            logs.update({name: self._results[name] for name in logs if name in self._results})

    def on_train_end(self, logs: dict | None = None) -> None:
        """Note that `fit` is over."""
        self._fitting = False


class LearningRateWarmupCallback(keras.callbacks.Callback):
    """Raise the learning rate step by step from 1/size of `learning_rate` to all of it.

    The gradual warm-up of Goyal et al. (2017), section 2.2: a learning rate that was scaled by
    the number of ranks is too large for the first epochs, when the weights change quickly.
    Other callbacks may change the learning rate once the warm-up is over.

    Args:
        learning_rate: the rate after the warm-up, scaled already: see `scale_learning_rate`.
        warmup_epochs: epochs until it is reached; 5 in the paper; may be a fraction.
        size: the factor by which it was scaled; by default the number of ranks.
        steps_per_epoch: steps of one epoch; needed where Keras does not know it in advance.

    Raises:
        ValueError: a number is not positive; in `fit`, the optimizer follows a schedule of its
            own, or the number of steps is unknown.
    """

    def __init__(
        self,
        learning_rate: float,
        warmup_epochs: float = 5,
        size: int | None = None,
        steps_per_epoch: int | None = None,
    ) -> None:
        """See the class."""
        super().__init__()
        for name, value in (
            ("learning_rate", learning_rate),
            ("warmup_epochs", warmup_epochs),
            ("size", size),
            ("steps_per_epoch", steps_per_epoch),
        ):
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value!r}")
        self.learning_rate = learning_rate
        self.warmup_epochs = warmup_epochs
        self.size = size
        self.steps_per_epoch = steps_per_epoch
        self._epoch = 0
        self._steps = 0
        self._started = self._done = False

    def at(self, epochs: float) -> float:
        """Return the learning rate after `epochs` epochs, which may be a fraction."""
        size = hvd.size() if self.size is None else self.size
        progress = min(1.0, epochs / self.warmup_epochs)
        return self.learning_rate * (1 + (size - 1) * progress) / size

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Find the number of steps per epoch, and check that the rate may be set."""
        steps = self.steps_per_epoch or self.params.get("steps")
        if not steps:
            raise ValueError(
                "the number of steps per epoch is unknown: expected steps_per_epoch, got None"
            )
        self._steps, self._started, self._done = steps, False, False
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        if not isinstance(optimizer._learning_rate, keras.Variable):
            raise ValueError(
                "expected an optimizer with a number as learning rate, got one with "
                f"{type(optimizer._learning_rate).__name__}: two schedules cannot set one rate"
            )

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Note the epoch."""
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Set the learning rate of this step, until the warm-up is over."""
        epochs = self._epoch + batch / self._steps
        # Training that is resumed after the warm-up keeps the rate that it comes with.
        if self._done or (epochs > self.warmup_epochs and not self._started):
            return
        self.model.optimizer.learning_rate = self.at(epochs)
        self._started, self._done = True, epochs >= self.warmup_epochs
