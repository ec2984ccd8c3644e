"""The view "Many at once" and the numbers in the browser if labels have prices."""

from browsers import eventually, labels, served

from jaxlabel.oracle.votes import Rule


def numbers(view):
    """Return the names and values in the box of numbers beside the picture."""
    read = "all => all.map((each) => each.textContent)"  # in one step: the page replaces them
    texts = view.locator("#numbers > *").evaluate_all(read)
    return dict(zip(texts[::2], texts[1::2], strict=True))


def test_the_amounts_of_a_priced_run_are_shown_in_full_and_not_called_labels(
    digits, browser, tmp_path
):
    table = tmp_path / "table.csv"
    lines = [f"{file},0.125" for file in sorted(digits.glob("*.png"))[:40]]
    table.write_text("\n".join(["path,cost", *lines]))
    data = {"data": f"csv:{table}", "budget": 3.5, "initial_labels": 3}
    with served(digits, tmp_path / "run", Rule(), **data) as (url, desk):
        project = desk.project
        item = project.items[project.first[0]]
        desk.answer([item], "me", "one")
        project.store.buy(project.account, [item], purpose="train", round=0, asked_by="test")
        context = browser.new_context()
        context.request.get(f"{url}/?token=token")  # sets the cookie
        view = context.new_page()
        view.goto(url)
        eventually(view, lambda: numbers(view).get("Spent") == "0.125")
        assert numbers(view)["Budget left"] == "3.375 of 3.5"
        assert "Labels used" not in numbers(view)
        context.close()


def test_cheap_labels_are_chosen_until_the_budget_is_used_up(digits, browser, tmp_path):
    table = tmp_path / "table.csv"
    lines = [f"{file},0.1" for file in sorted(digits.glob("*.png"))[:40]]
    table.write_text("\n".join(["path,cost", *lines]))
    data = {"data": f"csv:{table}", "budget": 0.3, "initial_labels": 3}
    with served(digits, tmp_path / "run", Rule(), **data) as (url, desk):
        context = browser.new_context()
        context.request.get(f"{url}/?token=token")  # sets the cookie
        desk.answer([desk.project.items[desk.project.first[0]]], "me", "one")
        view = context.new_page()
        view.goto(f"{url}/grid")
        view.click("#groups button")
        tiles = view.locator("#picker .tiles button")
        tiles.first.click()
        said = "1 chosen: their price is taken from the 0.2 left of the budget."
        assert view.inner_text(".dock p") == said
        view.keyboard.press("1")
        eventually(view, lambda: labels(view) == 2)
        context.close()
