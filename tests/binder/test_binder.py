"""The recipe of the image that Binder builds, as far as it can be checked without Docker."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from course import lab
from course.processes import end, family
from tools import box

ROOT = Path(__file__).parents[2]
BINDER = ROOT / "binder"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Binder's images are Linux")


def test_python_is_named_and_one_that_the_project_allows():
    name, version = (BINDER / "runtime.txt").read_text().strip().split("-")
    assert name == "python"
    assert tuple(map(int, version.split("."))) in {(3, 11), (3, 12)}


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_scripts_can_be_run(name):
    path = BINDER / name
    assert path.read_text().startswith("#!/bin/bash\n")
    assert os.access(path, os.X_OK)
    listed = subprocess.run(
        ["git", "ls-files", "--stage", path], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode == 0 and listed.stdout:  # a clone must get the bit, too
        assert listed.stdout.startswith("100755")
    subprocess.run(["bash", "-n", path], check=True)


def test_start_ends_in_the_servers_command():
    assert (BINDER / "start").read_text().rstrip().splitlines()[-1] == 'exec "$@"'


def test_nothing_else_is_there_that_binder_would_prefer():
    """environment.yml beside requirements.txt would win silently, a Dockerfile over all."""
    names = {path.name for path in BINDER.iterdir()}
    assert names == {"apt.txt", "runtime.txt", "postBuild", "start"}


def packages():
    return (BINDER / "apt.txt").read_text().split()


def test_system_packages_exist():
    assert packages() and all(re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", name) for name in packages())
    if not shutil.which("apt-cache"):
        pytest.skip("no apt here, so nobody to ask whether the packages exist")
    show = ["apt-cache", "show", "--no-all-versions"]
    if subprocess.run([*show, "make"], capture_output=True).returncode:
        pytest.skip("apt has no package lists here: apt-get update")
    shown = subprocess.run([*show, *packages()], capture_output=True, text=True).stdout
    assert set(packages()) <= set(re.findall(r"^Package: (.*)$", shown, re.MULTILINE))


@LINUX
def test_the_image_would_hold_this_python_and_run_these_scripts(tmp_path):
    pytest.importorskip("repo2docker")
    clone = tmp_path / "clone"
    shutil.copytree(BINDER, clone / "binder")
    for name in ("pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, clone)
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", "--user-id=1000"]
    done = subprocess.run(
        [*command, "--user-name=jovyan", clone], capture_output=True, text=True, timeout=60
    )
    recipe = done.stdout + done.stderr
    assert done.returncode == 0, recipe
    python = (BINDER / "runtime.txt").read_text().strip().removeprefix("python-")
    assert f"python={python}" in recipe
    install = re.search(r"apt-get install --yes --no-install-recommends (.*?) &&", recipe)[1]
    assert install.split() == packages()
    assert "RUN ./binder/postBuild" in recipe
    assert 'R2D_ENTRYPOINT="${REPO_DIR}/binder/start"' in recipe


@LINUX
def test_post_build_makes_the_locked_environment_and_a_kernel_in_it(tmp_path):
    """Run in place, where most is there already; a cache that is named is kept."""
    uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    check = [uv, "sync", "--check", "--locked", "--extra", "cpu", "--python", sys.executable]
    if subprocess.run(check, cwd=ROOT, capture_output=True, timeout=60).returncode:
        pytest.skip("not the locked environment for CPUs, and a test shall not change it")
    cache = subprocess.run([uv, "cache", "dir"], capture_output=True, text=True).stdout.strip()
    environment = {**os.environ, "NB_PYTHON_PREFIX": sys.base_prefix, "UV_CACHE_DIR": cache}
    bare = tmp_path / "bin"  # Binder's PATH has none of our environment
    bare.mkdir()
    environment["PATH"] = os.pathsep.join([str(bare), "/usr/local/bin", "/usr/bin", "/bin"])
    done = subprocess.run(
        [BINDER / "postBuild"],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mnist: 60,000 training" in done.stdout
    spec = ROOT / ".venv" / "share" / "jupyter" / "kernels" / "python3" / "kernel.json"
    assert json.loads(spec.read_text())["argv"][0].startswith(str(ROOT / ".venv"))


@LINUX
def test_start_runs_the_server_as_binder_does(tmp_path):
    """Binder's launcher asks its Python for JupyterLab, then executes it from the PATH."""
    port = lab.free_port(18950)
    launcher = "import jupyterlab, os, sys; os.execvp('jupyter-lab', sys.argv)"
    base = "/user/someone/"
    command = [BINDER / "start", "python3", "-c", launcher, "--ip=127.0.0.1", f"--port={port}"]
    command += [f"--ServerApp.base_url={base}", "--IdentityProvider.token=secret", "--no-browser"]
    command += ["--allow-root", "--ServerApp.port_retries=0"]
    path = os.pathsep.join(["/usr/local/bin", "/usr/bin", "/bin"])
    environment = {"PATH": path, "HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path)}
    server = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        specs = ask(f"http://127.0.0.1:{port}{base}api/kernelspecs", server)
        kernel = specs["kernelspecs"]["python3"]["spec"]["argv"][0]
        assert kernel.startswith(str(ROOT / ".venv"))
        environ = psutil.Process(server.pid).environ()
        assert environ["COURSE_ASSIGNMENTS"] == str(ROOT / "assignments")
        assert psutil.Process(server.pid).exe() == os.path.realpath(sys.executable)
    finally:
        end(family(server.pid), grace=10)
        server.wait(15)


def ask(url, server, patience=60):
    request = urllib.request.Request(url, headers={"Authorization": "token secret"})
    deadline = time.monotonic() + patience
    while True:
        assert server.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, "the server did not answer"
            time.sleep(0.2)


@LINUX
def test_the_first_notebook_runs_with_two_gigabytes_and_one_core(tmp_path):
    reason = box.why_not()
    if reason:
        pytest.skip(reason)
    target = tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "course.cli", "run", "notebooks/00_start.ipynb"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COURSE_")}
    with box.Box(2 * 2**30, 1) as small:
        process = small.popen(
            [*command, "--output", str(target)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        printed, _ = process.communicate(timeout=200)
        assert process.returncode == 0, printed
        assert small.killed() == 0
    cells = json.loads(target.read_text())["cells"]
    first = next(cell for cell in cells if cell["cell_type"] == "code")
    assert "ranks: 2" in "".join(first["outputs"][0]["text"])


@LINUX
def test_a_box_grants_what_the_course_sees():
    reason = box.why_not()
    if reason:
        pytest.skip(reason)
    code = (
        "from course import processes, settings\n"
        "print(processes.cores(), processes.memory(), settings.ranks(4))"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COURSE_")}
    with box.Box(2**30, 1) as small:
        process = small.popen(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE
        )
        assert process.communicate(timeout=60)[0].split() == ["1", str(2**30), "2"]
