"""The lecture's models: the slides' numbers of parameters, and changed settings."""

import numpy as np
import pytest

from course.deep import models


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        (models.perceptron, 7_850),
        (models.ann, 118_282),
        (lambda: models.ann(activation="tanh"), 118_282),
        (models.cnn, 1_256_080),
        (lambda: models.ann(num_hidden=64, num_layers=1), 785 * 64 + 65 * 10),
        (lambda: models.ann(num_layers=0), 7_850),
        (
            lambda: models.cnn(filters=(8,), num_hidden=16),
            26 * 8 + (14 * 14 * 8 + 1) * 16 + 17 * 10,
        ),
    ],
)
def test_parameters(build, parameters):
    assert build().count_params() == parameters


def test_layers_of_the_convolutional_net_on_the_slide():
    # The slide prints 122,500 for the dense layer: a digit is missing, its total is right.
    dense = [layer.count_params() for layer in models.cnn().layers if layer.count_params()]
    assert dense == [520, 25_050, 1_225_500, 5_010]


def test_outputs_are_probabilities():
    digits = np.random.default_rng(0).random((3, 784), dtype="float32")
    for model, inputs in (
        (models.perceptron(), digits),
        (models.ann(), digits),
        (models.cnn(), digits.reshape(3, 28, 28, 1)),
    ):
        outputs = model.predict(inputs, verbose=0)
        assert outputs.shape == (3, 10)
        np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-5)
