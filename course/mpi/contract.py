"""What a program may say to whom: calls, bytes and roots as formulas in ranks and n.

    contract = Contract({"Allgather": 1, "Bcast": 0}, bytes={"Allgather": "8 * n"})
    verdict = contract.check(run(program, 4, trace=True).trace, n=100)
    print(verdict)

"The loop of Bcast is replaced by one Allgather" becomes a check without a clock in it. It
counts what the program calls, not what a library does inside, so it is the same on Open
MPI and MPICH. The trace holds all ranks, so one verdict stands for all, and no rank has to
stop before another's next collective.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from course.mpi.explain import explain
from course.mpi.matching import RECEIVES, SENDS, TOGETHER
from course.mpi.records import Call, Trace

Formula = int | str | Callable[[int, int], int]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {"min": min, "max": max, "abs": abs}


@dataclass
class Verdict:
    """Whether a program keeps a contract.

    Attributes:
        reasons: What it does not keep, one sentence each; empty when all is kept.
    """

    reasons: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the contract is kept."""
        return not self.reasons

    def __bool__(self) -> bool:
        """Whether the contract is kept."""
        return self.ok

    def __str__(self) -> str:
        """The reasons, or that there are none."""
        return "\n".join(self.reasons) if self.reasons else "the contract is kept"


class Contract:
    """What a program must, may and must not communicate.

    A formula is a number, a text such as ``"2 * (p - 1)"`` or ``"<= n"``, or a function of
    the number of ranks and of n. In a text, p is the number of ranks, n the size of the
    problem and r the rank. A key may name several calls: ``"Allgather|Allgatherv"``; the
    names are mpi4py's, and upper and lower case are different calls.
    """

    def __init__(
        self,
        calls: Mapping[str, Formula] | None = None,
        *,
        total: Mapping[str, Formula] | None = None,
        bytes: Mapping[str, Formula] | None = None,
        roots: Mapping[str, Formula] | None = None,
        only: bool = False,
        sound: bool = True,
    ) -> None:
        """Write a contract.

        Args:
            calls: How often each rank makes a call.
            total: How often all ranks together make it.
            bytes: How many bytes each rank hands over by all its calls of that name (for a
                ``Scatter``, receives).
            roots: The root of each call of that name.
            only: Whether any other communication breaks the contract.
            sound: Whether calls that do not fit each other break it (see `explain`).

        Raises:
            ValueError: A formula cannot be read.
        """
        self.calls = dict(calls or {})
        self.total = dict(total or {})
        self.bytes = dict(bytes or {})
        self.roots = dict(roots or {})
        self.only = only
        self.sound = sound
        for table in (self.calls, self.total, self.bytes, self.roots):
            for formula in table.values():
                _judge(formula, 0, 2, 2, 0)

    def check(self, trace: Trace, n: int = 0) -> Verdict:
        """Hold `trace` against the contract.

        Args:
            trace: The calls of all ranks.
            n: Size of the problem, for the formulas.

        Raises:
            ValueError: The trace is not complete: calls were too many to be kept.
        """
        if not trace.complete:
            raise ValueError("expected a complete trace, got one whose oldest calls are lost")
        verdict = Verdict()
        made = [_by_name(calls) for calls in trace.calls]
        self._count(verdict, made, trace.size, n)
        self._weigh(verdict, made, trace.size, n)
        self._root(verdict, made, trace.size, n)
        if self.only:
            self._others(verdict, made)
        if self.sound:
            found = explain(trace)
            if found.kind != "none":
                verdict.reasons.append(str(found))
        return verdict

    def _count(self, verdict: Verdict, made: list[dict[str, list[Call]]], p: int, n: int) -> None:
        for key, formula in self.calls.items():
            for rank, table in enumerate(made):
                found = sum(_times(call) for call in _select(table, key))
                self._compare(verdict, f"rank {rank} called {key}", found, formula, p, n, rank)
        for key, formula in self.total.items():
            found = sum(_times(call) for table in made for call in _select(table, key))
            self._compare(verdict, f"all ranks together called {key}", found, formula, p, n, 0)

    def _weigh(self, verdict: Verdict, made: list[dict[str, list[Call]]], p: int, n: int) -> None:
        for key, formula in self.bytes.items():
            for rank, table in enumerate(made):
                found = sum(max(0, call.bytes) for call in _select(table, key))
                what = f"rank {rank} handed over by {key}"
                self._compare(verdict, what, found, formula, p, n, rank, "bytes")

    def _root(self, verdict: Verdict, made: list[dict[str, list[Call]]], p: int, n: int) -> None:
        for key, formula in self.roots.items():
            for rank, table in enumerate(made):
                for call in _select(table, key):
                    if not _judge(formula, call.dest, p, n, rank):
                        verdict.reasons.append(
                            f"rank {rank} called {call.name} with root {call.dest}, expected "
                            f"{_show(formula, p, n, rank)} ({call.site})"
                        )

    def _others(self, verdict: Verdict, made: list[dict[str, list[Call]]]) -> None:
        allowed = {name for key in (*self.calls, *self.total) for name in key.split("|")}
        for rank, table in enumerate(made):
            for name, calls in table.items():
                if name in SENDS | RECEIVES | TOGETHER and name not in allowed:
                    verdict.reasons.append(
                        f"rank {rank} called {name} {_often(len(calls))}, expected no other "
                        f"communication ({calls[0].site})"
                    )

    @staticmethod
    def _compare(
        verdict: Verdict,
        what: str,
        found: int,
        formula: Formula,
        p: int,
        n: int,
        rank: int,
        unit: str = "",
    ) -> None:
        if not _judge(formula, found, p, n, rank):
            got = f"{found} {unit}" if unit else _often(found)
            verdict.reasons.append(f"{what} {got}, expected {_show(formula, p, n, rank)}")


def _by_name(calls: list[Call]) -> dict[str, list[Call]]:
    table: dict[str, list[Call]] = {}
    for call in calls:
        table.setdefault(call.name, []).append(call)
    return table


def _select(table: dict[str, list[Call]], key: str) -> list[Call]:
    return [call for name in key.split("|") for call in table.get(name, [])]


def _times(call: Call) -> int:
    return 1 + call.repeats


def _often(times: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(times, f"{times} times")


def _split(formula: str) -> tuple[str, str]:
    text = formula.strip()
    for sign in _COMPARE:
        if text.startswith(sign):
            return sign, text.removeprefix(sign)
    return "==", text


def _value(formula: Formula, p: int, n: int, rank: int) -> float:
    if isinstance(formula, str):
        return evaluate(_split(formula)[1], p=p, n=n, r=rank)
    return formula(p, n) if callable(formula) else formula


def _judge(formula: Formula, found: float, p: int, n: int, rank: int) -> bool:
    sign = _split(formula)[0] if isinstance(formula, str) else "=="
    return _COMPARE[sign](found, _value(formula, p, n, rank))


def _show(formula: Formula, p: int, n: int, rank: int) -> str:
    value = f"{_value(formula, p, n, rank):g}"
    if not isinstance(formula, str):
        return value
    sign, text = _split(formula)
    words = {"==": "", "<=": "at most ", ">=": "at least ", "<": "less than ", ">": "more than "}
    told = "" if text.strip() == value else f" ({text.strip()})"
    return words[sign] + value + told


def evaluate(text: str, **names: float) -> float:
    """Return the value of an arithmetic formula in `names`; nothing else is understood.

    Raises:
        ValueError: The text is no such formula.
    """

    def value(node: ast.AST) -> float:
        match node:
            case ast.Expression(body=body):
                return value(body)
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.Name(id=name) if name in names:
                return names[name]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](value(left), value(right))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -value(operand)
            case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
                return float(value(left) == value(right))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
                return _FUNCTIONS[name](*map(value, args))
        raise ValueError(f"expected a formula in {', '.join(names)}, got {text!r}")

    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError:
        raise ValueError(f"expected a formula in {', '.join(names)}, got {text!r}") from None
    return value(tree)
