"""ParallelSVC beside scikit-learn, scikit-learn-intelex and piSVM, in one run.

    python benchmarks/svm.py [--part train|grid] [--repeat 3] [--intelex-python PYTHON]
        [--pisvm-train PATH]

`--intelex-python` names a Python that has scikit-learn-intelex (it patches scikit-learn, so
it runs in a process of its own). `--pisvm-train` names piSVM's binary, which runs on as many
ranks as there are cores. Training times are the least of `--repeat` runs; the grid's is the
median of twice as many around the peer's one run, with processor seconds, which other work
on the machine disturbs less. The table goes to ``benchmarks/results/svm_<part>.csv``.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results"


def sets() -> dict:
    """Training data, scaled to 0..1, and parameters: name -> (X, y, C, gamma)."""
    from sklearn.datasets import make_classification
    from sklearn.preprocessing import minmax_scale

    from course.data import satimage
    from course.data.hyperspectral import scene

    (X, y), _ = satimage()
    out = {"satimage 4435 x 36, 6 classes": (minmax_scale(X.astype(float)), y, 100.0, 8.0)}
    X, y = scene(80, 80, 200, 16, seed=0).pixels()
    chosen = np.random.default_rng(0).permutation(len(y))[:5000]
    hyper = minmax_scale(X[chosen].astype(float)), y[chosen], 100.0, 1.0
    out["hyperspectral 5000 x 200, 16 classes"] = hyper
    X, y = make_classification(
        20_000, 100, n_informative=40, n_redundant=20, n_classes=16, class_sep=2.0, random_state=0
    )
    out["synthetic 20000 x 100, 16 classes"] = (minmax_scale(X), y, 10.0, 0.05)
    return out


PEER = """
import json, sys, time
import numpy as np
which, path, C, gamma, repeat = sys.argv[1:]
if which.startswith("intelex"):
    from sklearnex import patch_sklearn
    patch_sklearn(verbose=False)
from sklearn.svm import SVC
data = np.load(path)
dtype = np.float32 if which.endswith("32") else np.float64
X, y = data["X"].astype(dtype), data["y"]
fit, predict = [], []
for _ in range(int(repeat)):
    begin = time.perf_counter()
    model = SVC(C=float(C), gamma=float(gamma)).fit(X, y)
    fit.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    labels = model.predict(X)
    predict.append(time.perf_counter() - begin)
np.save(path + "." + which + ".npy", labels)
print(json.dumps([min(fit), min(predict)]))
"""


def ours(X: np.ndarray, y: np.ndarray, C: float, gamma: float, repeat: int) -> tuple:
    """Return (fit, predict, labels) of ParallelSVC on all cores."""
    from course.svm import ParallelSVC

    ParallelSVC(C=C, gamma=gamma).fit(X[:500], y[:500]).predict(X[:10])  # compile or load
    fit, predict = [], []
    for _ in range(repeat):
        begin = time.perf_counter()
        model = ParallelSVC(C=C, gamma=gamma).fit(X, y)
        fit.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        labels = model.predict(X)
        predict.append(time.perf_counter() - begin)
    return min(fit), min(predict), labels


def pisvm(binary: str, X: np.ndarray, y: np.ndarray, C: float, gamma: float) -> float:
    """Return the seconds that piSVM takes on all cores, reading included."""
    from course.svm import data_files

    with tempfile.TemporaryDirectory() as folder:
        data_files.write(Path(folder, "data"), X, y)
        launcher = Path(sysconfig.get_path("scripts")) / "mpiexec"
        flags = f"-D -o 1024 -q 512 -c {C:g} -g {gamma:g} -t 2 -m 1024 -s 0 data".split()
        begin = time.perf_counter()
        subprocess.run(
            [launcher, "-n", str(os.cpu_count()), binary, *flags],
            cwd=folder, check=True, timeout=600, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return time.perf_counter() - begin


def train(options: argparse.Namespace) -> list[dict]:
    """Compare training and prediction on the three sets."""
    rows = []
    peers = {"scikit-learn": sys.executable}
    if options.intelex_python:
        peers |= {"intelex32": options.intelex_python, "intelex64": options.intelex_python}
    for name, (X, y, C, gamma) in sets().items():
        if options.only and options.only not in name:
            continue
        fit, predict, labels = ours(X, y, C, gamma, options.repeat)
        row = {"set": name, "C": C, "gamma": gamma, "fit ours": fit, "predict ours": predict}
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder, "data.npz"))
            np.savez(path, X=X, y=y)
            for peer, python in peers.items():
                done = subprocess.run(
                    [python, "-c", PEER, peer, path, str(C), str(gamma), str(options.repeat)],
                    capture_output=True, text=True, check=True, timeout=600,
                )  # fmt: skip
                row[f"fit {peer}"], row[f"predict {peer}"] = json.loads(done.stdout)
                same = np.load(f"{path}.{peer}.npy") == labels
                row[f"equal labels {peer}"] = same.mean()
        if options.pisvm_train:
            row["fit piSVM"] = pisvm(options.pisvm_train, X, y, C, gamma)
        rows.append(row)
        print(json.dumps(row, default=float), flush=True)
    for peer in [*peers, *(["piSVM"] if options.pisvm_train else [])]:
        for step in ("fit", "predict"):
            ratios = [
                r[f"{step} {peer}"] / r[f"{step} ours"] for r in rows if f"{step} {peer}" in r
            ]
            if ratios:
                mean = np.exp(np.mean(np.log(ratios)))
                print(f"{step}: {mean:.1f} x {peer} (geometric mean), least {min(ratios):.1f} x")
    return rows


def work() -> float:
    """Return the processor seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def grid(options: argparse.Namespace) -> list[dict]:
    """Compare the slide's grid search with GridSearchCV on satimage."""
    from joblib.externals.loky import get_reusable_executor
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.svm import SVC

    from course.svm.grid import grid_search

    X, y, _, _ = next(iter(sets().values()))
    grid_search(X[::10], y[::10], [4.0], [1.0, 10.0])  # compile or load
    begin_work = work()
    fast = [grid_search(X, y) for _ in range(options.repeat)]
    gammas, Cs = fast[0].gammas, fast[0].Cs
    begin, peer_work = time.perf_counter(), work()
    parameters = {"gamma": list(gammas), "C": list(Cs)}
    search = GridSearchCV(SVC(), parameters, cv=10, n_jobs=2, refit=False).fit(X, y)
    seconds = time.perf_counter() - begin
    get_reusable_executor().shutdown(wait=True)  # only ended processes are counted by work()
    end_work = work()
    # Before and after, so that what else the machine does meets both.
    fast += [grid_search(X, y) for _ in range(options.repeat)]
    ours = float(np.median([result.wall_seconds for result in fast]))
    our_work = (peer_work - begin_work + work() - end_work) / len(fast)
    print(fast[0].table(), f"\nours: {ours:.2f} s, best {fast[0].best}", flush=True)

    theirs = np.empty((len(gammas), len(Cs)))
    results = search.cv_results_
    for score, p in zip(results["mean_test_score"], results["params"], strict=True):
        theirs[list(gammas).index(p["gamma"]), list(Cs).index(p["C"])] = score
    difference = np.abs(theirs - fast[0].accuracy)
    exact = 0
    for g, c in np.argwhere(difference > 1e-12):
        # Who is nearer to the optimum? libsvm's own answer where it stops later tells.
        later = SVC(C=Cs[c], gamma=gammas[g], tol=1e-6, cache_size=500)
        score = cross_val_score(later, X, y, cv=10, n_jobs=2).mean()
        exact += abs(score - fast[0].accuracy[g, c]) < 1e-12
        print(f"gamma {gammas[g]:g}, C {Cs[c]:g}: points right, ours "
              f"{fast[0].accuracy[g, c] * len(y):.1f}, SVC {theirs[g, c] * len(y):.1f}, "
              f"SVC(tol=1e-6) {score * len(y):.1f}", flush=True)  # fmt: skip
    row = {
        "set": "satimage, 5 x 5 grid, 10 folds",
        "ours": ours,
        "GridSearchCV(SVC, n_jobs=2)": seconds,
        "ratio": seconds / ours,
        "processor seconds ours": our_work,
        "processor seconds GridSearchCV": end_work - peer_work,
        "ratio of processor seconds": (end_work - peer_work) / our_work,
        "cells with equal accuracy": int((difference <= 1e-12).sum()),
        "of the others equal to SVC(tol=1e-6)": int(exact),
        "largest difference in points": difference.max() * len(y),
    }
    print(json.dumps(row, default=float), flush=True)
    return [row]


def main() -> None:
    """Run one part and write its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("train", "grid"), default="train")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", help="only the set whose name holds this")
    parser.add_argument("--intelex-python", help="a Python with scikit-learn-intelex")
    parser.add_argument("--pisvm-train", help="piSVM's binary")
    options = parser.parse_args()
    rows = {"train": train, "grid": grid}[options.part](options)
    RESULTS.mkdir(exist_ok=True)
    with open(RESULTS / f"svm_{options.part}.csv", "w", newline="", encoding="utf-8") as file:
        fields = list(dict.fromkeys(key for row in rows for key in row))
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
