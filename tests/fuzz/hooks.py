"""What schemathesis has to be told of this API: whose phone signs, which workspaces and people there are, and what every answer has.

Random text never makes a proof that holds, so three calls of four get what an app would send: a workspace, people, devices and requests
that are there, a proof by the phone's key, statements that it signed. The fourth is left as it was made. Headers and bodies that
schemathesis broke on purpose stay broken.
"""

import atexit
import collections
import os
import random
import time
from urllib.parse import urlsplit

import requests
import schemathesis
from schemathesis.generation import GenerationMode
from schemathesis.core.parameters import ParameterLocation

from phone import Phone

# PERSONA is whose phone it is, who is a user where the calls are an operator's.
API, CONTROL, PERSONA, USER = (os.environ[f"FUZZ_{name}"] for name in ("API", "CONTROL", "PERSONA", "USER"))
PEOPLE = ["ada", "samira", "benita", "jonas", "nina"]
# A proof of that key holds where a phone has no name yet.
BY_KEY = ("/me/devices", "/phone/key")
dice = random.Random(os.environ["FUZZ_SEED"])


def token():
    answer = requests.post(f"{CONTROL}/issuer/tokens", json={"persona": PERSONA}, timeout=5)
    answer.raise_for_status()
    return answer.json()["access_token"]


class State:
    """The phone, and what awaits its answer. Whatever retires the phone, it is enrolled anew."""

    def __init__(self):
        self.phone, self.asked, self.asked_at = self.new().enrol(), [], 0.0
        # Whose key comes after the phone's.
        self.next = self.new()

    @staticmethod
    def new():
        return Phone(API, CONTROL, USER, token)

    def open_request(self):
        if time.time() - self.asked_at > 0.5:
            self.asked, self.asked_at = self.phone.pending(), time.time()
        return dice.choice(self.asked) if self.asked else None


state = State()


def broken(case, location):
    """Whether that part was made wrong on purpose."""
    parts = case.meta.components if case.meta else {}
    return location in parts and parts[location].mode is GenerationMode.NEGATIVE


@schemathesis.hook
def before_call(context, case, **kwargs):
    if not broken(case, ParameterLocation.PATH):
        case.path_parameters = dict(case.path_parameters or {}) | known(case)
    if not broken(case, ParameterLocation.BODY) and isinstance(case.body, dict):
        case.body = case.body | signed(case)
    if not broken(case, ParameterLocation.QUERY) and "before" in (case.query or {}) and dice.random() < 0.7:
        case.query = {name: value for name, value in case.query.items() if name != "before"}
    if not broken(case, ParameterLocation.HEADER):
        case.headers = dict(case.headers or {}) | conditions(case)
        names = {parameter.name for parameter in case.operation.headers}
        if "DPoP" in names and dice.random() < 0.9:
            case.headers = dict(case.headers) | {"DPoP": proof(case)}


def conditions(case):
    """Tags as they are; most apps that change something anew have none."""
    given = [name for name in ("If-Match", "If-None-Match") if name in (case.headers or {})]
    return {name: dice.choice(["*", '"s1"', '"s1", W/"p2"', case.headers[name]]) for name in given}


def known(case):
    """Names of what is there, in the address."""
    there = {}
    names = case.path_parameters or {}
    if "workspace" in names and dice.random() < 0.95:
        there["workspace"] = "acme"
    if "user" in names and dice.random() < 0.75:
        there["user"] = dice.choice(PEOPLE)
    # Removing the phone that signs is answered as it should be, and costs an enrolment: seldom.
    if "device" in names and dice.random() < (0.05 if case.method == "DELETE" else 0.75):
        there["device"] = state.phone.id
    if "user" in names and "device" in names and dice.random() < 0.2:
        there["user"], there["device"] = USER, state.phone.id
    if "event" in names and dice.random() < 0.75 and (request := state.open_request()):
        there["type"], there["event"] = request
    return there


def signed(case):
    """What a phone signs, in the body."""
    path, at = case.operation.path, case.path_parameters or {}
    if dice.random() > 0.75:
        return {}
    if path.endswith("/answer"):
        verb = dice.choice(["approve", "deny", "deny_not_me"])
        return {"jws": state.phone.statement("decision", type=at.get("type"), event=at.get("event"), verb=verb)}
    if path.endswith("/phone/promotions"):
        return {"jws": state.phone.statement("promotion", device=state.phone.id, number="123456")}
    if path.endswith("/phone/key"):
        return {"jws": state.phone.statement("key", jwk=state.next.jwk())}
    if path.endswith("/phone/reached"):
        return {"nonce": state.phone.pushed()}
    if path.endswith("/me/devices"):
        return {"challenge": state.phone.challenge(), "report": state.new().report()}
    if path.endswith("/phone"):
        return state.phone.report()
    return {}


def proof(case):
    sent = requests.Request(**{"method": case.method, "url": case.as_transport_kwargs(base_url=API)["url"]}).prepare()
    path = urlsplit(sent.url).path
    if case.operation.path.endswith(BY_KEY):
        nonce = case.body.get("challenge") if isinstance(case.body, dict) else None
        return state.next.proof(case.method, path, nonce if isinstance(nonce, str) else None)
    return state.phone.proof(case.method, path)


answered = collections.defaultdict(collections.Counter)


@atexit.register
def tell():
    """How far the calls got: an operation that only ever refused was not played."""
    print("\nAnswers:")
    for operation, statuses in sorted(answered.items()):
        print(f"  {operation:<80} {'  '.join(f'{status}: {count}' for status, count in sorted(statuses.items()))}")


@schemathesis.hook
def after_call(context, case, response):
    # Probes with another method are not of the operation that they are derived from.
    if case.method.upper() == case.operation.method.upper():
        answered[case.operation.label][response.status_code] += 1
    if response.status_code == 200 and case.operation.path.endswith(BY_KEY):
        if case.operation.path.endswith("/phone/key"):
            state.phone.key = state.next.key
        state.next = state.new()
    if response.status_code == 401 and b":unknown-phone" in (response.content or b""):
        fresh = requests.get(f"{API}/v1/workspaces/acme/phone/requests", timeout=30,
                             headers={"dpop": state.phone.proof("GET", "/v1/workspaces/acme/phone/requests")})
        if fresh.status_code == 401:
            state.phone.enrol()


@schemathesis.check
def every_answer_is_whole(context, response, case):
    """What holds for all answers, whatever the description says of each."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    for name in ("x-request-id", "content-security-policy", "x-content-type-options", "cache-control"):
        assert name in headers, f"there is no {name}"
    if response.status_code < 400 or case.method == "HEAD":
        return
    kind = headers.get("content-type", [""])[0]
    assert kind == "application/problem+json", f"a refusal is {kind}"
    problem = response.json()
    assert problem["type"].startswith("urn:watchbell:problem:"), problem
    assert problem["status"] == response.status_code, problem
    assert problem["detail"].endswith(".") and " " in problem["detail"], problem
    if response.status_code in (429, 503):
        assert "retry-after" in headers, f"{response.status_code} says nothing of when to try again"
    if response.status_code == 503:
        # The one that is no trouble of the service's: an event that nobody knows may be one that is still to come.
        assert problem["type"] == "urn:watchbell:problem:request-not-here", problem
