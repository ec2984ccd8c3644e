"""Execute the training runs of an experiment in parallel, and make tables of their results.

A sweep is the execution of all runs of an experiment; it can be stopped and continued. An
experiment compares several arms. An arm is a method with a grid of settings, such as a baseline
with the budgets 500 and 1000. An experiment file has a docstring (the command, its time, its
result) and one function:

    def get_experiment(quick: bool = False) -> Experiment:
        settings = baselines.Config(data="idx:DATA_ROOT/fashion_mnist")
        arm = Arm("random labels", settings, {"budget": [500, 1000]}, theirs=[0.785, 0.792])
        return Experiment("What do more labels buy?", [Table("S3", [arm])])

An ablation is one more entry of a grid. DATA_ROOT stands for the value of the flag --data_root.
`theirs` holds published results to compare with, one for each combination of settings.
"""

from jaxlabel.sweep.types import Arm, Experiment, Table

__all__ = ["Arm", "Experiment", "Table"]
