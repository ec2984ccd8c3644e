"""Execute the runs of an experiment side by side and make tables and figures of the results.

Each run can be killed and continued. An experiment file has a docstring (the command, its time,
what it found) and one function:

    def get_experiment(quick: bool = False) -> Experiment:
        settings = baselines.Config(data="idx:DATA_ROOT/fashion_mnist")
        arm = Arm("random labels", settings, {"budget": [500, 1000]}, theirs=[0.785, 0.792])
        return Experiment("What do more labels buy?", [Table("S3", [arm])])

An ablation is one line in a grid. DATA_ROOT stands for the value of the
flag --data_root.
"""

from jaxlabel.sweep.types import Arm, Experiment, Table

__all__ = ["Arm", "Experiment", "Table"]
