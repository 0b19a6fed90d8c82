"""Which device a Keras model runs on, and how to wait for it.

Nothing heavy is imported before a function is called: the Keras backend is the one that
``KERAS_BACKEND`` or ``keras.json`` chose.
"""

import importlib.metadata
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course.processes import cores

KINDS = ("cpu", "gpu", "unknown")


@dataclass(frozen=True)
class Device:
    """What computed a timing.

    Attributes:
        kind: ``"cpu"``, ``"gpu"``, or ``"unknown"`` where a source does not say.
        name: the maker's name, such as ``"AMD EPYC"``; None where unknown.
        cores: CPU cores that the process may use; None where unknown.
        driver: version of the GPU driver; None without one.
    """

    kind: str
    name: str | None = None
    cores: int | None = None
    driver: str | None = None

    def __str__(self) -> str:
        """Return the name, with the cores of a CPU."""
        name = self.name or "device not stated"
        return f"{name} ({self.cores} cores)" if self.kind == "cpu" and self.cores else name


def cpu_name() -> str:
    """Return the processor's name; its architecture where the system does not tell."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpu_driver() -> str | None:
    """Return the NVIDIA driver's version, or None where ``nvidia-smi`` does not answer."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    query = [command, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip().splitlines()[0].strip() if answer.stdout.strip() else None


def _gpu_name(backend: str) -> str | None:
    """Return the name of the GPU that `backend` computes on by default, or None."""
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.get_visible_devices("GPU")
        if gpus:
            return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    elif backend == "jax":
        import jax

        first = jax.devices()[0]
        if first.platform != "cpu":
            return first.device_kind
    elif backend == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name()
    return None


def current() -> Device:
    """Return the device that Keras computes on in this process."""
    import keras

    gpu = _gpu_name(keras.backend.backend())
    if gpu is not None:
        return Device("gpu", gpu, cores(), gpu_driver())
    return Device("cpu", cpu_name(), cores())


def synchronise(model: Any) -> None:
    """Return when the device has finished all work on `model` that was sent to it.

    A GPU takes orders and goes on later: a clock that is read without waiting times the
    ordering, not the work.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        if tf.config.get_visible_devices("GPU"):
            tf.test.experimental.sync_devices()
    elif backend == "jax":
        import jax

        # `fit` keeps the weights here while it runs; the model's own are written back later.
        state = getattr(model, "_jax_state", None)
        jax.block_until_ready(state or [variable.value for variable in model.variables])
    elif backend == "torch":
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()


def software() -> dict[str, str]:
    """Return the versions that matter for a timing, by name; ``backend`` is Keras's."""
    import keras

    backend = keras.backend.backend()
    versions = {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": backend,
        "system": f"{platform.system()} {platform.machine()}",
    }
    names = {"tensorflow": ("tensorflow", "tensorflow-cpu"), "jax": ("jax",), "torch": ("torch",)}
    for name in names.get(backend, ()):
        try:
            versions[backend] = importlib.metadata.version(name)
            break
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
