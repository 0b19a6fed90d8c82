"""Points, shares and reasons; and assignments that do not fit their checks."""

import numpy as np
import pytest

from course.grading import draws
from course.grading.assignment import Assignment
from course.grading.compare import equal
from course.grading.results import Loss, Mark, Result
from course.grading.rubric import Criterion, Rubric, Task
from course.grading.trials import Done, Trial
from tests.grading import toy

TASK = Task("f", lambda rng: ())


def judge(trial, done):
    return None if done.results == [1] else "wrong"


def mark(outcomes, partial=True):
    """Give a mark of 6 for pairs of ranks and whether the result is right."""
    trials = [(Trial([()] * ranks, ranks), Done([1 if right else 0])) for ranks, right in outcomes]
    return Criterion("x", TASK, judge, partial).mark(trials, 6.0)


@pytest.mark.parametrize(
    ("outcomes", "points"),
    [
        ([(1, True), (2, True), (3, True), (4, True)], 6),
        ([(1, True), (2, True), (3, True), (4, False)], 4),
        ([(1, True), (2, False), (3, False), (4, False)], 0),  # one rank proves nothing
        ([(1, False), (2, True), (3, True), (4, True)], 4.5),  # but it is one of the cases
        ([(1, False), (2, True), (3, False), (4, True)], 4),
        ([(0, True), (0, False)], 3),
        ([(1, True)], 6),
        ([(1, False)], 0),
    ],
)
def test_shares(outcomes, points):
    found = mark(outcomes)
    assert found.points == points
    assert points + sum(loss.points for loss in found.losses) == pytest.approx(6)
    assert len(found.losses) + len(found.passed) == len(outcomes)


def test_a_result_that_a_judge_did_not_think_of_earns_nothing():
    criterion = Criterion("x", TASK, lambda trial, done: done.results[0]["key"])
    found = criterion.mark([(Trial(()), Done([3]))], 2.0)
    assert found.points == 0 and "not of the form" in found.losses[0].reason


def test_all_or_nothing():
    assert mark([(2, True), (3, False)], partial=False).points == 0
    assert mark([(2, True), (3, True)], partial=False).points == 6


def test_results_are_compared_rank_by_rank_and_told_once():
    rubric = Rubric()
    task = rubric.task("f")(lambda rng: ())
    rubric.results("x", task, equal)
    trial = Trial([()] * 3, 3, [5, 5, 5])
    found = rubric.criteria[0].mark([(trial, Done([5, 4, 4]))], 2.0)
    assert found.losses == [Loss(2.0, "3 ranks: ranks 1, 2: expected 5, got 4")]


def test_a_trial_needs_arguments_for_every_rank():
    with pytest.raises(ValueError, match="each of 3 ranks, got 2"):
        Trial([(), ()], 3)


@pytest.mark.parametrize("name", ["course.nothing", "numpy", "course"])
def test_only_what_exists_can_be_hidden(name):
    with pytest.raises(ValueError, match="expected a module of course to hide"):
        Rubric(hidden=[name])


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("n", [0, 1, 5, 40])
def test_parts_are_all_there_and_one_is_empty(ranks, n):
    rng = np.random.default_rng(n)
    for _ in range(20):
        values = np.arange(2.0 * n).reshape(n, 2)
        parts = draws.parts(rng, values, ranks)
        assert len(parts) == ranks
        np.testing.assert_array_equal(np.concatenate(parts), values)
        assert ranks == 1 or min(map(len, parts)) == 0


def test_parts_without_an_empty_one():
    rng = np.random.default_rng(0)
    assert min(map(len, draws.parts(rng, np.arange(9), 7, empty=False))) > 0
    with pytest.raises(ValueError, match="at least 7 values"):
        draws.parts(rng, np.arange(5), 7, empty=False)


def test_rows_are_permuted_together():
    rng = np.random.default_rng(0)
    x = np.arange(20)
    a, b = draws.permuted(rng, x, x * 2)
    assert list(b) == list(2 * a) and sorted(a) == list(x) and list(a) != list(x)


class TestAssignment:
    def test_what_is_missing_is_told(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="the source notebook of toy"):
            Assignment.open(tmp_path, "toy")
        toy.course_root(tmp_path)
        (tmp_path / "checks" / "toy.py").unlink()
        with pytest.raises(FileNotFoundError, match="the checks of toy"):
            Assignment.open(tmp_path, "toy")

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ('"double-results"', '"doubled"', r"missing \['double-results'\], unknown"),
            ('"order-results"', '"total-results"', "more than one criterion"),
            ("rubric = ", "other = ", "cannot be read"),
            ("rubric.", "syntax error", "cannot be read"),
            ("rubric = Rubric(", "rubric = dict(", "cannot be read"),
        ],
    )
    def test_checks_that_do_not_fit(self, tmp_path, old, new, said):
        toy.course_root(tmp_path)
        path = tmp_path / "checks" / "toy.py"
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(ValueError, match=said):
            Assignment.open(tmp_path, "toy")

    def test_seeds_differ_by_student_and_course_and_stay(self, tmp_path):
        seeds = {}
        for course in ("a", "b"):
            root = toy.course_root(tmp_path / course)
            for student in ("ann", "bob"):
                seeds[course, student] = Assignment.open(root, "toy").seed(student)
                assert Assignment.open(root, "toy").seed(student) == seeds[course, student]
        assert len(set(seeds.values())) == 4
        assert (tmp_path / "a" / ".grading-salt").stat().st_mode & 0o077 == 0

    def test_the_key_changes_with_all_that_matters(self, tmp_path):
        root = toy.course_root(tmp_path)
        path = toy.submit(root, "ann", toy.notebook())
        found = Assignment.open(root, "toy")
        keys = [found.key(path, "ann"), found.key(path, "bob")]
        path.write_text(path.read_text().replace("sorted(values)", "sorted(list(values))"))
        keys.append(found.key(path, "ann"))
        checks = root / "checks" / "toy.py"
        checks.write_text(checks.read_text() + "\n# changed\n")
        keys.append(Assignment.open(root, "toy").key(path, "ann"))
        assert len(set(keys)) == 4


def test_results_come_back_from_their_file(tmp_path):
    result = Result("a1", "ann", "key", 3, [Mark("x", 1.5, 2, [Loss(0.5, "wrong")], ["right"])])
    result.save(tmp_path / "deep" / "ann.json")
    assert Result.load(tmp_path / "deep" / "ann.json") == result
    (tmp_path / "bad.json").write_text('{"version": 99}')
    with pytest.raises(ValueError, match="version 1 was expected, got 99"):
        Result.load(tmp_path / "bad.json")
