"""Data-parallel training against plain Keras on the joined batch, on the ranks of one world.

Every case trains on all ranks; rank 0 also trains plain Keras, alone, on all rows. The facts
that each rank found are gathered, so that no check stands between two collectives.
"""

import json
import os
import sys
import tempfile
import time
import traceback
import zipfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from course.deep import distributed

STEPS, BATCH = 3, 4
FEW = 3  # ranks up to which every case is run: tracing seven models on two cores takes long
CASES = {}
MANY = []


def case(function, many=True):
    """A case; with `many`, one for any number of ranks."""
    CASES[function.__name__] = function
    if many:
        MANY.append(function.__name__)
    return function


def case_for_few(function):
    return case(function, many=False)


def data(world, features=6, classes=3):
    """Rows for three and a half steps on every rank, and some left over."""
    generator = np.random.default_rng(7)
    rows = (STEPS * BATCH + BATCH // 2) * world.size + world.size - 1
    x = generator.normal(size=(rows, features)).astype("float32")
    return x, np.eye(classes, dtype="float32")[(x[:, 0] > 0) + (x[:, 1] > 0.5).astype(int)]


def network(seed=0, features=6, classes=3, extra=()):
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((features,)),
            layers.Dense(8, activation="tanh"),
            *extra,
            layers.Dense(classes, activation="softmax"),
        ]
    )


def fit(model, x, y, batch, epochs=1, callbacks=(), **options):
    return model.fit(
        x,
        y,
        batch_size=batch,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        **options,
    )


def compiled(model, optimizer, **options):
    options = {"loss": "categorical_crossentropy", "metrics": ["accuracy"], **options}
    model.compile(optimizer=optimizer, **options)
    return model


def weights(model):
    return [np.asarray(keras.ops.convert_to_numpy(v), "float64") for v in model.weights]


def both(world, build, optimizer, epochs=2, arrays=None, **options):
    """Train on the ranks, and on rank 0 alone: the largest differences between the weights.

    Returns how far the ranks are from each other and from plain Keras, and how far plain Keras
    came from its start, so that a test can tell that something was learnt at all.
    """
    x, y = data(world) if arrays is None else arrays
    own_x, own_y = distributed.shard(x, y, rank=world.rank, size=world.size)
    # Other ranks start from other weights: the broadcast has to put that right.
    model = compiled(build(world.rank), distributed.DistributedOptimizer(optimizer()), **options)
    fit(model, own_x, own_y, BATCH, epochs, [distributed.BroadcastCallback()])
    mine = weights(model)
    everybody = world.comm.allgather(mine)
    apart = max(
        np.abs(a - b).max() for other in everybody for a, b in zip(other, mine, strict=True)
    )
    facts = {"apart": apart}
    if world.rank == 0:
        plain = compiled(build(0), optimizer(), **options)
        start = weights(plain)
        rows = len(own_x) * world.size
        fit(plain, x[:rows], y[:rows], BATCH * world.size, epochs)
        facts["error"] = max(np.abs(a - b).max() for a, b in zip(mine, weights(plain), strict=True))
        facts["moved"] = max(
            np.abs(a - b).max() for a, b in zip(start, weights(plain), strict=True)
        )
    return facts


def optimizers():
    o = keras.optimizers
    yield "SGD", lambda: o.SGD(0.1)
    yield "SGD momentum", lambda: o.SGD(0.1, momentum=0.9)
    yield "SGD nesterov", lambda: o.SGD(0.1, momentum=0.9, nesterov=True)
    for name in (
        "Adadelta Adafactor Adagrad Adam AdamW Adamax Ftrl Lamb Lion Muon Nadam RMSprop "
        "ScheduleFreeAdamW"
    ).split():
        if hasattr(o, name):
            yield name, lambda name=name: getattr(o, name)(0.05)
    yield "Adam amsgrad", lambda: o.Adam(0.05, amsgrad=True)
    yield "clipnorm", lambda: o.SGD(0.5, clipnorm=0.02)
    yield "global_clipnorm", lambda: o.SGD(0.5, global_clipnorm=0.02)
    yield "clipvalue", lambda: o.SGD(0.5, clipvalue=0.01)
    yield "weight decay", lambda: o.Adam(0.05, weight_decay=0.1)
    yield "EMA", lambda: o.SGD(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3)
    yield "loss_scale_factor", lambda: o.SGD(0.1, loss_scale_factor=64.0)
    yield "LossScaleOptimizer", lambda: o.LossScaleOptimizer(o.SGD(0.1), 2.0)
    yield "accumulation", lambda: o.Adam(0.05, gradient_accumulation_steps=2, clipnorm=0.02)
    yield (
        "schedule",
        lambda: o.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)),
    )
    yield (
        "several",
        lambda: o.MultiOptimizer(o.OptimizerMap(o.SGD(0.1), {".*bias": o.Adam(0.05)})),
    )


@case
def every_optimizer(world):
    """Steps on known gradients, in float64, so that only an error of method can show."""

    def variables():
        generator = np.random.default_rng(0)
        return [
            keras.Variable(generator.normal(size=shape), dtype="float64", name=name)
            for name, shape in (("kernel", (5, 4)), ("bias", (4,)))
        ]

    def gradients(rank, step):
        generator = np.random.default_rng([rank, step])
        return [keras.ops.convert_to_tensor(generator.normal(size=s)) for s in ((5, 4), (4,))]

    def train(optimizer, gradients):
        own = variables()
        for step in range(STEPS + 1):
            optimizer.apply(gradients(step), own)
        optimizer.finalize_variable_values(own)
        return [keras.ops.convert_to_numpy(variable) for variable in own]

    def mean(step):
        ranks = [gradients(rank, step) for rank in range(world.size)]
        return [sum(parts) / world.size for parts in zip(*ranks, strict=True)]

    facts = {}
    keras.config.set_floatx("float64")
    try:
        for name, build in optimizers():
            mine = train(
                distributed.DistributedOptimizer(build()), lambda step: gradients(world.rank, step)
            )
            plain = train(build(), mean)
            facts[name] = {
                "error": max(np.abs(a - b).max() for a, b in zip(mine, plain, strict=True)),
                "moved": max(
                    np.abs(a - b.numpy()).max() for a, b in zip(plain, variables(), strict=True)
                ),
            }
            everybody = world.comm.allgather(mine)
            facts[name]["apart"] = max(
                np.abs(a - b).max() for other in everybody for a, b in zip(other, mine, strict=True)
            )
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")  # made from floatx when it was first asked for
    return facts


@case
def in_graphs(world):
    """Compiled, as `fit` trains by default: one momentum, one with everything at once."""

    def all_at_once():
        schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
        return keras.optimizers.AdamW(
            schedule, global_clipnorm=0.5, use_ema=True, gradient_accumulation_steps=2
        )

    facts = {"all at once": both(world, network, all_at_once)}
    if world.size <= FEW:
        facts["SGD"] = both(world, network, lambda: keras.optimizers.SGD(0.1, momentum=0.9))
        facts["several steps a call"] = both(world, network, lambda: "sgd", steps_per_execution=2)
    return facts


@case_for_few
def embedding(world):
    """Sparse gradients, of which each rank has other rows; not first among the gradients."""
    generator = np.random.default_rng(3)
    rows = STEPS * BATCH * world.size
    words = generator.integers(0, 50, (rows, 5))
    dense = generator.normal(size=(rows, 4)).astype("float32")
    y = np.eye(3, dtype="float32")[words[:, 0] % 3]
    x = np.concatenate([dense, words.astype("float32")], axis=1)

    def build(seed):
        keras.utils.set_random_seed(seed)
        layers = keras.layers
        inputs = keras.Input((9,))
        first = layers.Dense(4, activation="tanh")(inputs[:, :4])
        text = layers.Flatten()(layers.Embedding(50, 3)(keras.ops.cast(inputs[:, 4:], "int32")))
        outputs = layers.Dense(3, activation="softmax")(layers.Concatenate()([first, text]))
        return keras.Model(inputs, outputs)

    return {
        name: both(world, build, optimizer, arrays=(x, y))
        for name, optimizer in {
            "SGD": lambda: keras.optimizers.SGD(0.5),
            "Adam": lambda: keras.optimizers.Adam(0.05),
            "clipnorm": lambda: keras.optimizers.SGD(0.5, clipnorm=0.01),
        }.items()
    }


@case_for_few
def mixed_precision(world):
    """An infinity on the last rank skips the step on all of them."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        x, y = data(world)
        x, y = x[: STEPS * BATCH * world.size], y[: STEPS * BATCH * world.size]

        def scaled():
            # A small scale: a rank's own, smaller batch has larger gradients, and would
            # overflow earlier than the joined one.
            return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), 64.0)

        facts = both(world, network, scaled, arrays=(x, y))
        x = x.copy()
        x[BATCH * world.size + world.size - 1] = np.inf  # on the last rank, in the second step
        own_x, own_y = distributed.shard(x, y, rank=world.rank, size=world.size)
        optimizer = distributed.DistributedOptimizer(scaled())
        model = compiled(network(), optimizer)
        fit(model, own_x, own_y, BATCH, callbacks=[distributed.BroadcastCallback()])
        wrapped = distributed.DistributedOptimizer(keras.optimizers.SGD(0.1))
        seen = world.comm.allgather(
            (int(optimizer.iterations), float(optimizer.dynamic_scale), weights(model)[0].tolist())
        )
        facts["kept wrapper"] = model.optimizer is optimizer
        facts["wrapped by itself"] = isinstance(wrapped, keras.optimizers.LossScaleOptimizer)
        facts["same everywhere"] = all(other == seen[0] for other in seen)
        facts["finite"] = all(np.isfinite(w).all() for w in weights(model))
        if world.rank == 0:
            plain = compiled(network(), scaled())
            fit(plain, x, y, BATCH * world.size)
            facts["steps taken"] = [int(optimizer.iterations), int(plain.optimizer.iterations)]
            facts["scale"] = [
                float(optimizer.dynamic_scale),
                float(plain.optimizer.dynamic_scale),
            ]
        return facts
    finally:
        keras.config.set_dtype_policy("float32")


@case_for_few
def wrapped_in_another(world):
    """Loss scaling outside would wait for ever: refused when the model is compiled."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(3)],
    )
    model.dtype_policy = keras.DTypePolicy("mixed_float16")
    inner = distributed.DistributedOptimizer("sgd")
    messages = []
    for action in (
        lambda: compiled(model, inner),
        lambda: keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(inner)),
        lambda: distributed.DistributedOptimizer("no such thing"),
    ):
        try:
            action()
            messages.append("")
        except ValueError as error:
            messages.append(str(error))
    return {
        "loss scale": "outermost" in messages[0],
        "several": "outermost" in messages[1],
        "unknown": bool(messages[2]),
        "twice": distributed.DistributedOptimizer(inner) is inner,
    }


@case_for_few
def saving(world):
    """Half the epochs, a file, the other half: as without the break, and a plain file."""
    x, y = data(world)
    own_x, own_y = distributed.shard(x, y, rank=world.rank, size=world.size)
    callbacks = [distributed.BroadcastCallback()]
    folder = world.comm.bcast(tempfile.mkdtemp() if world.rank == 0 else None)
    path = os.path.join(folder, "half.keras")
    model = compiled(network(), distributed.DistributedOptimizer(keras.optimizers.Adam(0.05)))
    fit(model, own_x, own_y, BATCH, 2, callbacks)
    if world.rank == 0:
        model.save(path)
    world.comm.Barrier()
    again = distributed.load_model(path)
    steps = int(again.optimizer.iterations)
    fit(again, own_x, own_y, BATCH, 2, callbacks)
    mine = weights(again)
    everybody = world.comm.allgather(mine)
    facts = {
        "apart": max(
            np.abs(a - b).max() for other in everybody for a, b in zip(other, mine, strict=True)
        ),
        "steps": steps,
    }
    if world.rank == 0:
        rows = len(own_x) * world.size
        plain = compiled(network(), keras.optimizers.Adam(0.05))
        fit(plain, x[:rows], y[:rows], BATCH * world.size, 4)
        facts["error"] = max(np.abs(a - b).max() for a, b in zip(mine, weights(plain), strict=True))
        with zipfile.ZipFile(path) as file:
            facts["plain file"] = b"istributed" not in file.read("config.json")
        facts["plain class"] = type(keras.saving.load_model(path).optimizer).__name__
        facts["averages again"] = type(again.optimizer).__name__
        # A used plain optimizer is made a distributed one with its state.
        used = distributed.DistributedOptimizer(plain.optimizer)
        facts["state kept"] = used is plain.optimizer and int(used.iterations) == 4 * (STEPS + 1)
    return facts


class Rates(keras.callbacks.Callback):
    """Note the learning rate of every step."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


@case
def metrics(world):
    """History, AUC too, as one process sees it, with unequal validation shards."""
    x, y = data(world)
    val_x, val_y = x[::-1][: 5 * world.size - 2], y[::-1][: 5 * world.size - 2]
    own = distributed.shard(x, y, rank=world.rank, size=world.size)
    own_val = distributed.shard(val_x, val_y, rank=world.rank, size=world.size, remainder="keep")

    def callbacks():
        return [
            keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=0.1),
            keras.callbacks.EarlyStopping("val_accuracy", patience=3),
        ]

    def build(optimizer):
        measures = ["accuracy", keras.metrics.AUC(name="auc", num_thresholds=20)]
        return compiled(network(), optimizer, metrics=measures)

    model = build(distributed.DistributedOptimizer(keras.optimizers.SGD(0.1)))
    own_callbacks = [
        distributed.BroadcastCallback(),
        distributed.MetricAverageCallback(),
        *callbacks(),
    ]
    history = fit(model, *own, BATCH, 6, own_callbacks, validation_data=own_val).history
    model.evaluate(*own_val, batch_size=2, verbose=0)
    evaluated = distributed.average_metrics(model)
    seen = world.comm.allgather((history, evaluated))
    facts = {"same everywhere": all(other == seen[0] for other in seen)}
    if world.rank == 0:
        plain = build(keras.optimizers.SGD(0.1))
        rows = len(own[0]) * world.size
        expected = fit(
            plain,
            x[:rows],
            y[:rows],
            BATCH * world.size,
            6,
            callbacks(),
            validation_data=(val_x, val_y),
        ).history
        facts["names"] = sorted(history) == sorted(expected)
        facts["epochs"] = [len(history["loss"]), len(expected["loss"])]
        facts["rates"] = len(set(expected["learning_rate"]))
        facts["error"] = max(
            np.abs(np.array(history[name]) - np.array(expected[name])).max() for name in expected
        )
        joint = plain.evaluate(val_x, val_y, batch_size=3, verbose=0, return_dict=True)
        facts["evaluated"] = max(abs(evaluated[name] - joint[name]) for name in joint)
    return facts


@case_for_few
def states(world):
    """Dropout differs by rank and is reproducible; batch normalisation ends the same."""

    def build(seed):
        layers = keras.layers
        return network(seed, extra=(layers.BatchNormalization(), layers.Dropout(0.5)))

    def train():
        x, y = data(world)
        own = distributed.shard(x, y, rank=world.rank, size=world.size)
        model = compiled(
            build(world.rank), distributed.DistributedOptimizer(keras.optimizers.SGD(0.1))
        )
        seeds = model.layers[2].seed_generator.state
        fit(model, *own, BATCH, 1, [distributed.BroadcastCallback()])
        masked = np.asarray(model.layers[2](np.ones((1, 64)), training=True))
        return weights(model), keras.ops.convert_to_numpy(seeds).tolist(), masked.tolist()

    first, seed, mask = train()
    second, _, mask_again = train()
    everybody = world.comm.allgather((first, seed, mask))
    return {
        "apart": max(
            np.abs(a - b).max() for other in everybody for a, b in zip(other[0], first, strict=True)
        ),
        "again": max(np.abs(a - b).max() for a, b in zip(first, second, strict=True)),
        "seeds": len({tuple(other[1]) for other in everybody}),
        "masks": len({str(other[2]) for other in everybody}),
        "masks again": mask == mask_again,
    }


@case
def averaged_gradients(world):
    """The mean of the shards' gradients is the gradient of all rows, outside `fit` too."""
    import tensorflow as tf

    x, y = data(world)
    own_x, own_y = distributed.shard(x, y, rank=world.rank, size=world.size)
    model = network()

    def gradients(x, y):
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(keras.losses.categorical_crossentropy(y, model(x)))
        return tape.gradient(loss, model.trainable_variables)

    rows = len(own_x) * world.size
    joint = gradients(x[:rows], y[:rows])
    mine = distributed.average_gradients([*gradients(own_x, own_y), None])
    halves = distributed.average_gradients(
        [tf.constant([float(world.rank)], "float16"), tf.constant([1.0 * world.rank], "float64")]
    )
    return {
        "none": mine[-1] is None,
        "error": max(float(np.abs(a - b).max()) for a, b in zip(mine[:-1], joint, strict=True)),
        "types": [float(half[0]) for half in halves],
    }


@case_for_few
def warm_up(world):
    """The learning rate of every step, at any number of ranks; later changes are kept."""
    x, y = data(world)
    own = distributed.shard(x, y, rank=world.rank, size=world.size)
    target = distributed.scale_learning_rate(0.01, 4)
    rates = Rates()
    warmup = distributed.LearningRateWarmupCallback(target, warmup_epochs=1.5, size=4)

    class Halve(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                self.model.optimizer.learning_rate = target / 2

    model = compiled(network(), distributed.DistributedOptimizer(keras.optimizers.SGD(target)))
    callbacks = [distributed.BroadcastCallback(), warmup, Halve(), rates]
    fit(model, *own, BATCH, 4, callbacks)
    message = ""
    try:
        schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
        model = compiled(network(), keras.optimizers.SGD(schedule))
        fit(model, *own, BATCH, 1, [warmup])
    except ValueError as error:
        message = str(error)
    own_size = distributed.LearningRateWarmupCallback(0.1 * world.size).at(0)
    return {"rates": rates.rates, "schedule": message, "start": own_size}


@case
def disagreement(world):
    """Ranks that would wait for ever are told before the first step."""
    if world.size == 1:
        return {}
    x, y = data(world)
    own = distributed.shard(x, y, rank=world.rank, size=world.size)
    last = world.rank == world.size - 1
    messages = {}

    def attempt(name, build, rows=None, epochs=1, optimizer="sgd"):
        model = compiled(build(), distributed.DistributedOptimizer(optimizer))
        try:
            fit(
                model,
                own[0][:rows],
                own[1][:rows],
                BATCH,
                epochs,
                [distributed.BroadcastCallback()],
            )
            messages[name] = ""
        except ValueError as error:
            messages[name] = str(error)

    attempt("steps", network, rows=BATCH if last else None)
    attempt("epochs", network, epochs=2 if last else 1)
    attempt("optimizer", network, optimizer="adam" if last else "sgd")
    attempt("model", lambda: network(extra=(keras.layers.Dense(8),)) if last else network())
    attempt("none", network)
    seen = world.comm.allgather(messages)
    return {"messages": messages, "same everywhere": all(other == seen[0] for other in seen)}


@case_for_few
def a_rank_is_missing(world):
    """A rank that does not train: the others get an error in time, and can start anew."""
    if world.size == 1:
        return {}
    x, y = data(world)
    own = distributed.shard(x, y, rank=world.rank, size=world.size)
    distributed.init(world.comm, stall_timeout=2)
    messages = ""
    model = compiled(network(), distributed.DistributedOptimizer("sgd"))
    if world.rank != world.size - 1:
        try:
            fit(model, *own, BATCH)
        except Exception as error:
            messages = f"{type(error).__name__} {error}"
    seen = world.comm.gather(messages)
    distributed.init(world.comm, stall_timeout=300)
    fit(model, *own, BATCH, callbacks=[distributed.BroadcastCallback()])
    everybody = world.comm.allgather(weights(model)[0].tolist())
    facts = {"recovered": all(other == everybody[0] for other in everybody)}
    if world.rank == 0:
        facts["errors"] = sum("Horovod has been shut down" in message for message in seen)
    return facts


@case
def half_of_the_world(world):
    """Two halves of the ranks train apart, each on a communicator of its own."""
    part = world.comm.Split(world.rank % 2)
    own = distributed.init(part)
    model = compiled(network(world.rank), distributed.DistributedOptimizer("sgd"))
    x, y = data(own)
    shard = distributed.shard(x, y, rank=own.rank, size=own.size)
    fit(model, *shard, BATCH, callbacks=[distributed.BroadcastCallback()])
    seen = world.comm.allgather((own.rank, own.size, weights(model)[0].tolist()))
    distributed.init(world.comm)
    part.Free()
    halves = [seen[0::2], seen[1::2]]
    return {
        "sizes": [other[1] for other in seen],
        "ranks": [other[0] for other in seen],
        "apart": [any(other[2] != half[0][2] for other in half) for half in halves if half],
        "halves differ": world.size > 1 and halves[0][0][2] != halves[1][0][2],
    }


def main():
    world = distributed.init(stall_timeout=300)
    wanted = sys.argv[1:] or (list(CASES) if world.size <= FEW else MANY)
    assert world.size == int(os.environ.get("COURSE_EXPECTED_RANKS", world.size))
    results = {}
    for name in wanted:
        start = time.perf_counter()
        try:
            facts = CASES[name](world)
        except Exception:
            facts = {"raised": traceback.format_exc()}
        if os.environ.get("COURSE_TIMES") and world.rank == 0:
            print(name, f"{time.perf_counter() - start:.1f} s", file=sys.stderr)
        everybody = world.comm.gather(facts)
        if world.rank == 0:
            raised = [f["raised"] for f in everybody if "raised" in f]
            results[name] = {"raised": "\n".join(raised)} if raised else everybody[0]
    if world.rank == 0:
        print(json.dumps(results, default=float))


if __name__ == "__main__":
    main()
