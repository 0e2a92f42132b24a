"""What the machine does meanwhile: CPU, memory, disks, network and GPUs, as MLflow measures them, into the journal."""

import os
import threading
from contextlib import suppress
from typing import final

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
_SECONDS_TO_STOP = 2.0  # a driver that hangs is not waited for


@final
class Watch:
    """A thread that measures every few seconds, until it is stopped or the process ends."""

    def __init__(self, journal: Journal) -> None:
        self._journal, self._stopped = journal, threading.Event()
        self._thread = threading.Thread(target=self._measure, daemon=True, name="system metrics")
        if os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true").lower() not in ("0", "false"):
            self._thread.start()

    def stop(self) -> None:
        """Append nothing more from here on."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(_SECONDS_TO_STOP)

    def _measure(self) -> None:
        node = MLFLOW_SYSTEM_METRICS_NODE_ID.get()
        prefix = f"system/{node}/" if node else "system/"
        try:
            monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor(), *_gpus()]
            while not self._stopped.wait(MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL.get() or _SECONDS):
                found: dict[str, float] = {}
                for monitor in monitors:
                    monitor.collect_metrics()
                    found |= monitor.aggregate_metrics()
                    monitor.clear_metrics()
                points = {values.key(f"{prefix}{name}"): float(value) for name, value in found.items()}
                self._journal.append(SYSTEM, {"kind": "metrics", "values": points})
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
