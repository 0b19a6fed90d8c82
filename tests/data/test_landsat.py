import numpy as np
import pytest

from course import data


def test_satimage_is_whole_and_real():
    (x_train, y_train), (x_test, y_test) = data.satimage()
    assert x_train.shape == (4435, 36) and x_test.shape == (2000, 36)
    # Class counts as published in the data set's own description.
    assert np.bincount(y_train).tolist() == [0, 1072, 479, 961, 415, 470, 0, 1038]
    assert np.bincount(y_test).tolist() == [0, 461, 224, 397, 211, 237, 0, 470]
    assert set(data.SATIMAGE_CLASSES) == set(y_train.tolist())


def test_damaged_copy_is_named(monkeypatch, tmp_path):
    (tmp_path / "satimage.npz").write_bytes((data.FILES / "satimage.npz").read_bytes()[:-1000])
    monkeypatch.setattr("course.data.landsat.FILES", tmp_path)
    with pytest.raises(data.DataError, match="satimage.npz: expected an .npz archive"):
        data.satimage()
