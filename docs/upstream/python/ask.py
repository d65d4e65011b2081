"""Asks a person whether a sign-in is theirs, and waits for what became of it.

python ask.py localhost:9092 http://localhost:8081 acme jonas
"""

import json
import secrets
import sys
import time
import uuid

from confluent_kafka import Consumer, Producer
from google.protobuf.json_format import MessageToDict
from jwcrypto import jwk, jws

from watchbell.v1 import decision_pb2, event_pb2, types_pb2

kafka, audience, workspace, user = sys.argv[1:5]
number = f"{secrets.randbelow(1_000_000):06}"

event = event_pb2.Event(
    event_id=str(uuid.uuid4()),
    workspace_id=workspace,
    recipients=[user],
    identity_verification_requested=event_pb2.IdentityVerificationRequested(
        application="Payroll",
        device="Firefox on Windows",
        location="Lisbon, Portugal",
        match_number=number,
        source="browser-7",
        new_location=True,
    ),
)
event.occurred_at.FromNanoseconds(time.time_ns())
event.expires_at.FromNanoseconds(time.time_ns() + 120 * 1_000_000_000)

# What was asked, and whom. An event's id alone says neither: another workspace, or another type, may use the same one.
asked = (workspace, types_pb2.NOTIFICATION_TYPE_IDENTITY_VERIFICATION, event.event_id, user)


def check(decision, decided):
    """Raises, unless the person's own device signed just this answer."""
    # Three wrong numbers deny by themselves. Nothing else comes without a statement, an approval least of all.
    if decided.verb == decision_pb2.VERB_DENY and not decided.jws:
        return
    key = jwk.JWK.from_json(decided.key_jwk)
    if key.thumbprint() != decided.key_thumbprint:
        raise ValueError("the key is another one than its thumbprint says")
    signed = jws.JWS()
    signed.allowed_algs = ["ES256"]
    signed.deserialize(decided.jws, key)  # raises, unless this key signed it
    said = json.loads(signed.payload)
    expected = {
        "aud": audience,
        "workspace": decision.workspace_id,
        "user": decision.user_id,
        "type": "identity_verification",
        "event": decision.event_id,
        "verb": decision_pb2.Verb.Name(decided.verb).removeprefix("VERB_").lower(),
    }
    if signed.jose_header["typ"] != "watchbell-decision+jwt" or any(said[name] != value for name, value in expected.items()):
        raise ValueError("it is about something else")


# A service has one consumer for all its sign-ins, in a group of its own.
consumer = Consumer({"bootstrap.servers": kafka, "group.id": "payroll", "auto.offset.reset": "earliest"})
consumer.subscribe(["watchbell.decisions"])

producer = Producer({"bootstrap.servers": kafka, "enable.idempotence": True, "partitioner": "murmur2_random"})
producer.produce("identity-verification", key=user, value=event.SerializeToString())
if producer.flush(30):
    sys.exit("Kafka did not take the event")
print(f"the sign-in page shows {number}", flush=True)

seen = set()
while True:
    record = consumer.poll(1.0)
    if record is None or record.error():
        continue
    decision = decision_pb2.Decision.FromString(record.value())
    about = (decision.workspace_id, decision.type, decision.event_id, decision.user_id)
    if about != asked or decision.decision_id in seen:
        continue
    seen.add(decision.decision_id)
    match decision.WhichOneof("body"):
        case "asked":
            print("check your", " or your ".join(decision.asked.devices) or "other ways to sign in", flush=True)
        case "notice":
            print("it did not ring:", MessageToDict(decision.notice), flush=True)
        case "decided":
            decided = decision.decided
            try:
                check(decision, decided)
            except Exception as why:  # whatever is wrong with it: it lets nobody in
                print("refused:", repr(why), flush=True)
                continue
            print(decision_pb2.Verb.Name(decided.verb), "signed by", decided.key_thumbprint or "nobody")
            break
        case "closed":
            print(decision_pb2.ClosedReason.Name(decision.closed.reason))
            break
consumer.close()
