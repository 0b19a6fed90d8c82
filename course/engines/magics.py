"""``%%px`` with deadlines: ipyparallel's own, waiting as `course.engines.waiting` does."""

import argparse
from typing import TYPE_CHECKING, Any

from ipyparallel.client.magics import ParallelMagics

from course.engines import stacks, waiting

if TYPE_CHECKING:
    from course.engines.cluster import Engines


class RankMagics(ParallelMagics):
    """ipyparallel's ``%px`` magics for the ranks of `Engines`.

    ``%%px --timeout 30`` sets the deadline of one cell in seconds; the other options are
    ipyparallel's (``--noblock``, ``--targets``, ``--out``, ``--local``).
    """

    def __init__(self, shell: Any, engines: "Engines") -> None:
        """Register for `engines` in the IPython `shell`."""
        self.engines = engines
        self._timeout: float | None = None
        super().__init__(shell, engines.view)

    def cell_px(self, line: str = "", cell: str | None = None) -> Any:
        """Run the cell on every rank."""
        parser = argparse.ArgumentParser(prog="%%px", add_help=False, exit_on_error=False)
        parser.add_argument("--timeout", type=float)
        try:
            options, rest = parser.parse_known_args(line.split())
        except argparse.ArgumentError as error:
            raise ValueError(f"%%px {line}: expected --timeout SECONDS ({error})") from None
        self._timeout = options.timeout
        try:
            return super().cell_px(" ".join(rest), cell)
        finally:
            self._timeout = None

    def parallel_execute(self, cell: str, block: bool | None = None, **options: Any) -> Any:
        """Run `cell`; what `%px` and `%%px` call."""
        whole_world = self.view.targets == self.engines.view.targets
        name = stacks.cell_name(cell)
        if name is not None:
            self.engines.cells[name] = cell
        if block is False or not whole_world:
            return super().parallel_execute(cell, block=block, **options)
        result = self.engines.submit(lambda: self.view.execute(cell, silent=False, block=False))
        self.last_result = result
        if options.get("save_name"):
            self.shell.user_ns[options["save_name"]] = result
        waiting.wait(self.engines, result, self._timeout)
        return None


# The options that `%%px?` shows and parses are those of the method that is overridden.
RankMagics.cell_px.parser = ParallelMagics.cell_px.parser  # type: ignore[attr-defined]


def activate(engines: "Engines") -> None:
    """Make ``%px`` and ``%%px`` run on `engines`; outside IPython do nothing."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is not None:
        shell.magics_manager.register(RankMagics(shell, engines))
