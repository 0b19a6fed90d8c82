"""The recorded full-setting runs keep to what the slides claim."""

import csv
import statistics
from pathlib import Path

import pytest

RECORD = Path(__file__).parents[1] / "benchmarks" / "results" / "mnist_accuracy.csv"

# Test accuracy on the slide, and how far the mean of five seeds may be from it (points).
SLIDES = {"perceptron": (91.01, 0.5), "ann_relu": (95.14, 0.7), "cnn": (99.36, 0.3)}


@pytest.mark.parametrize("model", SLIDES)
def test_five_seeds_reach_the_slide(model):
    with RECORD.open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == model]
    assert {row["seed"] for row in rows} == set("01234")
    assert {(row["epochs"], row["batch_size"]) for row in rows} == {("20", "128")}
    accuracy = statistics.mean(100 * float(row["test_accuracy"]) for row in rows)
    slide, tolerance = SLIDES[model]
    assert accuracy == pytest.approx(slide, abs=tolerance)
