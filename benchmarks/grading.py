"""Many gradings in a row: is any wedged, lost or wrong, and how long does one take?

    python benchmarks/grading.py --gradings 1000            # honest, wrong and hostile ones mixed
    python benchmarks/grading.py --speed 50 --load 4        # one mark for speed, fifty times

The first grades submissions to the small assignment of the tests in random order, in worlds of
the grader's that stay, and compares every mark with the one it must be. The second grades the
same two submissions again and again beside processes that load the machine: the fast one must
keep its points for speed each time, the slow one lose them each time.
"""

import argparse
import csv
import random
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from course.grading.assignment import Assignment
from course.grading.crew import Crews
from course.grading.grader import grade
from tests.grading import toy
from tests.grading.test_hostile import HOSTILE

RESULTS = Path(__file__).parent / "results" / "grading.csv"
QUICK = (
    *("deadlock", "fork bomb", "memory hog", "os._exit", "sys.exit", "crash", "kills its parent"),
    *("patched comparisons", "equal to everything", "a pickle that runs", "huge output"),
    *("nonsense on the wire", "does not tell its calls", "counts beyond the buffer", "too deep"),
    *("ranks that talk through files", "writes the answer of the protocol itself"),
)
SLOW = """
def order(values):
    for _ in range(3000):
        done = sorted(values)
    return done
"""


def soak(root: Path, number: int, seed: int) -> list[object]:
    """Grade `number` submissions and return a row of what came of them."""
    assignment = Assignment.open(root, toy.NAME)
    chance = random.Random(seed)
    every = {"double-results", "total-results", "total-contract"}
    wrong, seconds, done = [], [], 0
    with Crews() as crews:
        for k in range(number):
            name = chance.choice(("honest", "honest", "honest", *QUICK))
            if name == "honest":
                book, only, points = toy.notebook(), every, 9.0
            else:
                cell, source, points, _ = HOSTILE[name]
                book = toy.notebook(**{cell: source})
                only = {test for test in every if test.startswith(f"{cell}-")}
            path = toy.submit(root, f"s{k}", book)
            began = time.perf_counter()
            result = grade(assignment, path, f"s{k}", crews=crews, only=only)
            seconds.append(time.perf_counter() - began)
            done += 1
            if result.points != points:
                reasons = [loss.reason for mark in result.marks for loss in mark.losses]
                wrong.append((k, name, result.points, points, reasons))
                print("WRONG", *wrong[-1], flush=True)
            if done % 50 == 0:
                print(f"{done} of {number}, {len(wrong)} wrong, {sum(seconds):.0f} s", flush=True)
    median, worst = np.median(seconds), max(seconds)
    print(f"{done} graded, {len(wrong)} wrong; {median:.2f} s median, {worst:.1f} s at most")
    return [date.today(), "soak", done, len(wrong), f"{median:.3f}", f"{worst:.1f}"]


def again(root: Path, number: int, load: int) -> list[list[object]]:
    """Grade a fast and a slow submission `number` times beside `load` busy processes."""
    assignment = Assignment.open(root, toy.NAME)
    paths = {
        "fast": (toy.submit(root, "fast", toy.notebook()), 2.0),
        "slow": (toy.submit(root, "slow", toy.notebook(order=SLOW)), 0.0),
    }
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(load)]
    rows = []
    try:
        with Crews() as crews:
            for name, (path, points) in paths.items():
                marks, seconds = [], []
                for _ in range(number):
                    began = time.perf_counter()
                    only = {"order-results", "order-speed"}
                    result = grade(assignment, path, name, crews=crews, only=only)
                    seconds.append(time.perf_counter() - began)
                    marks.append(result.mark("order-speed").points)
                wrong = sum(mark != points for mark in marks)
                median, worst = np.median(seconds), max(seconds)
                print(
                    f"{name}: {number} times, {wrong} with another mark than {points}", flush=True
                )
                how = f"speed, {name}, load {load}"
                rows.append([date.today(), how, number, wrong, f"{median:.3f}", f"{worst:.1f}"])
    finally:
        for process in busy:
            process.kill()
            process.wait()
    return rows


def main() -> None:
    """Run what was asked for and add it to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gradings", type=int, default=0)
    parser.add_argument("--speed", type=int, default=0)
    parser.add_argument("--load", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = toy.course_root(Path(folder) / "root")
        if options.gradings:
            rows.append(soak(root, options.gradings, options.seed))
        if options.speed:
            rows += again(root, options.speed, options.load)
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            head = "date,what,gradings,wrong,median_seconds,worst_seconds"
            writer.writerow(head.split(","))
        writer.writerows(rows)


if __name__ == "__main__":
    main()
