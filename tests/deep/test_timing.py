"""The timing harness, on a model whose steps take a known time by a clock of their own."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from course.deep import models, timing


def sleepy(seconds, calls, clock):
    """A function that returns a model whose every training step moves the clock on."""

    class Sleepy(keras.Sequential):
        def train_step(self, data):
            calls.append(len(data[0]))
            clock.now += seconds * (10 if len(calls) <= 2 else 1)
            return super().train_step(data)

    def build():
        model = Sleepy([keras.Input((4,)), keras.layers.Dense(2)], name="sleepy")
        model.compile(loss="mse", optimizer="sgd", run_eagerly=True)
        return model

    return build


def test_times_the_steps_and_not_the_warm_up(monkeypatch):
    calls, clock = [], SimpleNamespace(now=0.0)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    x, y = np.zeros((20, 4), "float32"), np.zeros((20, 2), "float32")
    result = timing.measure(sleepy(0.05, calls, clock), x, y, 10, epochs=2, repeats=3)
    # One warm-up epoch of two slow steps, then three measurements of two epochs of two steps.
    assert len(calls) == 2 + 3 * 2 * 2
    assert result.repeats == 3
    # 2 steps x 0.05 s over 20 samples is 5000 us.
    assert result.minimum == pytest.approx(5000)
    assert result.seconds_per_epoch == pytest.approx(0.1)
    assert (result.samples, result.batch_size, result.epochs) == (20, 10, 2)
    assert (result.model, result.parameters, result.optimizer) == ("sleepy", 10, "SGD")


def test_a_changed_model_and_optimizer_are_recorded():
    x, y = timing.random_digits(64)
    result = timing.measure(
        lambda: models.ann(num_hidden=16, num_layers=3), x, y, 32, repeats=1, optimizer="adam"
    )
    assert result.parameters == 785 * 16 + 2 * 17 * 16 + 17 * 10
    assert result.optimizer == "Adam"


def test_record_writes_what_load_reads(tmp_path):
    recording = timing.record(
        tmp_path / "a.json", ["perceptron", "cnn"], [16, 32], samples=48, repeats=2
    )
    assert [(t.model, t.batch_size) for t in recording.timings] == [
        ("perceptron", 16),
        ("perceptron", 32),
        ("cnn", 16),
        ("cnn", 32),
    ]
    assert recording == timing.load(tmp_path / "a.json")
    assert recording.device.name
    assert recording.software["keras"] == keras.__version__
    assert recording.find("cnn", batch_size=16).optimizer == "Adam"


def test_wrong_input():
    x, y = timing.random_digits(8)
    with pytest.raises(TypeError, match="function without arguments"):
        timing.measure(models.perceptron(), x, y)
    with pytest.raises(TypeError, match="it returned 3"):
        timing.measure(lambda: 3, x, y)
    with pytest.raises(ValueError, match="as many labels as samples, got 8 and 7"):
        timing.measure(models.perceptron, x, y[:7])
    for name in ("batch_size", "epochs", "repeats"):
        with pytest.raises(ValueError, match=f"{name} must be a positive whole number, got 0"):
            timing.measure(models.perceptron, x, y, **{name: 0})
    with pytest.raises(ValueError, match="warmup must be"):
        timing.measure(models.perceptron, x, y, warmup=-1)
    with pytest.raises(ValueError, match="models must be of"):
        timing.record("nowhere.json", ["resnet"])
