"""Several processes that compute one run together, on one or more machines.

Process 0 is the leader: it alone uses the label store and the run's directory. All processes
execute the same recipe on the same images, and each computes a part of every batch. Whatever a
recipe learns from outside, the leader finds out and sends to the others (`from_leader`). Messages
go through JAX's coordination service, a server in process 0, so that a process may wait for hours.
If a process is killed, JAX ends the others after about 30 seconds; see `jaxlabel.cli.guard`.
"""

import contextlib
import io
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxlabel.errors import JaxlabelError, UsageError

HEARTBEAT = 30  # seconds without a sign of life after which a process counts as dead
LONGEST = 7 * 24 * 3600 * 1000  # milliseconds that a process waits for another one that is alive
PART = 2**20  # bytes of a message that are sent at once
FAILED = "failed"  # the name of the entry of a message that holds an error instead of arrays
AUTO = "auto"
LOOPBACK = ("localhost", "127.0.0.1", "::1")  # hosts that only this machine's processes can reach
_num_processes, _process = 1, 0  # set by `start`
_num_meetings, _num_messages = 0, 0
_num_deleted = 0  # messages that the leader has deleted because all other processes had read them


def start(coordinator: str, num_processes: int, process_id: int) -> None:
    """Connect this process with the other processes of the run. Call it before JAX computes.

    Args:
      coordinator: "HOST:PORT", an address of the machine of process 0, and a free port there.
        "auto" takes all three values from Slurm, Open MPI, Kubernetes or a TPU pod.
      num_processes: the number of processes.
      process_id: the number of this process, from 0.

    Raises:
      UsageError: a value is missing or wrong, or "auto" finds no such environment.
      JaxlabelError: the other processes do not answer.
    """
    global _num_processes, _process
    import jax

    given: dict[str, Any] = {}
    if coordinator == AUTO:
        given = _all_gpus_of_a_slurm_task()
    else:
        if ":" not in coordinator or not 0 <= process_id < num_processes:
            raise UsageError(
                "several processes take --coordinator=HOST:PORT --num_processes=N --process_id=I "
                "with I from 0 to N-1, or --coordinator=auto"
            )
        given = {"coordinator_address": coordinator, "num_processes": num_processes,
                 "process_id": process_id}  # fmt: skip
        if coordinator.rpartition(":")[0].strip("[]") in LOOPBACK:
            given["coordinator_bind_address"] = coordinator  # else JAX listens on all networks
    # JAX would otherwise swallow SIGTERM, for programs that save their state when they get it.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(**given, heartbeat_timeout_seconds=HEARTBEAT)
    except ValueError as error:
        raise UsageError(f"--coordinator={coordinator}: {error}; give --coordinator=HOST:PORT "
                         "--num_processes=N --process_id=I") from error  # fmt: skip
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:200]
        raise JaxlabelError(f"the processes of the run do not find each other ({reason}): start "
                            "all of them, with the same --coordinator") from error  # fmt: skip
    _num_processes, _process = jax.process_count(), jax.process_index()


def _all_gpus_of_a_slurm_task() -> dict[str, Any]:
    """Return arguments of jax.distributed.initialize; {} if Slurm has not started this process.

    If Slurm has started one process per machine, JAX would use one GPU of each machine only.
    """
    tasks, machines = os.environ.get("SLURM_NTASKS"), os.environ.get("SLURM_STEP_NUM_NODES")
    num_gpus = os.environ.get("SLURM_GPUS_ON_NODE", "")
    if tasks is None or tasks != machines or not num_gpus.isdecimal():
        return {}
    return {"local_device_ids": list(range(int(num_gpus)))}


def count() -> int:
    """Return the number of processes that compute this run together."""
    return _num_processes


def number() -> int:
    """Return the number of this process, from 0."""
    return _process


def is_leader() -> bool:
    """Return True in the process that uses the label store and the run's directory."""
    return _process == 0


def meet() -> None:
    """Wait until all processes have called this function."""
    global _num_meetings
    if _num_processes > 1:
        _num_meetings += 1
        _client().wait_at_barrier(f"meeting/{_num_meetings}", LONGEST)


def part() -> None:
    """Disconnect this process from the others, as soon as all of them call this function."""
    global _num_processes
    import jax

    meet()
    jax.distributed.shutdown()
    _num_processes = 1


def from_leader(compute: Callable[[], Sequence[Any]]) -> list[np.ndarray]:
    """Return in every process the arrays that `compute()` returns in the leader.

    Only the leader calls `compute`. All processes must call this function.

    Args:
      compute: a function without arguments that returns a list of arrays, numbers or texts.

    Raises:
      JaxlabelError: in the other processes, if the leader has called `fail` instead.
    """
    if is_leader():
        found = [np.asarray(value) for value in compute()]
        _send(*found)
        return found
    arrays = _receive()
    if FAILED in arrays:
        _leave_together()
        raise JaxlabelError(f"process {_process}: process 0 has ended ({arrays[FAILED]})")
    return [arrays[f"arr_{place}"] for place in range(len(arrays))]


def smallest(name: str, value: int) -> int:
    """Return the smallest of the values that the processes pass. All must call this function.

    Args:
      name: what the value is; a name can be used only once.
      value: the value of this process.
    """
    if _num_processes == 1:
        return value
    _client().key_value_set(f"{name}/{_process}", str(value))
    return min(
        int(_client().blocking_key_value_get(f"{name}/{process}", LONGEST))
        for process in range(_num_processes)
    )


def fail(error: Exception) -> None:
    """Send the leader's error to the other processes that wait for its next message."""
    if _num_processes > 1:
        _send(**{FAILED: np.array(str(error) or type(error).__name__)})
        _leave_together()


def _leave_together() -> None:
    """Wait up to 5 seconds for the other processes: they still read what the leader has sent."""
    with contextlib.suppress(RuntimeError):
        _client().wait_at_barrier("failed", 5000)


def _send(*arrays: np.ndarray, **named: Any) -> None:
    """Send the next message to all other processes: arrays, as a file in NumPy's format."""
    global _num_messages
    _delete_messages_read_by_all()
    _num_messages += 1
    file = io.BytesIO()
    np.savez(file, *arrays, **named)
    whole = file.getvalue()
    parts = [whole[start : start + PART] for start in range(0, len(whole), PART)]
    for place, part in enumerate(parts):
        _client().key_value_set_bytes(f"message/{_num_messages}/{place}", part)
    _client().key_value_set(f"message/{_num_messages}", str(len(parts)))


def _receive() -> dict[str, np.ndarray]:
    """Wait for the next message of the leader, and return its arrays by name."""
    global _num_messages
    _num_messages += 1
    num_parts = int(_client().blocking_key_value_get(f"message/{_num_messages}", LONGEST))
    parts = [
        _client().blocking_key_value_get_bytes(f"message/{_num_messages}/{place}", LONGEST)
        for place in range(num_parts)
    ]
    _client().key_value_set(f"read/{_process}", str(_num_messages), allow_overwrite=True)
    with np.load(io.BytesIO(b"".join(parts)), allow_pickle=False) as loaded:
        return dict(loaded)


def _delete_messages_read_by_all() -> None:
    """Delete, in the coordination service, the messages that all other processes have read.

    Otherwise the memory of the service, in process 0, would grow with every message of a run.
    """
    global _num_deleted
    read = [int(number) for _, number in _client().key_value_dir_get("read/")]
    if len(read) == _num_processes - 1:
        last = min(read, default=_num_messages)
        for number in range(_num_deleted + 1, last + 1):
            _client().key_value_delete(f"message/{number}")  # with its parts
        _num_deleted = last


def _client() -> Any:
    """Return JAX's connection to the coordination service."""
    from jax._src.distributed import global_state  # JAX has no public name for it

    return global_state.client
