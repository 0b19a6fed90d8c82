"""The synthetic scene, the Indian Pines loader and the slide's tables."""

import hashlib

import numpy as np
import pytest
from scipy.io import savemat

from course.data import DataError, hyperspectral


def test_scene_is_seeded_and_has_spatial_structure():
    one = hyperspectral.scene(40, 30, 50, 6, seed=3)
    two = hyperspectral.scene(40, 30, 50, 6, seed=3)
    np.testing.assert_array_equal(one.cube, two.cube)
    assert (hyperspectral.scene(40, 30, 50, 6, seed=4).labels != one.labels).any()
    assert one.cube.shape == (40, 30, 50) and one.cube.dtype == np.float32
    assert set(np.unique(one.labels)) == set(range(1, 7))
    # Neighbours share a class far more often than pixels taken at random.
    assert (one.labels[1:] == one.labels[:-1]).mean() > 0.7
    X, y = one.pixels()
    assert X.shape == (1200, 50) and y.shape == (1200,)
    assert np.isfinite(X).all() and (X >= 0).all()


def test_scene_can_be_learned_but_not_perfectly():
    from sklearn.svm import SVC

    X, y = hyperspectral.scene(40, 40, 60, 8).pixels()
    X = X / 500
    score = SVC(C=10, gamma=0.5).fit(X[::2], y[::2]).score(X[1::2], y[1::2])
    assert 0.6 < score < 0.995


def test_scene_refuses_nonsense():
    with pytest.raises(ValueError, match="at least 4 rows"):
        hyperspectral.scene(rows=1)


@pytest.fixture
def pines(tmp_path):
    rng = np.random.default_rng(0)
    cube = rng.integers(0, 9000, (145, 145, 200)).astype(np.uint16)
    truth = rng.integers(0, 17, (145, 145)).astype(np.uint8)
    savemat(tmp_path / "Indian_pines_corrected.mat", {"indian_pines_corrected": cube})
    savemat(tmp_path / "Indian_pines_gt.mat", {"indian_pines_gt": truth})
    return tmp_path, cube, truth


def test_indian_pines_reads_the_public_layout(pines, monkeypatch):
    folder, cube, truth = pines
    scene = hyperspectral.indian_pines(folder)
    np.testing.assert_array_equal(scene.cube, cube)
    np.testing.assert_array_equal(scene.labels, truth)
    assert len(scene.pixels()[0]) == (truth > 0).sum()
    name = "Indian_pines_gt.mat"
    right = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    monkeypatch.setitem(hyperspectral.INDIAN_PINES_SHA256, name, right)
    hyperspectral.indian_pines(folder)
    monkeypatch.setitem(hyperspectral.INDIAN_PINES_SHA256, name, "0" * 64)
    with pytest.raises(DataError, match="expected SHA-256 0000"):
        hyperspectral.indian_pines(folder)


def test_indian_pines_says_what_is_missing_or_wrong(pines, tmp_path_factory):
    with pytest.raises(DataError, match="nothing is downloaded"):
        hyperspectral.indian_pines(tmp_path_factory.mktemp("empty"))
    folder, _, truth = pines
    savemat(folder / "Indian_pines_gt.mat", {"gt": truth})
    with pytest.raises(DataError, match="expected a variable 'indian_pines_gt', got \\['gt'\\]"):
        hyperspectral.indian_pines(folder)
    savemat(folder / "Indian_pines_gt.mat", {"indian_pines_gt": truth[:10]})
    with pytest.raises(DataError, match="expected shape"):
        hyperspectral.indian_pines(folder)
    (folder / "Indian_pines_gt.mat").write_bytes(b"not a file of Matlab")
    with pytest.raises(DataError, match="expected a Matlab 5 file"):
        hyperspectral.indian_pines(folder)


def test_slide_tables():
    assert np.array(list(hyperspectral.ROME.values())).sum(axis=0).tolist() == list(
        hyperspectral.ROME_TOTAL
    )
    serial = np.array(hyperspectral.SLIDE_SERIAL)
    parallel = np.array(hyperspectral.SLIDE_PARALLEL)
    assert serial.shape == parallel.shape == (5, 5, 2)
    assert serial[..., 1].sum() / 60 == pytest.approx(8.91, abs=0.005)
    assert parallel[..., 1].sum() == pytest.approx(35.5, abs=0.05)
    wrong = np.abs(serial[..., 0] - parallel[..., 0]) > 0.215
    assert np.argwhere(wrong).tolist() == [[0, 0]]
