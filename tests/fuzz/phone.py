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

# Connections that stay open.
web = requests.Session()


def encoded(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def said(answer):
    if not answer.ok:
        raise RuntimeError(f"{answer.request.method} {answer.request.path_url}: {answer.status_code} {answer.text}")
    return answer.json()


class Phone:
    """One phone of the person whose sign-in `session` is."""

    def __init__(self, api, control, workspace, session):
        self.api, self.control, self.workspace, self.session = api, control, workspace, session
        self.base = f"/v1/workspaces/{workspace}"
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
        payload = {"aud": self.api, "workspace": self.workspace, "user": self.session.user, "iat": int(time.time())}
        return self.sign(header, payload | {"jti": str(uuid.uuid4())} | more)

    def report(self):
        return {"platform": "apns", "app": APP, "token": self.token, "locale": "en", "model": "Fuzz 1"}

    def challenge(self):
        return self.signed_in("/me/devices/challenges")["challenge"]

    def register(self):
        """Challenge and registration: a phone that shows, and nothing more."""
        challenge = self.challenge()
        proof = self.proof("POST", f"{self.base}/me/devices", challenge)
        body = {"challenge": challenge, "report": self.report()}
        self.id = self.signed_in("/me/devices", proof, body)["device"]
        return self

    def reach(self):
        """Sends back what the push brought."""
        self.ask("POST", "/phone/reached", {"nonce": self.pushed()})
        return self

    def promote(self):
        """The sign-in speaks for it: it may approve."""
        path = f"/me/devices/{self.id}/promotion"
        self.signed_in(path, self.proof("POST", self.base + path), {})
        return self

    def pushed(self):
        until = time.time() + PUSH_S
        while time.time() < until:
            device = web.get(f"{self.control}/devices/{self.token}", timeout=5)
            if device.ok and device.json()["device"]["received"]:
                return device.json()["device"]["received"][-1]["payload"]["nonce"]
            time.sleep(0.01)
        raise RuntimeError("no push reached the phone")

    def signed_in(self, path, proof=None, body=None):
        """A call of its person's, with a proof besides where there is one."""
        headers = {"authorization": f"Bearer {self.session.token()}"} | ({"dpop": proof} if proof else {})
        return said(web.post(self.api + self.base + path, headers=headers, json=body, timeout=30))

    def call(self, method, path, body=None, query=""):
        """A call with its key alone."""
        url, headers = self.api + self.base + path, {"dpop": self.proof(method, self.base + path)}
        return web.request(method, url + query, headers=headers, json=body, timeout=30)

    def ask(self, method, path, body=None, query=""):
        return said(self.call(method, path, body, query))
