"""What decides the marks of assignment 2: networks, a clock that the grader winds, arithmetic."""

import itertools
import time

import numpy as np

from course.grading import Ask, Rubric, Trial, close

# TensorFlow is imported once, before the submission; each trial is a fork of that process.
rubric = Rubric(
    hidden=["course.deep.timing", "course.deep.models", "course.deep.callbacks"],
    memory=8 << 30,
    processes=512,
    preload=("numpy", "keras", "course.deep.devices"),
)


def parameters(hidden, inputs, classes):
    total, before = 0, inputs
    for neurons in (*hidden, classes):
        total += before * neurons + neurons
        before = neurons
    return total


@rubric.task("count_parameters")
def count(rng):
    """The slides' networks."""
    for hidden in ((), (128, 128)):
        yield Trial((hidden,), expected=parameters(hidden, 784, 10), label=f"hidden={hidden}")


@rubric.task("count_parameters")
def count_more(rng):
    """Other inputs and classes, and layers of different width."""
    for layers in (1, 2, 4):
        hidden = tuple(int(n) for n in rng.integers(1, 300, layers))
        inputs, classes = (int(n) for n in rng.integers(2, 90, 2))
        right = parameters(hidden, inputs, classes)
        label = f"hidden={hidden}, inputs={inputs}, classes={classes}"
        yield Trial((hidden, inputs, classes), expected=right, label=label)


rubric.results("test_count", count, partial=False)
rubric.results("test_count_more", count_more)


def look_at_model(student, hidden, optimizer, x, y):
    """Return what can be asked of the model that build_model makes."""
    import numpy as np

    model = student.build_model(hidden, optimizer)
    again = student.build_model(hidden, optimizer)
    weights = [np.asarray(w) for w in model.get_weights()]
    loss, accuracy = model.evaluate(x, y, verbose=0)
    return {
        "new": model is not again
        and all(a is not b for a, b in zip(model.weights, again.weights, strict=True)),
        "optimizer": type(model.optimizer).__name__,
        "weights": weights,
        "outputs": np.asarray(model.predict(x, verbose=0)),
        "loss": float(loss),
        "accuracy": float(accuracy),
    }


def model_trial(rng, hidden, optimizer):
    x = rng.random((20, 784)).astype("float32")
    y = np.eye(10, dtype="float32")[rng.integers(0, 10, 20)]
    return Trial((hidden, optimizer, x, y), label=f"hidden={hidden}, {optimizer!r}")


@rubric.task("build_model", driver=look_at_model, seconds=60)
def build(rng):
    """The slides' network."""
    yield model_trial(rng, (128, 128), "sgd")


@rubric.task("build_model", driver=look_at_model, seconds=60)
def build_more(rng):
    """The perceptron, and layers of different width with the other optimizer."""
    yield model_trial(rng, (), "sgd")
    yield model_trial(rng, tuple(int(n) for n in rng.integers(9, 60, 3)), "adam")


def wrong_model(trial, done):
    """Compute the network from the weights it says it has, and compare."""
    hidden, optimizer, x, y = trial.args
    said = done.results[0]
    widths = (784, *hidden, 10)
    shapes = [s for a, b in itertools.pairwise(widths) for s in ((a, b), (b,))]
    weights = said["weights"]
    found = [tuple(w.shape) for w in weights]
    if found != shapes:
        return f"expected weights of the shapes {shapes}, got {found}"
    if not said["new"]:
        return "two calls returned the same model or the same weights: a new one was asked for"
    middle = x.astype(float)
    for k in range(0, len(weights), 2):
        middle = middle @ weights[k] + weights[k + 1]
        middle = np.maximum(middle, 0) if k < len(weights) - 2 else middle
    outputs = np.exp(middle - middle.max(axis=1, keepdims=True))
    outputs /= outputs.sum(axis=1, keepdims=True)
    if said["outputs"].shape != outputs.shape:
        return f"expected outputs of shape {outputs.shape}, got {said['outputs'].shape}"
    if not np.allclose(said["outputs"], outputs, atol=3e-3):
        return "the outputs are not those of ReLU layers and a softmax with these weights"
    wanted = -np.log((outputs * y).sum(axis=1)).mean()
    if abs(said["loss"] - wanted) > 1e-2:
        return f"expected a categorical cross-entropy of {wanted:.4f}, got {said['loss']:.4f}"
    if said["optimizer"].lower() != optimizer:
        return f"expected the optimizer {optimizer!r}, got {said['optimizer']}"
    right = float((outputs.argmax(axis=1) == y.argmax(axis=1)).mean())
    if abs(said["accuracy"] - right) > 0.051:  # one of 20 pictures may lie on an edge
        return f"expected an accuracy of {right:.2f} as metric, got {said['accuracy']:.2f}"
    return None


rubric.judge("test_build", build)(wrong_model)
rubric.judge("test_build_more", build_more)(wrong_model)


def wind(student, mark, x, y, batch_size, rounds):
    """Train with the student's clock, and tell the grader when what happens."""
    import time

    import keras

    class Nap(keras.callbacks.Callback):  # behind the student's clock at each event
        def on_train_begin(self, logs=None):
            mark("ended")

        def on_epoch_begin(self, epoch, logs=None):
            mark("begun")
            wall[0] -= 3600  # the wall clock is set back

        def on_train_batch_end(self, batch, logs=None):
            mark("batch")

        def on_epoch_end(self, epoch, logs=None):
            mark("ended")

    wall, real = [0.0], time.time
    time.time = lambda: real() + wall[0]
    student.devices.synchronise = lambda model: mark("waited")
    model = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Dense(y.shape[1])])
    model.compile(loss="mse", optimizer="sgd")
    clock, told = student.EpochTimes(), []
    for epochs in rounds:
        model.fit(x, y, batch_size, epochs, callbacks=[clock, Nap()], verbose=0)
        told.append([float(s) for s in clock.seconds])
    return told


class Winder:
    """The grader's clock: lets every batch take its time, before or after it is waited for.

    Attributes:
        epochs: For each epoch the seconds that it lasted for certain, and at most.
    """

    def __init__(self, naps, late):
        """Nap for each of `naps` in turn; `late` is the share of a nap that only waiting shows."""
        self.naps, self.late = itertools.cycle(naps), late
        self.epochs, self.owed, self.inside = [], 0.0, False
        self.free = self.begun = self.busy = time.perf_counter()

    def __call__(self, what):
        """Note the time of an event."""
        now = time.perf_counter()
        if what == "begun":
            self.begun = self.busy = now
            self.inside = True
        elif what == "batch":
            nap = next(self.naps)
            time.sleep(nap * (1 - self.late))
            self.owed += nap * self.late
            self.busy = time.perf_counter()
        elif what == "waited" and self.owed:
            time.sleep(self.owed)
            self.owed = 0.0
            self.busy = time.perf_counter()
        elif what == "ended":
            if self.inside:
                least = self.busy - self.begun + self.owed
                self.epochs.append((least, now - self.free))
            self.owed, self.inside = 0.0, False
            time.sleep(next(self.naps))  # between epochs: belongs to none
            self.free = time.perf_counter()


def clock_trial(rng, rounds, late, label):
    winder = Winder([float(s) for s in rng.uniform(0.02, 0.12, 7)], late)
    x, y = rng.random((6, 4)).astype("float32"), rng.random((6, 2)).astype("float32")
    return Trial((Ask(winder, "mark"), x, y, 2, rounds), expected=winder, label=label)


@rubric.task("EpochTimes", driver=wind, seconds=60)
def clock(rng):
    """One training."""
    yield clock_trial(rng, [int(rng.integers(3, 6))], 0.0, "one training")


@rubric.task("EpochTimes", driver=wind, seconds=60)
def clock_more(rng):
    """Two trainings with one callback, and a device that goes on later."""
    yield clock_trial(rng, [3, 2], 0.0, "two trainings")
    yield clock_trial(rng, [3], 0.8, "a device that takes orders and goes on later")


def wrong_number(trial, done):
    """Compare how many epochs were timed, all of them in a possible time."""
    rounds, told = trial.args[4], done.results[0]
    if [len(seconds) for seconds in told] != rounds:
        return f"trainings of {rounds} epochs gave {[len(s) for s in told]} durations"
    late = [s for seconds in told for s in seconds if s <= 0]
    return f"a duration is not positive: {late[0]:g} s" if late else None


def wrong_time(trial, done):
    """Compare the durations with the grader's own clock."""
    said = wrong_number(trial, done)
    if said:
        return said
    seconds = [s for training in done.results[0] for s in training]
    for number, (told, (least, most)) in enumerate(
        zip(seconds, trial.expected.epochs, strict=False)
    ):
        if not least - 1e-3 <= told <= most + 1e-3:
            return (
                f"epoch {number + 1} took between {least:.3f} and {most:.3f} s by the grader's "
                f"clock, EpochTimes says {told:.3f} s"
            )
    return None


rubric.judge("test_times", clock)(wrong_number)
rubric.judge("test_times_more", clock_more)(wrong_time)


def quartiles(student, cases):
    """Return per_sample's answer for each case, and the lists as they are afterwards."""
    told = []
    for case in cases:
        try:
            told.append(student.per_sample(*case))
        except ValueError:
            told.append("ValueError")
    return told, [case[0] for case in cases]


def quartiles_trial(cases, label):
    right = []
    for seconds, samples, warmup in cases:
        kept = np.sort(seconds[warmup:]) * 1e6 / samples
        right.append(tuple(np.quantile(kept, q) for q in (0.25, 0.5, 0.75)))
    return Trial(([list(c) for c in cases],), expected=(right, [c[0] for c in cases]), label=label)


def epochs(rng, n):
    return [float(s) for s in rng.gamma(2, 2, n)]


@rubric.task("per_sample", driver=quartiles)
def per_sample(rng):
    """A warm-up of one epoch."""
    yield quartiles_trial([(epochs(rng, n), 1000, 1) for n in (4, 7)], "a warm-up of one epoch")


@rubric.task("per_sample", driver=quartiles)
def per_sample_more(rng):
    """Other warm-ups, and nothing left."""
    cases = [(epochs(rng, n), int(rng.integers(10, 999)), w) for n, w in ((6, 0), (9, 3), (1, 0))]
    yield quartiles_trial(cases, "other warm-ups")
    noisy = [*epochs(rng, 3), 900.0, *epochs(rng, 4)]
    yield quartiles_trial([(noisy, 10, 2)], "one slow epoch")
    none = [([], 10, 1), ([1.0], 10, 1), ([1.0, 2.0], 10, 4)]
    right = ["ValueError"] * 3, [case[0] for case in none]
    yield Trial(([list(c) for c in none],), expected=right, label="no epoch is left")


rubric.results("test_per_sample", per_sample, close())
rubric.results("test_per_sample_more", per_sample_more, close())


def compare_devices(student, cases, intervals):
    """Return the speed-ups and the verdicts."""
    gains = [student.speedup(*case) for case in cases]
    return gains, [student.verdict(interval) for interval in intervals]


def device(rng, middle):
    return tuple(sorted(float(middle * f) for f in rng.uniform(0.8, 1.25, 3)))


@rubric.task("speedup", driver=compare_devices)
def gain(rng):
    """The medians, and clear cases."""
    cases = [(device(rng, m), device(rng, 10)) for m in (100, 40)]
    right = [slow[1] / fast[1] for slow, fast in cases]
    yield Trial((cases, [(2.0, 3.0, 4.0)]), expected=(right, ["faster"]), label="medians")


@rubric.judge("test_speedup", gain)
def wrong_median(trial, done):
    """Only the middle, and that a clear gain is one."""
    gains, verdicts = done.results[0]
    medians, clear = trial.expected
    return close()([tuple(g)[1] for g in gains], medians) or close()(verdicts, clear)


@rubric.task("speedup", driver=compare_devices)
def gain_more(rng):
    """Which ends go together; verdicts at and around 1."""
    cases = [(device(rng, m), device(rng, 10)) for m in (100, 11, 3)]
    right = [(s[0] / f[2], s[1] / f[1], s[2] / f[0]) for s, f in cases]
    yield Trial((cases, []), expected=(right, []), label="worst and best case")
    intervals = [
        (1.0, 2.0, 3.0),
        (0.5, 0.8, 1.0),
        (0.7, 1.3, 2.0),
        (0.2, 0.5, 0.9),
        (1.1, 2.0, 9.0),
    ]
    words = ["not decided"] * 3 + ["slower", "faster"]
    yield Trial(([], intervals), expected=([], words), label="verdicts, at exactly 1 too")


rubric.results("test_speedup_more", gain_more, close())


def chosen(student):
    """Return the configurations."""
    return [dict(c, hidden=tuple(c["hidden"])) for c in student.configs]


@rubric.task("configs", driver=chosen)
def configs(rng):
    """There is only one call to make."""
    yield Trial(())


KEYS = {"epochs", "batch_size", "hidden", "optimizer"}


def changes(found):
    """Return what each configuration changes against the first."""
    return [{key for key in KEYS if c[key] != found[0][key]} for c in found[1:]]


def unfit(found):
    """Say why these are no configurations at all."""
    if not isinstance(found, list) or not found:
        return "there are no configurations"
    for c in found:
        if not isinstance(c, dict) or set(c) != KEYS:
            return f"every configuration has exactly the keys {sorted(KEYS)}, got {c}"
        numbers = [c["epochs"], c["batch_size"], *c["hidden"]]
        if not all(isinstance(k, int) and k > 0 for k in numbers):
            return f"expected positive whole numbers, got {c}"
        if not 3 <= c["epochs"] <= 20 or sum(c["hidden"]) > 2048:
            return f"expected 3 to 20 epochs and at most 2,048 neurons, got {c}"
    return None


@rubric.judge("test_configs", configs)
def wrong_configs(trial, done):
    """Epochs, batch size and optimizer, each alone."""
    found = done.results[0]
    never = (
        []
        if unfit(found)
        else [key for key in ("epochs", "batch_size", "optimizer") if {key} not in changes(found)]
    )
    return unfit(found) or (f"never changed alone: {', '.join(never)}" if never else None)


@rubric.judge("test_configs_more", configs)
def wrong_layers(trial, done):
    """Neurons and layers, each alone."""
    found = done.results[0]
    if unfit(found):
        return unfit(found)
    base, seen = found[0]["hidden"], set()
    for config, changed in zip(found[1:], changes(found), strict=True):
        sizes = config["hidden"]
        shared = min(len(sizes), len(base))
        if changed == {"hidden"} and len(sizes) == len(base):
            seen.add("neurons")
        elif changed == {"hidden"} and sizes[:shared] == base[:shared]:
            seen.add("layers")
    never = sorted({"neurons", "layers"} - seen)
    return f"the number of {' and of '.join(never)} is never changed alone" if never else None


def results_of(rng, n):
    totals, accuracies = rng.permutation(n) + 1.0, rng.permutation(n) / n
    return [
        {"total": float(t), "accuracy": float(a)} for t, a in zip(totals, accuracies, strict=True)
    ]


def fastest_trial(results, accuracy, label):
    good = [r for r in results if r["accuracy"] >= accuracy]
    good.sort(key=lambda r: (r["total"], -r["accuracy"]))
    return Trial((results, accuracy), expected=good[0] if good else None, label=label)


@rubric.task("fastest")
def fastest(rng):
    """A demand in the middle."""
    for n in (6, 12):
        results = results_of(rng, n)
        results[0] = {"total": 0.5, "accuracy": 0.01}  # fast and useless
        yield fastest_trial(results, 0.45 + 0.1 / n, f"{n} results")


@rubric.task("fastest")
def fastest_more(rng):
    """Exactly enough, equally fast, nothing good enough, nothing at all."""
    results = results_of(rng, 8)
    quick = min(results, key=lambda r: r["total"])
    yield fastest_trial(results, quick["accuracy"], "exactly enough")
    tie = [{"total": 1.0, "accuracy": float(a)} for a in rng.permutation([0.7, 0.95, 0.8, 0.9])]
    yield fastest_trial(tie, 0.6, "equally fast")
    yield fastest_trial(results, 0.99, "none is good enough")
    yield fastest_trial([], 0.5, "no results")


rubric.results("test_fastest", fastest)
rubric.results("test_fastest_more", fastest_more)


def lines(rng, sizes):
    """Return a CPU's and a GPU's line that meet within `sizes`, and where."""
    slope, gap, meet = rng.uniform(5, 9), rng.uniform(2, 4), rng.uniform(sizes[0], sizes[-1])
    fixed = rng.uniform(0, 5)
    return fixed + slope * sizes, fixed + gap * meet + (slope - gap) * sizes, float(meet)


@rubric.task("crossover")
def crossover(rng):
    """Lines that meet."""
    for n in (4, 6):
        sizes = np.arange(1.0, n + 1)
        cpu, gpu, meet = lines(rng, sizes)
        yield Trial((sizes, cpu, gpu), expected=meet, label="lines that meet")


@rubric.task("crossover")
def crossover_more(rng):
    """Lines that meet below zero or never, and points that lie on no line."""
    sizes = np.array([1.0, 2.0, 3.0, 4.0])
    a, b = rng.uniform(1, 5, 2)
    yield Trial((sizes, a + 4 + 3 * b * sizes, a + b * sizes), expected=0.0, label="always faster")
    yield Trial((sizes, a + b * sizes, a + 9 + 2 * b * sizes), expected=None, label="never faster")
    yield Trial(
        (sizes, a + 9 + b * sizes, a + 2 * b * sizes),
        expected=None,
        label="faster for small sizes only",
    )
    uneven = np.array([10.0, 20.0, 40.0, 80.0, 160.0])
    cpu, gpu, _ = lines(rng, uneven)
    cpu, gpu = cpu + rng.normal(0, 3, 5), gpu + rng.normal(0, 3, 5)
    (c0, c1), (g0, g1) = (
        np.linalg.lstsq(np.stack([np.ones(5), uneven], 1), t, rcond=None)[0] for t in (cpu, gpu)
    )
    meet = max(0.0, float((g0 - c0) / (c1 - g1)))
    yield Trial((uneven, cpu, gpu), expected=meet, label="noisy times, uneven sizes")


rubric.results("test_crossover", crossover, close(1e-6, 1e-8))
rubric.results("test_crossover_more", crossover_more, close(1e-6, 1e-8))
