"""The process that trains for the labelling page, started as `python -m jaxlabel.label.child`.

It reads one line of JSON from its standard input: the recipe, its settings, the work directory, and
the pictures that the page has chosen for coming rounds. Then it trains like `jaxlabel train`. It
ends when its standard input is closed, which happens when the page's process ends.
"""

import dataclasses
import io
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from jaxlabel.errors import JaxlabelError, LabelsMissing
from jaxlabel.label.records import PREDICTIONS

ASKS = 10  # the exit code of a run that waits for answers


def main() -> None:
    """Train as the line on standard input says, and exit.

    The exit code is 0 if the run is finished, ASKS if it waits for labels, and another number if it
    failed.
    """
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_exit_with_page, daemon=True).start()
    sys.argv = order["command"]
    sys.exit(_train(order))


def _train(order: dict[str, Any]) -> int:
    """Train as the JSON object `order` says, and return the exit code of the process."""
    from jaxlabel.experiment import run

    configs = {config.__module__.rpartition(".")[2]: config for config in run.METHODS}
    settings, workdir = configs[order["method"]](**order["settings"]), Path(order["workdir"])
    try:
        if order["chosen"] and not (workdir / "result.json").exists():
            _record_choices(settings, workdir, order["chosen"], order["num_images"])
        run.run(settings, workdir)
        write_predictions(settings, workdir)
    except LabelsMissing as error:
        print(error, file=sys.stderr)
        return ASKS
    except JaxlabelError as error:
        print(f"jaxlabel: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    return 0


def write_predictions(settings: Any, workdir: Path) -> None:
    """Write what the model of a finished run predicts for all training pictures, for the page.

    The flagship has written it already; of the other recipes only the model is there. Nothing is
    written if the model predicts no classes.

    Args:
      settings: the configuration of the recipe.
      workdir: the run's work directory.
    """
    import numpy as np

    from jaxlabel import data, files
    from jaxlabel.data.dataset import options_of
    from jaxlabel.experiment import predict
    from jaxlabel.predictor import predict_probabilities
    from jaxlabel.runlog import dataset_snapshot

    path = workdir / PREDICTIONS
    if path.exists() or (trained := predict.load(workdir)).gives != "classes":
        return
    dataset = data.load(settings.data, options_of(settings))
    images = dataset_snapshot.in_first_order(dataset, settings.data, workdir).train_images
    probabilities = predict_probabilities(trained.model, images)
    content = io.BytesIO()
    np.savez_compressed(content, rows=np.arange(len(images)), probabilities=probabilities)
    files.write(path, content.getvalue())


def _record_choices(
    settings: Any, workdir: Path, chosen: dict[str, list[int]], num_images: int
) -> None:
    """Store the pictures that the page has chosen for rounds that the run has not begun.

    The run then uses these pictures when it begins such a round.

    Args:
      settings: the configuration of the recipe.
      workdir: the run's work directory.
      chosen: the rows (indices of pictures), by the number of the round as text.
      num_images: the number of training pictures.
    """
    import numpy as np

    from jaxlabel import query
    from jaxlabel.experiment.run import settings_without_password
    from jaxlabel.runlog import open_workdir

    defaults = dataclasses.asdict(type(settings)())
    chosen_settings = settings_without_password(settings)
    with open_workdir(workdir, chosen_settings, defaults=defaults) as log:
        for number, rows in chosen.items():
            if not len(query.restored_choice(log, int(number), num_images)):
                query.save_indices(log, f"asked_{number}", np.array(rows, int), num_images)


def _exit_with_page() -> None:
    """Wait until standard input is closed, then end this process at once."""
    sys.stdin.read()
    os._exit(3)


if __name__ == "__main__":
    main()
