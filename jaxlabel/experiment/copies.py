"""Identical images have one label: a label that was bought for one of them is that of all."""

import numpy as np
from jaxtyping import Shaped

from jaxlabel.oracle import LabelStore
from jaxlabel.predictor import Predictor


def with_bought_labels(
    predictor: Predictor, items: Shaped[np.ndarray, " n"], store: LabelStore, account: str
) -> Predictor:
    """Give each image that is identical to one whose label was bought this label.

    A recipe knows the labels of the images that it asked about; for a copy of such an image it
    returns a prediction, which may differ.

    Args:
      predictor: the result of the recipe.
      items: the id of each training image; identical images have the same id.
      store: the database of labels.
      account: the name of the account that bought the labels.
    """
    if predictor.train_labels is None:
        return predictor
    bought = {row.item: row.label for row in store.ledger(account)}
    labels = predictor.train_labels.copy()
    for index, item in enumerate(items.tolist()):
        labels[index] = bought.get(item, labels[index])
    return predictor._replace(train_labels=labels)
