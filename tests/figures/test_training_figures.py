import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest

from course.figures import alternative, training


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


LOG = {
    "loss": [1.0, 0.5, 0.25],
    "accuracy": [0.7, 0.8, 0.9],
    "val_loss": [0.9, 0.6, 0.5],
    "val_accuracy": [0.75, 0.8, 0.85],
}


def test_history_draws_both_sets_and_the_slide():
    loss, accuracy = training.history(LOG, {"loss": 0.3342, "accuracy": 0.9101}, "Perceptron")
    assert [line.get_label() for line in loss.lines] == [
        "training",
        "validation",
        "slide, test: 0.3342",
    ]
    assert list(loss.lines[0].get_ydata()) == LOG["loss"]
    assert list(loss.lines[0].get_xdata()) == [1, 2, 3]
    assert list(accuracy.lines[1].get_ydata()) == pytest.approx([75, 80, 85])
    assert list(accuracy.lines[2].get_ydata()) == pytest.approx([91.01, 91.01])
    assert "%" in accuracy.get_ylabel() and loss.get_xlabel() == "epoch"
    text = alternative(loss.figure)
    assert "training goes from 1 to 0.25 in 3 epochs" in text
    assert "slide, test: 91.01% is drawn as a line at 91.01" in text


def test_history_without_validation_or_slide():
    loss, _ = training.history({"loss": [1.0], "accuracy": [0.5]})
    assert [line.get_label() for line in loss.lines] == ["training"]


def test_curves_refuse_nonsense():
    with pytest.raises(ValueError, match="quantity must be one of"):
        training.curves({"a": [1]}, "mse")
    with pytest.raises(ValueError, match="at least one epoch.*'a'"):
        training.curves({"a": []})


def test_spread():
    runs = {"perceptron": [90.8, 90.9], "cnn": [99.2]}
    ax = training.spread(runs, {"perceptron": 91.01})
    assert list(ax.lines[0].get_xdata()) == [90.8, 90.9]
    assert list(ax.lines[1].get_xdata()) == [91.01]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["perceptron", "cnn"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one run", "slide"]
    assert "perceptron from 90.80 to 90.90 in 2 runs, on the slide 91.01" in alternative(ax.figure)


def test_times():
    ax = training.times({"CPU": (9, 10, 12), "GPU": (1, 1, 1)}, title="Epochs")
    (container,) = ax.containers
    assert list(container.lines[0].get_xdata()) == [10, 1]
    bars = container.lines[2][0].get_segments()
    assert bars[0][:, 0].tolist() == [9, 12]
    assert "CPU 10 (9 to 12)" in alternative(ax.figure)
    with pytest.raises(ValueError, match="low <= middle <= high"):
        training.times({"CPU": (3, 2, 4)})


def test_functions():
    ax = training.functions([0, 1, 2], {"a": [0, 1, 4], "b": [1, 1, 1]}, "x", "y", "Two")
    assert list(ax.lines[0].get_ydata()) == [0, 1, 4]
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()
    assert "a runs from 0 to 4" in alternative(ax.figure)
