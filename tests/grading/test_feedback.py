from nbformat.v4 import new_code_cell, new_notebook, new_output

from course.grading.feedback import HideTests

HEAD = "\x1b[0;31mAssertionError\x1b[0m    Traceback (most recent call last)"
TEST = "Cell \x1b[0;32mIn[7], line 2\x1b[0m\n    1 secret = 21\n----> 2 assert double(secret) == 42"
OWN = "Cell \x1b[0;32mIn[3], line 5\x1b[0m, in double(x)\n----> 5     raise ValueError(x)"
LIBRARY = "File /somewhere/keras/model.py:12, in fit(self)\n     12 raise ValueError"


def nbgrader(**kind):
    defaults = {"grade": False, "solution": False, "locked": False, "task": False}
    meta = {"schema_version": 3, "grade_id": "x", "points": 1}
    return {"nbgrader": {**meta, **defaults, **kind}}


def failed(count, metadata):
    cell = new_code_cell("...", execution_count=count, metadata=metadata)
    error = new_output("error", ename="ValueError", evalue="wrong", traceback=[])
    error.traceback = ["-" * 75, HEAD, TEST, OWN, LIBRARY, "\x1b[0;31mValueError\x1b[0m: wrong"]
    cell.outputs = [new_output("stream", name="stdout", text="kept\n"), error]
    return cell


def test_frames_of_tests_go_and_own_frames_stay():
    own = new_code_cell("def double(x): ...", execution_count=3, metadata=nbgrader(solution=True))
    test = failed(7, nbgrader(grade=True, locked=True))
    notebook, resources = HideTests().preprocess(new_notebook(cells=[own, test]), {"a": 1})
    stream, error = notebook.cells[1].outputs
    assert error.traceback == [OWN, "ValueError: wrong"]
    assert (error.ename, error.evalue) == ("ValueError", "wrong")
    assert stream.text == "kept\n" and resources == {"a": 1}


def test_a_helper_defined_in_a_test_is_hidden_too():
    helper = new_code_cell(
        "def check(): ...", execution_count=7, metadata=nbgrader(grade=True, locked=True)
    )
    student = failed(9, {})
    notebook, _ = HideTests().preprocess(new_notebook(cells=[helper, student]), {})
    assert notebook.cells[1].outputs[1].traceback == ["ValueError: wrong"]


def test_manually_graded_code_is_the_students_own():
    own = failed(7, nbgrader(grade=True, solution=True))
    notebook, _ = HideTests().preprocess(new_notebook(cells=[own]), {})
    assert notebook.cells[0].outputs[1].traceback == [TEST, "ValueError: wrong"]
