"""Training times in files: reading, checking, and what is shipped."""

import copy
import json
import subprocess
import sys

import pytest

from course.deep.devices import Device
from course.deep.recordings import (
    SHIPPED,
    RecordingError,
    Timing,
    load,
    load_recorded,
    parse,
    save,
)

GOOD = {
    "format": "course-training-times-1",
    "source": {"kind": "measured", "description": "somewhere", "date": "2026-11-23"},
    "device": {"kind": "gpu", "name": "Some GPU", "driver": "1.2", "cores": 8},
    "software": {"backend": "jax"},
    "timings": [
        {
            "model": "ann",
            "parameters": 118282,
            "samples": 1000,
            "batch_size": 10,
            "epochs": 2,
            "optimizer": "SGD",
            "us_per_sample": [4, 1.0, 3.0, 2.0],
        }
    ],
}


def test_figures_of_a_timing():
    timing = Timing("ann", 118282, 1000, 10, 2, "SGD", (4.0, 1.0, 3.0, 2.0))
    assert (timing.minimum, timing.median, timing.maximum) == (1.0, 2.5, 4.0)
    assert timing.quartiles == (1.75, 3.25)
    assert timing.images_per_second == pytest.approx(400_000)
    assert timing.seconds_per_epoch == pytest.approx(2.5e-3)
    assert timing.seconds == pytest.approx((8e-3, 2e-3, 6e-3, 4e-3))
    assert Timing("ann", 1, 10, 1, 1, "SGD", (7.0,)).quartiles == (7.0, 7.0)


def test_a_recording_survives_the_file(tmp_path):
    recording = parse(GOOD)
    timing = recording.timings[0]
    again = save(
        tmp_path / "a.json",
        recording.timings,
        recording.device,
        recording.source,
        recording.software,
    )
    assert again == recording
    assert again.find("ann", batch_size=10) == timing
    assert load_recorded("gpu", tmp_path) == [recording]
    assert load_recorded("cpu", tmp_path) == []
    assert again.rows()[0]["us_per_sample"] == 2.5
    with pytest.raises(KeyError, match=r"'cnn'.*found 0 in: ann \(batch_size=10\)"):
        again.find("cnn")


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (["format"], "other", "format: expected 'course-training-times-1', found 'other'"),
        (["source", "kind"], "guess", r"source\.kind: expected one of"),
        (["source", "date"], "23.11.2026", r"source\.date: expected YYYY-MM-DD"),
        (["device"], [], "device: expected dict"),
        (["device", "kind"], "tpu", r"device\.kind: expected one of"),
        (["device", "cores"], "eight", r"device\.cores: expected int or null"),
        (["software", "backend"], 3, r"software\.backend: expected str"),
        (["timings"], [], "timings: expected at least one"),
        (["timings", 0, "samples"], 0, r"timings\[0\]\.samples: expected at least 1"),
        (["timings", 0, "batch_size"], True, r"batch_size: expected int, found True"),
        (["timings", 0, "us_per_sample"], [1, -2], "expected one or more positive numbers"),
        (["timings", 0, "us_per_sample"], [], "expected one or more positive numbers"),
        (["timings", 0, "us_per_sample"], [1, "2"], "expected one or more positive numbers"),
        (["timings", 0, "model"], None, r"model: expected str, found None"),
    ],
)
def test_a_wrong_field_is_named(where, value, message):
    data = copy.deepcopy(GOOD)
    inner = data
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    with pytest.raises(RecordingError, match=message):
        parse(data)


def test_a_missing_field_and_a_file_that_is_no_json(tmp_path):
    data = {key: value for key, value in GOOD.items() if key != "device"}
    (tmp_path / "a.json").write_text(json.dumps(data))
    with pytest.raises(RecordingError, match=r"a\.json: expected a field 'device'"):
        load(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(RecordingError, match=r"a\.json: expected JSON"):
        load_recorded(directory=tmp_path)
    with pytest.raises(ValueError, match="kind must be one of"):
        load_recorded("tpu")


def test_what_is_shipped():
    recordings = load_recorded()
    assert len(recordings) == len(list(SHIPPED.glob("*.json"))) >= 1
    (slides,) = load_recorded("unknown")
    assert slides.source["kind"] == "published"
    assert slides.find("perceptron").median == 25
    assert slides.find("ann").median == 18
    assert slides.find("cnn").median == 88
    for recording in recordings:
        if recording.source["kind"] == "measured":
            assert recording.device.name
            assert recording.source["date"]
            assert {"keras", "backend", "python"} <= set(recording.software)


def test_reading_needs_no_keras():
    code = (
        "import sys; from course.deep import timing; assert timing.load_recorded();"
        "assert not {'keras', 'tensorflow', 'mpi4py'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)


def test_device_in_words():
    assert str(Device("cpu", "Some CPU", 4)) == "Some CPU (4 cores)"
    assert str(Device("gpu", "Some GPU", 4, "1.2")) == "Some GPU"
    assert str(Device("unknown")) == "device not stated"
