"""Recording versions of mpi4py's messages between two ranks; see `course.mpi.traced`."""

from typing import Any

from mpi4py import MPI

from course.mpi.recorder import again, measure, recorder
from course.mpi.records import ANY, NONE, PICKLED
from course.mpi.traced_calls import UNKNOWN, Method, carry_out, plain, plain_tag
from course.mpi.traced_requests import TracedPrequest, TracedRequest


def send(name: str, base: Method) -> Method:
    """Blocking sends."""
    if name[0].isupper():

        def upper(self: Any, buf: Any, dest: int, tag: int = 0) -> None:
            what = measure(buf)
            slot = recorder().enter(name, self.number, 0, plain(dest), tag, what=what)
            carry_out(self, base, (buf, dest, tag), slot)

        return upper

    def lower(self: Any, obj: Any, dest: int, tag: int = 0) -> None:
        slot = recorder().enter(name, self.number, PICKLED, plain(dest), tag, what=UNKNOWN)
        carry_out(self, base, (obj, dest, tag), slot, name)

    return lower


def isend(name: str, base: Method) -> Method:
    """Sends that return a request."""
    if name[0].isupper():

        def upper(self: Any, buf: Any, dest: int, tag: int = 0) -> Any:
            rec = recorder()
            number, what = rec.request(), measure(buf)
            slot = rec.enter(name, self.number, 0, plain(dest), tag, what=what, request=number)
            return TracedRequest.of(carry_out(self, base, (buf, dest, tag), slot), number, slot)

        return upper

    def lower(self: Any, obj: Any, dest: int, tag: int = 0) -> Any:
        rec = recorder()
        number, to = rec.request(), plain(dest)
        slot = rec.enter(name, self.number, PICKLED, to, tag, what=UNKNOWN, request=number)
        return TracedRequest.of(carry_out(self, base, (obj, dest, tag), slot, name), number, slot)

    return lower


def recv(name: str, base: Method) -> Method:
    """Blocking receives; where any source or tag will do, who it was."""
    pickled = 0 if name[0].isupper() else PICKLED

    def method(
        self: Any,
        buf: Any = None,
        source: int = MPI.ANY_SOURCE,
        tag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> Any:
        what, rec = UNKNOWN if pickled else measure(buf), recorder()
        who, which = plain(source), plain_tag(tag)
        slot = rec.enter(
            name, self.number, pickled, source=who, rtag=which, what=what, room=what[1]
        )
        if status is None and (who == ANY or which == ANY):
            status = MPI.Status()
        result = carry_out(self, base, (buf, source, tag, status), slot)
        if status is not None:
            rec.found(slot, status.source, status.tag)
        return result

    return method


def irecv(name: str, base: Method) -> Method:
    """Receives that return a request."""
    pickled = 0 if name[0].isupper() else PICKLED

    def method(
        self: Any, buf: Any = None, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG
    ) -> Any:
        what, rec = UNKNOWN if pickled else measure(buf), recorder()
        number, who, which = rec.request(), plain(source), plain_tag(tag)
        slot = rec.enter(
            name,
            self.number,
            pickled,
            source=who,
            rtag=which,
            what=what,
            room=what[1],
            request=number,
        )
        raw = carry_out(self, base, (buf, source, tag), slot)
        return TracedRequest.of(raw, number, slot, ANY in (who, which))

    return method


def init(name: str, base: Method) -> Method:
    """Persistent requests."""
    receives = name == "Recv_init"

    def send(self: Any, buf: Any, dest: int, tag: int = 0) -> Any:
        number, rec = recorder().request(), recorder()
        fields = (self.number, 0, plain(dest), tag, NONE, NONE, measure(buf), -1, number)
        slot = rec.enter(name, *fields)
        return TracedPrequest.made(carry_out(self, base, (buf, dest, tag), slot), "Isend", fields)

    def recv(self: Any, buf: Any, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG) -> Any:
        number, what, rec = recorder().request(), measure(buf), recorder()
        who, which = plain(source), plain_tag(tag)
        fields = (self.number, 0, NONE, NONE, who, which, what, what[1], number)
        slot = rec.enter(name, *fields)
        return TracedPrequest.made(carry_out(self, base, (buf, source, tag), slot), "Irecv", fields)

    return recv if receives else send


def sendrecv(name: str, base: Method) -> Method:
    """Sends and receives in one call."""
    replace, pickled = name.endswith("_replace"), 0 if name[0].isupper() else PICKLED

    def both(
        self: Any,
        sendbuf: Any,
        dest: int,
        sendtag: int = 0,
        recvbuf: Any = None,
        source: int = MPI.ANY_SOURCE,
        recvtag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> Any:
        rec, who, which = recorder(), plain(source), plain_tag(recvtag)
        what = UNKNOWN if pickled else measure(sendbuf)
        room = what[1] if replace or pickled else measure(recvbuf)[1]
        slot = rec.enter(name, self.number, pickled, plain(dest), sendtag, who, which, what, room)
        if status is None and (who == ANY or which == ANY):
            status = MPI.Status()
        middle = () if replace else (recvbuf,)
        args = (sendbuf, dest, sendtag, *middle, source, recvtag, status)
        result = carry_out(self, base, args, slot, name if pickled else "")
        if status is not None:
            rec.found(slot, status.source, status.tag)
        return result

    def in_place(
        self: Any,
        buf: Any,
        dest: int,
        sendtag: int = 0,
        source: int = MPI.ANY_SOURCE,
        recvtag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> Any:
        return both(self, buf, dest, sendtag, None, source, recvtag, status)

    return in_place if replace else both


def probe(name: str, base: Method) -> Method:
    """Looks for a message without receiving it."""

    def method(
        self: Any,
        source: int = MPI.ANY_SOURCE,
        tag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> Any:
        rec = recorder()
        slot = rec.enter(name, self.number, source=plain(source), rtag=plain_tag(tag))
        if status is None:
            status = MPI.Status()
        result = carry_out(self, base, (source, tag, status), slot)
        if result:
            rec.found(slot, status.source, status.tag)
        else:
            slot = again(rec, slot)
        return result

    return method
