"""Bring uv and the locked environment, with nothing but a Python's standard library.

    python3 tools/bootstrap.py [--extra cpu|gpu] [--group NAME ...]

uv is taken from the PATH, or installed into ``.uv`` through pip, or, where this Python has
neither pip nor venv (Debian splits them off), straight from the package index, checked
against the index's hash. ``PIP_INDEX_URL`` or ``UV_DEFAULT_INDEX`` name another index than the
one of ``uv.lock``.
"""

import argparse
import hashlib
import io
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UV_VERSIONS = ((0, 9), (0, 14))  # from, and below; pyproject.toml's [tool.uv] needs 0.9
PYTHONS = ((3, 11), (3, 13))
SECONDS = 120  # for each network wait


def version_of(uv: str) -> tuple[int, ...]:
    """Return the version of the program `uv`, () if it does not run."""
    try:
        text = subprocess.run([uv, "--version"], capture_output=True, text=True, timeout=30).stdout
        return tuple(int(part) for part in text.split()[1].split("."))
    except (OSError, IndexError, ValueError, subprocess.TimeoutExpired):
        return ()


def usable(uv: str) -> bool:
    """Return whether the program `uv` is of a version that the project is locked with."""
    return UV_VERSIONS[0] <= version_of(uv) < UV_VERSIONS[1]


def by_pip(folder: Path) -> bool:
    """Install uv into a virtual environment at `folder`; return whether that worked."""
    low, high = (".".join(map(str, version)) for version in UV_VERSIONS)
    commands = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin" / "pip"), "install", "--quiet", f"uv>={low},<{high}"],
    )
    for command in commands:
        if subprocess.run(command, capture_output=True, timeout=10 * SECONDS).returncode:
            shutil.rmtree(folder, ignore_errors=True)
            return False
    return True


def by_index(folder: Path) -> None:
    """Fetch uv's wheel from the package index and unpack its program into ``folder/bin``."""
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL")
    locked = re.search(r'registry = "(https://[^"]+)"', (ROOT / "uv.lock").read_text())
    index = (index or locked[1]).rstrip("/")
    request = urllib.request.Request(
        f"{index}/uv/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        files = json.load(answer)["files"]
    system = {"Linux": "manylinux", "Darwin": "macosx"}[platform.system()]
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    wheels = {}
    for file in files:
        parts = file["filename"].split("-")
        numbers = parts[1].split(".")
        if not file["filename"].endswith(".whl") or not all(n.isdecimal() for n in numbers):
            continue
        version = tuple(int(number) for number in numbers)
        if UV_VERSIONS[0] <= version < UV_VERSIONS[1] and system in parts[-1]:
            if machine in parts[-1]:
                wheels[version] = file
    if not wheels:
        sys.exit(f"expected a wheel of uv for {system} {machine} on {index}, found none")
    wheel = wheels[max(wheels)]
    url = urllib.request.urljoin(f"{index}/uv/", wheel["url"])
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:
        data = answer.read()
    if hashlib.sha256(data).hexdigest() != wheel["hashes"]["sha256"]:
        sys.exit(f"{wheel['filename']} arrived damaged: its hash is not the index's")
    target = folder / "bin" / "uv"
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        name = next(n for n in archive.namelist() if n.endswith("/scripts/uv"))
        target.write_bytes(archive.read(name))
    target.chmod(target.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def find_uv() -> str:
    """Return a usable uv, bringing one if need be."""
    own = ROOT / ".uv" / "bin" / "uv"
    for candidate in (shutil.which("uv"), str(own)):
        if candidate and usable(candidate):
            return candidate
    print("Bringing uv ...", flush=True)
    shutil.rmtree(own.parents[1], ignore_errors=True)
    if not by_pip(own.parents[1]):
        by_index(own.parents[1])
    if not usable(str(own)):
        sys.exit(f"expected a working uv at {own}, got version {version_of(str(own))}")
    return str(own)


def main() -> None:
    """Set up the environment in ``.venv``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--extra", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--group", action="append", default=[], help="a further dependency group")
    options = parser.parse_args()
    if not PYTHONS[0] <= sys.version_info < PYTHONS[1]:
        sys.exit(
            f"expected Python 3.11 or 3.12, got {platform.python_version()} at {sys.executable}; "
            "name another: make PYTHON=/path/to/python3.12 ..."
        )
    if sys.platform == "linux" and not (shutil.which("c++") or shutil.which("g++")):
        sys.exit("expected a C++ compiler for building Horovod, found none (Debian: g++)")
    uv = find_uv()
    command = [uv, "sync", "--locked", "--compile-bytecode", "--python", sys.executable]
    command += ["--extra", options.extra]
    for group in options.group:
        command += ["--group", group]
    print(
        "Setting up .venv (the first time, building Horovod takes about 3 minutes) ...", flush=True
    )
    # Under `make VARIABLE=...` Horovod would take make's flags and compile one file at a time.
    environment = {**os.environ, "MAKEFLAGS": f"-j{os.cpu_count() or 1}"}
    sys.exit(subprocess.run(command, cwd=ROOT, env=environment).returncode)


if __name__ == "__main__":
    main()
