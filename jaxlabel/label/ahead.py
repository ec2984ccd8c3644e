"""Choose pictures for labelling ahead: people may label them before the run asks for them."""

from collections.abc import Sequence

import numpy as np

from jaxlabel import files, query
from jaxlabel.errors import UsageError
from jaxlabel.label.features import cover, neighbours
from jaxlabel.label.project import Project
from jaxlabel.label.questions import Question
from jaxlabel.label.records import Records
from jaxlabel.label.snapshot import Snapshot
from jaxlabel.runlog.workdir import ASKED

AHEAD = 16  # the number of pictures chosen at a time to be labelled ahead
NEAR = 8  # the largest number of similar pictures that a person can queue at a time


class Ahead:
    """Chooses pictures that people label while the run trains; a later round uses their labels.

    It is used by one thread at a time.

    Args:
      project: the run and its pictures.
      records: the reader of the files that the run writes.
    """

    def __init__(self, project: Project, records: Records):
        self._project, self._records = project, records
        self._chosen: list[int] = []
        self._wanted: list[int] = []  # rows that a person has chosen on the map, to be asked next

    @property
    def allowed(self) -> bool:
        """Return True if people may label pictures that the run has not asked for.

        The run must not be finished, its recipe must have the setting `initial_labels`, and no
        accuracy target may be set. A run with a target chooses all its pictures itself, so that it
        stops exactly as `jaxlabel train` would.
        """
        settings = self._project.settings
        done = (self._project.workdir / "result.json").exists()
        takes = hasattr(settings, "initial_labels") and not getattr(settings, "target", 0)
        return takes and not done

    def items(self, snapshot: Snapshot, batch: Sequence[Question], left: float) -> list[str]:
        """Return the ids of pictures that people may label before the run asks for them.

        First come pictures that a person chose on the map, then pictures typical of clusters in
        which nothing is labelled.

        Args:
          snapshot: the answers and labels that there are.
          batch: the questions of the run.
          left: the rest of the budget; pictures whose label has a higher price are left out.
        """
        project = self._project
        count = self._room(snapshot, batch, left)
        if not self.allowed or count < 1:
            return []
        rows = [r for r in self._wanted + self._chosen if snapshot.is_open(project.items[r])]
        if not rows:
            asked = {q.item for q in batch} | {v.item for v in snapshot.votes}
            asked |= snapshot.labels.keys()
            known = np.array(sorted(project.rows[i] for i in asked if i in project.rows), int)
            seed = project.settings.seed + 1 + len(known)
            found = cover(
                project.features, min(AHEAD, count), known, self._excluded(left), seed=seed
            )  # fmt: skip
            rows = [int(row) for row in found]
            self._chosen += rows
        return [project.items[row] for row in rows[:count]]

    def answered(self, snapshot: Snapshot, batch: Sequence[Question]) -> list[int]:
        """Return the rows (indices) of pictures that people labelled before the run asked for them.

        Pictures whose label the run has bought since are left out, and so are labels that people
        gave on the page of another run, if runs share the label store.

        Args:
          snapshot: the answers and labels that there are.
          batch: the questions of the run.
        """
        project = self._project
        asked = files.read_json(project.workdir / ASKED) or {}
        known = set(asked) | {project.items[row] for row in project.first}
        known |= {q.item for q in batch} | snapshot.paid
        ahead = [item for item in snapshot.labels if item in snapshot.own and item not in known]
        return [project.rows[item] for item in ahead if item in project.rows]

    def ask_near(
        self, item: str, snapshot: Snapshot, batch: Sequence[Question], left: float
    ) -> int:
        """Queue the pictures most similar to `item` for labelling, and return their number.

        Args:
          item: the id of the picture.
          snapshot: the answers and labels that there are.
          batch: the questions of the run.
          left: what remains of the budget after buying all labels that people have given.

        Raises:
          UsageError: the run takes only pictures that it has chosen itself, it is finished, or no
            later round would buy the labels.
        """
        if not self.allowed:
            raise UsageError(
                "you cannot choose extra pictures: the run is finished, or its recipe or accuracy "
                "target requires that the run chooses all of them"
            )
        count = min(NEAR, self._room(snapshot, batch, left))
        if count < 1:
            raise UsageError("there is no room for extra pictures now: the run chooses the next "
                             "ones itself")  # fmt: skip
        project = self._project
        taken = {v.item for v in snapshot.votes} | {q.item for q in batch} | snapshot.labels.keys()
        known = [project.rows[i] for i in taken if i in project.rows]
        free = np.setdiff1d(np.fromiter(project.rows.values(), int), np.array(known, int))
        near = neighbours(project.features, project.rows[item], count, free)
        self._wanted = [*map(int, near), *self._wanted]
        return len(near)

    def ask_again(self, item: str) -> None:
        """Queue a picture whose answer was taken back and for which the run does not wait."""
        row = self._project.rows.get(item)
        if row is not None and row not in self._chosen:
            self._wanted.append(row)

    def _excluded(self, left: float) -> np.ndarray:
        """Return the rows (indices) of pictures that people should not label unless the run asks.

        These are copies of other pictures and pictures whose label costs more than `left`. If there
        is a model, they are also all pictures outside the quarter for which the newest model has
        the lowest confidence.
        """
        project, pool = self._project, self._records.pool()
        unaffordable = np.flatnonzero(project.prices() > query.highest_price(left))
        excluded = np.union1d(project.duplicates(), unaffordable)
        if pool is None:
            return excluded
        sure = pool.probabilities.max(axis=1)
        kept = pool.rows[np.argsort(sure, kind="stable")[: max(AHEAD, len(sure) // 4)]]
        return np.union1d(excluded, np.setdiff1d(np.arange(len(project.items)), kept))

    def _room(self, snapshot: Snapshot, batch: Sequence[Question], left: float) -> int:
        """Return how many more pictures people may label before the run asks for them.

        At most half of the labels that the round after the next one adds are given ahead, because
        the run may have chosen the pictures of the next round already. Near the end of the budget
        the number is 0, because no later round would buy the labels.

        Args:
          snapshot: the answers and labels that there are.
          batch: the questions of the run.
          left: what remains of the budget after buying all labels that people have given.
        """
        growth = getattr(self._project.settings, "growth", 1.5)
        asked = files.read_json(self._project.workdir / ASKED) or {}
        known = set(asked) | {self._project.items[row] for row in self._project.first}
        # the run does not ask for what was labelled ahead: it is known when it is bought
        num_known = max(len(known | (snapshot.own & snapshot.paid)), 1)
        prices = self._project.prices()
        price = float(prices[np.isfinite(prices)].mean()) if np.isfinite(prices).any() else 1.0
        num_open = sum(snapshot.is_open(question.item) for question in batch)
        next_round = (growth - 1) * num_known  # the labels that the run will choose itself
        given = len(self.answered(snapshot, batch))
        affordable = query.highest_price(left) / max(price, 1e-9) - num_open + given - next_round
        return int(max(0, min(growth * next_round / 2, affordable))) - given
