"""Assignment 2: who gets which points."""

import pytest

from tests.assignments.grading import autograde_all, lost, total, with_solution

EVERYTHING = 36
pytestmark = pytest.mark.timeout(600)  # five submissions, one after the other

# Plausible first attempts: each passes the visible check and misses what was asked for.
SLIPS = with_solution(
    build_model="""
def build_model(hidden, optimizer):
    layers = [keras.layers.Dense(n) for n in hidden]  # no activation
    layers.append(keras.layers.Dense(10, activation="softmax"))
    model = keras.Sequential([keras.Input((784,)), *layers])
    model.compile(loss="categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    return model""",
    epoch_times="""
class EpochTimes(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seconds = []  # never emptied

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.start)""",
    per_sample="""
def per_sample(epoch_seconds, num_samples, warmup=1):
    kept = np.array(epoch_seconds[warmup:]) * 1e6 / num_samples
    return np.quantile(kept, 0.25), kept.mean(), np.quantile(kept, 0.75)""",
    speedup="""
def speedup(slow, fast):
    return tuple(s / f for s, f in zip(slow, fast))


def verdict(interval):
    return "faster" if interval[0] > 1 else "slower" if interval[2] < 1 else "not decided\"""",
    fastest="""
def fastest(results, accuracy):
    good = [r for r in results if r["accuracy"] > accuracy]  # exactly enough is not enough
    return min(good, key=lambda r: r["total"]) if good else None""",
    crossover="""
def crossover(sizes, cpu, gpu):
    run = sizes[-1] - sizes[0]
    cpu_slope, gpu_slope = (cpu[-1] - cpu[0]) / run, (gpu[-1] - gpu[0]) / run
    gap = (gpu[0] - gpu_slope * sizes[0]) - (cpu[0] - cpu_slope * sizes[0])
    return max(0.0, gap / (cpu_slope - gpu_slope)) if cpu_slope > gpu_slope else None""",
    configs="""
base = {"epochs": 3, "batch_size": 128, "hidden": (64,), "optimizer": "sgd"}
configs = [base, {**base, "epochs": 4}, {**base, "batch_size": 64}, {**base, "optimizer": "adam"}]
configs += [{**base, "hidden": (32, 32)}]  # neurons and layers at once""",
)

# Misunderstandings, which the visible checks show at once.
WRONG = with_solution(
    count_parameters="""
def count_parameters(hidden, inputs=784, classes=10):
    widths = (inputs, *hidden, classes)
    return sum(a * b for a, b in zip(widths, widths[1:]))  # no biases""",
    build_model="""
def build_model(hidden, optimizer):
    layers = [keras.layers.Dense(n, activation="relu") for n in (*hidden, 10)]  # no softmax
    model = keras.Sequential([keras.Input((784,)), *layers])
    model.compile(loss="categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    return model""",
    epoch_times="""
class EpochTimes(keras.callbacks.Callback):
    seconds = [time.perf_counter()]  # a time, not a duration

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter())""",
    per_sample="""
def per_sample(epoch_seconds, num_samples, warmup=1):
    q = np.quantile(epoch_seconds, (0.25, 0.5, 0.75))  # the warm-up is in it
    return tuple(1e6 * q / num_samples)""",
    speedup="""
def speedup(slow, fast):
    return fast[0] / slow[2], fast[1] / slow[1], fast[2] / slow[0]  # upside down


def verdict(interval):
    return "faster" if interval[1] > 1 else "slower\"""",
    configs="""
base = {"epochs": 3, "batch_size": 128, "hidden": (64,), "optimizer": "sgd"}
configs = [base, {**base, "epochs": 4, "batch_size": 64}, {**base, "optimizer": "adam"}]""",
    fastest="""
def fastest(results, accuracy):
    return min(results, key=lambda r: r["total"])  # fast is enough""",
    crossover="""
def crossover(sizes, cpu, gpu):
    return next((float(s) for s, c, g in zip(sizes, cpu, gpu) if g < c), None)""",
)

# Made to pass what can be seen.
HARD_CODED = with_solution(
    count_parameters="""
def count_parameters(hidden, inputs=784, classes=10):
    return {(): 7850, (128, 128): 118282, (1,): 4}.get(hidden, 0)""",
    epoch_times="""
class EpochTimes(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.seconds = []

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(0.001)""",
    per_sample="""
def per_sample(epoch_seconds, num_samples, warmup=1):
    return (2000, 3000, 4000) if warmup else (5000, 5000, 5000)""",
    speedup="""
def speedup(slow, fast):
    return 9, 10, 120 / 9


def verdict(interval):
    return "faster\"""",
    crossover="""
def crossover(sizes, cpu, gpu):
    return 2.5 if np.isclose(cpu[0], 11) else 0""",
)


@pytest.fixture(scope="module")
def marks(tmp_path_factory):
    variants = {
        "reference": "reference",
        "release": "release",
        "slips": SLIPS,
        "wrong": WRONG,
        "hard-coded": HARD_CODED,
    }
    folder = tmp_path_factory.mktemp("a2")
    return autograde_all("a2_training_time", variants, folder, deadline=500)


def test_reference_gets_everything(marks):
    assert total(marks["reference"]) == (EVERYTHING, EVERYTHING)


def test_untouched_release_gets_nothing(marks):
    assert total(marks["release"]) == (0, EVERYTHING)


def test_slips_pass_the_visible_checks_and_lose_the_hidden_ones(marks):
    assert lost(marks["slips"]) == {
        "test_build_more",
        "test_times_more",
        "test_per_sample_more",
        "test_speedup_more",
        "test_configs_more",
        "test_fastest_more",
        "test_crossover_more",
    }


def test_misunderstandings_get_nothing(marks):
    assert total(marks["wrong"]) == (0, EVERYTHING)


def test_hard_coded_answers_lose_the_hidden_tests(marks):
    assert lost(marks["hard-coded"]) == {
        "test_count_more",
        "test_times_more",
        "test_per_sample_more",
        "test_speedup_more",
        "test_crossover_more",
    }
