"""The way to uv that needs no pip, against a package index on this machine."""

import functools
import hashlib
import http.server
import io
import json
import platform
import threading
import zipfile

import pytest

from tools import bootstrap


def wheel(version: str) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(f"uv-{version}.data/scripts/uv", f"#!/bin/sh\necho uv {version}\n")
    return archive.getvalue()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Serve wheels of the given versions; returns a function that fills the index."""
    folder = tmp_path / "simple" / "uv"
    folder.mkdir(parents=True)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def end_headers(self):
            self.send_header("X-Test", "1")
            super().end_headers()

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{server.server_port}/simple")

    def fill(*versions, damage=False):
        system = {"Linux": "manylinux_2_17", "Darwin": "macosx_11_0"}[platform.system()]
        files = []
        for version in versions:
            name = f"uv-{version}-py3-none-{system}_{platform.machine()}.whl"
            data = wheel(version)
            (folder / name).write_bytes(data)
            digest = hashlib.sha256(data + b"x" * damage).hexdigest()
            files.append({"filename": name, "url": name, "hashes": {"sha256": digest}})
        files.append({"filename": "uv-0.9.0.tar.gz", "url": "x", "hashes": {"sha256": ""}})
        (folder / "index.html").write_text(json.dumps({"files": files}))

    yield fill
    server.shutdown()
    server.server_close()


def test_the_newest_version_in_the_range_is_taken(index, tmp_path):
    index("0.8.99", "0.9.2", "0.10.1", "9.0.0")
    bootstrap.by_index(tmp_path / "uv")
    assert bootstrap.version_of(str(tmp_path / "uv" / "bin" / "uv")) == (0, 10, 1)


def test_a_damaged_wheel_is_refused(index, tmp_path):
    index("0.9.2", damage=True)
    with pytest.raises(SystemExit, match="arrived damaged"):
        bootstrap.by_index(tmp_path / "uv")
    assert not (tmp_path / "uv").exists()


def test_an_index_without_a_fitting_wheel_is_named(index, tmp_path):
    index("0.1.0")
    with pytest.raises(SystemExit, match="expected a wheel of uv .* found none"):
        bootstrap.by_index(tmp_path / "uv")


def test_a_program_that_does_not_run_has_no_version():
    assert bootstrap.version_of("/nonexistent/uv") == ()
    assert not bootstrap.usable("/nonexistent/uv")
