"""The view "Many at once" in the browser if labels have prices."""

from browsers import eventually, labels, served

from jaxlabel.oracle.votes import Rule


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
        said = "1 chosen: their prices count against the 0.2 that is left."
        assert view.inner_text(".dock p") == said
        view.keyboard.press("1")
        eventually(view, lambda: labels(view) == 2)
        context.close()
