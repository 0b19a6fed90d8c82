"""The communicator that a graded function gets: mpi4py's interface, with the calls made elsewhere.

In a sandbox there is no MPI. Every call travels to the grader's own rank, which makes it, records
it, and sends back what came of it. So the record of who sent what to whom is not the student's,
ranks have no other way to each other, and a deadlock is seen from outside.

Supported: messages, blocking or not; collectives, blocking or not; ``Dup``, ``Split`` and
Cartesian grids. Not supported, with an error that says so: windows, persistent requests, derived
data types, operations that the program defines itself.
"""

import pickle
import sys
import threading
import time
from typing import Any

import numpy as np

from course.grading import table
from course.grading.wire import Channel

_OWN = __file__


class _Link:
    """The way to the grader's rank, shared by a world's communicators and requests."""

    def __init__(self, channel: Channel, mpi: Any) -> None:
        self.channel = channel
        self.mpi = mpi
        self.lock = threading.Lock()
        self.ops = {id(getattr(mpi, name)): name for name in table.OPERATIONS}
        self.types = {
            id(getattr(mpi, name)): name for name in table.DATATYPES if hasattr(mpi, name)
        }

    def call(self, kind: str, target: Any, name: str, args: list[Any]) -> Any:
        """Have a call made, and return the answer's parts: value, buffers, status."""
        frame = sys._getframe(1)
        while frame.f_code.co_filename == _OWN and frame.f_back is not None:
            frame = frame.f_back
        site = [frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name]
        with self.lock:
            self.channel.send([kind, target, name, args, site], seconds=None)
            answer = self.channel.receive()
        if answer[0] == "error":
            kinds = {"ValueError": ValueError, "TypeError": TypeError, "KeyError": KeyError}
            raise kinds.get(answer[1], RuntimeError)(answer[2])
        return answer[1:]


def prepare() -> None:
    """Import mpi4py without starting MPI, which a sandbox has not."""
    import mpi4py

    mpi4py.rc.initialize = False
    mpi4py.rc.finalize = False
    import mpi4py.MPI


def connect(channel: Channel, rank: int, size: int) -> "RemoteComm":
    """Return the world, and make mpi4py's own names mean it."""
    prepare()
    from mpi4py import MPI

    world = RemoteComm(_Link(channel, MPI), 0, rank, size)
    own = RemoteComm(world._link, -1, 0, 1)
    values = {"COMM_WORLD": world, "COMM_SELF": own, "Request": RemoteRequest}
    values |= {"Status": RemoteStatus, "Wtime": time.perf_counter, "Win": _Unsupported("windows")}
    values |= {"Is_initialized": lambda: True, "Get_processor_name": lambda: f"rank{rank}"}
    for name, value in values.items():
        setattr(MPI, name, value)
    return world


class _Unsupported:
    def __init__(self, what: str) -> None:
        self._what = what

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(f"{self._what} cannot be used in graded functions ({name})")


class RemoteStatus:
    """What is known of a received message, as mpi4py's ``Status``."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self.source = self.tag = -1
        self.count = self._bytes = 0
        self.error = 0
        self.cancelled = False

    def Get_source(self) -> int:
        """Return the sender."""
        return self.source

    def Get_tag(self) -> int:
        """Return the tag."""
        return self.tag

    def Get_count(self, datatype: Any = None) -> int:
        """Return the number of bytes, or of elements of `datatype`."""
        names = {"BYTE": 1, "CHAR": 1, "SHORT": 2, "INT": 4, "FLOAT": 4, "LONG": 8, "DOUBLE": 8}
        from mpi4py import MPI

        for name, size in names.items():
            if datatype is getattr(MPI, name):
                return self._bytes // size
        return self._bytes if datatype is None else self._bytes // np.dtype(datatype).itemsize

    Get_elements = Get_count

    def _fill(self, found: Any) -> None:
        self.source, self.tag, self._bytes = found
        self.count = self._bytes


class _Argument:
    """One argument on its way: how it is spelt, and where an answer goes."""

    def __init__(self, kind: str, value: Any, link: _Link) -> None:
        self.target: Any = None
        self.kind = kind
        MPI = link.mpi
        if kind == "obj":
            self.sent: Any = ["obj", pickle.dumps(value)]
        elif kind == "objs":
            self.sent = ["none"] if value is None else ["objs", [pickle.dumps(v) for v in value]]
        elif kind == "op":
            self.sent = ["op", self._operation(value, link)]
        elif kind == "status":
            self.target = value
            self.sent = ["status", value is not None]
        elif kind in ("in", "out"):
            if value is None:
                self.sent = ["none"]
            elif value is MPI.IN_PLACE:
                self.sent = ["in place"]
            else:
                self.sent = self._buffer(value, link)
        elif kind == "int":
            self.sent = ["plain", int(value)]
        else:
            self.sent = ["plain", value]

    @staticmethod
    def _operation(value: Any, link: _Link) -> str:
        name = link.ops.get(id(value))
        if name is None:
            raise NotImplementedError(
                "operations that a program defines itself cannot be used in graded functions: "
                f"expected one of MPI's own, such as MPI.SUM, got {value!r}"
            )
        return name

    def _buffer(self, value: Any, link: _Link) -> list[Any]:
        """Spell an array, or a list such as [array, counts, displacements, type]."""
        parts = list(value) if isinstance(value, list | tuple) else [value]
        if not parts:
            raise ValueError("message: expecting 1 to 4 items, got none")
        array = parts[0]
        if not isinstance(array, np.ndarray):
            try:
                array = np.frombuffer(array, np.uint8 if isinstance(array, bytes) else None)
            except (TypeError, ValueError, AttributeError):
                try:
                    array = np.asarray(memoryview(array))
                except TypeError:
                    raise TypeError(
                        "message: expecting a buffer such as a NumPy array, got "
                        f"{type(parts[0]).__name__}"
                    ) from None
        if array.dtype.kind not in "biufc":
            raise TypeError(f"message: cannot send an array of dtype {array.dtype}")
        if not (array.flags.c_contiguous or array.flags.f_contiguous):
            raise BufferError("message: expecting an array that is contiguous")
        self.target = array
        rest = [self._part(part, link) for part in parts[1:]]
        return ["buffer", array, rest, bool(array.flags.writeable)]

    def _part(self, part: Any, link: _Link) -> Any:
        name = link.types.get(id(part))
        if name is not None:
            return ["type", name]
        if isinstance(part, link.mpi.Datatype):
            raise NotImplementedError("derived data types cannot be used in graded functions")
        if isinstance(part, tuple | list):
            kind = "tuple" if isinstance(part, tuple) else "list"
            return [kind, [self._part(inner, link) for inner in part]]
        return ["plain", part]


def _arguments(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], link: _Link) -> list[Any]:
    """Match arguments with the table, as Python would with mpi4py's own signature."""
    rows = table.CALLS[name][0]
    names = [row.split(":")[0] for row in rows]
    if len(args) > len(names):
        raise TypeError(f"{name}() takes {len(names)} arguments, got {len(args)}")
    given = dict(zip(names, args, strict=False))
    for key, value in kwargs.items():
        if key not in names:
            raise TypeError(f"{name}() got an unexpected keyword argument {key!r}")
        if key in given:
            raise TypeError(f"{name}() got multiple values for argument {key!r}")
        given[key] = value
    found = []
    for row in rows:
        key, _, kind = row.partition(":")
        kind, has_default, default = kind.partition("=")
        if key in given:
            value = given[key]
        elif has_default:
            value = _default(default, link)
        else:
            raise TypeError(f"{name}() is missing the argument {key!r}")
        if kind == "int" and default and value is None:
            value = _default(default, link)
        found.append(_Argument(kind, value, link))
    return found


def _default(text: str, link: _Link) -> Any:
    if text in ("None", "False"):
        return None if text == "None" else False
    return int(text) if text.isdecimal() else getattr(link.mpi, text)


def _unpack(kind: str, value: Any) -> Any:
    if kind == "obj":
        return None if value is None else pickle.loads(value)
    if kind == "objs":
        return None if value is None else [pickle.loads(v) for v in value]
    return value


def _put_back(arguments: list[_Argument], buffers: Any) -> None:
    """Copy what came into the buffers that it was received with."""
    for place, array in buffers:
        arguments[place].target[...] = array


class RemoteComm:
    """A communicator whose calls are made by the grader's rank."""

    def __init__(self, link: _Link, number: int, rank: int, size: int) -> None:
        """Name communicator `number` of the grader's rank."""
        self._link = link
        self._number = number
        self.rank, self.size = rank, size
        self.name = "MPI_COMM_WORLD" if number == 0 else ""

    def Get_rank(self) -> int:
        """Return this process's rank."""
        return self.rank

    def Get_size(self) -> int:
        """Return the number of ranks."""
        return self.size

    def Get_name(self) -> str:
        """Return the communicator's name."""
        return self.name

    def Abort(self, errorcode: int = 0) -> None:
        """End this rank, and with it the run."""
        raise SystemExit(f"MPI Abort({errorcode})")

    def __getattr__(self, name: str) -> Any:
        """Return the method `name`, or say that graded functions cannot use it."""
        if name.startswith("_") or name not in table.CALLS:
            raise AttributeError(
                f"the communicator of graded functions has no {name!r}; there are messages, "
                "collectives, Dup, Split and Cartesian grids"
            )

        def method(*args: Any, **kwargs: Any) -> Any:
            return self._call(name, args, kwargs)

        return method

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        link = self._link
        arguments = _arguments(name, args, kwargs, link)
        sent = [argument.sent for argument in arguments]
        value, buffers, status = link.call("call", self._number, name, sent)
        _put_back(arguments, buffers)
        if status is not None:
            for argument in arguments:
                if argument.kind == "status" and argument.target is not None:
                    argument.target._fill(status)
        back = table.CALLS[name][1]
        if back == "request":
            return RemoteRequest(link, value, arguments)
        if back == "comm":
            if value is None:
                return link.mpi.COMM_NULL
            return RemoteComm(link, *value)
        return _unpack(back, value)


class RemoteRequest:
    """A request for a call that has begun."""

    def __init__(self, link: _Link, number: int, arguments: list[_Argument]) -> None:
        """Name request `number` of the grader's rank; `arguments` are those of the call."""
        self._link = link
        self._number = number
        self._arguments = arguments

    def __getattr__(self, name: str) -> Any:
        """Return a method that waits or tests."""
        if name not in table.WAITS:
            raise AttributeError(f"requests of graded functions have no {name!r}")

        def method(status: Any = None) -> Any:
            value, buffers, found = self._link.call("request", [self._number], name, [])
            self._finish(buffers)
            if status is not None and found is not None:
                status._fill(found)
            return self._value(name, value)

        return method

    def _finish(self, buffers: Any) -> None:
        _put_back(self._arguments, [[place, array] for _, place, array in buffers])

    @staticmethod
    def _value(name: str, value: Any) -> Any:
        if name in ("wait", "Wait"):
            return _unpack("obj", value) if name == "wait" else True
        if name == "test":
            return value[0], _unpack("obj", value[1])
        return value


def _on_many(name: str) -> Any:
    def method(requests: Any, statuses: Any = None) -> Any:
        requests = list(requests)
        if not requests:
            return [] if name == "waitall" else True if name == "Waitall" else None
        link = requests[0]._link
        numbers = [request._number for request in requests]
        value, buffers, _ = link.call("request", numbers, name, [])
        for request in requests:
            request._finish([entry for entry in buffers if entry[0] == request._number])
        return _unpack_many(name, value)

    method.__name__ = name
    return staticmethod(method)


def _unpack_many(name: str, value: Any) -> Any:
    """Unpickle what the lower-case calls on several requests return."""
    if name == "waitall":
        return [_unpack("obj", one) for one in value]
    if name == "testall":
        return value[0], value[1] and [_unpack("obj", one) for one in value[1]]
    if name == "waitany":
        return value[0], _unpack("obj", value[1])
    if name == "testany":
        return value[0], value[1], _unpack("obj", value[2])
    if name in ("waitsome", "testsome"):
        return value[0], value[1] and [_unpack("obj", one) for one in value[1]]
    return value


for _name in table.WAITS_ON_MANY:
    setattr(RemoteRequest, _name, _on_many(_name))
