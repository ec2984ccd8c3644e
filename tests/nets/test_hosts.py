"""Tests of the messages between the processes of a run, with two real processes."""

import os
import socket
import subprocess
import sys

SENDS_AND_COUNTS = """
import sys
import numpy as np
from unittest import mock
from jaxlabel.nets import devices, hosts

hosts.start(sys.argv[1], 2, int(sys.argv[2]))
with mock.patch.object(devices, "memory", lambda: 70 + int(sys.argv[2])):
    devices.agree_on_memory()
assert devices.memory() == 70
for number in range(20):
    (array,) = hosts.from_leader(lambda: [np.full(200_000, number)])  # 1.6 MB: two parts
    assert array.sum() == 200_000 * number
hosts.meet()
hosts.from_leader(lambda: ["the last one"])
kept = [key for key, _ in hosts._client().key_value_dir_get_bytes("message/")]
hosts.meet()
print(*sorted(kept))
hosts.part()
"""


def test_messages_that_all_processes_have_read_are_deleted():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SENDS_AND_COUNTS, address, str(number)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )
        for number in (0, 1)
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [out for out, _ in said] == ["message/21 message/21/0\n"] * 2, said
