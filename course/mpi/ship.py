"""Send a function and its arguments to fresh ranks, and find what carries a run's mark."""

import linecache
import os
import pickle
import site
import sys
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

_registering = threading.Lock()  # cloudpickle's registry is one for all threads


def installed(module: ModuleType) -> bool:
    """Whether fresh ranks can import `module` themselves: `course`, or installed code."""
    name = module.__name__
    if name.split(".")[0] == "course" or name in sys.builtin_module_names:
        return True
    file = getattr(module, "__file__", None)
    if file is None:
        return name != "__main__"
    roots = [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), *site.getsitepackages()]
    return any(Path(file).resolve().is_relative_to(Path(root).resolve()) for root in roots)


def job(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Pack the call, and what a rank needs to run it as this process would.

    Functions of a notebook, a script or a test module travel by value; those of `course`
    and of installed packages by name.

    Raises:
        TypeError: The function or an argument cannot be pickled.
    """
    import cloudpickle

    if not callable(function):
        raise TypeError(f"expected a function, got {type(function).__name__}")
    name = getattr(function, "__module__", None)
    module = sys.modules.get(name) if name else None
    by_value = module is not None and name != "__main__" and not installed(module)
    with _registering:
        try:
            if by_value:
                cloudpickle.register_pickle_by_value(module)
            call = cloudpickle.dumps((function, args, kwargs))
        except Exception as error:
            label = getattr(function, "__name__", repr(function))
            what = f"cannot send {label} and its arguments to the ranks: {error}"
            raise TypeError(what) from error
        finally:
            if by_value:
                cloudpickle.unregister_pickle_by_value(module)
    return {"call": call, "path": _path(), "directory": os.getcwd(), "sources": _sources()}


def _path() -> list[str]:
    """The import path, with the folder that holds `course`, every entry absolute."""
    here = str(Path(__file__).parents[2])
    entries = [os.path.abspath(entry or os.curdir) for entry in sys.path]
    return [*entries, *([] if here in entries else [here])]


def _sources() -> dict[str, Any]:
    """Source lines that exist only here, such as notebook cells', for the ranks' tracebacks."""
    cells = [name for name in linecache.cache if not os.path.exists(name)]
    return {name: linecache.cache[name] for name in cells[-500:]}


def save(path: Path, content: dict[str, Any]) -> None:
    """Write the job file."""
    path.write_bytes(pickle.dumps(content))


def sweep(mark: str) -> None:
    """Kill every process of this user that has `mark` among its command line's words."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        try:
            if process.pid != os.getpid() and mark in (process.info["cmdline"] or []):
                process.kill()
        except psutil.Error:
            continue
