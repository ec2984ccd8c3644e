"""How a person gets in with the password in the browser."""

from browsers import served

from jaxlabel.oracle.votes import Rule


def test_the_password_is_sent_by_the_form(digits, browser, tmp_path):
    with served(digits, tmp_path / "run", Rule(), "long enough") as (url, _):
        context = browser.new_context()
        view, second = context.new_page(), context.new_page()
        for tab in (view, second):
            tab.goto(url)
            tab.wait_for_selector("input[type=password]")
        view.fill("input", "wrong")
        view.click("text=Enter")
        view.wait_for_selector("input[type=password]")
        assert view.url == f"{url}/login"
        for tab in (view, second):  # the second tab has the cookie already
            tab.fill("input", "long enough")
            tab.click("text=Enter")
            tab.wait_for_selector("#picture[data-item]")
            assert tab.url == f"{url}/"
        context.close()
