"""Wait for ranks with a deadline: first exception at once, output in rank order."""

import os
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import ipyparallel as ipp

from course.engines.errors import Deadlock, EnginesDied, Hang, RankError, ranks_text

if TYPE_CHECKING:
    from course.engines.cluster import Engines

# Other ranks get this long to raise or finish too, once one has raised.
GRACE_SECONDS = 0.5
# Cells that take longer show their output as it comes, not in rank order at the end.
STREAM_AFTER_SECONDS = 2.0


def interactive() -> bool:
    """Return whether a person watches: in IPython, and not in a test of the notebook."""
    if os.environ.get("IPP_NONINTERACTIVE", "0") not in ("", "0"):
        return False
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return get_ipython() is not None


class Progress:
    """One line that says how far a start has come; only the last word outside a notebook."""

    def __init__(self, title: str) -> None:
        """Show `title`."""
        self.title = title
        self.steps: list[str] = []
        self._handle: Any = None
        if interactive():
            from IPython.display import display

            self._handle = display({"text/plain": f"{title} ..."}, raw=True, display_id=True)

    def __call__(self, step: str) -> None:
        """Show that `step` is reached."""
        if not self.steps or self.steps[-1] != step:
            self.steps.append(step)
            self._show(f"{self.title}: {step}")

    def done(self, text: str) -> None:
        """Replace the line by `text`."""
        if self._handle is None:
            print(text)
        self._show(text)

    def _show(self, text: str) -> None:
        if self._handle is not None:
            self._handle.update({"text/plain": text}, raw=True)


def unfinished(result: ipp.AsyncResult) -> list[int]:
    """Return the ranks whose part of `result` is not there yet."""
    return [rank for rank, child in enumerate(result._children) if not child.done()]


def errors(result: ipp.AsyncResult) -> dict[int, ipp.error.RemoteError]:
    """Return the exceptions of those ranks that raised, by rank."""
    return {
        rank: child.result()
        for rank, child in enumerate(result._children)
        if child.done() and isinstance(child.result(), Exception)
    }


def wait(engines: "Engines", result: ipp.AsyncResult, timeout: float | None = None) -> None:
    """Wait until every rank has finished, and show what they printed.

    Args:
        engines: whose ranks work.
        result: of a call on `engines.view`.
        timeout: seconds; `engines.timeout` if None.

    Raises:
        RankError: a rank raised.
        Hang: some have not finished in time; Deadlock where it is certain that they never can.
        EnginesDied: the MPI job ended.
        KeyboardInterrupt: passed on to the ranks first.
    """
    timeout = engines.timeout if timeout is None else timeout
    started = time.monotonic()
    deadlock = False
    with ExitStack() as streaming:
        streamed = False
        try:
            while not result.wait(0.05):
                if errors(result) or not engines.alive():
                    break
                if engines.deadlocked():
                    deadlock = True
                    break
                waited = time.monotonic() - started
                if waited > timeout:
                    break
                if waited > STREAM_AFTER_SECONDS and not streamed and interactive():
                    streaming.enter_context(result.stream_output())
                    streamed = True
        except KeyboardInterrupt:
            _interrupted(engines, result)
            raise
    if result.wait(GRACE_SECONDS):
        result.wait_for_output(1)
    if not streamed:
        show(result)
    _judge(engines, result, timeout, deadlock)


def _judge(engines: "Engines", result: ipp.AsyncResult, timeout: float, deadlock: bool) -> None:
    raised, left = errors(result), unfinished(result)
    if left and not engines.alive():
        raise EnginesDied(
            f"the MPI job ended while {ranks_text(left)} worked; "
            f"`recover()` gives fresh engines\n{engines.crash_report()}"
        )
    report = ""
    if left:
        report = engines.where(left)
    if raised:
        rank, error = next(iter(raised.items()))
        others = {r: f"{e.ename}: {e.evalue}" for r, e in raised.items() if r != rank}
        if report:
            report += "\nThey wait for a rank that raised; `recover()` gives fresh engines."
        raise RankError(rank, error.ename, error.evalue, error.traceback, others, left, report)
    if left and deadlock:
        raise Deadlock(
            f"{ranks_text(left)} can never finish; `recover()` gives fresh engines", left, report
        )
    if left:
        raise Hang(
            f"{ranks_text(left)} did not finish within {timeout:g} s; "
            "`recover()` gives fresh engines",
            left,
            report,
        )


def _interrupted(engines: "Engines", result: ipp.AsyncResult) -> None:
    engines.interrupt()
    if not result.wait(2):
        left = unfinished(result)
        print(
            f"{ranks_text(left).capitalize()} cannot be interrupted:\n{engines.where(left)}\n"
            "`recover()` gives fresh engines.",
            file=sys.stderr,
        )
    show(result)


def show(result: ipp.AsyncResult) -> None:
    """Print and display what each rank printed and displayed so far, in rank order."""
    metadata = [child.output.metadata for child in result._children]
    for rank, md in enumerate(metadata):
        _print(md["stdout"], f"[stdout:{rank}] ", sys.stdout)
    for rank, md in enumerate(metadata):
        _print(md["stderr"], f"[stderr:{rank}] ", sys.stderr)
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return
    if get_ipython() is None:
        return
    for rank, md in enumerate(metadata):
        bundles = [output for output in md["outputs"] if output.get("data")]
        if md["execute_result"]:
            bundles.append(md["execute_result"])
        for bundle in bundles:
            display({"text/plain": f"[output:{rank}]"}, raw=True)
            display(bundle["data"], metadata=bundle.get("metadata", {}), raw=True)


def _print(text: str, prefix: str, file: Any) -> None:
    if text:
        end = "" if text.endswith("\n") else "\n"
        separator = "\n" if "\n" in text.rstrip("\n") else ""
        print(prefix + separator + text, end=end, file=file)
