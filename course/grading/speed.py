"""Marks for speed that noise cannot decide.

A submission is run against the reference solution in turns, on the same fresh inputs, in
sandboxes of the same kind, by the grader's clock; the order of the two changes at random. Each
pair gives a ratio, how many times slower the submission was, and whatever else the machine does
disturbs both. The verdict rests on an interval for the median of these ratios that needs no
assumption about noise (order statistics: the sign test). While it contains the limit, more pairs
are run. Points are lost only when the whole interval is above the limit; where nothing is decided
in the end, they are kept.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from course.grading.compare import Compare
from course.grading.results import Loss, Mark
from course.grading.trials import Bench, Done, Trial


@dataclass(eq=False)
class Speed:
    """A demand on speed.

    Attributes:
        name: The graded cell.
        function: The student's function.
        draw: Yields trials, one for each pair of runs; it is asked again when they run out.
        compare: Compares each timed run's results: speed counts only where they are right.
        driver: Source of the grader's function that is called instead, or nothing.
        slower: How many times slower than the reference it may be.
        seconds: What one run may take at least; a slower one is ended and fails for certain
            only if it took `slower` times the reference's time.
        pairs: Number of pairs after which an undecided verdict is one in favour.
        risk: Probability that a submission exactly at the limit is failed by chance.
    """

    name: str
    function: str
    draw: Callable[[np.random.Generator], Any]
    compare: Compare
    driver: str = ""
    slower: float = 3.0
    seconds: float = 20.0
    pairs: int = 60
    risk: float = 1e-3

    def mark(
        self,
        bench: Bench,
        reference: Bench,
        rng: np.random.Generator,
        most: float,
    ) -> Mark:
        """Run both in turns until the verdict is clear, and return the mark.

        Raises:
            RuntimeError: The reference itself gives a wrong result.
        """
        ratios: list[float] = []
        looks = _looks(self.pairs)
        trials: Iterator[Trial] = iter(())
        while len(ratios) < self.pairs:
            trial = next(trials, None)
            if trial is None:
                trials = iter(self.draw(rng))
                trial = next(trials)
            said, ratio = self._pair(bench, reference, trial, rng)
            if said:
                return Mark(self.name, 0.0, most, [Loss(most, said)])
            ratios.append(ratio)
            if len(ratios) not in looks:
                continue
            interval = median_interval(ratios, self.risk / len(looks))
            if interval is None:
                continue
            low, high = interval
            if low > self.slower:
                typical = float(np.median(ratios))
                return Mark(
                    self.name,
                    0.0,
                    most,
                    [
                        Loss(
                            most,
                            f"{typical:.1f} times slower than the reference solution (in "
                            f"{len(ratios)} pairs of runs certainly between {low:.1f} and "
                            f"{high:.1f}); at most {self.slower:g} times were asked for",
                        )
                    ],
                )
            if high <= self.slower:
                break
        typical = float(np.median(ratios))
        told = f"takes {typical:.2f} times as long as the reference, in {len(ratios)} pairs of runs"
        return Mark(self.name, most, most, [], [told])

    def _pair(
        self, bench: Bench, reference: Bench, trial: Trial, rng: np.random.Generator
    ) -> tuple[str, float]:
        """Run both once, and return what is wrong or the ratio of their times."""
        first = bool(rng.integers(2))
        right = self._run(reference, trial) if first else None
        allowed = self.seconds
        if right is not None:
            allowed = max(allowed, 4 * self.slower * max(right.seconds))
        done = self._run(bench, trial, allowed)
        if right is None:
            right = self._run(reference, trial)
        if done.failure:
            return f"{trial.where}: {done.failure}", math.inf
        expected = trial.expected if trial.ranks else [trial.expected]
        for rank, (got, wanted) in enumerate(zip(done.results, expected, strict=True)):
            said = self.compare(got, wanted)
            if said:
                who = f"rank {rank}: " if trial.ranks else ""
                return f"{trial.where}: fast or not, the result is wrong: {who}{said}", math.inf
        return "", max(done.seconds) / max(max(right.seconds), 1e-9)

    def _run(self, bench: Bench, trial: Trial, seconds: float | None = None) -> Done:
        limit = seconds if seconds is not None else max(60.0, self.seconds)
        done = bench.try_out(trial, self.function, self.driver, limit, trace=False)
        if seconds is None and done.failure:
            raise RuntimeError(f"the reference solution failed: {trial.where}: {done.failure}")
        return done


def _looks(pairs: int) -> list[int]:
    """After how many pairs to look for a verdict; each look is one more chance to be wrong."""
    return sorted({min(13, pairs), *(round(pairs * share) for share in (0.36, 0.6, 1.0))})


def median_interval(values: list[float], risk: float) -> tuple[float, float] | None:
    """Return an interval that holds the median with a probability of at least ``1 - risk``.

    Whatever the distribution: a value is above its median with probability 1/2, so the number
    of those above is binomial.

    Args:
        values: Independent measurements.
        risk: Probability of missing the median, both sides together.

    Returns:
        The interval; None where there are too few values for any.
    """
    n = len(values)
    ordered = sorted(values)
    tail, k = 0.0, -1
    for j in range(n // 2):
        tail += math.comb(n, j) / 2**n
        if 2 * tail > risk:
            break
        k = j
    if k < 0:
        return None
    return ordered[k], ordered[n - 1 - k]
