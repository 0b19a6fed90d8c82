import re
import signal
import socket
import subprocess
import sys
import urllib.request

import nbformat
import psutil
import pytest

from course import lab


def test_lab_answers_with_its_token_on_the_loopback_only_and_ends_whole():
    port = lab.free_port(18888)
    command = [sys.executable, "-m", "course.cli", "lab", "--no-browser", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        printed = ""
        while "stops it" not in printed:
            line = process.stdout.readline()
            assert line, printed
            printed += line
        address = re.search(r"http://127\.0\.0\.1:\d+/lab/tree/notebooks/00_start\S+", printed)[0]
        with urllib.request.urlopen(address, timeout=120) as answer:
            assert b"JupyterLab" in answer.read()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/contents", timeout=120)
        family = psutil.Process(process.pid).children(recursive=True)
        listening = [c for p in family for c in p.net_connections() if c.status == "LISTEN"]
        assert {c.laddr.ip for c in listening if c.laddr.port == port} == {"127.0.0.1"}
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert not psutil.wait_procs(family, timeout=60)[1]


def test_tunnel_line_names_port_and_user(monkeypatch):
    monkeypatch.setenv("USER", "ada")
    assert re.fullmatch(r"ssh -N -L 8890:127\.0\.0\.1:8890 ada@\S+", lab.tunnel(8890))


def test_tunnel_to_a_compute_node_has_two_hops(monkeypatch, tmp_path):
    settings = tmp_path / "site.toml"
    settings.write_text("")
    values = {"USER": "ada", "SLURM_JOB_ID": "17", "SLURM_SUBMIT_HOST": "login1"}
    for name, value in {**values, "COURSE_SITE": str(settings)}.items():
        monkeypatch.setenv(name, value)
    line = r"ssh -N -L 8890:127\.0\.0\.1:8890 -J ada@{} ada@\S+"
    assert re.fullmatch(line.format("login1"), lab.tunnel(8890))
    settings.write_text('login_host = "deep.example.org"')
    assert re.fullmatch(line.format(r"deep\.example\.org"), lab.tunnel(8890))
    monkeypatch.setenv("SLURM_SUBMIT_HOST", socket.gethostname())
    assert " -J " not in lab.tunnel(8890)


@pytest.mark.parametrize("variable", ["SSH_CONNECTION", "SLURM_JOB_ID"])
def test_remote_is_an_ssh_session_or_a_job(monkeypatch, variable):
    for name in ("SSH_CONNECTION", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    assert not lab.remote()
    monkeypatch.setenv(variable, "1")
    assert lab.remote()


def test_a_taken_port_is_passed_over():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert lab.free_port(taken.getsockname()[1]) > taken.getsockname()[1]


def write(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def test_run_executes_a_notebook_in_the_chosen_setting(tmp_path, capsys):
    source, target = tmp_path / "a.ipynb", tmp_path / "out" / "a.ipynb"
    write(source, "import os\nprint(os.environ['COURSE_SETTING'], os.environ['COURSE_RANKS'])")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_SETTING", "small")
        patch.setenv("COURSE_RANKS", "1")
        assert lab.run(str(source), str(target), full=True, ranks=3, timeout=200) == 0
    assert nbformat.read(target, 4).cells[0].outputs[0].text == "full 3\n"


def test_run_keeps_what_came_before_a_failing_cell(tmp_path, capsys):
    source, target = tmp_path / "b.ipynb", tmp_path / "b_out.ipynb"
    write(source, "print('before')", "1 / 0", "print('after')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_SETTING", "small")
        assert lab.run(str(source), str(target), full=False, ranks=None, timeout=200) == 1
    cells = nbformat.read(target, 4).cells
    assert cells[0].outputs[0].text == "before\n"
    assert cells[1].outputs[0].ename == "ZeroDivisionError"
    assert "ZeroDivisionError" in capsys.readouterr().err
