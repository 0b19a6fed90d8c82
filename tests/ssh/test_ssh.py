"""SSH as in docs/ssh.md, rehearsed with a login node and a compute node on this machine."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from course import lab
from course.processes import end, family

ROOT = Path(__file__).parents[2]
SSHD = shutil.which("sshd") or next(
    (path for path in ("/usr/sbin/sshd", "/usr/local/sbin/sshd") if os.path.exists(path)), None
)
needs_sshd = pytest.mark.skipif(
    SSHD is None or not all(map(shutil.which, ("ssh", "ssh-keygen", "ssh-agent", "ssh-add"))),
    reason="no OpenSSH server and client here (Debian: openssh-server)",
)
PASSPHRASE = "three words together"


def test_no_private_key_is_in_the_project():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("not a git checkout, so nobody knows what belongs to the project")
    names = [name for name in listed.stdout.decode().split("\0") if name]
    marks = re.compile(b"-----BEGIN " + rb"[A-Z0-9 ]*PRIVATE KEY-----|PuTTY-User-Key-" + b"File")
    paths = [ROOT / name for name in names if (ROOT / name).is_file()]
    assert len(paths) > 100
    assert not [str(path) for path in paths if marks.search(path.read_bytes())]
    usual = re.compile(r"(^|/)(id_(rsa|dsa|ecdsa|ed25519)[^/]*|[^/]*\.(pem|ppk))$")
    assert not [name for name in names if usual.search(name) and not name.endswith(".pub")]


def keygen(path, passphrase=""):
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "rehearsal", "-f", path]
    subprocess.run(command, check=True, timeout=20)
    return path


@contextlib.contextmanager
def daemon(folder, name, public):
    """An sshd on a free port of 127.0.0.1 that knows one key; yield its port and its log."""
    port = lab.free_port(22100 if name == "login" else 22300)
    host = keygen(folder / f"{name}_host")
    (folder / f"{name}_authorized").write_text(public)
    log = folder / f"{name}.log"
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": host,
        "AuthorizedKeysFile": folder / f"{name}_authorized",
        "PidFile": "none",
        "UsePAM": "no",
        "StrictModes": "no",  # the folder is below one that all may write to
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "LogLevel": "DEBUG1",
    }
    config = folder / f"{name}_config"
    config.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    if os.getuid() == 0:  # sshd insists on this folder when it is root
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    process = subprocess.Popen([SSHD, "-D", "-f", config, "-E", log], start_new_session=True)
    try:
        deadline = time.monotonic() + 20
        while not (log.exists() and "Server listening" in log.read_text()):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield port, log
    finally:
        end(family(process.pid), grace=5)
        process.wait(10)


class World:
    """A login node, a compute node behind it, and a laptop with a key and an agent."""

    def __init__(self, folder, stack):
        self.folder = folder
        self.key = keygen(folder / "id_ed25519", PASSPHRASE)
        public = (folder / "id_ed25519.pub").read_text()
        login, self.login_log = stack.enter_context(daemon(folder, "login", public))
        node, self.node_log = stack.enter_context(daemon(folder, "node", public))
        known = folder / "known_hosts"
        hosts = (("login", login), ("node", node))
        known.write_text(
            "".join(
                f"[127.0.0.1]:{port} {(folder / f'{name}_host.pub').read_text()}"
                for name, port in hosts
            )
        )
        self.node_port = node
        # The first value wins, so that what is not said here is that of docs/ssh_config.
        self.config = folder / "config"
        lines = []
        for host, port in (("deep", login), ("dp-dam01", node)):
            lines += [f"Host {host}", "HostName 127.0.0.1", f"Port {port}"]
            lines += [f"IdentityFile {self.key}", f"User {os.environ.get('USER') or 'root'}"]
        lines += ["Host *", f"UserKnownHostsFile {known}", "StrictHostKeyChecking yes"]
        lines += ["BatchMode yes", "ConnectTimeout 20", f"Include {ROOT / 'docs' / 'ssh_config'}"]
        self.config.write_text("\n".join(lines) + "\n")
        self.agent = {**os.environ, "SSH_AUTH_SOCK": str(folder / "agent")}
        agent = subprocess.Popen(
            ["ssh-agent", "-D", "-a", folder / "agent"], stdout=subprocess.DEVNULL
        )
        stack.callback(agent.wait, 10)
        stack.callback(agent.terminate)
        while not (folder / "agent").exists():
            assert agent.poll() is None
            time.sleep(0.02)

    def unlock(self):
        """Give the agent the key; ssh-add asks for the passphrase."""
        ask = self.folder / "ask"
        ask.write_text(f"#!/bin/sh\necho '{PASSPHRASE}'\n")
        ask.chmod(0o700)
        environment = {**self.agent, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
        subprocess.run(["ssh-add", "-q", self.key], env=environment, check=True, timeout=20)

    def ssh(self, *words, agent=True):
        environment = self.agent if agent else {**os.environ, "SSH_AUTH_SOCK": ""}
        command = ["ssh", "-F", self.config, *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    @contextlib.contextmanager
    def tunnel(self, line, *hosts):
        """Run the line that `course lab` printed, from another port and to the hosts here."""
        forward = re.search(r"-L (\d+):(127\.0\.0\.1:\d+)", line)
        local = lab.free_port(int(forward[1]) + 1)
        words = ["-N", "-L", f"{local}:{forward[2]}", *hosts]
        process = subprocess.Popen(
            ["ssh", "-F", self.config, *words], env=self.agent, start_new_session=True
        )
        try:
            yield local
        finally:
            end(family(process.pid), grace=5)
            process.wait(10)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield World(tmp_path_factory.mktemp("ssh"), stack)


@needs_sshd
def test_a_key_with_a_passphrase_needs_the_agent(world):
    refused = world.ssh("deep", "true")
    assert refused.returncode and "Permission denied" in refused.stderr
    world.unlock()
    assert world.ssh("deep", "echo here").stdout == "here\n"
    assert world.ssh("deep", "true", agent=False).returncode
    printed = world.ssh("deep", "echo ${SSH_AUTH_SOCK:-none}").stdout
    assert printed == "none\n", "the agent was forwarded"


@needs_sshd
def test_the_compute_node_is_reached_through_the_login_node(world):
    world.unlock()
    assert world.ssh("dp-dam01", "echo there").stdout == "there\n"
    assert f"127.0.0.1 port {world.node_port}" in world.login_log.read_text()


@needs_sshd
def test_an_unknown_host_key_is_refused(world, tmp_path):
    world.unlock()
    empty = tmp_path / "known_hosts"
    empty.touch()
    done = world.ssh("-o", f"UserKnownHostsFile={empty}", "deep", "true")
    assert done.returncode and "Host key verification failed" in done.stderr


def answer(port, token, patience=30):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/status", headers={"Authorization": f"token {token}"}
    )
    deadline = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5) as reply:
                return json.load(reply)
        except OSError:
            assert time.monotonic() < deadline, "nothing answers through the tunnel"
            time.sleep(0.1)


@needs_sshd
def test_jupyterlab_through_one_hop_and_two(world):
    world.unlock()
    port = lab.free_port(18700)
    command = [sys.executable, "-m", "course.cli", "lab", "--no-browser", "--port", str(port)]
    remote = {**os.environ, "SSH_CONNECTION": "198.51.100.1 50000 198.51.100.2 22"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=remote, cwd=ROOT)
    try:
        printed = ""
        while "stops it" not in printed:
            line = server.stdout.readline()
            assert line, printed
            printed += line
        token = re.search(r"token=(\w+)", printed)[1]
        line = re.search(r"ssh -N -L .*", printed)[0]
        for hosts in (["deep"], ["dp-dam01"]):
            with world.tunnel(line, *hosts) as local:
                assert "started" in answer(local, token)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
