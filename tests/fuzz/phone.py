"""A phone that really signs: a key on P-256, proofs in the manner of DPoP, statements, and the way from a challenge to an approver.

It is what an app does, so that calls of phones get beyond the question of who calls. Lines of docs/app.md say what each step is.
"""

import base64
import json
import secrets
import time
import uuid

import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

APP = "com.example.app"
# A push takes milliseconds; this ends a run in which none comes.
PUSH_S = 30


def encoded(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Phone:
    """One phone of one person in the workspace `acme`."""

    def __init__(self, api, control, user, token_of):
        self.api, self.control, self.user, self.token_of = api, control, user, token_of
        self.key, self.id = ec.generate_private_key(ec.SECP256R1()), None
        self.token = secrets.token_hex(32)

    def jwk(self):
        point = self.key.public_key().public_numbers()
        x, y = (encoded(number.to_bytes(32, "big")) for number in (point.x, point.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}

    def sign(self, header, payload):
        signed = ".".join(encoded(json.dumps(part).encode()) for part in (header, payload))
        r, s = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def proof(self, method, path, nonce=None):
        """For one call. By its key until it is registered, then by its name."""
        header = {"alg": "ES256", "typ": "dpop+jwt"}
        header |= {"kid": self.id} if self.id else {"jwk": self.jwk()}
        payload = {"htm": method, "htu": f"{self.api}{path}", "iat": int(time.time()), "jti": str(uuid.uuid4())}
        if nonce:
            payload["nonce"] = nonce
        return self.sign(header, payload)

    def statement(self, kind, **more):
        header = {"alg": "ES256", "typ": f"watchbell-{kind}+jwt", "kid": self.id or "none"}
        payload = {"aud": self.api, "workspace": "acme", "user": self.user, "iat": int(time.time())}
        return self.sign(header, payload | {"jti": str(uuid.uuid4())} | more)

    def report(self):
        return {"platform": "apns", "app": APP, "token": self.token, "locale": "en", "model": "Fuzz 1"}

    def challenge(self):
        path = "/v1/workspaces/acme/me/devices/challenges"
        return self.said(requests.post(self.api + path, headers=self.signed_in(), timeout=30))["challenge"]

    def signed_in(self):
        return {"authorization": f"Bearer {self.token_of()}"}

    def enrol(self):
        """Challenge, registration, the push that reaches it, and the sign-in that makes it an approver."""
        self.__init__(self.api, self.control, self.user, self.token_of)
        path, challenge = "/v1/workspaces/acme/me/devices", self.challenge()
        headers = self.signed_in() | {"dpop": self.proof("POST", path, challenge)}
        body = {"challenge": challenge, "report": self.report()}
        self.id = self.said(requests.post(self.api + path, headers=headers, json=body, timeout=30))["device"]
        path = "/v1/workspaces/acme/phone/reached"
        headers, body = {"dpop": self.proof("POST", path)}, {"nonce": self.pushed()}
        self.said(requests.post(self.api + path, headers=headers, json=body, timeout=30))
        path = f"/v1/workspaces/acme/me/devices/{self.id}/promotion"
        headers = self.signed_in() | {"dpop": self.proof("POST", path)}
        self.said(requests.post(self.api + path, headers=headers, json={}, timeout=30))
        return self

    def pushed(self):
        until = time.time() + PUSH_S
        while time.time() < until:
            device = requests.get(f"{self.control}/devices/{self.token}", timeout=5)
            if device.ok and device.json()["device"]["received"]:
                return device.json()["device"]["received"][-1]["payload"]["nonce"]
            time.sleep(0.02)
        raise RuntimeError("no push reached the phone")

    def pending(self):
        path = "/v1/workspaces/acme/phone/requests"
        answer = requests.get(self.api + path, headers={"dpop": self.proof("GET", path)}, timeout=30)
        return [(request["type"], request["event"]) for request in answer.json().get("requests", [])]

    @staticmethod
    def said(answer):
        if not answer.ok:
            raise RuntimeError(f"{answer.request.method} {answer.request.path_url}: {answer.status_code} {answer.text}")
        return answer.json()
