"""Ask ranks where they are, and say it in the words of the notebook."""

import linecache
import re
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+) in (?P<name>.+)$')
# Below these, the stack is the engine's own machinery.
_MACHINERY = ("IPython/core/interactiveshell", "ipyparallel/", "ipykernel/", "course/engines/")


def read(
    directory: Path,
    ranks: Mapping[int, tuple[str, int]],
    send: Callable[[Mapping[int, tuple[str, int]], int], None],
    timeout: float,
) -> dict[int, str]:
    """Return the raw stack of each rank's main thread, by rank.

    A rank that does not answer before `timeout` seconds, because it is gone or stopped,
    has an empty text.

    Args:
        directory: where the ranks write their stacks.
        ranks: node and process id of each rank that is asked.
        send: sends a signal to such ranks.
        timeout: seconds, from when the signal was sent.
    """
    sizes: dict[int, int] = {}
    for rank in ranks:
        path = directory / f"{rank}.stack"
        sizes[rank] = path.stat().st_size if path.exists() else 0
    send(ranks, signal.SIGUSR1)
    deadline = time.monotonic() + timeout
    texts = dict.fromkeys(ranks, "")
    while time.monotonic() < deadline and not all(texts.values()):
        time.sleep(0.05)  # long enough for a started dump to be whole
        for rank in ranks:
            path = directory / f"{rank}.stack"
            if path.exists() and path.stat().st_size > sizes[rank]:
                texts[rank] = path.read_text()[sizes[rank] :]
    return texts


def places(stack: str, cells: Mapping[str, str]) -> list[str]:
    """Turn a raw stack into lines "line 3 of the cell: comm.recv(source=0)", innermost first.

    Args:
        stack: what faulthandler wrote.
        cells: source text of the cells that were sent to the engines, by the base name
            of the file that IPython compiles them under.
    """
    found = []
    for line in stack.splitlines():
        match = _FRAME.match(line)
        if match is None:
            continue
        file, number, name = match["file"], int(match["line"]), match["name"]
        if any(part in file for part in _MACHINERY):
            break
        if "course/mpi/" in file:  # the recording of the call, not the call
            continue
        where, source = _source(file, number, cells)
        if where is None:
            where = f"{Path(file).name}"
        inside = "" if name == "<module>" else f" in {name}"
        found.append(f"line {number} of {where}{inside}" + (f": {source}" if source else ""))
    return found


def _source(file: str, number: int, cells: Mapping[str, str]) -> tuple[str | None, str]:
    text = cells.get(Path(file).name)
    if text is not None:
        lines = text.splitlines()
        return "the cell", lines[number - 1].strip() if number <= len(lines) else ""
    source = linecache.getline(file, number).strip()
    notebook_cell = "ipykernel_" in file or file.startswith("<ipython")
    return ("the cell" if notebook_cell else None), source


def report(stacks: Mapping[int, str], cells: Mapping[str, str]) -> str:
    """Return one paragraph per rank: where it is, innermost frame of the user's first."""
    parts = []
    for rank, stack in sorted(stacks.items()):
        if not stack:
            parts.append(f"rank {rank} does not answer")
            continue
        frames = places(stack, cells)
        # The user's own lines say most; library frames inside them come first in the stack.
        own = [frame for frame in frames if " of the cell" in frame]
        if not frames:
            parts.append(f"rank {rank} waits for the next cell")
        elif own:
            inner = f" (inside {frames[0]})" if frames[0] != own[0] else ""
            parts.append(f"rank {rank} is at {own[0]}{inner}")
        else:
            parts.append(f"rank {rank} is at {frames[0]}")
    return "\n".join(parts)


def cell_name(code: str) -> str | None:
    """Return the base name of the file under which an engine compiles the cell `code`."""
    try:
        from ipykernel.compiler import get_file_name
    except ImportError:
        return None
    return Path(get_file_name(code)).name


def crashes(directory: Path, ranks: Iterable[int]) -> dict[int, str]:
    """Return what faulthandler wrote as each of `ranks` crashed; only those that did."""
    texts = {}
    for rank in ranks:
        path = directory / f"{rank}.crash"
        if path.exists() and path.stat().st_size:
            texts[rank] = path.read_text()
    return texts
