from course.figures import base, cluster


def test_bars_begin_and_end_when_the_jobs_did():
    ax = cluster.pipeline(
        ["a", "b"], ["cluster", "dam"], [0, 1], [2, 6], [5, 9], ["COMPLETED", "FAILED"]
    )
    boxes = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
    assert boxes == [(0, 2), (2, 5), (1, 6), (6, 9)]
    text = base.alternative(ax.figure)
    assert "a on cluster waited 2.0 s and ran 3.0 s (COMPLETED)" in text
    assert "b on dam waited 5.0 s and ran 3.0 s (FAILED)" in text


def test_a_job_that_never_ran_only_waits():
    ax = cluster.pipeline(
        ["a", "b"], ["cluster", "x"], [0, 0], [1, None], [4, None], ["FAILED", "CANCELLED"]
    )
    assert len(ax.patches) == 3
    assert "b on x never ran (CANCELLED)" in base.alternative(ax.figure)
