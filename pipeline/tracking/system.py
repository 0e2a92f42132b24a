"""What the machine does meanwhile: CPU, memory, disks, network and GPUs, as MLflow measures them, into the journal."""

import os
import threading
from contextlib import suppress

from mlflow.environment_variables import MLFLOW_SYSTEM_METRICS_NODE_ID, MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL
from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor

from pipeline.tracking import store, values
from pipeline.tracking.journal import SYSTEM, Journal
from pipeline.tracking.sending import say

_SECONDS = 5.0


def watch(journal: Journal) -> None:
    """Measure every few seconds from now on, in a thread that ends with the process."""
    if os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true").lower() not in ("0", "false"):
        threading.Thread(target=_measure, args=(journal,), daemon=True, name="system metrics").start()


def _measure(journal: Journal) -> None:
    node = MLFLOW_SYSTEM_METRICS_NODE_ID.get()
    prefix = f"system/{node}/" if node else "system/"
    pause = threading.Event()
    try:
        monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor(), *_gpus()]
        while not pause.wait(MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL.get() or _SECONDS):
            found: dict[str, float] = {}
            for monitor in monitors:
                monitor.collect_metrics()
                found |= monitor.aggregate_metrics()
                monitor.clear_metrics()
            points = {values.key(f"{prefix}{name}"): float(value) for name, value in found.items()}
            journal.append(SYSTEM, {"kind": "metrics", "values": points})
    except Exception as error:
        # Where a container hides its network or disks, psutil returns None to MLflow.
        if not (store.is_foreign(error) or isinstance(error, AttributeError)):
            raise
        say(f"No system metrics: {store.first_line(error)}")


def _gpus() -> list[BaseMetricsMonitor]:
    """What watches the GPUs, NVIDIA's or AMD's; empty if there are none, or nothing that can ask them."""
    for monitor in (GPUMonitor, ROCMMonitor):
        with suppress(Exception):  # each raises its own when a package, a driver or the device is not there
            return [monitor()]
    return []
