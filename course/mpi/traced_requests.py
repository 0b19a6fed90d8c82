"""Requests that record when they are waited for, tested and completed."""

from collections.abc import Callable, Sequence
from typing import Any

from mpi4py import MPI

from course.mpi.recorder import Slot, again, recorder

_Request: Any = MPI.Request  # mpi4py's own, also while tracing replaces it
_Prequest: Any = MPI.Prequest


class TracedRequest(MPI.Request):
    """A request whose number is in the trace.

    Attributes:
        number: The request's number on its rank.
        slot: Where the call that made it is recorded.
        asks: Whether it is a receive from any source or with any tag.
    """

    number: int = 0
    slot: Slot | None = None
    asks: bool = False

    @classmethod
    def of(cls, request: MPI.Request, number: int, slot: Slot, asks: bool = False) -> Any:
        """Return a traced version of `request`."""
        traced = cls(request)
        traced.number, traced.slot, traced.asks = number, slot, asks
        return traced

    def finish(self, status: MPI.Status | None) -> None:
        """Record that the request has been completed."""
        if self.slot is not None:
            rec = recorder()
            if self.asks and status is not None:
                rec.found(self.slot, status.source, status.tag)
            rec.complete(self.slot)
            self.slot = None  # a request that is null already has nothing more to tell

    def Wait(self, status: MPI.Status | None = None) -> Any:
        """Wait for the request."""
        return self._one("Wait", _Request.Wait, status)

    def wait(self, status: MPI.Status | None = None) -> Any:
        """Wait for the request and return the object it received."""
        return self._one("wait", _Request.wait, status)

    def Test(self, status: MPI.Status | None = None) -> Any:
        """Test whether the request is complete."""
        return self._one("Test", _Request.Test, status)

    def test(self, status: MPI.Status | None = None) -> Any:
        """Test whether the request is complete, and return the object it received."""
        return self._one("test", _Request.test, status)

    def _one(self, name: str, base: Callable[..., Any], status: MPI.Status | None) -> Any:
        rec = recorder()
        slot = rec.enter(name, request=self.number)
        status = MPI.Status() if status is None and self.asks else status
        try:
            result = base(self, status)
        except BaseException:
            rec.fail(slot)
            raise
        rec.leave(slot)
        if name in ("Wait", "wait") or (result[0] if name == "test" else result):
            self.finish(status)
        else:
            again(rec, slot)
        return result

    @classmethod
    def _many(
        cls, name: str, requests: Sequence[Any], statuses: list[MPI.Status] | None
    ) -> tuple[Any, list[Any]]:
        """Call the class method `name`; return its result and the traced requests given."""
        rec = recorder()
        numbers = [getattr(request, "number", 0) for request in requests]
        alive = [
            number
            for number, request in zip(numbers, requests, strict=True)
            if number and request != MPI.REQUEST_NULL
        ]
        if not name.lower().startswith("test"):
            for number in alive:
                rec.leave(rec.enter("(request)", request=number))
        first = alive[0] if alive else 0
        slot = rec.enter(name, request=first, what=(len(alive), 0, 0))
        base = getattr(_Request, name)
        try:
            result = base(requests, statuses)
        except BaseException:
            rec.fail(slot)
            raise
        rec.leave(slot)
        return result, [slot, alive]

    @classmethod
    def _all(cls, name: str, requests: Sequence[Any], statuses: Any) -> Any:
        requests = list(requests)
        before = [request != MPI.REQUEST_NULL for request in requests]
        if not statuses and any(getattr(request, "asks", False) for request in requests):
            statuses = [MPI.Status() for _ in requests]
        result, (slot, _) = cls._many(name, requests, statuses)
        if name in ("Testall", "testall"):
            done = result[0] if name == "testall" else result
            if not done:
                again(recorder(), slot)
                return result
        for index, request in enumerate(requests):
            if before[index] and isinstance(request, TracedRequest):
                request.finish(statuses[index] if statuses else None)
        return result

    @classmethod
    def _any(cls, name: str, requests: Sequence[Any], status: MPI.Status | None) -> Any:
        status = MPI.Status() if status is None else status
        result, (slot, _) = cls._many(name, requests, status)  # type: ignore[arg-type]
        index = result[0] if isinstance(result, tuple) else result
        if name in ("Testany", "testany"):
            if not result[1]:
                again(recorder(), slot)
                return result
        if index is not None and 0 <= index < len(requests):
            request = requests[index]
            if isinstance(request, TracedRequest):
                request.finish(status)
        return result

    @classmethod
    def _some(cls, name: str, requests: Sequence[Any], statuses: Any) -> Any:
        statuses = [] if statuses is None else statuses
        if len(statuses) < len(requests):
            statuses += [MPI.Status() for _ in range(len(requests) - len(statuses))]
        result, (slot, _) = cls._many(name, requests, statuses)
        indices = result[0] if name in ("waitsome", "testsome") else result
        if name in ("Testsome", "testsome") and not indices:
            again(recorder(), slot)
        for place, index in enumerate(indices or ()):
            request = requests[index]
            if isinstance(request, TracedRequest):
                request.finish(statuses[place])
        return result

    @classmethod
    def Waitall(cls, requests: Any, statuses: Any = None) -> Any:
        """Wait for all requests."""
        return cls._all("Waitall", requests, statuses)

    @classmethod
    def waitall(cls, requests: Any, statuses: Any = None) -> Any:
        """Wait for all requests and return the objects they received."""
        return cls._all("waitall", requests, statuses)

    @classmethod
    def Testall(cls, requests: Any, statuses: Any = None) -> Any:
        """Test whether all requests are complete."""
        return cls._all("Testall", requests, statuses)

    @classmethod
    def testall(cls, requests: Any, statuses: Any = None) -> Any:
        """Test whether all requests are complete, and return what they received."""
        return cls._all("testall", requests, statuses)

    @classmethod
    def Waitany(cls, requests: Any, status: Any = None) -> Any:
        """Wait for any of the requests."""
        return cls._any("Waitany", requests, status)

    @classmethod
    def waitany(cls, requests: Any, status: Any = None) -> Any:
        """Wait for any of the requests and return what it received."""
        return cls._any("waitany", requests, status)

    @classmethod
    def Testany(cls, requests: Any, status: Any = None) -> Any:
        """Test whether any of the requests is complete."""
        return cls._any("Testany", requests, status)

    @classmethod
    def testany(cls, requests: Any, status: Any = None) -> Any:
        """Test whether any of the requests is complete, and return what it received."""
        return cls._any("testany", requests, status)

    @classmethod
    def Waitsome(cls, requests: Any, statuses: Any = None) -> Any:
        """Wait for some of the requests."""
        return cls._some("Waitsome", requests, statuses)

    @classmethod
    def waitsome(cls, requests: Any, statuses: Any = None) -> Any:
        """Wait for some of the requests and return what they received."""
        return cls._some("waitsome", requests, statuses)

    @classmethod
    def Testsome(cls, requests: Any, statuses: Any = None) -> Any:
        """Test which of the requests are complete."""
        return cls._some("Testsome", requests, statuses)

    @classmethod
    def testsome(cls, requests: Any, statuses: Any = None) -> Any:
        """Test which of the requests are complete, and return what they received."""
        return cls._some("testsome", requests, statuses)


class TracedPrequest(TracedRequest, MPI.Prequest):
    """A persistent request: each start is recorded as a send or a receive of its own."""

    name: str
    fields: tuple[Any, ...]

    @classmethod
    def made(cls, request: MPI.Prequest, name: str, fields: tuple[Any, ...]) -> Any:
        """Return a traced version of `request`; `fields` describe what it sends or receives."""
        traced = cls(request)
        traced.name, traced.fields = name, fields
        return traced

    def Start(self) -> None:
        """Start the communication."""
        rec = recorder()
        self.number = rec.request()
        self.slot = rec.enter(self.name, *self.fields[:-1], self.number)  # type: ignore[call-arg]
        self.asks = -1 in self.fields[4:6]
        try:
            _Prequest.Start(self)
        except BaseException:
            rec.fail(self.slot)
            raise
        rec.leave(self.slot)

    @classmethod
    def Startall(cls, requests: Any) -> None:
        """Start several communications."""
        for request in requests:
            request.Start()
