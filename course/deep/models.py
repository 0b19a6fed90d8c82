"""The three MNIST models of the lecture, in today's Keras.

Slides "MNIST Dataset & Multi Output Perceptron Model", "Add Two Hidden Layers for
Artificial Neural Network (ANN)" and "Convolutional Neural Network (CNN) Model".
"""

import keras
from keras import layers

NUM_CLASSES = 10
NUM_PIXELS = 784


def perceptron(num_inputs: int = NUM_PIXELS, num_classes: int = NUM_CLASSES) -> keras.Sequential:
    """Ten softmax outputs on 784 pixels: 7,850 parameters.

    Args:
        num_inputs: length of one input row (float32, 0..1).
        num_classes: number of softmax outputs.
    """
    return keras.Sequential(
        [
            keras.Input((num_inputs,)),
            layers.Dense(num_classes),
            layers.Activation("softmax"),
        ],
        name="perceptron",
    )


def ann(
    num_hidden: int = 128,
    activation: str = "relu",
    num_layers: int = 2,
    num_inputs: int = NUM_PIXELS,
    num_classes: int = NUM_CLASSES,
) -> keras.Sequential:
    """Two hidden layers of 128 units with ReLU (or tanh): 118,282 parameters.

    Args:
        num_hidden: units per hidden layer, the slide's ``N_HIDDEN``.
        activation: ``"relu"`` or ``"tanh"`` on the slide; any Keras activation.
        num_layers: number of hidden layers.
        num_inputs: length of one input row (float32, 0..1).
        num_classes: number of softmax outputs.
    """
    hidden = []
    for _ in range(num_layers):
        hidden += [layers.Dense(num_hidden), layers.Activation(activation)]
    return keras.Sequential(
        [
            keras.Input((num_inputs,)),
            *hidden,
            layers.Dense(num_classes),
            layers.Activation("softmax"),
        ],
        name="ann",
    )


def cnn(
    input_shape: tuple[int, int, int] = (28, 28, 1),
    num_classes: int = NUM_CLASSES,
    filters: tuple[int, ...] = (20, 50),
    num_hidden: int = 500,
) -> keras.Sequential:
    """20 and 50 filters of 5x5 with ReLU and 2x2 pooling, then 500 units: 1,256,080 parameters.

    The slide is channels-first, (1, 28, 28), as Theano wanted it; the parameters are the same
    in today's channels-last order.

    Args:
        input_shape: (rows, columns, channels) of one image (float32, 0..1).
        num_classes: number of softmax outputs.
        filters: 5x5 filters of each convolution, which a pooling follows; one to four of them
            on 28x28 pixels, because each pooling halves rows and columns.
        num_hidden: units of the hidden layer.
    """
    convolutions = []
    for number in filters:
        convolutions += [
            layers.Conv2D(number, kernel_size=5, padding="same"),
            layers.Activation("relu"),
            layers.MaxPooling2D(pool_size=2, strides=2),
        ]
    return keras.Sequential(
        [
            keras.Input(input_shape),
            *convolutions,
            layers.Flatten(),
            layers.Dense(num_hidden),
            layers.Activation("relu"),
            layers.Dense(num_classes),
            layers.Activation("softmax"),
        ],
        name="cnn",
    )
