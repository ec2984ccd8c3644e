"""Write TensorBoard's event file, one record after another.

The writer of tensorboardX is not used: its thread hangs forever when the disk is full, and records
that it buffers are lost when the process is killed. Only its messages and checksums are used.
"""

import os
import socket
import struct
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxlabel import files


def _summary() -> Any:
    """Import tensorboardX's messages without PyTorch.

    tensorboardX imports PyTorch if it is installed, which takes 3 s and 300 MB, and nothing here
    needs it.
    """
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        from tensorboardX import summary
    finally:
        if hidden:
            del sys.modules["torch"]
    return summary


class Events:
    """A writer of a TensorBoard event file. The first write creates the file and its folder.

    Args:
      folder: the folder of the file.
      config: the settings of the run by name, for TensorBoard's table of runs; texts, numbers and
        truth values are shown.
    """

    run_id = ""  # TensorBoard knows a run by its folder

    def __init__(self, folder: Path, config: Mapping[str, Any] | None = None):
        self._folder = folder
        self._settings = {
            k: v for k, v in (config or {}).items() if isinstance(v, str | bool | int | float)
        }
        self._file: Any = None

    def scalars(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        """Write metrics to TensorBoard.

        Args:
          phase: the part of the run that the metrics belong to, such as "classifier".
          step: the training step.
          values: the metrics by name, such as "loss"; TensorBoard shows "classifier/loss".
        """
        summary = _summary()
        for name, value in values.items():
            self._write_event(summary.scalar(f"{phase}/{name}", value), step)
        self._flush()

    def image(self, name: str, step: int, image: UInt8[np.ndarray, "h w c"]) -> None:
        """Write the picture `image` to TensorBoard, which shows it under `name` and `step`."""
        summary = _summary()
        image = image[..., 0] if image.shape[-1] == 1 else image
        formats = "HW" if image.ndim == 2 else "HWC"
        self._write_event(summary.image(name, image, dataformats=formats), step)
        self._flush()

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Write a run's settings and final metrics, which TensorBoard shows in its table of runs.

        Args:
          metrics: the final metrics by name, such as "test_accuracy".
        """
        summary = _summary()
        tagged = {f"hparam/{name}": value for name, value in metrics.items()}
        for message in summary.hparams(self._settings, tagged):
            self._write_event(message, 0)
        for name, value in tagged.items():
            self._write_event(summary.scalar(name, value), 0)
        self._flush()

    def close(self) -> None:
        """Close the event file."""
        file, self._file = self._file, None
        if file is not None:
            with files.write_errors(self._folder):
                file.close()

    def _write_event(self, message: Any, step: int) -> None:
        """Append an event to the event file. The first call creates the file.

        Args:
          message: the content of the event, made by the module `tensorboardX.summary`.
          step: the training step of the event.
        """
        from tensorboardX.proto.event_pb2 import Event

        event = Event(wall_time=time.time(), step=step, summary=message)
        if self._file is None:
            with files.write_errors(self._folder):
                self._folder.mkdir(parents=True, exist_ok=True)
                name = f"events.out.tfevents.{time.time():.4f}.{socket.gethostname()}.{os.getpid()}"
                self._file = (self._folder / name).open("ab")
            self._write_record(Event(wall_time=time.time(), file_version="brain.Event:2"))
        self._write_record(event)

    def _write_record(self, event: Any) -> None:
        """Append the `event` to the event file in TensorBoard's record format.

        A record consists of the data's length, a checksum of the length, the data, and a checksum
        of the data.
        """
        from tensorboardX.record_writer import masked_crc32c

        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        with files.write_errors(self._folder):
            self._file.write(length + struct.pack("<I", masked_crc32c(length)))
            self._file.write(data + struct.pack("<I", masked_crc32c(data)))

    def _flush(self) -> None:
        """Pass the events in Python's buffer to the operating system.

        If the process is killed, these events are then not lost.
        """
        with files.write_errors(self._folder):
            self._file.flush()
