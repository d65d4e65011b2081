"""Who plays: the persona, its sign-in, its phone, the others of its workspace, and what there is to be done with them.

The point: whatever ends a session or takes a phone is made good, so that one call that erases the persona does not refuse all that come
after it. What takes something is given something that was made for it where the operation allows, and bounded where it takes the persona's
own: then a phone is enrolled anew, some ten calls.
"""

import collections
import time

from phone import Phone, web

# Everybody of the workspace with their persona. Nina never signs in.
USERS = {"owner": "ada", "super_admin": "samira", "admin": "benita", "user": "jonas"}
PEOPLE = [*USERS.values(), "nina"]
# Seconds after which a sign-in is made anew: it stays fresh, as erasing oneself and enrolling a phone need it.
FRESH_S = 120
# How often in a run each operation may take what is the persona's own, or have another phone where this one used up its attempts.
OWN_MAX, USED_UP_MAX = 10, 8


class Session:
    """The sign-in of one persona, as new as it has to be."""

    def __init__(self, control, persona, user):
        self.control, self.persona, self.user = control, persona, user
        self.minted, self.at = None, 0.0

    def token(self):
        if self.minted is None or time.time() - self.at > FRESH_S:
            answer = web.post(f"{self.control}/issuer/tokens", json={"persona": self.persona}, timeout=5)
            answer.raise_for_status()
            self.minted, self.at = answer.json()["access_token"], time.time()
        return self.minted

    def ended(self):
        """It counts no more, or may not."""
        self.minted = None


class People:
    """Of one run of one persona, in a workspace of its own."""

    def __init__(self, api, control, workspace, persona):
        self.api, self.control, self.workspace = api, control, workspace
        self.sessions = {user: Session(control, name, user) for name, user in USERS.items()}
        # Who belongs to no workspace and has no phone: the calls are theirs, the phone is a user's.
        self.user = USERS.get(persona, USERS["user"])
        self.caller = self.sessions[self.user] if persona in USERS else Session(control, persona, None)
        self.known, self.spares, self.erased, self.at_hand = set(), {}, None, None
        self.own_taken, self.used = collections.Counter(), collections.Counter()
        self.asked, self.asked_at, self.tests, self.tags, self.pages = [], 0.0, [], [], {}
        # Whose key comes after the phone's.
        self.next = self.new(self.user)

    def new(self, user):
        return Phone(self.api, self.control, self.workspace, self.sessions[user])

    @property
    def phone(self):
        """The phone that signs, and may approve."""
        if self.at_hand is None:
            self.at_hand = self.new(self.user).register().reach().promote()
        return self.at_hand

    def spare(self, user):
        """Another phone of somebody's, to be done away with."""
        if user not in self.spares:
            self.spares[user] = self.new(user).register()
        return self.spares[user]

    def newcomer(self):
        """Another phone of the persona's that may not approve yet."""
        return self.new(self.user).register().reach()

    def may_take_own(self, operation):
        """Whether there is still room for that operation to take what is the persona's own."""
        self.own_taken[operation] += 1
        return self.own_taken[operation] <= OWN_MAX

    def introduce(self, user):
        """Others' roles are known as of their last call, and forgotten with them."""
        if user in self.sessions and user not in self.known:
            headers = {"authorization": f"Bearer {self.sessions[user].token()}"}
            web.get(f"{self.api}/v1/me", headers=headers, timeout=30).raise_for_status()
            self.known.add(user)

    def open_requests(self):
        """Type and event of what awaits an answer, as of half a second ago at most."""
        if time.time() - self.asked_at > 0.5:
            requests = self.phone.ask("GET", "/phone/requests", query="?limit=50")["requests"]
            self.asked, self.asked_at = [(one["type"], one["event"]) for one in requests], time.time()
        return self.asked

    def test_sent(self):
        """The last ones that the persona sent to themselves."""
        if not self.tests:
            self.tests = [self.phone.signed_in("/me/tests", body={})["test"]]
        return self.tests

    def notices(self):
        return [one["notice"] for one in self.phone.ask("GET", "/phone/notices", query="?limit=20")["notices"]]

    def phones_gone(self, user):
        """Somebody's phones answer no more."""
        self.spares.pop(user, None)
        if user == self.user:
            self.at_hand, self.next, self.asked_at = None, self.new(user), 0.0

    def gone(self, user):
        """Somebody's sessions ended, their phones answer no more, and nobody knows what they were."""
        self.phones_gone(user)
        self.known.discard(user)
        if user in self.sessions:
            self.sessions[user].ended()

    def used_up(self, operation):
        """The phone is refused for a while; another one takes its place."""
        self.used[operation] += 1
        if self.used[operation] <= USED_UP_MAX:
            self.phones_gone(self.user)

    def still_there(self):
        """Looks, where a phone was told that it is unknown."""
        if self.at_hand and self.at_hand.call("GET", "/phone/requests").status_code == 401:
            self.phones_gone(self.user)
