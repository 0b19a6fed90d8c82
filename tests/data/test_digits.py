import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest

from course import data
from course.data.digits import keras_cache


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


@pytest.fixture(scope="module")
def shipped():
    with np.load(data.FILES / "mnist.npz") as archive:
        return {key: archive[key] for key in archive.files}


def test_mnist_is_whole_and_real():
    (x_train, y_train), (x_test, y_test) = data.mnist()
    assert x_train.shape == (60000, 28, 28) and x_train.dtype == np.uint8
    assert x_test.shape == (10000, 28, 28) and x_test.dtype == np.uint8
    # Counts published with the data set, and the first labels every tutorial shows.
    assert np.bincount(y_train).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949
    ]  # fmt: skip
    assert np.bincount(y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert x_train.mean() == pytest.approx(33.3184, abs=1e-4)
    assert (x_train.min(), x_train.max()) == (0, 255)


def test_import_loads_nothing_heavy():
    code = "import sys, course.data; print({'numpy', 'keras', 'tensorflow'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert out.stdout.strip() == "set()", out.stderr


def test_intact_cache_is_used(tmp_path, monkeypatch):
    keras_cache().parent.mkdir(parents=True)
    shutil.copy(data.FILES / "mnist.npz", keras_cache())
    monkeypatch.setattr("course.data.digits.FILES", tmp_path / "not there")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert data.mnist()[0][0].shape == (60000, 28, 28)


def test_same_arrays_in_another_archive_are_accepted(tmp_path, shipped):
    np.savez(tmp_path / "other.npz", **shipped, note=np.arange(3))
    assert data.mnist(tmp_path / "other.npz")[1][1].shape == (10000,)


def test_damaged_cache_warns_and_falls_back():
    keras_cache().parent.mkdir(parents=True)
    keras_cache().write_bytes((data.FILES / "mnist.npz").read_bytes()[:5_000_000])
    with pytest.warns(UserWarning, match="5,000,000 bytes.*To mend.*shipped"):
        (x_train, _), _ = data.mnist()
    assert x_train.shape == (60000, 28, 28)


def cut(path, arrays):
    path.write_bytes((data.FILES / "mnist.npz").read_bytes()[:-100])


def flipped_byte(path, arrays):
    content = bytearray((data.FILES / "mnist.npz").read_bytes())
    content[6_000_000] ^= 0xFF
    path.write_bytes(content)


def web_page(path, arrays):
    path.write_text("<html>503 Service Unavailable</html>")


def empty(path, arrays):
    path.write_bytes(b"")


def pickled(path, arrays):
    np.save(path.with_suffix(".npy"), np.array({"a": 1}, dtype=object))
    path.with_suffix(".npy").rename(path)


def single_array(path, arrays):
    np.save(path.with_suffix(".npy"), arrays["y_test"])
    path.with_suffix(".npy").rename(path)


def missing_key(path, arrays):
    np.savez(path, x_train=arrays["x_train"], y_train=arrays["y_train"])


def wrong_shape(path, arrays):
    np.savez(path, **{**arrays, "x_train": arrays["x_train"].reshape(60000, 784)})


def wrong_dtype(path, arrays):
    np.savez(path, **{**arrays, "y_train": arrays["y_train"].astype(np.int64)})


def swapped_labels(path, arrays):
    np.savez(path, **{**arrays, "y_train": arrays["y_train"][::-1]})


def folder(path, arrays):
    path.mkdir()


def nothing(path, arrays):
    pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (cut, "expected an .npz archive, got 11,490,419 bytes"),
        (flipped_byte, "expected an .npz archive"),
        (web_page, "expected an .npz archive, got 36 bytes"),
        (empty, "expected an .npz archive, got 0 bytes"),
        (pickled, "expected an .npz archive"),
        (single_array, "got a single array"),
        (missing_key, r"without \['x_test', 'y_test'\]"),
        (wrong_shape, r"expected x_train of shape \(60000, 28, 28\).* got shape \(60000, 784\)"),
        (wrong_dtype, "got shape .* and dtype int64"),
        (swapped_labels, "expected y_train with sha256 .* got other values"),
        (folder, "got a folder"),
        (nothing, "got nothing there"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_wrong_file_is_named(tmp_path, shipped, make, message):
    path = tmp_path / "mine.npz"
    make(path, shipped)
    with pytest.raises(data.DataError, match=message) as caught:
        data.mnist(path)
    assert str(path) in str(caught.value) and "To mend" in str(caught.value)


def test_serve_keras(tmp_path):
    script = (
        "from course import data; data.serve_keras()\n"
        "from keras.datasets import mnist\n"
        "(X_train, y_train), (X_test, y_test) = mnist.load_data()\n"
        "print(X_train.shape, y_train[:3], X_test.shape)"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=200
    )
    assert out.stdout.strip() == "(60000, 28, 28) [5 0 4] (10000, 28, 28)", out.stderr
