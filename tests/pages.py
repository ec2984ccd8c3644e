"""The labelling page for tests: clients of its routes, without training."""

from starlette.testclient import TestClient

from jaxlabel.label.desk import Desk
from jaxlabel.label.guard import Guard, Keys
from jaxlabel.label.server import make_app
from jaxlabel.label.trainer import State
from jaxlabel.oracle.votes import Rule

SECRETS = Keys("token-of-the-test", "cookie-of-the-test")
URL = "http://127.0.0.1:8000"
ORIGIN = {"origin": URL}


class NoTrainer:
    """Stands for a trainer that waits."""

    def state(self):
        return State("asking")

    def retry(self):
        pass


def clients(project, rule=Rule()):  # noqa: B008
    """A client that has the cookie, one that has not, and the desk."""
    desk = Desk(project, rule)
    guard = Guard(make_app(desk, NoTrainer()), SECRETS, "127.0.0.1", 8000)
    inside, outside = (TestClient(guard, base_url=URL, headers=ORIGIN) for _ in range(2))
    assert inside.get("/?token=token-of-the-test").status_code == 200
    return inside, outside, desk


def say(client, item, name, person="", **more):
    body = {"items": [item] if isinstance(item, str) else item, "class_name": name} | more
    return client.post(f"/api/answer?as={person}", json=body)


def asked(client, person=""):
    return [q["item"] for q in client.get(f"/api/state?as={person}").json()["questions"]]
