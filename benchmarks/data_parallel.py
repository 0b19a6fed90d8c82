"""Horovod on 1 and 2 ranks beside plain Keras and tf.distribute, in one run.

All variants train the same models with the same global batch. They are started once and take
turns, epoch by epoch, so that whatever else the machine does meets all of them alike; those
that wait are stopped. Results: ``results/data_parallel.csv``, ``.md`` and ``.png``.

    python benchmarks/data_parallel.py                      # the comparison
    python benchmarks/data_parallel.py --tune --models ann  # Horovod's settings on 2 ranks

What one rank costs is measured more finely by ``benchmarks/horovod_one_rank.py``.
"""

import argparse
import csv
import json
import os
import socket
import statistics
import subprocess
import sys
import sysconfig
import time
from datetime import date
from pathlib import Path

import psutil

HERE = Path(__file__).parent
BATCH = 128
SAMPLES = {"perceptron": 12_800, "ann": 12_800, "cnn": 2_560}
VARIANTS = {
    "plain Keras": {"kind": "plain", "ranks": 1},
    "Horovod, 1 rank": {"kind": "horovod", "ranks": 1},
    "Horovod, 2 ranks": {"kind": "horovod", "ranks": 2},
    "tf.distribute, 2 workers, 1 thread": {"kind": "tf", "ranks": 2},
    "tf.distribute, 2 workers, its own threads": {"kind": "tf", "ranks": 2, "threads": 0},
}
# MPICH waits in a busy loop; fewer polls before it yields its core to whoever computes.
TUNING = {
    f"cycle {cycle} ms{', yielding' if polls else ''}": {
        "kind": "horovod",
        "ranks": 2,
        "environment": {
            "HOROVOD_CYCLE_TIME": str(cycle),
            **({"MPIR_CVAR_POLLS_BEFORE_YIELD": str(polls)} if polls else {}),
        },
    }
    for cycle, polls in ((1.0, 0), (0.1, 0), (0.3, 0), (3.0, 0), (0.1, 1), (1.0, 1))
}


# ---- the side of the variants -------------------------------------------------------------


def build(name, optimizer):
    import keras

    from course.deep import models

    keras.utils.set_random_seed(0)
    model = getattr(models, name)()
    model.compile(loss="categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    return model


def commands(comm=None):
    """Yield (model, epochs) as the driver asks for them on standard input."""
    while True:
        line = sys.stdin.readline() if comm is None or comm.rank == 0 else None
        line = line if comm is None else comm.bcast(line)
        if not line:
            return
        yield json.loads(line)


def timed_fit(model, x, y, batch, epochs, callbacks=()):
    """Train one epoch that does not count and `epochs` that do; return their seconds."""
    import keras

    seconds = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            seconds.append(time.perf_counter() - self.start)

    model.fit(x, y, batch_size=batch, epochs=epochs + 1, callbacks=[*callbacks, Clock()], verbose=0)
    return seconds[1:]


def repair_fit(model, x, y):
    """Make Keras 3's `fit` run under MultiWorkerMirroredStrategy, where it fails in two places.

    Keras 3.15.1 with TensorFlow 2.18 converts a distributed batch to a tensor ("PerReplica ...
    with an unsupported type"), and sums each step's scalar logs along an axis that they do not
    have ("Invalid reduction dimension 0"). Here it sees a plain batch, and each worker keeps
    its own logs, which saves tf.distribute some work; gradients are untouched.
    """
    from keras.src.backend.tensorflow import trainer

    model._symbolic_build(data_batch=(x[:BATCH], y[:BATCH]))
    model._maybe_symbolic_build = lambda **_: None
    trainer.reduce_per_replica = lambda values, *_, **__: values


def worker(kind, threads):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    comm = strategy = None
    rank, size = 0, 1
    callbacks, wrap = [], lambda optimizer: optimizer
    if kind == "horovod":
        from course.deep import distributed

        world = distributed.init(threads=threads)
        comm, rank, size = world.comm, world.rank, world.size
        wrap = distributed.DistributedOptimizer
        callbacks = [distributed.BroadcastCallback(), distributed.MetricAverageCallback()]
    else:
        import tensorflow as tf

        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        if kind == "tf":
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
            rank, size = json.loads(os.environ["TF_CONFIG"])["task"]["index"], 2
    import contextlib

    from course.deep.timing import random_digits

    built = {}
    for command in commands(comm):
        name = command["model"]
        if name not in built:
            x, y = random_digits(SAMPLES[name])
            x = x.reshape(-1, 28, 28, 1) if name == "cnn" else x
            if kind == "horovod":
                x, y = distributed.shard(x, y, rank=rank, size=size)
            with strategy.scope() if strategy else contextlib.nullcontext():
                optimizer = "adam" if name == "cnn" else "sgd"
                built[name] = build(name, wrap(optimizer)), x, y
                if strategy:
                    repair_fit(built[name][0], x, y)
        model, x, y = built[name]
        # tf.distribute takes the global batch and divides it; Horovod takes each rank's own.
        batch = BATCH // size if kind == "horovod" else BATCH
        seconds = timed_fit(model, x, y, batch, command["epochs"], callbacks)
        if rank == 0:
            print("RESULT " + json.dumps({"seconds": seconds, "batches": len(x) // batch}))
            sys.stdout.flush()


# ---- the side of the driver ---------------------------------------------------------------


class Variant:
    """The processes of one variant, stopped while others are measured."""

    def __init__(self, name, kind, ranks, threads=None, environment=None):
        self.name, self.kind = name, kind
        cores = len(os.sched_getaffinity(0))
        if threads is None:
            threads = max(1, cores // ranks) if ranks > 1 else 0  # 0: TensorFlow's own choice
        command = [sys.executable, __file__, "--worker", kind, "--threads", str(threads)]
        base = {**os.environ, "PYTHONPATH": str(HERE.parent), **(environment or {})}
        environments = [base]
        if kind == "horovod":
            mpiexec = Path(sysconfig.get_path("scripts")) / "mpiexec"
            command = [str(mpiexec), "-n", str(ranks), command[0], "-m", "mpi4py", *command[1:]]
        elif kind == "tf":
            addresses = [f"127.0.0.1:{port}" for port in free_ports(ranks)]
            environments = [
                {
                    **base,
                    "TF_CONFIG": json.dumps(
                        {
                            "cluster": {"worker": addresses},
                            "task": {"type": "worker", "index": index},
                        }
                    ),
                }
                for index in range(ranks)
            ]
        self.processes = [
            subprocess.Popen(
                command, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            for env in environments
        ]

    def _signal(self, action):
        # An idle Horovod still looks for work every cycle; TensorFlow sleeps.
        if self.kind == "horovod":
            for process in self.processes:
                for child in psutil.Process(process.pid).children(recursive=True):
                    getattr(child, action)()

    def measure(self, model, epochs):
        self._signal("resume")
        for process in self.processes:
            process.stdin.write(json.dumps({"model": model, "epochs": epochs}) + "\n")
            process.stdin.flush()
        for line in self.processes[0].stdout:
            if line.startswith("RESULT "):
                self._signal("suspend")
                return json.loads(line[7:])["seconds"]
        raise RuntimeError(f"{self.name} ended without a result")

    def stop(self):
        self._signal("resume")
        for process in self.processes:
            process.stdin.close()
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def run(variants, names, rounds, epochs):
    """Return {(model, variant): seconds of each epoch}."""
    groups = [Variant(name, **settings) for name, settings in variants.items()]
    seconds = {}
    try:
        for model in names:
            for group in groups:
                group.measure(model, 1)  # tracing
            for number in range(rounds):
                for group in groups:
                    found = group.measure(model, epochs)
                    seconds.setdefault((model, group.name), []).extend(found)
                print(f"{model}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    finally:
        for group in groups:
            group.stop()
    return seconds


def rows(seconds, baseline):
    from importlib.metadata import version

    for (model, variant), values in seconds.items():
        base = statistics.median(seconds[model, baseline])
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        yield {
            "model": model,
            "variant": variant,
            "global_batch": BATCH,
            "samples": SAMPLES[model],
            "epochs": len(values),
            "seconds_per_epoch": round(statistics.median(values), 4),
            "first_quartile": round(low, 4),
            "third_quartile": round(high, 4),
            "fastest": round(min(values), 4),
            "ms_per_step": round(1e3 * statistics.median(values) / (SAMPLES[model] / BATCH), 3),
            "ratio": round(statistics.median(values) / base, 3),
            "ratio_fastest": round(min(values) / min(seconds[model, baseline]), 3),
            "baseline": baseline,
            "cores": len(os.sched_getaffinity(0)),
            "tensorflow": next(
                found
                for name in ("tensorflow", "tensorflow-cpu")
                if (found := _version(version, name))
            ),
            "keras": version("keras"),
            "horovod": version("horovod"),
            "date": date.today().isoformat(),
        }


def _version(version, name):
    from importlib.metadata import PackageNotFoundError

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def write(table, stem):
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    with (results / f"{stem}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    columns = (
        "model variant seconds_per_epoch first_quartile third_quartile ms_per_step ratio "
        "ratio_fastest"
    ).split()
    first = table[0]
    lines = [
        f"Global batch {BATCH}; {first['cores']} cores; TensorFlow {first['tensorflow']}, Keras "
        f"{first['keras']}, Horovod {first['horovod']}; {first['date']}. `ratio` is the median "
        f"time over that of {first['baseline']}, `ratio_fastest` the fastest over its fastest.",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(str(row[column]) for column in columns) + " |" for row in table),
    ]
    (results / f"{stem}.md").write_text("\n".join(lines) + "\n")


def plot(seconds, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from course.figures import scaling

    names = list(dict.fromkeys(model for model, _ in seconds))
    figure, axes = plt.subplots(1, len(names), figsize=(2.4 + 3.2 * len(names), 3.2), squeeze=False)
    for ax, name in zip(axes[0], names, strict=True):
        times = {variant: values for (model, variant), values in seconds.items() if model == name}
        scaling.epoch_times(times, ax=ax, title=name)
        if ax is not axes[0][0]:
            ax.set_yticklabels([])
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(SAMPLES), choices=list(SAMPLES))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=2, help="measured epochs in a turn")
    parser.add_argument("--tune", action="store_true", help="compare settings of Horovod")
    parser.add_argument("--worker", choices=("plain", "horovod", "tf"), help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.threads or None)
        return
    sys.path.insert(0, str(HERE.parent))
    variants, stem = VARIANTS, "data_parallel"
    if options.tune:
        variants, stem = TUNING, "horovod_tuning"
    seconds = run(variants, options.models, options.rounds, options.epochs)
    baseline = next(iter(variants))
    table = list(rows(seconds, baseline))
    write(table, stem)
    if variants is VARIANTS:
        plot(seconds, HERE / "results" / "data_parallel.png")
    for row in table:
        print(row["model"], row["variant"], row["seconds_per_epoch"], row["ratio"])


if __name__ == "__main__":
    main()
