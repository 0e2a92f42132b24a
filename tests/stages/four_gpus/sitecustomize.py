"""Four GPUs that are not there: with this on PYTHONPATH, train and evaluate count them, and say which they have.

Python imports this module by itself. Any other process than such a stage stays as it is.
"""

import os
import sys
import threading
import time
from pathlib import Path

if {"stages.train", "stages.evaluate"} & {*sys.orig_argv}:
    import torch

    torch.cuda.device_count = lambda: 4

    def tell() -> None:
        """Write down every few milliseconds what the process would see."""
        with (Path(os.environ["TEST_SEEN"]) / str(os.getpid())).open("w") as file:
            while True:
                file.write(f"{time.monotonic_ns()} {os.environ.get('CUDA_VISIBLE_DEVICES', '')}\n")
                file.flush()
                time.sleep(0.005)

    threading.Thread(target=tell, daemon=True).start()
