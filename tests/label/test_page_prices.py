"""The labelling page of pictures whose labels have prices."""

import pytest
from pages import clients, say

from jaxlabel.label.project import begin
from jaxlabel.methods import active


def priced(pictures, tmp_path, costs, budget):
    """Begin a run on some of the pictures, with these prices and 9 first labels."""
    table = tmp_path / "table.csv"
    lines = [f"{pictures / f'{number}.png'},{cost}" for number, cost in enumerate(costs)]
    table.write_text("\n".join(["path,cost", *lines]))
    settings = active.Config(data=f"csv:{table}", image_size=8, budget=budget, initial_labels=9)
    return begin(settings, tmp_path / "run")


def test_the_page_takes_labels_that_the_budget_covers_exactly(pictures, tmp_path):
    project = priced(pictures, tmp_path, [0.1] * 30, 0.3)
    client, _, desk = clients(project)
    assert len(project.first) == 3  # in floating point, 0.1 + 0.1 + 0.1 > 0.3
    (project.workdir / "result.json").write_text("{}")
    for number in range(4):  # after two labels, 0.3 - 0.2 < 0.1
        unaffordable = desk.ahead._excluded(desk.money_left(desk.snapshot(fresh=True)))
        assert len(unaffordable) == (0 if number < 3 else 30)
        answer = say(client, project.items[number], "top")
        assert answer.status_code == (200 if number < 3 else 400)
    said = "1 label at a price of 0.1 does not fit: the budget has only 0 left"
    assert said in answer.json()["error"]
    assert project.store.spent(project.account) == 0.3


@pytest.mark.parametrize(("cost", "budget", "labels"), [(0.5, 3, 6), (4, 5, 1), (0, 5, 9)])
def test_the_page_first_asks_for_as_many_labels_as_the_budget_buys(
    pictures, tmp_path, cost, budget, labels
):
    assert len(priced(pictures, tmp_path, [cost] * 29 + [50], budget).first) == labels
