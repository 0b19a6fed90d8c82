import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course import data
from course.figures import alternative, mnist


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def digits():
    return data.mnist()


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_mosaic_shows_every_picture_once_in_order():
    pictures = np.arange(1, 8)[:, None, None] * np.ones((7, 4, 6))
    ax = mnist.mosaic(pictures, list("abcdefg"), columns=3, title="Seven")
    canvas = ax.images[0].get_array().filled(0)
    for value in range(1, 8):
        rows, columns = np.nonzero(canvas == value)
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (4, 6)
        caption = ax.texts[value - 1]
        x, y = caption.get_position()
        assert columns.min() < x < columns.max() and y < rows.min()
    assert texts(ax) == list("abcdefg")
    assert canvas.max() == 7 and np.sum(canvas > 0) == 7 * 24
    assert (
        alternative(ax.figure) == "Seven: 7 pictures in 3 columns, captioned a, b, c, d, e, f, g."
    )


def test_digits(digits):
    (x, y), _ = digits
    ax = mnist.digits(x[:10], y[:10])
    assert texts(ax) == ["5", "0", "4", "1", "9", "2", "1", "3", "1", "4"]
    flat = mnist.digits(x[:10].reshape(10, 784), y[:10])
    assert (flat.images[0].get_array() == ax.images[0].get_array()).all()
    assert ax.get_title() and "10 pictures" in alternative(ax.figure)


def test_grey_levels_writes_every_inked_pixel(digits):
    (x, y), _ = digits
    ax = mnist.grey_levels(x[0], y[0])
    assert texts(ax) == [str(level) for level in x[0][x[0] > 0]]
    assert "label 5" in ax.get_title() and "(pixel)" in ax.get_xlabel()
    assert "166 inked pixels" in alternative(ax.figure)
    assert "no ink" in alternative(mnist.grey_levels(np.zeros((28, 28))).figure)


def test_class_balance(digits):
    (_, y_train), (_, y_test) = digits
    ax = mnist.class_balance(y_train, y_test)
    heights = [bar.get_height() for bar in ax.patches]
    assert heights[:10] == pytest.approx(100 * np.bincount(y_train) / 60000)
    assert heights[10:] == pytest.approx(100 * np.bincount(y_test) / 10000)
    assert "9.0 % (class 5) to 11.2 % (class 1)" in alternative(ax.figure)
    assert "%" in ax.get_ylabel()


def test_pixel_histogram():
    image = np.array([[0, 0, 0, 7], [7, 9, 0, 0]], dtype=np.uint8)
    ax = mnist.pixel_histogram(image)
    heights = np.array([bar.get_height() for bar in ax.patches])
    assert heights[[0, 7, 9]] == pytest.approx([62.5, 25, 12.5])
    assert heights.sum() == pytest.approx(100)
    assert "62.5 %" in alternative(ax.figure) and "level 7" in alternative(ax.figure)


def test_weight_images_keep_the_sign():
    weights = np.zeros((784, 3))
    weights[:392, 1] = 1
    weights[392:, 1] = -1
    ax = mnist.weight_images(weights)
    canvas = ax.images[0].get_array().filled(0)
    assert np.sum(canvas > 0) == np.sum(canvas < 0) == 392
    low, high = ax.images[0].get_clim()
    assert low == -high == -1
    with pytest.raises(ValueError, match=r"\(784, classes\), got \(3, 784\)"):
        mnist.weight_images(weights.T)


def test_feature_maps():
    maps = np.zeros((5, 5, 12))
    maps[..., 3] = 2.0
    ax = mnist.feature_maps(maps)
    assert np.sum(ax.images[0].get_array().filled(0) == 2.0) == 25
    assert "12 pictures in 10 columns" in alternative(ax.figure)


def test_confusion():
    matrix = np.array([[5, 2, 0], [0, 6, 1], [0, 0, 7]])
    ax = mnist.confusion(matrix)
    assert texts(ax) == [str(n) for n in matrix.ravel()]
    shown = np.asarray(ax.images[0].get_array())
    assert shown.tolist() == [[0, 2, 0], [0, 0, 1], [0, 0, 0]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert "18 of 21" in alternative(ax.figure)
    assert "0 read as 1, 2 times" in alternative(ax.figure)
    with pytest.raises(ValueError, match="square"):
        mnist.confusion(matrix[:2])


def test_misread_shows_only_mistakes_the_surest_first(digits):
    _, (x, y) = digits
    predicted = y[:5].copy()
    predicted[1], predicted[3] = 7, 8
    ax = mnist.misread(x[:5], predicted, y[:5], [1, 0.6, 1, 0.9, 1])
    assert texts(ax) == [f"{y[3]}→8 90 %", f"{y[1]}→7 60 %"]
    canvas = ax.images[0].get_array().filled(0)
    assert (canvas[-31:-3, :28] == x[3]).all()
    assert texts(mnist.misread(x[:5], predicted, y[:5])) == [f"{y[1]}→7", f"{y[3]}→8"]
    with pytest.raises(ValueError, match="all 5 were right"):
        mnist.misread(x[:5], y[:5], y[:5])


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"got \(3, 100\)"):
        mnist.digits(np.zeros((3, 100)))
    with pytest.raises(ValueError, match="expected 3 captions"):
        mnist.mosaic(np.zeros((3, 2, 2)), ["one"])
    with pytest.raises(ValueError, match="one image"):
        mnist.grey_levels(np.zeros((3, 28, 28)))
