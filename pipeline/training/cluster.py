"""The place of this process among those that torchrun or SLURM has started."""

import shutil
import subprocess
from collections.abc import Mapping

from pipeline.errors import UserError


def placed(environ: Mapping[str, str]) -> dict[str, str] | None:
    """The place of this process among those that torchrun or `srun` started, as torch reads it; None if it is alone.

    A batch script of SLURM is alone: SLURM_NTASKS stands there, too, but nobody started the other tasks.

    Raises:
        UserError: what was set is not enough to find the others.
    """
    if environ.get("RANK") and environ.get("WORLD_SIZE"):
        for name in ("MASTER_ADDR", "MASTER_PORT"):
            if environ["WORLD_SIZE"] != "1" and not environ.get(name):
                raise UserError(
                    f"RANK and WORLD_SIZE are set, as torchrun sets them, but {name} is not.\n"
                    f"Set it to where rank 0 listens, or unset RANK and WORLD_SIZE to train in processes of our own."
                )
        return {"LOCAL_RANK": environ.get("LOCAL_RANK") or "0"}
    if environ.get("SLURM_PROCID") and int(environ.get("SLURM_STEP_NUM_TASKS") or 1) > 1:
        return {
            "RANK": environ["SLURM_PROCID"],
            "WORLD_SIZE": environ["SLURM_STEP_NUM_TASKS"],
            "LOCAL_RANK": environ.get("SLURM_LOCALID") or "0",
            "MASTER_ADDR": environ.get("MASTER_ADDR") or _first_host(environ),
            "MASTER_PORT": environ.get("MASTER_PORT") or _port(environ),
        }
    return None


def _first_host(environ: Mapping[str, str]) -> str:
    hosts = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST")
    scontrol = shutil.which("scontrol", path=environ.get("PATH"))
    if hosts and scontrol:
        told = subprocess.run([scontrol, "show", "hostnames", hosts], capture_output=True, text=True, check=False)
        if told.returncode == 0 and told.stdout.strip():
            return told.stdout.split()[0]
    # Where srun was called: the first host inside a batch job, but not on a login node.
    if environ.get("SLURM_LAUNCH_NODE_IPADDR"):
        return environ["SLURM_LAUNCH_NODE_IPADDR"]
    raise UserError(
        f"SLURM started {environ['SLURM_STEP_NUM_TASKS']} tasks, but the host of the first one cannot be told: "
        "`scontrol show hostnames` names none.\nSet MASTER_ADDR to it."
    )


def _port(environ: Mapping[str, str]) -> str:
    """The same in every task, another one in each step of a job, and below those that systems hand out freely."""
    job, step = (int(environ.get(name) or 0) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return str(20_000 + (7 * job + step) % 12_000)
