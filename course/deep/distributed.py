"""Data-parallel training with Horovod inside Keras 3's `model.fit`.

Every rank holds the whole model and computes the gradient of its own batch; Horovod averages
the gradients by Allreduce; every rank takes the same step (slides "Distributed Training via
Multi GPUs with Horovod"; Sergeev & Del Balso, "Horovod: fast and easy distributed deep
learning in TensorFlow", 2018). Horovod's own Keras module does not work with Keras 3
(horovod issue 4290).

    world = distributed.init()
    x, y = distributed.shard(x, y, rank=world.rank, size=world.size)
    model.compile(optimizer=distributed.DistributedOptimizer(keras.optimizers.SGD()), ...)
    model.fit(x, y, callbacks=[distributed.BroadcastCallback(),
                               distributed.MetricAverageCallback()])
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# MPI comes first: Horovod finds the MPI library that mpi4py has loaded.
from mpi4py import MPI  # noqa: F401

# isort: split
import horovod.tensorflow as hvd
import keras
import tensorflow as tf

from course.deep.callbacks import (
    BroadcastCallback,
    LearningRateWarmupCallback,
    MetricAverageCallback,
    average_metrics,
    broadcast_variables,
)
from course.deep.sharding import scale_learning_rate, shard
from course.deep.world import World, init

__all__ = [
    "BroadcastCallback",
    "DistributedOptimizer",
    "LearningRateWarmupCallback",
    "MetricAverageCallback",
    "World",
    "average_gradients",
    "average_metrics",
    "broadcast_variables",
    "init",
    "load_model",
    "scale_learning_rate",
    "shard",
]


def average_gradients(gradients: Sequence[Any], name: str = "gradients") -> list[Any]:
    """Return the mean over all ranks of each gradient; every rank must call this.

    Works eagerly and inside a `tf.function`. All dense gradients of one type travel in one
    Allreduce. The gradient of an embedding, a `tf.IndexedSlices`, stays one: the ranks' slices
    are gathered, which is the gradient of the joined batch.

    Args:
        gradients: tensors, `tf.IndexedSlices`, or None where there is no gradient; of the same
            shapes and types, and None in the same places, on every rank.
        name: tells this average from others that are under way at the same time.
    """
    result = list(gradients)
    size = hvd.size()
    if size == 1:
        return result
    dense: dict[tf.DType, list[int]] = {}
    for index, gradient in enumerate(result):
        if isinstance(gradient, tf.IndexedSlices):
            # The names are given here, because TensorFlow's depend on what else a rank has built.
            values, indices = (
                hvd.allgather(part, name=f"{name}_{index}_{kind}", ignore_name_scope=True)
                for part, kind in ((gradient.values, "values"), (gradient.indices, "indices"))
            )
            result[index] = tf.IndexedSlices(values / size, indices, gradient.dense_shape)
        elif gradient is not None:
            dense.setdefault(gradient.dtype, []).append(index)
    for dtype, indices in dense.items():
        averaged = hvd.grouped_allreduce(
            [result[index] for index in indices],
            op=hvd.Average,
            name=f"{name}_{dtype.name}",
            ignore_name_scope=True,
        )
        for index, gradient in zip(indices, averaged, strict=True):
            result[index] = gradient
    return result


class _Averaging:
    """What `DistributedOptimizer` puts in front of the class of a Keras optimizer."""

    _plain_class: type
    _average_name: str
    gradient_accumulation_steps: int | None

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The plain optimizer's class, so that Keras saves it as a plain optimizer."""
        return self._plain_class

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Average the gradients over the ranks, then do what the optimizer does with them."""
        if not self.gradient_accumulation_steps:
            grads = average_gradients(grads, self._average_name)
        super().apply(grads, trainable_variables)  # type: ignore[misc]

    def _clip_gradients(self, grads: Any) -> Any:
        # With gradient accumulation the ranks talk once an update, not once a batch: Keras comes
        # here with the accumulated gradient, only at updates, on all ranks at once.
        if self.gradient_accumulation_steps:
            grads = average_gradients(grads, self._average_name)
        return super()._clip_gradients(grads)  # type: ignore[misc]

    def __setattr__(self, name: str, value: Any) -> None:
        # LossScaleOptimizer and MultiOptimizer do this to what they wrap. Loss scaling skips
        # the inner optimizer where a gradient is not finite: on that rank alone, and the
        # others would wait for it.
        if name == "loss_scale_factor" and value is None:
            raise ValueError(
                "a distributed optimizer must be the outermost one: expected "
                "DistributedOptimizer(LossScaleOptimizer(optimizer)), found it inside another "
                "optimizer. In mixed_float16, Keras wraps an optimizer by itself: set the dtype "
                "policy before DistributedOptimizer is called, which then does it"
            )
        super().__setattr__(name, value)


@functools.cache
def _averaging_class(plain: Any) -> type:
    return type(f"Distributed{plain.__name__}", (_Averaging, plain), {"_plain_class": plain})


def DistributedOptimizer(
    optimizer: "keras.optimizers.Optimizer | str", name: str = "gradients"
) -> keras.optimizers.Optimizer:
    """Make a Keras 3 optimizer average its gradients over all ranks before each step.

    The gradients are averaged before they are clipped, checked for infinities or decayed, so
    that all ranks take the same step: that of one process on the joined batch. A gradient that
    is not finite on one rank is not finite in the mean, and a loss-scaling optimizer then
    skips the step on every rank. With `gradient_accumulation_steps` the ranks communicate
    once an update. On one rank nothing is added at all.

    Where the global dtype policy is ``mixed_float16``, the optimizer is put into a
    `keras.optimizers.LossScaleOptimizer` first.

    Models save as with the plain optimizer; the files need neither Horovod nor this module.
    `load_model` brings them back for further training on ranks.

    Args:
        optimizer: any Keras 3 optimizer, new or used, or the name of one.
        name: tells its averages from those of another optimizer that works at the same time, in
            a training loop of your own; the same on every rank.

    Returns:
        `optimizer` itself, changed in place, with its state; or the loss-scaling optimizer
        around it. One that is distributed already is returned as it is.

    Raises:
        ValueError: not a Keras optimizer, or one that holds a distributed optimizer.
    """
    optimizer = keras.optimizers.get(optimizer)
    if isinstance(optimizer, _Averaging):
        return optimizer
    policy = keras.config.dtype_policy().name
    if policy == "mixed_float16" and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    plain: Any = type(optimizer)
    optimizer.__class__ = _averaging_class(plain)
    optimizer._average_name = name
    return optimizer


def load_model(path: str | Path, **options: Any) -> keras.Model:
    """Load a ``.keras`` file, and make its optimizer, with its state, a distributed one.

    Args:
        path: file that `keras.Model.save` wrote, on one process or many.
        **options: passed to `keras.saving.load_model`.
    """
    model = keras.saving.load_model(path, **options)
    if model.compiled and model.optimizer is not None:
        model.optimizer = DistributedOptimizer(model.optimizer)
    return model
