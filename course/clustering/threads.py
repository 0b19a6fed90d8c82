"""Run a compiled kernel on many short ranges, shared out among threads as they finish."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any


class Threads:
    """A pool of `count` threads for kernels that release the GIL.

    Ranges are handed out one at a time, so a thread that meets a dense region does not
    keep the others waiting.
    """

    def __init__(self, count: int) -> None:
        """Start no thread yet; a pool of one never does."""
        self.count = count
        self._executor: ThreadPoolExecutor | None = None

    def __enter__(self) -> "Threads":
        """Start the threads."""
        if self.count > 1:
            self._executor = ThreadPoolExecutor(self.count)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the threads."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def ranges(self, items: int, grain: int, per_thread: int = 32) -> list[tuple[int, int]]:
        """Cut ``range(items)`` into ranges of at least `grain`, not many more than useful."""
        if items == 0:
            return []
        parts = max(1, min(items // max(grain, 1), per_thread * self.count))
        if self.count == 1:
            parts = 1
        cuts = [items * part // parts for part in range(parts + 1)]
        return list(zip(cuts[:-1], cuts[1:], strict=True))

    def map(self, kernel: Callable[..., Any], ranges: list[tuple[int, int]], *args: Any) -> list:
        """Return ``[kernel(*args, start, stop) for start, stop in ranges]``."""
        return self.each(kernel, [(*args, start, stop) for start, stop in ranges])

    def each(self, kernel: Callable[..., Any], calls: list[tuple]) -> list:
        """Return ``[kernel(*args) for args in calls]``."""
        if self._executor is None or len(calls) < 2:
            return [kernel(*args) for args in calls]
        futures = [self._executor.submit(kernel, *args) for args in calls]
        return [future.result() for future in futures]
