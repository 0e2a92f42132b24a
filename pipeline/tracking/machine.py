"""What a run was computed with: the machine, and everything that is installed. Nothing of it is imported."""

import os
import platform
import re
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "datasets", "tokenizers", "mlflow", "dvc")
_OURS = "reprise"
_SECONDS = 10
_METADATA = ("METADATA", "PKG-INFO", "")  # where an installed distribution says what it is: a wheel, an egg, a file
_FIELD = re.compile(r"^(Name|Version): *(\S+)", re.MULTILINE)


def versions() -> dict[str, str]:
    """Python's version and those of the packages that shape a result, as installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def installed() -> dict[str, str]:
    """The version of every installed distribution but our own, by its normalized name, sorted."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        # `distribution.metadata` parses the whole description as well, which takes ten times as long.
        text = next(filter(None, map(distribution.read_text, _METADATA)), "")
        fields = dict(_FIELD.findall(text.partition("\n\n")[0]))
        name = fields.get("Name", "").lower().replace("_", "-").replace(".", "-")
        # The first on the path is the one that is imported.
        if name and name != _OURS:
            found.setdefault(name, fields.get("Version", ""))
    return dict(sorted(found.items()))


def facts() -> dict[str, Any]:
    """The system, the processor, its cores, the memory, and the GPUs with their driver."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": _asked("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"),
    }


def _cpu() -> str:
    """The processor's model; of two models even the same instructions may round differently."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if named:
            return named[0]
    brand = _asked("sysctl", "-n", "machdep.cpu.brand_string")
    return brand[0] if brand else platform.processor() or platform.machine()


def _asked(*command: str) -> list[str]:
    """The lines that a program prints; none if it is not there or does not know."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in answer.stdout.splitlines()] if answer.returncode == 0 else []
