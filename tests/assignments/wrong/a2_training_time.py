"""Wrong solutions of assignment 2, and what they earn."""

from tests.assignments.grading import Wrong


def earns(task: str, *points: float) -> dict[str, float]:
    """Name the points of the two cells of a task."""
    return dict(zip((f"test_{task}", f"test_{task}_more"), points, strict=True))


MODEL = """
def build_model(hidden, optimizer):
    layers = [keras.layers.Dense(n, activation="{inner}") for n in hidden]
    layers.append(keras.layers.Dense(10, activation="{outer}"))
    model = keras.Sequential([keras.Input((784,)), *layers])
    model.compile(loss="{loss}", optimizer={optimizer}, metrics=["accuracy"])
    return model
"""
USUAL = {
    "inner": "relu",
    "outer": "softmax",
    "loss": "categorical_crossentropy",
    "optimizer": "optimizer",
}

CLOCK = """
class EpochTimes(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        {begin}

    def on_epoch_end(self, epoch, logs=None):
        {end}
"""
BEGIN = "devices.synchronise(self.model); self.start = time.perf_counter()"
END = "devices.synchronise(self.model); self.seconds.append(time.perf_counter() - self.start)"

SPEEDUP = """
def speedup(slow, fast):
    return {speedup}


def verdict(interval):
    return {verdict}
"""
GAIN = "slow[0] / fast[2], slow[1] / fast[1], slow[2] / fast[0]"
VERDICT = '"faster" if interval[0] > 1 else "slower" if interval[2] < 1 else "not decided"'

WRONG = [
    Wrong(
        "no biases",
        "count_parameters",
        """
def count_parameters(hidden, inputs=784, classes=10):
    widths = (inputs, *hidden, classes)
    return sum(a * b for a, b in zip(widths, widths[1:]))""",
        earns("count", 0, 0),
    ),
    Wrong(
        "the slides' numbers, hard-coded",
        "count_parameters",
        """
def count_parameters(hidden, inputs=784, classes=10):
    return {(): 7850, (128, 128): 118282, (1,): 4}.get(hidden, 0)""",
        earns("count", 2, 0),
    ),
    Wrong(
        "no activation in hidden layers",
        "build_model",
        MODEL.format(**{**USUAL, "inner": "linear"}),
        earns("build", 0, 1.5),
        "ReLU",
    ),
    Wrong(
        "no softmax",
        "build_model",
        MODEL.format(**{**USUAL, "outer": "relu"}),
        earns("build", 0, 0),
    ),
    Wrong(
        "always the same optimizer",
        "build_model",
        MODEL.format(**{**USUAL, "optimizer": '"sgd"'}),
        earns("build", 2, 1.5),
        "optimizer",
    ),
    Wrong(
        "the squared error as loss",
        "build_model",
        MODEL.format(**{**USUAL, "loss": "mse"}),
        earns("build", 0, 0),
        "cross-entropy",
    ),
    Wrong(
        "the list is never emptied",
        "epoch_times",
        """
class EpochTimes(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        devices.synchronise(self.model)
        self.seconds.append(time.perf_counter() - self.start)""",
        earns("times", 2, 1.5),
        "trainings of [3, 2] epochs",
    ),
    Wrong(
        "the clock is read before the device is done",
        "epoch_times",
        CLOCK.format(begin=BEGIN, end="self.seconds.append(time.perf_counter() - self.start)"),
        earns("times", 2, 1.5),
        "by the grader's clock",
    ),
    Wrong(
        "the wall clock",
        "epoch_times",
        CLOCK.format(
            begin=BEGIN.replace("perf_counter", "time"), end=END.replace("perf_counter", "time")
        ),
        earns("times", 0, 0),
        "not positive",
    ),
    Wrong(
        "from the end of one epoch to the end of the next",
        "epoch_times",
        """
class EpochTimes(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.seconds, self.start = [], time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        devices.synchronise(self.model)
        now = time.perf_counter()
        self.seconds.append(now - self.start)
        self.start = now""",
        earns("times", 2, 0),
    ),
    Wrong(
        "a duration that is made up",
        "epoch_times",
        CLOCK.format(begin="pass", end="self.seconds.append(0.001)"),
        earns("times", 2, 0),
        "EpochTimes says 0.001 s",
    ),
    Wrong(
        "the mean instead of the median",
        "per_sample",
        """
def per_sample(epoch_seconds, num_samples, warmup=1):
    kept = np.array(epoch_seconds[warmup:]) * 1e6 / num_samples
    if not len(kept):
        raise ValueError("no epoch is left")
    return np.quantile(kept, 0.25), kept.mean(), np.quantile(kept, 0.75)""",
        earns("per_sample", 0, 1),
    ),
    Wrong(
        "the warm-up is in it",
        "per_sample",
        """
def per_sample(epoch_seconds, num_samples, warmup=1):
    return tuple(1e6 * np.quantile(epoch_seconds, (0.25, 0.5, 0.75)) / num_samples)""",
        earns("per_sample", 0, 0),
    ),
    Wrong(
        "equal ends of the intervals go together",
        "speedup",
        SPEEDUP.format(speedup="tuple(s / f for s, f in zip(slow, fast))", verdict=VERDICT),
        earns("speedup", 2, 1.5),
    ),
    Wrong(
        "upside down",
        "speedup",
        SPEEDUP.format(
            speedup="fast[0] / slow[2], fast[1] / slow[1], fast[2] / slow[0]", verdict=VERDICT
        ),
        earns("speedup", 0, 1.5),
    ),
    Wrong(
        "the median alone decides",
        "speedup",
        SPEEDUP.format(speedup=GAIN, verdict='"faster" if interval[1] > 1 else "slower"'),
        earns("speedup", 2, 1.5),
        "not decided",
    ),
    Wrong(
        "neurons and layers at once",
        "configs",
        """
base = {"epochs": 3, "batch_size": 128, "hidden": (64,), "optimizer": "sgd"}
configs = [base, {**base, "epochs": 4}, {**base, "batch_size": 64}, {**base, "optimizer": "adam"}]
configs += [{**base, "hidden": (32, 32)}]""",
        earns("configs", 2, 0),
        "layers and of neurons",
    ),
    Wrong(
        "two parameters at once",
        "configs",
        """
base = {"epochs": 3, "batch_size": 128, "hidden": (64,), "optimizer": "sgd"}
configs = [base, {**base, "epochs": 4, "batch_size": 64}, {**base, "optimizer": "adam"}]
configs += [{**base, "hidden": (32,)}, {**base, "hidden": (64, 64)}]""",
        earns("configs", 0, 2),
        "never changed alone",
    ),
    Wrong(
        "exactly enough is not enough",
        "fastest",
        """
def fastest(results, accuracy):
    good = [r for r in results if r["accuracy"] > accuracy]
    return min(good, key=lambda r: (r["total"], -r["accuracy"])) if good else None""",
        earns("fastest", 2, 1.5),
    ),
    Wrong(
        "fast is enough",
        "fastest",
        """
def fastest(results, accuracy):
    return min(results, key=lambda r: r["total"])""",
        earns("fastest", 0, 0.5),
    ),
    Wrong(
        "a line through the first and the last point",
        "crossover",
        """
def crossover(sizes, cpu, gpu):
    run = sizes[-1] - sizes[0]
    cpu_slope, gpu_slope = (cpu[-1] - cpu[0]) / run, (gpu[-1] - gpu[0]) / run
    gap = (gpu[0] - gpu_slope * sizes[0]) - (cpu[0] - cpu_slope * sizes[0])
    return max(0.0, gap / (cpu_slope - gpu_slope)) if cpu_slope > gpu_slope else None""",
        earns("crossover", 2, 1.5),
    ),
    Wrong(
        "the first size at which the GPU was faster",
        "crossover",
        """
def crossover(sizes, cpu, gpu):
    return next((float(s) for s, c, g in zip(sizes, cpu, gpu) if g < c), None)""",
        earns("crossover", 0, 0.5),
    ),
]
