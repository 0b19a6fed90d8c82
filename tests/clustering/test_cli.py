"""The command, run as a user would: files in, files out, with and without mpiexec."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import h5py
import numpy as np
import pytest
from sklearn.cluster import DBSCAN

from course.clustering.hdf5 import decode, encode


def hpdbscan(*arguments, ranks=None):
    command = [sys.executable, "-m", "course.clustering.cli", *map(str, arguments)]
    if ranks:
        command = [Path(sysconfig.get_path("scripts")) / "mpiexec", "-n", str(ranks), *command]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)


@pytest.fixture
def points(tmp_path):
    data = np.random.default_rng(0).normal(size=(1001, 2)).astype(np.float32)
    with h5py.File(tmp_path / "points.h5", "w") as file:
        file["DATA"] = data
        file["nested/whole"] = np.round(data * 20).astype(np.int32)
        file.create_dataset("packed", data=data, chunks=(100, 1), compression="gzip")
        file["flat"] = data[:, 0]
    return tmp_path / "points.h5", data


def check(path, dataset, data, eps, min_samples):
    want = DBSCAN(eps=eps, min_samples=min_samples, algorithm="kd_tree").fit(data)
    with h5py.File(path) as file:
        values = file[dataset][:]
    assert values.dtype == np.int64
    labels, core = decode(values)
    assert np.array_equal(labels, want.labels_)
    assert np.array_equal(core, want.core_sample_indices_)


@pytest.mark.parametrize("ranks", [None, 3])
def test_clusters_a_file(points, ranks):
    path, data = points
    done = hpdbscan("-m", 5, "-e", 0.1, "-t", 2, "-i", path, "-o", f"{path}.out", ranks=ranks)
    assert done.returncode == 0, done.stderr
    assert "1001 points" in done.stdout
    assert done.stdout.count("points:") == 1
    check(f"{path}.out", "CLUSTERS", data, 0.1, 5)


def test_other_data_sets_in_the_same_file_twice(points):
    path, data = points
    for eps, ranks in ((3, None), (2, 2)):
        options = ("--input-dataset", "nested/whole", "--output-dataset", "nested/clusters")
        done = hpdbscan("-m", 4, "-e", eps, path, *options, ranks=ranks)
        assert done.returncode == 0, done.stderr
        check(path, "nested/clusters", np.round(data * 20), eps, 4)
    with h5py.File(path) as file:
        assert np.array_equal(file["DATA"][:], data)


def test_more_ranks_than_points_and_packed_data(tmp_path, points):
    path, data = points
    done = hpdbscan("-m", 5, "-e", 0.1, "-i", path, "--input-dataset", "packed", ranks=2)
    assert done.returncode == 0, done.stderr
    check(path, "CLUSTERS", data, 0.1, 5)
    with h5py.File(tmp_path / "few.h5", "w") as file:
        file["DATA"] = data[:2].astype(np.float64)
    done = hpdbscan("-m", 1, "-e", 0.1, "-i", tmp_path / "few.h5", ranks=4)
    assert done.returncode == 0, done.stderr
    check(tmp_path / "few.h5", "CLUSTERS", data[:2], 0.1, 1)


@pytest.mark.parametrize("ranks", [None, 2])
def test_says_what_is_wrong(points, ranks):
    path, _ = points
    for arguments, text in (
        (("-i", "missing.h5"), "input file 'missing.h5' does not exist"),
        (("-i", __file__), "is not readable as HDF5"),
        (("-i", path, "--input-dataset", "X"), "has no data set 'X', only ['DATA', 'flat', 'nes"),
        (("-i", path, "--input-dataset", "flat"), "it has shape (1001,) and type float32"),
        (("-i", path, "-e", "-1"), "eps must be a finite number above 0, got -1.0"),
        (("-i", path, "-m", "few"), "invalid int value: 'few'"),
        (("-i", path, "--output-dataset", "DATA"), "would replace the points"),
        (("-i", path, "-o", "/proc/none/out.h5"), "cannot write 'CLUSTERS'"),
    )[:: 1 if ranks is None else 3]:
        done = hpdbscan(*arguments, ranks=ranks)
        assert done.returncode != 0
        assert done.stderr.count(text) == 1, done.stderr
        assert "Traceback" not in done.stderr


def test_encodes_and_decodes():
    values = encode(np.array([0, -1, 1, 1]), np.array([2, 3]))
    assert values.tolist() == [1, 0, -2, -2]
    labels, core = decode(values)
    assert labels.tolist() == [0, -1, 1, 1] and core.tolist() == [2, 3]
