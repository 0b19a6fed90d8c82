"""libsvm's data and model files: read, written, and refused with a clear error."""

import shutil
import subprocess

import numpy as np
import pytest
from sklearn.datasets import dump_svmlight_file, load_svmlight_file
from sklearn.svm import SVC

from course.svm import ParallelSVC, data_files, model_files
from course.svm.data_files import FormatError
from tests.svm.cases import KERNELS, blobs


@pytest.mark.parametrize("piece", [40, 1000, 2**24])
def test_reads_what_scikit_learn_writes(tmp_path, monkeypatch, piece):
    monkeypatch.setattr(data_files, "PIECE", piece)
    X, y = blobs([20, 25])
    X[np.abs(X) < 0.6] = 0
    X[3] = 0  # a line without features
    path = tmp_path / "data"
    dump_svmlight_file(X, y, str(path), zero_based=False)
    X_read, y_read = data_files.read(path)
    np.testing.assert_allclose(X_read, X, rtol=1e-14)
    np.testing.assert_array_equal(y_read, y)
    dump_svmlight_file(X, y, str(path), zero_based=True)
    with pytest.raises(FormatError, match="feature index 0.*--zero-based"):
        data_files.read(path)
    np.testing.assert_allclose(data_files.read(path, zero_based=True)[0], X, rtol=1e-14)


@pytest.mark.parametrize("dense", [True, False])
def test_scikit_learn_reads_what_we_write(tmp_path, dense):
    X, y = blobs([20, 25])
    X[X < 0] = 0
    data_files.write(tmp_path / "data", X, y, dense=dense)
    X_read, y_read = load_svmlight_file(str(tmp_path / "data"), zero_based=False)
    np.testing.assert_allclose(X_read.toarray(), X, rtol=1e-8)
    np.testing.assert_array_equal(y_read, y)
    assert data_files.read(tmp_path / "data", dense=dense)[0].shape == X.shape or not dense


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got an empty file"),
        ("1 1:2\n2 1:3", "line 2: the file ends in the middle of a line"),
        ("1 1:2\n\n2 1:3\n", "line 2: .*got an empty line"),
        ("one 1:2\n", "line 1: expected a number as label, got 'one'"),
        ("1 1:2\n2 1\n", "line 2: expected index:value, got '1'"),
        ("1 1:2\n2 1:\n", "line 2: expected a finite number after ':', got '1:'"),
        ("1 1:2\n2 1:x\n", "line 2: expected a finite number after ':', got '1:x'"),
        ("1 1:2\n2 1:nan\n", "line 2: expected a finite number after ':', got '1:nan'"),
        ("1 1:2\n2 a:1\n", "line 2: expected index:value, got 'a:1'"),
        ("1 2:2 1:3\n", "line 1: expected indices in ascending order, got '1:3'"),
        ("1 2:2 2:3\n", "line 1: expected indices in ascending order"),
        ("1 -1:2\n", "line 1: expected indices in ascending order, got '-1:2'"),
        ("1 1.5:2\n", "line 1: expected index:value, got '1.5:2'"),
        ("1 1:2 3\n", "line 1: expected index:value, got '3'"),
        ("1 2\n3 1:2:3\n", "line 1: expected index:value, got '2'"),
        ("1\n2\n", "no line names a feature"),
    ],
)
def test_says_what_is_wrong_and_where(tmp_path, text, message):
    (tmp_path / "data").write_text(text)
    with pytest.raises(FormatError, match=message):
        data_files.read(tmp_path / "data")


def test_every_cut_of_a_file_is_noticed(tmp_path):
    X, y = blobs([3, 3])
    data_files.write(tmp_path / "data", X, y)
    whole = (tmp_path / "data").read_bytes()
    for end in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:end])
        try:
            X_cut, _ = data_files.read(tmp_path / "cut", dense=True)
        except FormatError:
            continue
        assert whole[end - 1 : end] == b"\n"  # only a cut between lines leaves a valid file


def test_dense_files_must_not_be_ragged(tmp_path):
    (tmp_path / "data").write_text("1 1:1 2:2\n2 1:1\n")
    assert data_files.read(tmp_path / "data")[0].tolist() == [[1, 2], [1, 0]]
    with pytest.raises(FormatError, match="line 2: expected 2 features .* got 1"):
        data_files.read(tmp_path / "data", dense=True)


def test_atomic_leaves_nothing_behind(tmp_path):
    (tmp_path / "out").write_text("old")
    with pytest.raises(RuntimeError), data_files.atomic(tmp_path / "out") as file:
        file.write("half")
        raise RuntimeError
    assert (tmp_path / "out").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def libsvm_decision(path, X):
    """An independent reading of a model file: libsvm's README and formulas, line by line."""
    head, body = path.read_text().split("SV\n", 1)
    fields = {line.split()[0]: line.split()[1:] for line in head.splitlines()}
    k = int(fields["nr_class"][0])
    counts = [int(n) for n in fields["nr_sv"]]
    rho = [float(r) for r in fields["rho"]]
    gamma, coef0 = (float(fields.get(name, ["0"])[0]) for name in ("gamma", "coef0"))
    degree = int(fields.get("degree", ["3"])[0])
    coef, vectors = [], []
    for line in body.splitlines():
        words = line.split()
        coef.append([float(w) for w in words[: k - 1]])
        vector = np.zeros(X.shape[1])
        for word in words[k - 1 :]:
            index, value = word.split(":")
            vector[int(index) - 1] = float(value)
        vectors.append(vector)
    kernels = {
        "linear": lambda u, v: u @ v,
        "polynomial": lambda u, v: (gamma * u @ v + coef0) ** degree,
        "rbf": lambda u, v: np.exp(-gamma * ((u - v) ** 2).sum()),
        "sigmoid": lambda u, v: np.tanh(gamma * u @ v + coef0),
    }
    kernel = kernels[fields["kernel_type"][0]]
    starts = np.cumsum([0, *counts])
    out = []
    for x in X:
        values = [kernel(x, v) for v in vectors]
        row, p = [], 0
        for i in range(k):
            for j in range(i + 1, k):
                total = sum(
                    coef[s][j - 1] * values[s] for s in range(starts[i], starts[i + 1])
                ) + sum(coef[s][i] * values[s] for s in range(starts[j], starts[j + 1]))
                row.append(total - rho[p])
                p += 1
        out.append(row)
    return np.array(out), [int(label) for label in fields["label"]]


@pytest.mark.parametrize("parameters", KERNELS, ids=lambda p: p["kernel"])
@pytest.mark.parametrize("sizes", [[20, 25], [20, 25, 15, 18]], ids=["2", "4"])
def test_model_files_mean_what_libsvm_says(tmp_path, parameters, sizes):
    X, y = blobs(sizes)
    y = 10 * y - 5
    model = ParallelSVC(decision_function_shape="ovo", **parameters).fit(X, y)
    model_files.save(model.model_, tmp_path / "model")
    values, labels = libsvm_decision(tmp_path / "model", X)
    sign = -1 if len(sizes) == 2 else 1
    oracle = SVC(decision_function_shape="ovo", **parameters).fit(X, y).decision_function(X)
    np.testing.assert_allclose(np.squeeze(sign * values), oracle, atol=3e-2)
    assert labels == sorted(set(y))
    back = model_files.load(tmp_path / "model")
    np.testing.assert_allclose(back.decision(X, "double"), values, atol=1e-9)
    np.testing.assert_array_equal(back.predict(X), model.predict(X))


@pytest.mark.skipif(shutil.which("svm-predict") is None, reason="needs libsvm's own commands")
@pytest.mark.parametrize("parameters", KERNELS, ids=lambda p: p["kernel"])
def test_libsvm_itself_reads_our_models(tmp_path, parameters):
    X, y = blobs([20, 25, 15])
    model = ParallelSVC(**parameters).fit(X, y)
    model_files.save(model.model_, tmp_path / "model")
    data_files.write(tmp_path / "test", X, y)
    names = [tmp_path / name for name in ("test", "model", "out")]
    subprocess.run(["svm-predict", *names], check=True, timeout=60)
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "out"), model.predict(X))


LIBSVM_MODEL = """svm_type c_svc
kernel_type rbf
gamma 0.5
nr_class 2
total_sv 2
rho 0.25
label 1 -1
probA 1.5
nr_sv 1 1
SV
1 1:1 3:-2
-1 2:0.5
"""


def test_reads_a_model_of_libsvm(tmp_path):
    (tmp_path / "model").write_text(LIBSVM_MODEL)
    model = model_files.load(tmp_path / "model")
    assert model.labels.tolist() == [1, -1]
    point = np.array([[0.0, 0.0, 0.0]])
    expected = np.exp(-0.5 * 5) - np.exp(-0.5 * 0.25) - 0.25
    assert model.decision(point, "double")[0, 0] == pytest.approx(expected)
    assert model.predict(point).tolist() == [-1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("c_svc", "nu_svr", "expected svm_type c_svc, got \\['nu_svr'\\]"),
        ("rbf", "precomputed", "expected kernel_type"),
        ("gamma 0.5\n", "", "expected a field 'gamma'"),
        ("rho 0.25", "rho", "expected 'name value'"),
        ("rho 0.25", "rho 1 2", "expected 1 values of 'rho', got 2"),
        ("total_sv 2", "total_sv 3", "nr_sv adds up to 2, total_sv is 3"),
        ("SV\n1 1:1 3:-2\n-1 2:0.5\n", "", "expected a line 'SV'"),
        ("-1 2:0.5\n", "", "expected 2 support vectors, got 1. Is it cut off"),
        ("-1 2:0.5\n", "-1 2:0.", "ends in the middle of a line"),
        ("-1 2:0.5", "-1 2;0.5", "line 12: expected 1 coefficients"),
        ("-1 2:0.5", "-1 0:0.5", "line 12: expected 1 coefficients"),
        ("-1 2:0.5", "nan 2:0.5", "expected finite numbers"),
    ],
)
def test_refuses_a_broken_model(tmp_path, old, new, message):
    (tmp_path / "model").write_text(LIBSVM_MODEL.replace(old, new))
    with pytest.raises(FormatError, match=message):
        model_files.load(tmp_path / "model")


def test_labels_of_a_model_file_are_whole_numbers(tmp_path):
    X, y = blobs([10, 10])
    model = ParallelSVC().fit(X, np.array(["a", "b"])[y])
    with pytest.raises(ValueError, match="whole numbers"):
        model_files.save(model.model_, tmp_path / "model")
    assert not list(tmp_path.iterdir())
