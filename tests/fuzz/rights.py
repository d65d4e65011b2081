"""Who may do what, and whether a run really did it: an operation that only ever refused whoever may do it was not played.

The point: a run that finds nothing because nobody was let in fails. The table says of each operation who gets somewhere with it; the roles'
part of it says what tests/it/api/roles.rs plays call by call. What a persona may not is looked at too: any 2xx to it is a finding.
It deliberately does not say to whom it may be done: that is for the calls to find out.
"""

OPERATOR = "operator"
MEMBERS = ("owner", "super_admin", "admin", "user")
ADMINS = ("owner", "super_admin", "admin")
# Whoever has a phone: the one that signs is a user's where the calls are an operator's.
PHONES = EVERYBODY = (*MEMBERS, OPERATOR)

MAY = {
    "GET /v1/me": EVERYBODY,
    "POST /v1/operator/workspaces/{workspace}/lifecycle": (OPERATOR,),
    # Nobody has to be signed in for it.
    "GET /v1/sign-in": EVERYBODY,
    "GET /v1/workspaces/{workspace}/audit": ADMINS,
    "PUT /v1/workspaces/{workspace}/detail": ADMINS,
    "GET /v1/workspaces/{workspace}/me/devices": MEMBERS,
    "POST /v1/workspaces/{workspace}/me/devices": MEMBERS,
    "POST /v1/workspaces/{workspace}/me/devices/challenges": MEMBERS,
    "DELETE /v1/workspaces/{workspace}/me/devices/{device}": MEMBERS,
    "PUT /v1/workspaces/{workspace}/me/devices/{device}/name": MEMBERS,
    "POST /v1/workspaces/{workspace}/me/devices/{device}/promotion": MEMBERS,
    "PUT /v1/workspaces/{workspace}/me/devices/{device}/quiet": MEMBERS,
    "GET /v1/workspaces/{workspace}/me/notices": MEMBERS,
    "GET /v1/workspaces/{workspace}/me/preferences": MEMBERS,
    "POST /v1/workspaces/{workspace}/me/preferences/turn-off-all": MEMBERS,
    "PUT /v1/workspaces/{workspace}/me/preferences/{type}": MEMBERS,
    "GET /v1/workspaces/{workspace}/me/recent": MEMBERS,
    "GET /v1/workspaces/{workspace}/me/requests": MEMBERS,
    "GET /v1/workspaces/{workspace}/me/requests/{type}/{event}": MEMBERS,
    "POST /v1/workspaces/{workspace}/me/tests": MEMBERS,
    "GET /v1/workspaces/{workspace}/me/tests/{test}": MEMBERS,
    "PUT /v1/workspaces/{workspace}/phone": PHONES,
    "POST /v1/workspaces/{workspace}/phone/digits": PHONES,
    "POST /v1/workspaces/{workspace}/phone/key": PHONES,
    "POST /v1/workspaces/{workspace}/phone/nonce": PHONES,
    "GET /v1/workspaces/{workspace}/phone/notices": PHONES,
    "POST /v1/workspaces/{workspace}/phone/notices/{notice}/not-me": PHONES,
    "POST /v1/workspaces/{workspace}/phone/promotions": PHONES,
    "POST /v1/workspaces/{workspace}/phone/reached": PHONES,
    "GET /v1/workspaces/{workspace}/phone/requests": PHONES,
    "GET /v1/workspaces/{workspace}/phone/requests/{type}/{event}": PHONES,
    "POST /v1/workspaces/{workspace}/phone/requests/{type}/{event}/answer": PHONES,
    "POST /v1/workspaces/{workspace}/phone/seen": PHONES,
    "GET /v1/workspaces/{workspace}/reach": ADMINS,
    "GET /v1/workspaces/{workspace}/reach/{type}": ADMINS,
    "GET /v1/workspaces/{workspace}/settings": ADMINS,
    "PUT /v1/workspaces/{workspace}/settings/{type}": ADMINS,
    "GET /v1/workspaces/{workspace}/users": ADMINS,
    "DELETE /v1/workspaces/{workspace}/users/{user}/data": MEMBERS,
    "GET /v1/workspaces/{workspace}/users/{user}/data": MEMBERS,
    "GET /v1/workspaces/{workspace}/users/{user}/devices": MEMBERS,
    "DELETE /v1/workspaces/{workspace}/users/{user}/devices/{device}": MEMBERS,
    "POST /v1/workspaces/{workspace}/users/{user}/devices/reset": MEMBERS,
    "GET /v1/workspaces/{workspace}/users/{user}/recent": ADMINS,
    "POST /v1/workspaces/{workspace}/users/{user}/tickets": (*ADMINS, OPERATOR),
}

# Who may do an operation and is not let through by this run, with the reason: (persona, operation): why.
EXCEPTIONS = {}

METHODS = {"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE"}


def strays(document):
    """What the description and the table do not both have, a sentence each."""
    paths = document["paths"].items()
    described = {f"{method.upper()} {path}" for path, item in paths for method in item if method.upper() in METHODS}
    for operation in sorted(described - MAY.keys()):
        yield f"{operation}: nobody said who may do it. Add it to MAY in tests/fuzz/rights.py, with the personas who get a 2xx."
    for operation in sorted(MAY.keys() - described):
        yield f"{operation}: there is no such operation any more. Take it out of MAY in tests/fuzz/rights.py."
    for persona, operation in EXCEPTIONS:
        if persona not in MAY.get(operation, ()):
            yield f"{operation} as {persona}: an exception from nothing. Take it out of EXCEPTIONS in tests/fuzz/rights.py."


def unplayed(persona, answered, some):
    """What is wrong with who was let in, a sentence each: `answered` has the statuses of each operation that was called. All of them have
    to be called, unless only `some` were chosen."""
    for operation, personas in MAY.items():
        if some and operation not in answered:
            continue
        done = sum(count for status, count in answered.get(operation, {}).items() if status.startswith("2"))
        if done and persona not in personas:
            yield f"{operation} was answered 2xx {done} times to {persona}, who may not (MAY in tests/fuzz/rights.py)."
        if not done and persona in personas and (persona, operation) not in EXCEPTIONS:
            told = "  ".join(f"{status}: {count}" for status, count in sorted(answered.get(operation, {}).items()))
            yield f"{operation} was never answered 2xx to {persona}, who may: it was not played ({told or 'not called'})."
