"""What a person sees in the browser if the label store cannot be used."""

from pathlib import Path

from browsers import served

from jaxlabel.errors import StoreError
from jaxlabel.label import export, views
from jaxlabel.oracle.votes import Rule


def test_an_export_that_fails_is_one_line_on_the_page(digits, browser, tmp_path, monkeypatch):
    with served(digits, tmp_path / "run", Rule()) as (url, _):
        context = browser.new_context()
        context.request.get(f"{url}/?token=token")  # sets the cookie
        view = context.new_page()
        view.goto(f"{url}/export")
        with view.expect_download() as saved:
            view.click("text=CSV")
        assert saved.value.suggested_filename == "labels.csv"
        assert Path(saved.value.path()).read_text().count("\n") == 301

        def full(*_):
            raise StoreError("the label store: database or disk is full; free some space")

        with monkeypatch.context() as patch:
            patch.setattr(export, "image_labels", full)
            for button in ("text=JSON lines", "#links"):
                view.click(button)
                view.wait_for_selector("#alert:has-text('disk is full')")
                assert view.url == f"{url}/export"
            patch.setattr(views, "overview", full)
            view.goto(f"{url}/map")  # its first request fails, which no view handles
            view.wait_for_selector("#alert:has-text('disk is full')")
        view.goto(f"{url}/export")
        view.click("a:has-text('Report')")
        view.wait_for_selector("#alert:has-text('the report is written when the run ends')")
        context.close()
