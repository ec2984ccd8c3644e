"""Collect the results of the labelling page: the label of each picture."""

from jaxlabel.experiment.labelled.rows import (
    BOUGHT,
    GIVEN,
    NOT_SURE,
    ImageLabels,
    LabelRow,
    predicted_row,
)
from jaxlabel.label.desk import Desk
from jaxlabel.label.records import Records

SURE = 0.5  # predictions with a lower probability are marked as "not sure", as by `jaxlabel labels`


def image_labels(desk: Desk, records: Records) -> ImageLabels:
    """Return all pictures with their labels.

    The labels are those given by people, files or programs, or else the predictions. The pictures
    are in the order of the data set.

    Args:
      desk: the questions and answers of the labelling page.
      records: the files that the run has written, such as the model's predictions.
    """
    project, snapshot, pool = desk.project, desk.snapshot(fresh=True), records.pool()
    names = project.store.classes(project.label_set)
    guesses: dict[int, tuple[str, float]] = {}
    if pool is not None and pool.probabilities.shape[1] <= len(names):
        best, sure = pool.probabilities.argmax(axis=1), pool.probabilities.max(axis=1)
        pairs = zip(pool.rows.tolist(), best.tolist(), sure.tolist(), strict=True)
        guesses = {row: (names[k], share) for row, k, share in pairs}
    votes = {(v.item, v.class_name): v for v in snapshot.votes}  # the newest vote for each class
    rows = []
    for number, item in enumerate(project.items):
        file = project.dataset.paths[number] if project.dataset.paths else ""
        if (label := snapshot.labels.get(item)) is not None:
            known = BOUGHT if item in snapshot.bought else GIVEN
            vote = votes.get((item, label))  # None if the label came from a file of answers
            who, time = (vote.person, vote.voted_time) if vote else ("", "")
            rows.append(LabelRow(number, item, file, label, 1.0, known, who, time))
        elif number in guesses:
            rows.append(predicted_row(number, item, file, *guesses[number], SURE))
        else:
            known = NOT_SURE if item in snapshot.refused else ""
            rows.append(LabelRow(number, item, file, "", 0.0, known, "", ""))
    classes = tuple(dict.fromkeys([*names, *snapshot.labels.values()]))
    return ImageLabels(rows, project.dataset.train_images, classes, project.label_set,
                       project.settings.data)  # fmt: skip
