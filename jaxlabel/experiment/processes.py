"""Execute a run in this process alone, or in one of several processes that compute it together."""

from pathlib import Path

from jaxlabel import config
from jaxlabel.experiment import together
from jaxlabel.experiment.run import METHODS, run, summary
from jaxlabel.nets import hosts


def execute(
    settings: config.RunConfig, workdir: Path, coordinator: str = "", num_processes: int = 0,
    number: int = -1,
) -> str:  # fmt: skip
    """Execute a run alone, or together with other processes that call this function too.

    Args:
      settings: the settings of the run.
      workdir: the directory of the run, which process 0 alone uses.
      coordinator: "HOST:PORT" of process 0; with "auto", Slurm or the like gives all three values.
        An empty string: this process executes the run alone.
      num_processes: the number of processes.
      number: the number of this process, from 0.

    Returns:
      The summary of the result; an empty text in processes other than process 0.
    """
    if not coordinator:
        return summary(run(settings, workdir), workdir)
    together.start(settings, coordinator, num_processes, number)
    if not hosts.is_leader():
        together.follow(METHODS[type(settings)], settings)
        return ""
    with together.leading():
        result = run(settings, workdir)
    return summary(result, workdir)
