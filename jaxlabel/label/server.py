"""The web application of the labelling page: pages, pictures, questions, answers, and exports."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from jaxlabel import query
from jaxlabel.errors import BudgetExceeded, JaxlabelError, UsageError
from jaxlabel.experiment.labelled import writing
from jaxlabel.files import replace_folder
from jaxlabel.label import agreement, export, views
from jaxlabel.label.corrections import buy_corrections
from jaxlabel.label.desk import Desk
from jaxlabel.label.names import person_name, similar_name
from jaxlabel.label.pictures import picture
from jaxlabel.label.project import PAGE
from jaxlabel.label.status import status
from jaxlabel.label.trainer import Trainer
from jaxlabel.oracle.prices import total_price
from jaxlabel.oracle.votes import NOT_SURE, Locked

HERE = Path(__file__).parent
VIEWS = {"": "label", "grid": "grid", "review": "review", "map": "map", "people": "people",
         "export": "export"}  # fmt: skip
NAMES = {"label": "Label", "grid": "Many at once", "review": "Results", "map": "Map",
         "people": "People", "export": "Export"}  # fmt: skip
PERSON = "me"  # the person's name if the address has no ?as=NAME
LARGEST_FLOAT = sys.float_info.max
MOST = 200  # the largest number of pictures in one response


def make_app(desk: Desk, trainer: Trainer) -> Starlette:
    """Return the web application of the labelling page, without access control (see `Guard`).

    Args:
      desk: the questions and answers of the page.
      trainer: the training process.
    """
    records = desk.records
    pages = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True)

    def state(request: Request) -> dict[str, Any]:
        person = _person(request)
        skip = request.query_params.get("skip", "").split(",")
        shown = request.query_params.get("shown")  # only in the requests of the page's timer
        found = desk.upcoming(person, skip=[s for s in skip if s], shown=shown)
        return {
            "person": person,
            "questions": [q._asdict() for q in found],
            "status": status(desk, records, trainer.state(), person),
        }

    def page(request: Request) -> Response:
        name = request.path_params.get("view", "")
        if name not in VIEWS:
            return JSONResponse({"error": "there is no such page"}, 404)
        text = pages.get_template("page.html").render(
            view=VIEWS[name], names=NAMES, paths=VIEWS, workdir=str(desk.project.workdir),
            features=bool(desk.project.settings.outside_features),
        )  # fmt: skip
        return HTMLResponse(text)

    def show(request: Request) -> Response:
        found = picture(desk.project, request.path_params["item"])
        if found is None:
            return JSONResponse({"error": "there is no such picture"}, 404)
        kept = {"cache-control": "private, max-age=86400, immutable"}
        return Response(found[0], media_type=found[1], headers=kept)

    def answer(request: Request, given: dict[str, Any]) -> dict[str, Any]:
        items, name = _items(given), str(given.get("class_name", ""))
        for item in items if len(items) > 1 or given.get("help") else []:
            views.refuse_audit(desk, item)
        names = desk.project.store.classes(desk.project.label_set)
        if name and name not in names and given.get("known"):  # the page's list is out of date
            raise UsageError(f"there is no class {name} any more: it was renamed or taken back; "
                             "choose again")  # fmt: skip
        if name and name not in names and not given.get("sure"):
            similar = similar_name(name, names)
            if similar is not None:
                return {"similar": similar}
        finished = records.result() is not None
        if name != NOT_SURE and (finished or len(items) > 1):
            _check_budget(desk, items, finished)
        desk.answer(items, _person(request), name, given.get("seconds", 0.0))
        _, unaffordable = buy_corrections(desk, items if name != NOT_SURE else [])
        if unaffordable:  # another run has used the account in the meantime
            raise BudgetExceeded("the answer is stored, but the budget does not buy its label")
        return state(request)

    def undo(request: Request, given: dict[str, Any]) -> dict[str, Any]:
        taken = desk.undo(_person(request), str(given.get("item", "")))
        if taken is None:
            return state(request) | {"again": None}
        purpose = "certify" if taken.item in views.audit_items(desk) else "train"
        again = {"item": taken.item, "purpose": purpose, "source": "run"}
        return state(request) | {"again": again}

    def rename(request: Request, given: dict[str, Any]) -> dict[str, Any]:
        name = desk.rename_class(str(given.get("old", "")), str(given.get("new", "")))
        return state(request) | {"renamed": name}

    def more_here(request: Request, given: dict[str, Any]) -> dict[str, Any]:
        item = str(given.get("item", ""))
        views.refuse_audit(desk, item)
        return {"added": desk.ask_near(item)}

    def retry(request: Request, given: dict[str, Any]) -> dict[str, Any]:
        trainer.retry()
        return {}

    def folders(request: Request, given: dict[str, Any]) -> dict[str, Any]:
        target, copies = desk.project.workdir / PAGE / "classes", bool(given.get("copies"))
        found = export.image_labels(desk, records)
        # an earlier export in this folder is replaced
        replace_folder(
            target, lambda new: writing.write_folders(found, new, copies), lambda _: None
        )
        return {"count": sum(bool(row.label) for row in found.rows), "folder": str(target)}

    def table(request: Request) -> Response:
        kind = request.path_params["kind"]
        if kind not in ("csv", "jsonl"):
            return JSONResponse({"error": "csv or jsonl"}, 404)
        found = writing.table(kind, export.image_labels(desk, records).shown_rows())
        return _download(found, f"labels.{kind}")

    def report(request: Request) -> Response:
        path = desk.project.workdir / "report.html"
        if not path.exists():
            return JSONResponse({"error": "the report is written when the run ends"}, 404)
        return _download(path.read_bytes(), "report.html")

    def view(make: Callable[[Request], dict[str, Any]]) -> Callable[[Request], Response]:
        return lambda request: JSONResponse(make(request))

    def number(request: Request, name: str, default: int) -> int:
        text = request.query_params.get(name, "")
        return min(int(text), 10**9) if text.isdecimal() and len(text) < 10 else default

    def item_of(request: Request) -> str:
        return request.query_params.get("item", "")

    return Starlette(routes=[
        Route("/", page),
        Route("/picture/{item}", show),
        Mount("/static", StaticFiles(directory=HERE / "static")),
        Route("/api/state", view(state)),
        Route("/api/answer", _post(answer), methods=["POST"]),
        Route("/api/undo", _post(undo), methods=["POST"]),
        Route("/api/rename", _post(rename), methods=["POST"]),
        Route("/api/more", _post(more_here), methods=["POST"]),
        Route("/api/retry", _post(retry), methods=["POST"]),
        Route("/api/export", _post(folders), methods=["POST"]),
        Route("/api/help", view(lambda r: views.help_with(desk, records, item_of(r)))),
        Route("/api/near", view(
            lambda r: views.near(desk, item_of(r), min(number(r, "count", 40), MOST)))),
        Route("/api/clusters", view(lambda r: views.clusters(desk))),
        Route("/api/cluster", view(
            lambda r: views.cluster(desk, number(r, "number", 0), min(number(r, "count", 60),
                                                                       MOST)))),
        Route("/api/review", view(lambda r: views.review(
            desk, records, r.query_params.get("class", ""), number(r, "start", 0),
            min(number(r, "count", 60), MOST)))),
        Route("/api/map", view(lambda r: views.overview(desk, records))),
        Route("/api/people", view(lambda r: agreement.people(desk))),
        Route("/export/labels.{kind}", table),
        Route("/export/report.html", report),
        Route("/{view}", page),
    ], exception_handlers={JaxlabelError: _report, OSError: _report})  # fmt: skip


def _post(do: Callable[[Request, dict[str, Any]], dict[str, Any]]) -> Any:
    """Return an endpoint that reads a JSON object and answers with the object that `do` returns.

    `do` is called as `do(request, given)`, where `given` is the JSON object of the request.
    """

    async def endpoint(request: Request) -> Response:
        if not request.headers.get("content-type", "").startswith("application/json"):
            return JSONResponse({"error": "send JSON"}, 415)
        try:
            given = json.loads(await request.body())
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            return JSONResponse({"error": "send a JSON object"}, 400)
        return JSONResponse(await run_in_threadpool(do, request, given))

    return endpoint


def _report(request: Request, error: Exception) -> Response:
    """Return the message of an error, one line for the page, as a JSON response."""
    if isinstance(error, OSError):
        text = f"{error.filename or 'a file'} cannot be used: {error.strerror or error}"
    else:
        text = str(error)
    if isinstance(error, Locked | BudgetExceeded | UsageError):
        return JSONResponse({"error": text}, 400 if isinstance(error, UsageError) else 409)
    print(f"jaxlabel: {text}", flush=True)  # not the person's fault, and it may pass
    return JSONResponse({"error": text}, 503)


def _items(given: dict[str, Any]) -> list[str]:
    """Return the ids of the pictures in a request's JSON object, each once.

    Raises:
      UsageError: the object's "items" or "seconds" is not valid.
    """
    items = given.get("items")
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise UsageError("items is a list of pictures' ids")
    seconds = given.get("seconds", 0.0)
    if not isinstance(seconds, int | float) or not abs(seconds) <= LARGEST_FLOAT:
        raise UsageError("seconds is a number")
    return list(dict.fromkeys(items))


def _check_budget(desk: Desk, items: list[str], finished: bool) -> None:
    """Raise an error if the budget cannot buy the labels of `items`; nothing is stored.

    While the run goes on, other labels that it has not bought yet are counted too.

    Args:
      desk: the questions and answers of the page.
      items: the ids of the pictures.
      finished: whether the run is finished.

    Raises:
      UsageError: the labels cost more than what is left of the budget.
    """
    account = desk.project.payer()
    snapshot = desk.snapshot(fresh=True)
    known = snapshot.paid if finished else snapshot.paid.union(desk.waiting(snapshot))
    new = [item for item in items if item not in known]
    price = total_price(desk.project.store, desk.project.label_set, new)
    left = account.budget - account.spent if finished else desk.money_left(snapshot)
    if price > query.highest_price(left):
        s, verb = ("", "does") if len(new) == 1 else ("s", "do")
        cost = "" if price == len(new) else f" at a price of {price:g}"
        raise UsageError(
            f"{len(new)} label{s}{cost} {verb} not fit: the budget has only {left:g} left"
        )


def _person(request: Request) -> str:
    """Return the name of the person who sends a request: `?as=NAME` of its address, or PERSON."""
    return person_name(request.query_params.get("as", "")) or PERSON


def _download(content: bytes, name: str) -> Response:
    """Return a response that the browser saves as a file called `name`."""
    kept = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type="application/octet-stream", headers=kept)
