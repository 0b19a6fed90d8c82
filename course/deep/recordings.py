"""Training times in files, with where they come from.

A recording is one JSON file: the times of several models on one device, with the device,
the software, the date and the source. Those in ``course/deep/recorded/`` are shipped, and
any file that is added there is found by `load_recorded`. The layout:

    {"format": "course-training-times-1",
     "source": {"kind": "measured", "description": "...", "date": "2026-11-23"},
     "device": {"kind": "gpu", "name": "...", "cores": 16, "driver": "..."},
     "software": {"keras": "...", "backend": "tensorflow", ...},
     "timings": [{"model": "ann", "parameters": 118282, "samples": 60000, "batch_size": 128,
                  "epochs": 1, "optimizer": "SGD", "us_per_sample": [18.2, 18.0, 18.4]}]}
"""

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from course.deep.devices import KINDS, Device

FORMAT = "course-training-times-1"
SHIPPED = Path(__file__).parent / "recorded"
SOURCES = ("measured", "published")


class RecordingError(ValueError):
    """A file of training times that is not one, with what was expected and what came."""


@dataclass(frozen=True)
class Timing:
    """Repeated measurements of training one model on one device.

    Attributes:
        model: name of the model.
        parameters: number of its parameters.
        samples: training samples in an epoch.
        batch_size: samples in a step.
        epochs: epochs in one measurement.
        optimizer: class name of the optimizer.
        us_per_sample: microseconds per training sample, one number a repetition; the unit
            that the slides print.
    """

    model: str
    parameters: int
    samples: int
    batch_size: int
    epochs: int
    optimizer: str
    us_per_sample: tuple[float, ...]

    @property
    def repeats(self) -> int:
        """Number of measurements."""
        return len(self.us_per_sample)

    @property
    def median(self) -> float:
        """Median of `us_per_sample`, in microseconds."""
        return statistics.median(self.us_per_sample)

    @property
    def minimum(self) -> float:
        """Fastest repetition, in microseconds per sample."""
        return min(self.us_per_sample)

    @property
    def maximum(self) -> float:
        """Slowest repetition, in microseconds per sample."""
        return max(self.us_per_sample)

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile of `us_per_sample`; the extremes where there is one value."""
        if self.repeats == 1:
            return self.minimum, self.maximum
        first, _, third = statistics.quantiles(self.us_per_sample, n=4, method="inclusive")
        return first, third

    @property
    def seconds(self) -> tuple[float, ...]:
        """Seconds of each measurement, that is, of `epochs` epochs."""
        return tuple(value * 1e-6 * self.samples * self.epochs for value in self.us_per_sample)

    @property
    def seconds_per_epoch(self) -> float:
        """Median seconds of one epoch."""
        return self.median * 1e-6 * self.samples

    @property
    def images_per_second(self) -> float:
        """Samples trained in a second, from the median."""
        return 1e6 / self.median

    def __str__(self) -> str:
        """Return one line: median, spread, images/s, seconds per epoch."""
        low, high = self.quartiles
        return (
            f"{self.model}: {self.median:.1f} us/sample (quartiles {low:.1f}-{high:.1f}, "
            f"{self.repeats} repeats), {self.images_per_second:,.0f} images/s, "
            f"{self.seconds_per_epoch:.2f} s/epoch"
        )


@dataclass(frozen=True)
class Recording:
    """Timings on one device, with their provenance.

    Attributes:
        device: what computed.
        source: ``kind`` is ``"measured"`` (by this package) or ``"published"`` (copied
            from print); ``description`` says how and where; ``date`` is ISO, or None.
        software: versions by name; empty where unknown.
        timings: one for each model and setting.
        path: the file it was read from, or None.
    """

    device: Device
    source: dict[str, Any]
    software: dict[str, str]
    timings: tuple[Timing, ...]
    path: Path | None = field(default=None, compare=False)

    def find(self, model: str, **settings: Any) -> Timing:
        """Return the only timing of `model` whose fields equal `settings`.

        Raises:
            KeyError: none or several match; the message lists what there is.
        """
        matches = [
            timing
            for timing in self.timings
            if timing.model == model
            and all(getattr(timing, name) == value for name, value in settings.items())
        ]
        if len(matches) != 1:
            there = ", ".join(f"{t.model} (batch_size={t.batch_size})" for t in self.timings)
            raise KeyError(
                f"expected one timing of {model!r} with {settings}, found {len(matches)} in: "
                f"{there}"
            )
        return matches[0]

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat dictionary per timing: device, settings, median and quartiles."""
        return [
            {
                "device": str(self.device),
                "device_kind": self.device.kind,
                "backend": self.software.get("backend"),
                "model": timing.model,
                "parameters": timing.parameters,
                "samples": timing.samples,
                "batch_size": timing.batch_size,
                "optimizer": timing.optimizer,
                "repeats": timing.repeats,
                "us_per_sample": timing.median,
                "us_low": timing.quartiles[0],
                "us_high": timing.quartiles[1],
                "images_per_second": timing.images_per_second,
                "source": self.source["kind"],
            }
            for timing in self.timings
        ]


def _need(data: Any, key: str, kinds: type | tuple[type, ...], where: str) -> Any:
    if not isinstance(data, dict) or key not in data:
        raise RecordingError(f"{where}: expected a field {key!r}, found none")
    value = data[key]
    allowed = kinds if isinstance(kinds, tuple) else (kinds,)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in allowed)
        raise RecordingError(f"{where}.{key}: expected {names}, found {value!r}")
    return value


def _timing(data: Any, where: str) -> Timing:
    numbers = {}
    for key in ("parameters", "samples", "batch_size", "epochs"):
        numbers[key] = _need(data, key, int, where)
        if numbers[key] < 1:
            raise RecordingError(f"{where}.{key}: expected at least 1, found {numbers[key]}")
    values = _need(data, "us_per_sample", list, where)
    good = [v for v in values if type(v) in (int, float) and 0 < v < float("inf")]
    if not values or len(good) != len(values):
        raise RecordingError(
            f"{where}.us_per_sample: expected one or more positive numbers, found {values!r}"
        )
    return Timing(
        model=_need(data, "model", str, where),
        optimizer=_need(data, "optimizer", str, where),
        us_per_sample=tuple(float(v) for v in values),
        **numbers,
    )


def parse(data: Any, where: str = "recording") -> Recording:
    """Check the parsed JSON `data` and return it as a `Recording`.

    Raises:
        RecordingError: it does not have the layout of this module; `where` and the field
            are named.
    """
    found = _need(data, "format", str, where)
    if found != FORMAT:
        raise RecordingError(f"{where}.format: expected {FORMAT!r}, found {found!r}")
    source = _need(data, "source", dict, where)
    if _need(source, "kind", str, f"{where}.source") not in SOURCES:
        raise RecordingError(
            f"{where}.source.kind: expected one of {SOURCES}, found {source['kind']!r}"
        )
    _need(source, "description", str, f"{where}.source")
    day = _need(source, "date", (str, type(None)), f"{where}.source")
    if day is not None:
        try:
            date.fromisoformat(day)
        except ValueError:
            raise RecordingError(
                f"{where}.source.date: expected YYYY-MM-DD or null, found {day!r}"
            ) from None
    device = _need(data, "device", dict, where)
    if _need(device, "kind", str, f"{where}.device") not in KINDS:
        raise RecordingError(
            f"{where}.device.kind: expected one of {KINDS}, found {device['kind']!r}"
        )
    fields = {
        key: _need(device, key, (kind, type(None)), f"{where}.device") if key in device else None
        for key, kind in (("name", str), ("cores", int), ("driver", str))
    }
    software = _need(data, "software", dict, where)
    for name in software:
        _need(software, name, str, f"{where}.software")
    timings = _need(data, "timings", list, where)
    if not timings:
        raise RecordingError(f"{where}.timings: expected at least one, found none")
    return Recording(
        device=Device(device["kind"], **fields),
        source=dict(source),
        software=dict(software),
        timings=tuple(_timing(t, f"{where}.timings[{i}]") for i, t in enumerate(timings)),
    )


def load(path: str | Path) -> Recording:
    """Read one file of training times.

    Raises:
        RecordingError: not JSON, or not of the layout of this module.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordingError(f"{path.name}: expected JSON, found: {error}") from None
    recording = parse(data, path.name)
    return Recording(
        recording.device, recording.source, recording.software, recording.timings, path
    )


def load_recorded(kind: str | None = None, directory: str | Path | None = None) -> list[Recording]:
    """Read all recordings of a folder, by default those shipped with the course.

    Args:
        kind: keep only devices of this kind: ``"cpu"``, ``"gpu"`` or ``"unknown"``.
        directory: folder with ``*.json`` files.

    Returns:
        The recordings in the order of their file names; empty where none is of that kind.

    Raises:
        RecordingError: a file is not a recording.
        ValueError: `kind` is none of the three.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS} or None, got {kind!r}")
    found = [load(path) for path in sorted(Path(directory or SHIPPED).glob("*.json"))]
    return [recording for recording in found if kind in (None, recording.device.kind)]


def save(
    path: str | Path,
    timings: Iterable[Timing],
    device: Device,
    source: dict[str, Any],
    software: dict[str, str],
) -> Recording:
    """Write timings with their provenance to `path`, checked, and return them as read back."""
    data = {
        "format": FORMAT,
        "source": source,
        "device": {key: value for key, value in asdict(device).items() if value is not None},
        "software": software,
        "timings": [
            {**asdict(timing), "us_per_sample": [round(v, 3) for v in timing.us_per_sample]}
            for timing in timings
        ],
    }
    parse(data, Path(path).name)
    Path(path).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return load(path)
