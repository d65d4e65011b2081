"""What schemathesis has to be told of this API: who signs in, whose phone signs, who and what is there, and what every answer has.

Random text never makes a proof that holds, so most calls get what an app would send: a workspace, people, devices and requests that are
there, a proof by the phone's key, statements that it signed. The others are left as they were made. What schemathesis broke on purpose
stays broken, but for most of what only ever ends at the door (to_mend). What is drawn here for a call depends on the seed and on how many
calls there were before, on nothing else: not on what was answered, nor on how fast. So one seed makes the same calls again; which
requests are open at a moment is up to time.
"""

import atexit
import collections
import json
import os
import pathlib
import random
from urllib.parse import urlsplit

import requests
import schemathesis
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode
from schemathesis.generation.meta import TestPhase, negated_parameters

from people import PEOPLE, People

API, CONTROL, PERSONA, WORKSPACE, SEED, ANSWERS = (
    os.environ[f"FUZZ_{name}"] for name in ("API", "CONTROL", "PERSONA", "WORKSPACE", "SEED", "ANSWERS")
)
W = "/v1/workspaces/{workspace}"
# A proof of that key holds where a phone has no name yet.
BY_KEY = ("POST /me/devices", "POST /phone/key")
# The share of an operation's calls that is given something made for it alone, of those that are not left as they were made.
MADE_FOR = 0.4
# So many calls of the operation that answers a request come before the first erasure of oneself: more than its phase of coverage has.
ANSWERS_FIRST = 60
# What stands for a sign-in and for a proof until the call is made.
SIGN_IN, PROOF = "Bearer fuzz", "fuzz"

people = People(API, CONTROL, WORKSPACE, PERSONA)
drawn, answered = collections.Counter(), collections.defaultdict(collections.Counter)


def of(case):
    """The operation, in short."""
    return f"{case.operation.method.upper()} {case.operation.path.removeprefix(W)}"


def by_proof(case):
    """Whether a phone's key alone says who calls."""
    return "Phones" in (case.operation.tags or [])


def credential(case):
    """The header that says who calls, and what marks its place."""
    return ("DPoP", PROOF) if by_proof(case) else ("Authorization", SIGN_IN)


@schemathesis.auth(refresh_interval=None)
class SignIn:
    """Only marks where a credential goes: schemathesis takes it away, or puts a wrong one there, to see whether anybody looks."""

    def get(self, case, context):
        return credential(case)

    def set(self, case, named, context):
        name, mark = named
        case.headers[name] = mark


class Move:
    """What a call is made to say: names in its address, members of its body, and the phone that signs."""

    def __init__(self, case, dice):
        self.case, self.dice = case, dice
        self.names, self.query, self.body, self.signer = {}, None, {}, None
        self.asked = case.path_parameters or {}

    def may(self, share):
        return self.dice.random() < share

    def phone(self):
        return self.signer or people.phone

    def plan(self):
        """In the address whatever there is of that name; then what the operation takes besides."""
        rolls = {name: self.dice.random() for name in ("workspace", "user", "device", "event", "notice", "test")}
        user, pick = self.dice.choice(PEOPLE), self.dice.random()
        there = {name for name, roll in rolls.items() if name in self.asked and roll < (0.97 if name == "workspace" else 0.85)}
        if "workspace" in there:
            self.names["workspace"] = WORKSPACE
        if "user" in there:
            self.names["user"] = user
        if "device" in there:
            self.names["device"] = people.phone.id
        if "event" in there and (requests := people.open_requests()):
            self.names["type"], self.names["event"] = requests[int(pick * len(requests))]
        if "notice" in there and (notices := people.notices()):
            self.names["notice"] = notices[int(pick * len(notices))]
        if "test" in there:
            tests = people.test_sent()
            self.names["test"] = tests[int(pick * len(tests))]
        self.turn()
        if of(self.case) in MOVES and self.may(0.85):
            MOVES[of(self.case)](self)

    def somebody(self):
        """Oneself now and then, while there is room; else another one."""
        others = [user for user in PEOPLE if user != people.user]
        other, own = self.dice.choice(others), self.may(0.3 if PERSONA == "user" else 0.15)
        return people.user if own and people.may_take_own(of(self.case)) else other

    def remove_own(self):
        if self.may(MADE_FOR):
            self.names["device"] = people.spare(people.user).id
            people.spares.pop(people.user)
        elif not (self.may(0.1) and people.may_take_own(of(self.case))):
            self.names.pop("device", None)

    def remove_of_another(self):
        # A user may remove what is theirs.
        user = people.user if self.may(0.4) else self.dice.choice([*people.sessions])
        people.introduce(user)
        self.names |= {"user": user, "device": people.spare(user).id}

    def of_somebody(self):
        people.introduce(self.names.get("user"))
        if self.may(0.3):
            self.names["user"] = people.user

    def help(self):
        people.introduce(self.names.get("user"))
        if self.may(0.4):
            self.names["user"] = self.dice.choice(["jonas", "nina"])

    def erase(self):
        """Oneself only after the answers had their turn: who was erased is asked nothing for ten minutes."""
        asked_for_answers = drawn[f"POST {W}/phone/requests/{{type}}/{{event}}/answer"]
        others = [user for user in PEOPLE if user != people.user]
        self.names["user"] = self.somebody() if asked_for_answers > ANSWERS_FIRST else self.dice.choice(others)
        people.introduce(self.names["user"])

    def reset(self):
        self.names["user"] = self.somebody()
        people.introduce(self.names["user"])
        if self.names["user"] == people.user and self.may(0.8):
            self.query = dict(self.case.query or {}) | {"even_the_last": "true"}

    def tell(self):
        """What became of whom, by an operator."""
        what = self.dice.choice(["user_removed", "user_removed", "sessions_revoked", "sessions_revoked", "workspace_deleted"])
        self.body = {"id": f"told-{self.dice.randrange(1000)}", "what": what}
        if what != "workspace_deleted":
            self.body["user"] = self.somebody()
        elif not people.may_take_own(of(self.case)):
            self.body |= {"what": "user_removed", "user": PEOPLE[-1]}

    def answer(self):
        verb = self.dice.choice(["approve", "deny", "deny_not_me"])
        at = {name: self.names.get(name, self.asked.get(name)) for name in ("type", "event")}
        self.body = {"jws": people.phone.statement("decision", **at, verb=verb)}

    def vouch(self):
        """For another phone with the digits that it shows, or for itself, which may approve already."""
        device, number = people.phone.id, "123456"
        if self.may(MADE_FOR / 2):
            other = people.newcomer()
            device, number = other.id, other.ask("POST", "/phone/digits")["digits"]
        self.body = {"jws": people.phone.statement("promotion", device=device, number=number)}

    def promote(self):
        if self.may(MADE_FOR / 2):
            self.signer = people.newcomer()
        self.names["device"] = self.phone().id
        if self.may(0.7):
            self.body = {"ticket": None}

    def roll(self):
        self.body = {"jws": people.phone.statement("key", jwk=people.next.jwk())}

    def reached(self):
        """What the push brought: to a phone that waits for it, or again."""
        if self.may(MADE_FOR / 2):
            self.signer = people.new(people.user).register()
        self.body = {"nonce": self.phone().pushed()}

    def register(self):
        self.body = {"challenge": people.phone.challenge(), "report": people.next.report()}

    def report(self):
        self.body = people.phone.report()

    def seen(self):
        shown = people.open_requests()[:3]
        self.body = {"shown": [{"type": kind, "event": event} for kind, event in shown]}

    def not_me(self):
        """Also a phone whose person was erased may say so, for a day."""
        if people.erased and self.may(0.3):
            self.signer = people.erased

    def turn(self):
        """To the first page, or to the one after what was read last."""
        query, roll = dict(self.case.query or {}), self.dice.random()
        for name in [name for name in ("before", "after") if name in query]:
            page = people.pages.get(of(self.case))
            if page and roll < 0.4:
                self.query = query | {name: page}
            elif roll < 0.8:
                self.query = {other: value for other, value in query.items() if other != name}


MOVES = {
    "DELETE /me/devices/{device}": Move.remove_own,
    "DELETE /users/{user}/devices/{device}": Move.remove_of_another,
    "DELETE /users/{user}/data": Move.erase,
    "POST /users/{user}/devices/reset": Move.reset,
    "GET /users/{user}/data": Move.of_somebody,
    "GET /users/{user}/devices": Move.of_somebody,
    "POST /users/{user}/tickets": Move.help,
    "POST /v1/operator/workspaces/{workspace}/lifecycle": Move.tell,
    "POST /phone/requests/{type}/{event}/answer": Move.answer,
    "POST /phone/promotions": Move.vouch,
    "POST /me/devices/{device}/promotion": Move.promote,
    "POST /phone/key": Move.roll,
    "POST /phone/reached": Move.reached,
    "POST /me/devices": Move.register,
    "PUT /phone": Move.report,
    "POST /phone/seen": Move.seen,
    "POST /phone/notices/{notice}/not-me": Move.not_me,
}


def broken(case, location):
    """Whether that part was made wrong on purpose."""
    parts = case.meta.components if case.meta else {}
    return location in parts and parts[location].mode is GenerationMode.NEGATIVE


@schemathesis.hook
def before_call(context, case, **kwargs):
    count = drawn[case.operation.label] = drawn[case.operation.label] + 1
    move = Move(case, random.Random(f"{SEED} {case.operation.label} {count}"))
    move.plan()
    if broken(case, ParameterLocation.PATH):
        move.names = {name: value for name, value in move.names.items() if name == "workspace" and to_mend(case, move.dice)}
    case.path_parameters = dict(case.path_parameters or {}) | move.names
    if not broken(case, ParameterLocation.QUERY) and move.query is not None:
        case.query = move.query
    if not broken(case, ParameterLocation.BODY) and isinstance(case.body, dict):
        case.body = case.body | move.body
    headers = dict(case.headers or {})
    if not broken(case, ParameterLocation.HEADER):
        headers |= conditions(headers, move.dice)
    for name, mark in credentials(case, move.dice):
        headers[name] = mark
    if headers.get("Authorization") == SIGN_IN:
        headers["Authorization"] = f"Bearer {people.caller.token()}"
    if headers.get("DPoP") == PROOF:
        headers["DPoP"] = proof(case, move)
    case.headers = headers


def to_mend(case, dice):
    """Whether a wrong workspace or a missing credential is to be put right: of such a call nothing else is looked at, so a few are enough,
    besides those of the phase of coverage and of the check that somebody looks. Not with a wrong query, which the API may pass over."""
    of_interest = case.meta.phase.name is TestPhase.COVERAGE or broken(case, ParameterLocation.QUERY)
    return not of_interest and dice.random() < 0.85


def credentials(case, dice):
    """The marks to put where schemathesis left a credential out, or made one up."""
    left_out = {name for name, location in negated_parameters(case.meta) if location is ParameterLocation.HEADER}
    takes_proof = "DPoP" in {parameter.name for parameter in case.operation.headers}
    if takes_proof and not by_proof(case) and ("DPoP" not in left_out or to_mend(case, dice)):
        yield "DPoP", PROOF
    name, mark = credential(case)
    if name in left_out and to_mend(case, dice):
        case._has_explicit_auth = True
        yield name, mark


def conditions(headers, dice):
    """Tags as they are or were; most apps that change something anew have none."""
    given = [name for name in ("If-Match", "If-None-Match") if name in headers]
    tags = ["*", '"s1"', '"s1", W/"p2"', *people.tags]
    return {name: dice.choice([*tags[-1:], dice.choice(tags), headers[name]]) for name in given}


def proof(case, move):
    sent = requests.Request(method=case.method, url=case.as_transport_kwargs(base_url=API)["url"]).prepare()
    path = urlsplit(sent.url).path
    if of(case) in BY_KEY:
        nonce = case.body.get("challenge") if isinstance(case.body, dict) else None
        return people.next.proof(case.method, path, nonce if isinstance(nonce, str) else None)
    return move.phone().proof(case.method, path)


@atexit.register
def tell():
    """How far the calls got; rights.py says what had to be answered."""
    print("\nAnswers:")
    counts = [*sorted(answered.items()), ("all", sum(answered.values(), collections.Counter()))]
    for operation, statuses in counts:
        print(f"  {operation:<80} {'  '.join(f'{status}: {count}' for status, count in sorted(statuses.items()))}")
    pathlib.Path(ANSWERS).write_text(json.dumps(answered))


@schemathesis.hook
def after_call(context, case, response):
    # Probes with another method are not of the operation that they are derived from.
    if case.method.upper() != case.operation.method.upper():
        return
    answered[case.operation.label][response.status_code] += 1
    if response.status_code < 300:
        follow(of(case), case, response)
    elif b":session-ended" in (response.content or b""):
        people.caller.ended()
    elif b":unknown-phone" in (response.content or b""):
        people.still_there()
    elif b":too-many-attempts" in (response.content or b""):
        people.used_up(of(case))


def follow(operation, case, response):
    """What a call did to those who play."""
    names, body = case.path_parameters or {}, case.body if isinstance(case.body, dict) else {}
    user = body.get("user") if operation.endswith("/lifecycle") else names.get("user", people.user)
    match operation:
        case "DELETE /users/{user}/data":
            if user == people.user:
                people.erased, people.tests = people.at_hand, []
            people.gone(user)
        case "POST /users/{user}/devices/reset":
            people.phones_gone(user)
        case "POST /v1/operator/workspaces/{workspace}/lifecycle":
            for one in [user] if user else PEOPLE:
                people.gone(one)
        case "DELETE /me/devices/{device}" | "DELETE /users/{user}/devices/{device}":
            if people.at_hand and names.get("device") == people.at_hand.id:
                people.phones_gone(people.user)
            people.spares = {user: phone for user, phone in people.spares.items() if phone.id != names.get("device")}
        case "POST /me/devices":
            people.next = people.new(people.user)
        case "POST /phone/key":
            people.phone.key, people.next = people.next.key, people.new(people.user)
        case "POST /me/tests":
            people.tests = [*people.tests[-9:], response.json()["test"]]
    if "application/json" in response.headers.get("content-type", [""])[0] and (page := response.json().get("next")):
        people.pages[operation] = page
    if tag := response.headers.get("etag"):
        people.tags = [*people.tags[-3:], tag[0]]


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
