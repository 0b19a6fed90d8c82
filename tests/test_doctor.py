from course import doctor
from course.doctor import BAD, GOOD, Finding


def test_the_table_of_this_machine_names_everything(monkeypatch):
    # Engines and TensorFlow have tests of their own, and are slow to start.
    monkeypatch.setattr(doctor, "_engines", lambda ranks: Finding("Engines", GOOD, "fine"))
    monkeypatch.setattr(doctor, "_deep", lambda: [Finding("Keras", GOOD, "fine")])
    rows = doctor.examine(ranks=3)
    assert [row.what for row in rows][:5] == [
        "Python",
        "Notebook packages",
        "Cores, memory",
        "MPI",
        "Engines",
    ]
    assert {row.what for row in rows} >= {"Slurm", "Sandbox", "Data", "Disk"}
    by_name = {row.what: row for row in rows}
    assert by_name["MPI"].state == GOOD and "3 ranks in one world" in by_name["MPI"].found


def test_the_deep_row_reports_what_imports():
    rows = {row.what: row for row in doctor._deep()}
    assert rows["Keras"].state == rows["Horovod"].state == GOOD
    assert "tensorflow" in rows["Keras"].found and "MPI built" in rows["Horovod"].found
    assert "GPU" in rows


def test_a_world_that_is_not_one_fails_with_a_mend(monkeypatch, tmp_path):
    fake = tmp_path / "mpiexec"
    fake.write_text('#!/bin/sh\nshift 2\n"$@"\n"$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("COURSE_MPIEXEC", str(fake))
    row = doctor.mpi(2)
    assert row.state == BAD
    assert "expected one world of 2 ranks, got worlds of [1]" in row.found
    assert "COURSE_MPIEXEC" in row.mend


def test_an_mpiexec_that_hangs_is_given_up(monkeypatch, tmp_path):
    fake = tmp_path / "mpiexec"
    fake.write_text("#!/bin/sh\nsleep 60\n")
    fake.chmod(0o755)
    monkeypatch.setenv("COURSE_MPIEXEC", str(fake))
    assert "no answer within 1 s" in doctor.mpi(2, timeout=1).found


def test_main_returns_1_where_something_fails(monkeypatch, capsys):
    rows = [Finding("Good", GOOD, "x"), Finding("Bad", BAD, "y " * 80, "mend it")]
    monkeypatch.setattr(doctor, "examine", lambda ranks: rows)
    assert doctor.main(2) == 1
    printed = capsys.readouterr().out
    assert "Bad   FAILS  y y" in printed and "-> mend it" in printed
    monkeypatch.setattr(doctor, "examine", lambda ranks: rows[:1])
    assert doctor.main(2) == 0
