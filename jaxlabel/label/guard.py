"""Decide who may use the labelling page, by a token or password, a cookie, hosts and origins.

The printed address has a secret token. Opening it sets a cookie, which later requests need.
"""

import hmac
import ipaddress
import secrets
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from jaxlabel import files
from jaxlabel.label.names import person_name
from jaxlabel.label.project import PAGE

LARGEST_BODY = 2_000_000  # bytes of a request: the ids of about 50,000 pictures
LONGEST_TARGET = 4096  # bytes of a path and its query
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "x-content-type-options": "nosniff",
    # with "no-referrer", Chromium sends the login form with "Origin: null"
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}
ENTER = """<!doctype html><html lang="en"><meta charset="utf-8"><title>jaxlabel</title>
<meta http-equiv="refresh" content="0;url=/"><p><a href="/">Go to the page</a></p></html>"""
REFUSED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>jaxlabel</title>
<h1>This address is not complete</h1><p>Open the address that <code>jaxlabel label</code>
printed in the terminal. It ends in <code>?token=...</code></p></html>"""
LOGIN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>jaxlabel</title>
<h1>jaxlabel</h1><form method="post" action="/login"><label>Password
<input type="password" name="password" autofocus></label> <button>Enter</button></form></html>"""


class Keys(NamedTuple):
    """The two secrets that protect the labelling page of one work directory.

    Attributes:
      token: the secret in the address that is printed in the terminal.
      cookie: the value of the cookie that the browser gets when it sends the token.
    """

    token: str
    cookie: str


def keys(workdir: Path) -> Keys:
    """Return the secrets of the work directory's labelling page.

    They are made at the first start and kept in a file that only this user can read. So a browser
    tab that is still open works again after a restart of the page.
    """
    path = workdir / PAGE / "keys.json"
    kept = files.read_json(path)
    if kept is None:
        kept = {"token": secrets.token_urlsafe(24), "cookie": secrets.token_urlsafe(32)}
        files.write_json(path, kept, private=True)
    return Keys(str(kept["token"]), str(kept["cookie"]))


class Guard:
    """A web application that passes only allowed requests to another web application, `app`.

    Both are called by the interface ASGI. A request needs the page's cookie. The browser gets it by
    the address with the token, or by the password. The Host header, the origin and the size of a
    request are checked first.

    Args:
      app: the protected application.
      secrets: the token and the cookie.
      host: the address on which the page listens.
      port: the port on which the page listens; 0 allows every port (for tests).
      password: a password that gives access too; empty if only the token does.
    """

    def __init__(self, app: Any, secrets: Keys, host: str, port: int, password: str = ""):
        self._app, self._secrets, self._password = app, secrets, password
        self._host, self._port = host, port

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer a request: pass it on, set the cookie, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            answer = await self._answer(scope, receive) or self._app
            await answer(scope, _limit_body(receive), _with_headers(send))

    async def _answer(self, scope: MutableMapping[str, Any], receive: Any) -> Response | None:
        """Return the response that sets the cookie or refuses a request; None to pass it on."""
        headers = {k.decode("latin1").lower(): v.decode("latin1") for k, v in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            return refusal
        query = parse_qs(scope["query_string"].decode("latin1"))
        if scope["method"] == "GET" and self._is_token(query.get("token", [""])[0]):
            return self._log_in(query.get("as", [""])[0])
        is_login = bool(self._password) and scope["path"] == "/login"
        if self._has_cookie(headers.get("cookie", "")):
            return self._log_in("") if is_login else None  # the form was open in a second tab
        if is_login and scope["method"] == "POST":
            given = parse_qs((await _body(receive)).decode("utf-8", "replace"))
            word = given.get("password", [""])[0]
            if hmac.compare_digest(word.encode(), self._password.encode()):
                return self._log_in("")
        return HTMLResponse(LOGIN if self._password else REFUSED, 403)

    def _refusal(self, scope: MutableMapping[str, Any], headers: dict[str, str]) -> Response | None:
        """Return the response to a request that is not valid; None if it is valid.

        The cookie is not checked.
        """
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > LONGEST_TARGET:
            return PlainTextResponse("the address is too long", 414)
        if not self._is_allowed_host(headers.get("host", "")):
            return PlainTextResponse("this host name is not allowed", 403)
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("only GET and POST", 405)
        if scope["method"] == "POST":
            origin = urlsplit(headers.get("origin", ""))
            if origin.scheme not in ("http", "https") or origin.netloc != headers.get("host"):
                return PlainTextResponse("this origin is not allowed", 403)
            length = headers.get("content-length", "0")
            if not length.isdecimal() or int(length) > LARGEST_BODY:
                return PlainTextResponse("the request is too long", 413)
        return None

    def _is_allowed_host(self, host: str) -> bool:
        """Return True if a Host header names this page's address, and False for any foreign domain.

        This prevents DNS rebinding, by which a foreign web site would reach the page.
        """
        try:
            parts = urlsplit(f"//{host}")
            name, port = parts.hostname or "", parts.port
        except ValueError:
            return False
        if self._port and port is not None and port != self._port:
            return False
        if name in ("localhost", "127.0.0.1", "::1", self._host.lower()):
            return True
        if self._host in ("127.0.0.1", "localhost", "::1"):
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _is_token(self, token: str) -> bool:
        """Return True if the text equals the page's secret token."""
        given = token.encode("utf-8", "replace")
        return bool(token) and hmac.compare_digest(given, self._secrets.token.encode())

    @property
    def _cookie_name(self) -> str:
        """Return the name of the page's cookie.

        It includes the port, because browsers send a cookie to all ports of a machine.
        """
        return f"jaxlabel_{self._port}"

    def _has_cookie(self, cookie: str) -> bool:
        """Return True if a Cookie header has the page's cookie with the right value."""
        # http.cookies would drop all cookies if one of another program on this machine is malformed
        found = cookie_parser(cookie).get(self._cookie_name, "")
        return hmac.compare_digest(found.encode("utf-8", "replace"), self._secrets.cookie.encode())

    def _log_in(self, person: str) -> Response:
        """Return a response that sets the cookie, and redirects to the page.

        The redirect makes the next request come from the page itself, as a SameSite cookie
        requires. A `person` is kept in the address as `?as=NAME`.
        """
        kind = f"{self._cookie_name}={self._secrets.cookie}; HttpOnly; SameSite=Strict; Path=/"
        safe = quote(person_name(person), safe="")
        text = ENTER.replace('url=/"', f'url=/?as={safe}"') if safe else ENTER
        return HTMLResponse(text, headers={"set-cookie": kind})


def _limit_body(receive: Any) -> Any:
    """Return an ASGI `receive` function that ends the request if its body is too long."""
    seen = 0

    async def limited() -> Any:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > LARGEST_BODY:
            return {"type": "http.disconnect"}
        return message

    return limited


async def _body(receive: Any) -> bytes:
    """Return the body of a request, which is cut soon after 10,000 bytes."""
    content = b""
    while len(content) < 10_000:
        message = await receive()
        content += message.get("body", b"")
        if not message.get("more_body"):
            break
    return content


def _with_headers(send: Any) -> Any:
    """Return a `send` function of ASGI that adds the security headers to every response."""

    async def wrapped(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return wrapped
