"""``course lab`` and ``course run``: notebooks in JupyterLab, or from top to bottom."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from course.processes import end, family, guarded

FIRST = "notebooks/00_start.ipynb"
CONFIG = Path(__file__).parent / "jupyter"


def project() -> Path:
    """Return the folder of the project: the working directory, or the one above `course`.

    Raises:
        FileNotFoundError: neither has notebooks.
    """
    for folder in (Path.cwd(), Path(__file__).resolve().parents[1]):
        if (folder / FIRST).exists():
            return folder
    raise FileNotFoundError(f"expected {FIRST} below {Path.cwd()}, found none")


def free_port(first: int) -> int:
    """Return the first port from `first` that is free on 127.0.0.1."""
    for port in range(first, first + 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port among {first}..{first + 99} on 127.0.0.1")


def remote() -> bool:
    """Return whether this shell runs on a host that the user reached by ssh."""
    return bool(os.environ.get("SSH_CONNECTION") or os.environ.get("SLURM_JOB_ID"))


def tunnel(port: int) -> str:
    """Return the ssh line that makes `port` of this host reachable from the user's own.

    In a job it has two hops: compute nodes are reached by way of a login node only. That is the
    one that the site's settings name as ``login_host``, or else the one that the job came from.
    """
    user = os.environ.get("USER") or os.environ.get("LOGNAME") or "USER"
    line = f"ssh -N -L {port}:127.0.0.1:{port}"
    host = socket.getfqdn()
    origin = os.environ.get("SLURM_SUBMIT_HOST", "")
    if os.environ.get("SLURM_JOB_ID") and origin not in ("", socket.gethostname(), host):
        from course.cluster import site

        return f"{line} -J {user}@{site.load().login_host or origin} {user}@{host}"
    return f"{line} {user}@{host}"


def main(notebook: str | None, port: int, browser: bool) -> int:
    """Run JupyterLab on 127.0.0.1 until it is stopped; print where it is."""
    root = project()
    path = Path(notebook or FIRST)
    if not (root / path).exists():
        raise FileNotFoundError(f"expected a notebook, found none at {root / path}")
    port, token = free_port(port), secrets.token_hex(24)
    environment = {**os.environ, "JUPYTER_TOKEN": token}
    known = environment.get("JUPYTER_CONFIG_PATH")
    environment["COURSE_ASSIGNMENTS"] = str(root / "assignments")
    # nbgrader calls alembic, and terminals shall find `course`.
    environment["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), environment["PATH"]])
    environment["JUPYTER_CONFIG_PATH"] = os.pathsep.join([str(CONFIG), *([known] if known else [])])
    browser = browser and not remote()
    command = [
        *(sys.executable, "-m", "jupyterlab"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        f"--ServerApp.root_dir={root}",
        f"--LabApp.default_url=/lab/tree/{path.as_posix()}",
        "--ServerApp.open_browser=" + str(browser),
        # This container or login node may well be used as root; the token guards it.
        "--ServerApp.allow_root=True",
        "--log-level=WARN",
    ]
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell had them ignored
        signal.signal(number, signal.default_int_handler)
    # The guard ends the server and its kernels also when this terminal is closed.
    server = subprocess.Popen(guarded(command), env=environment, cwd=root)
    address = f"http://127.0.0.1:{port}/lab/tree/{path.as_posix()}?token={token}"
    try:
        _wait(server, port, token)
        print(f"\nJupyterLab is at\n\n    {address}\n", flush=True)
        if remote():
            print("This is a remote host. On your own machine, type first\n", flush=True)
            print(f"    {tunnel(port)}\n\nand then open the address above there.", flush=True)
        print("Ctrl+C here stops it.", flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _end(server)


def _wait(server: "subprocess.Popen[bytes]", port: int, token: str, timeout: float = 90) -> None:
    deadline = time.monotonic() + timeout
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/status", headers={"Authorization": f"token {token}"}
    )
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"JupyterLab ended with status {server.returncode} as it started")
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not answer on port {port} within {timeout:.0f} s")


def _end(server: "subprocess.Popen[bytes]") -> None:
    # The server first, so that it can end its kernels properly; then its guard.
    for process in family(server.pid)[1:2]:
        end([process], grace=15)
    server.terminate()
    server.wait(30)


def run(notebook: str, output: str | None, full: bool, ranks: int | None, timeout: float) -> int:
    """Execute `notebook` from top to bottom and write the executed copy.

    The copy is written after each cell, so that it is there as far as it came, however this ends.

    Returns:
        1 when a cell raises, else 0.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    source = Path(notebook)
    if not source.exists():
        raise FileNotFoundError(f"expected a notebook, found none at {source}")
    target = Path(output) if output else Path("build") / source.name
    os.environ["COURSE_SETTING"] = "full" if full else os.environ.get("COURSE_SETTING", "small")
    if ranks is not None:
        os.environ["COURSE_RANKS"] = str(ranks)
    book = nbformat.read(source, as_version=4)
    client = NotebookClient(
        book, timeout=timeout, resources={"metadata": {"path": str(source.parent.resolve())}}
    )
    count = sum(cell.cell_type == "code" for cell in book.cells)
    done = 0

    def show(cell: object, cell_index: int) -> None:
        nonlocal done
        done += 1
        print(f"\r{source.name}: cell {done} of {count}", end="", flush=True)

    def keep(**_: object) -> None:
        # After each cell, because a batch job may be ended at any time.
        part = target.with_name(target.name + ".part")
        nbformat.write(book, part)
        part.replace(target)

    client.on_cell_execute = show
    client.on_cell_executed = keep
    status = 0
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError) as error:
        print(f"\n{error}", file=sys.stderr)
        status = 1
    finally:
        keep()
        print(f"\nwritten: {target}")
    return status
