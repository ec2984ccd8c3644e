"""Write a run's metrics to the experiment trackers Weights & Biases and MLflow.

Each class has the methods of `sinks.Sink`, and finds its server or folder by the environment
variables of its package. A package is imported when its class is first used.
"""

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

PROJECT = "jaxlabel"  # the name of the project or experiment, unless the user sets another
INIT_SECONDS = 30  # how long Weights & Biases may try to reach its server
PARAMETERS = 100  # the largest number of settings that MLflow accepts in one call
CHARACTERS = 500  # the largest number of characters that MLflow accepts in one setting


class Wandb:
    """Write a run to Weights & Biases.

    Args:
      workdir: the run's directory; its name becomes the name of the run, and Weights & Biases
        writes its own files to the folder wandb in it.
      config: the settings of the run, by name.
      run_id: the id of the run in Weights & Biases if it is continued, else empty.
    """

    def __init__(self, workdir: Path, config: Mapping[str, Any], run_id: str):
        import wandb

        self._package = wandb
        settings = wandb.Settings(silent=True, console="off", init_timeout=INIT_SECONDS)
        self._phases: set[str] = set()
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), name=workdir.absolute().name,
            id=run_id or None, resume="allow", dir=workdir, config=dict(config),
            reinit="create_new", settings=settings,
        )  # fmt: skip
        self.run_id = str(self._run.id)

    def scalars(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        """Write metrics; Weights & Biases shows them over the steps of their phase."""
        # The step of Weights & Biases must never decrease, but each phase of a run counts from 0.
        axis = f"{phase}/step"
        if phase not in self._phases:
            self._run.define_metric(f"{phase}/*", step_metric=axis)
            self._phases.add(phase)
        self._run.log({axis: step, **{f"{phase}/{name}": value for name, value in values.items()}})

    def image(self, name: str, step: int, image: UInt8[np.ndarray, "h w c"]) -> None:
        """Write a picture."""
        picture = self._package.Image(_picture(image), caption=f"step {step}")
        self._run.log({name: picture})

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Write the final metrics to the summary of the run."""
        self._run.summary.update(dict(metrics))

    def close(self) -> None:
        """Wait until everything is written or sent."""
        self._run.finish()


class Mlflow:
    """Write a run to MLflow: to the server or folder that MLFLOW_TRACKING_URI names.

    Args:
      workdir: the run's directory; its name becomes the name of the run.
      config: the settings of the run, by name.
      run_id: the id of the run in MLflow if it is continued, else empty.
    """

    def __init__(self, workdir: Path, config: Mapping[str, Any], run_id: str):
        # By default MLflow repeats requests to an unreachable server for several minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient()
        self._status = "KILLED"  # unless `finish` is called
        if run_id:
            self.run_id = run_id
            self._client.update_run(run_id, status="RUNNING")
            return
        run = self._client.create_run(self._experiment(), run_name=workdir.absolute().name)
        self.run_id = str(run.info.run_id)
        settings = [Param(name, str(value)[:CHARACTERS]) for name, value in config.items()]
        for start in range(0, len(settings), PARAMETERS):
            chunk = settings[start : start + PARAMETERS]
            self._client.log_batch(self.run_id, params=chunk)

    def scalars(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        """Write metrics; MLflow shows "classifier/loss" for the metric "loss" of a phase."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(f"{phase}/{name}", value, now, step) for name, value in values.items()]
        self._client.log_batch(self.run_id, metrics=metrics)

    def image(self, name: str, step: int, image: UInt8[np.ndarray, "h w c"]) -> None:
        """Write a picture as the artifact NAME/STEP.png."""
        self._client.log_image(self.run_id, _picture(image), artifact_file=f"{name}/{step}.png")

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Write the final metrics, and record that the run finished without an error."""
        for name, value in metrics.items():
            self._client.log_metric(self.run_id, name, value)
        self._status = "FINISHED"

    def close(self) -> None:
        """Record how the session ended."""
        self._client.set_terminated(self.run_id, self._status)

    def _experiment(self) -> str:
        """Return the id of the experiment for the run, and create the experiment if necessary."""
        from mlflow.exceptions import MlflowException

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        with contextlib.suppress(MlflowException):  # it exists, perhaps since a moment ago
            self._client.create_experiment(name)
        return str(self._client.get_experiment_by_name(name).experiment_id)


def _picture(image: UInt8[np.ndarray, "h w c"]) -> Image.Image:
    """Return an array of pixels with one or three channels as a picture of pillow."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
