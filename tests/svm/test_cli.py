"""pisvm-train and pisvm-predict under mpiexec, against scikit-learn."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from sklearn.svm import SVC

from course.svm import data_files, model_files
from tests.svm.cases import blobs

COMMAND = "from course.svm import cli; cli.{}_main()"


def command(which, ranks, *arguments, cwd):
    """Run a command on ranks; return its exit status, output and error output."""
    launcher = Path(sysconfig.get_path("scripts")) / "mpiexec"
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [launcher, "-n", str(ranks), sys.executable, "-c", COMMAND.format(which)]
        + [str(a) for a in arguments],
        cwd=cwd, capture_output=True, text=True, timeout=250,
        env={"PYTHONPATH": root, "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "HOME": root},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    X, y = blobs([60, 70, 50])
    X_test, y_test = blobs([30, 30, 30], seed=1)
    data_files.write(folder / "train.el", X, y + 1)
    data_files.write(folder / "test.el", X_test, y_test + 1)
    return folder, X, y + 1, X_test, y_test + 1


@pytest.mark.parametrize("ranks", [1, 3])
def test_train_and_predict_as_on_the_slide(data, ranks):
    folder, X, y, X_test, y_test = data
    flags = "-D -o 1024 -q 512 -c 100 -g 0.125 -t 2 -m 1024 -s 0 -w1 2.5".split()
    status, out, err = command("train", ranks, *flags, folder / "train.el", cwd=folder)
    assert status == 0, err
    assert "I/O time" in out and "train.el.model" in out
    oracle = SVC(C=100, gamma=0.125, class_weight={1: 2.5}).fit(X, y)
    model = model_files.load(folder / "train.el.model")
    np.testing.assert_allclose(-model.rho, oracle.intercept_, atol=5e-3, err_msg=out)
    status, out, err = command(
        "predict", ranks, folder / "test.el", "train.el.model", "results.txt", cwd=folder
    )
    assert status == 0, err
    predicted = np.loadtxt(folder / "results.txt")
    assert (predicted == oracle.predict(X_test)).mean() > 0.98
    right = int((predicted == y_test).sum())
    assert f"Accuracy = {100 * right / 90:g}% ({right}/90) (classification)" in out
    assert not list(folder.glob("*.part"))


def test_cross_validation_writes_no_model(data, tmp_path):
    status, out, err = command(
        "train", 2, "-v", 5, "-g", 0.1, data[0] / "train.el", "here.model", cwd=tmp_path
    )
    assert status == 0, err
    assert "Cross Validation Accuracy = " in out
    assert not list(tmp_path.iterdir())


def test_every_failure_is_one_line_and_leaves_nothing(data, tmp_path):
    folder = data[0]
    (tmp_path / "one.el").write_text("1 1:2\n1 1:3\n")
    (tmp_path / "cut.el").write_text("1 1:2\n2 1:3")
    (tmp_path / "zero.el").write_text("1 0:2\n2 0:3\n")
    (tmp_path / "cut.model").write_text("svm_type c_svc\n")
    (tmp_path / "good.el").write_text("1 1:2\n2 1:3\n")
    before = sorted(p.name for p in tmp_path.iterdir())
    cases = [
        ("train", ["one.el"], "at least two classes"),
        ("train", ["-s", "1", "good.el"], "only C-SVC"),
        ("train", ["-w9", "2", "good.el"], "no such label"),
        ("predict", [folder / "test.el", "cut.model", "results.txt"], "expected a line 'SV'"),
    ]
    for which, arguments, message in cases:
        status, _, err = command(which, 2, *arguments, cwd=tmp_path)
        assert status != 0 and message in err, (arguments, err)
        assert "Traceback" not in err
        assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("which", "arguments", "message"),
    [
        ("train", ["cut.el"], "middle of a line"),
        ("train", ["zero.el"], "--zero-based"),
        ("train", ["missing.el"], "missing.el"),
        ("train", ["-c", "much", "good.el"], "-c"),
        ("train", ["-b", "1", "good.el"], "probability"),
        ("train", ["-w1"], "-wLABEL WEIGHT"),
        ("train", ["good.el", "no/folder/model"], "no folder"),
        ("train", ["-v", "1", "good.el"], "at least 2 folds"),
        ("predict", ["cut.el", "good.model", "results.txt"], "middle of a line"),
        ("predict", ["good.el", "good.model", "no/folder/out"], "no folder"),
        ("predict", ["good.el"], "required"),
    ],
)
def test_refuses(tmp_path, monkeypatch, which, arguments, message):
    """The same functions on a world of one rank, without a launcher."""
    from mpi4py import MPI

    from course.svm import ParallelSVC, cli

    monkeypatch.chdir(tmp_path)
    Path("cut.el").write_text("1 1:2\n2 1:3")
    Path("zero.el").write_text("1 0:2\n2 0:3\n")
    Path("good.el").write_text("1 1:2\n2 1:3\n")
    X, y = blobs([5, 5], d=1)
    model_files.save(ParallelSVC().fit(X, y).model_, "good.model")
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises((ValueError, OSError), match=message):
        (cli.train if which == "train" else cli.predict)(arguments, MPI.COMM_SELF)
    assert sorted(p.name for p in tmp_path.iterdir()) == before
