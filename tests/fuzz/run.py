"""Plays the API against its own description: tests/services/run -- python tests/fuzz/run.py WATCHBELL [--personas P,..] [SCHEMATHESIS...]

Starts the sandbox and `watchbell api` on the services' PostgreSQL, Redis and Kafka, lets events come in that ask, and runs schemathesis
once as each persona, with a phone that signs (phone.py) and checks of our own (hooks.py). The end of its output names the seed. Exit
code 0: no server error, no answer that is not described, nothing else that a check found.
"""

import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
USERS = {"owner": "ada", "super_admin": "samira", "admin": "benita", "user": "jonas"}
# Who belongs to no workspace and has no phone: the calls are theirs, the phone is a user's.
OPERATOR = "operator"
READY_S = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetched(url, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=data, method=method), timeout=5) as answer:
        return answer.read()


class Run:
    def __init__(self, watchbell, folder):
        self.watchbell, self.folder, self.children = watchbell, folder, []

    def child(self, *arguments, stdout=None):
        log = open(self.folder / f"{arguments[0]}.log", "ab")
        child = subprocess.Popen([self.watchbell, *arguments], stdout=stdout or log, stderr=log)
        self.children.append(child)
        return child

    def once(self, *arguments):
        subprocess.run([self.watchbell, *arguments], check=True, stdout=subprocess.DEVNULL)

    def sandbox(self):
        """Its control endpoint, and what it says to clients. Everybody's sign-in is one that may enrol a phone."""
        ports = [f"--{name}-port=0" for name in ("apns", "fcm", "issuer", "control")]
        child = self.child("sandbox", "--dir", str(self.folder / "sandbox"), *ports, stdout=subprocess.PIPE)
        said = iter(lambda: child.stdout.readline().decode(), "")
        control = next(line.split()[1] for line in said if line.startswith("Control"))
        next(line for line in said if line.startswith("Ready"))
        for persona, user in USERS.items():
            person = {"name": persona, "user": user, "workspaces": {"acme": persona}, "acr": "phr"}
            fetched(f"{control}/issuer/personas/{persona}", person, "PUT")
        person = {"name": OPERATOR, "user": "otto", "workspaces": {}, "operator": True}
        fetched(f"{control}/issuer/personas/{OPERATOR}", person, "PUT")
        return control, json.loads(fetched(f"{control}/credentials"))

    def api(self, told):
        port, pages = free_port(), free_port()
        key, environment = told["apns"]["keys"][0], os.environ
        text = f"""
            kafka.bootstrap_servers = {json.dumps(environment["WATCHBELL_TEST_KAFKA"])}
            policy.store_url = {json.dumps(environment["WATCHBELL_TEST_POSTGRES"])}
            policy.redis_url = {json.dumps(environment["WATCHBELL_TEST_REDIS"])}
            telemetry.log_level = "warn"
            [auth]
            issuer = {json.dumps(told["issuer"]["url"])}
            audience = [{json.dumps(told["issuer"]["audience"])}]
            ca_file = {json.dumps(told["ca_file"])}
            acr_phishing_resistant = ["phr"]
            operator_claim = "operator"
            operator_value = "true"
            [api]
            http_listen = "127.0.0.1:{port}"
            telemetry_listen = "127.0.0.1:{pages}"
            # So many calls are one person's here.
            requests_per_minute = 60000
            requests_burst = 10000
            unproved_per_minute = 600000
            [api.devices]
            public_url = "http://127.0.0.1:{port}"
            devices_max = 255
            [apns.main]
            team_id = {json.dumps(key["team_id"])}
            key_id = {json.dumps(key["key_id"])}
            key_file = {json.dumps(key["path"])}
            apps = ["com.example.app"]
            environment = "production"
            base_url = {json.dumps(told["apns"]["url"])}
            ca_file = {json.dumps(told["ca_file"])}
        """
        self.config = self.folder / "watchbell.toml"
        self.config.write_text("\n".join(line.strip() for line in text.splitlines()))
        config = ("--config", str(self.config))
        self.once("migrate", *config)
        self.once("topics", *config, "create", "--replication", "1", "--partitions", "1", "--with-upstreams")
        child = self.child("api", *config)
        until = time.time() + READY_S
        while time.time() < until and child.poll() is None:
            try:
                fetched(f"http://127.0.0.1:{pages}/readyz")
                return f"http://127.0.0.1:{port}"
            except OSError:
                time.sleep(0.05)
        sys.exit((self.folder / "api.log").read_text())

    def events(self, user):
        """Something awaits an answer, all the time."""
        common = ("--workspace", "acme", "--user", user, "--count", "1000000", "--rate", "20/s", "--config", str(self.config))
        return self.child("emit", "identity-verification", "--application", "Payroll", *common)

    def end(self):
        for child in self.children:
            child.terminate()
        for child in self.children:
            child.wait()


def main():
    watchbell, *rest = sys.argv[1:]
    personas = [*USERS, OPERATOR]
    if rest[:1] == ["--personas"]:
        personas, rest = rest[1].split(","), rest[2:]
    if "--seed" not in rest:
        rest += ["--seed", str(random.randrange(1 << 32))]
    seed = rest[rest.index("--seed") + 1]
    folder = pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("WATCHBELL_TEST_DIR")))
    run, failed = Run(os.path.abspath(watchbell), folder), []
    try:
        control, told = run.sandbox()
        api = run.api(told)
        for persona in personas:
            print(f"\n=== as {persona}, seed {seed}", flush=True)
            whose = "user" if persona == OPERATOR else persona
            events, user = run.events(USERS[whose]), USERS[whose]
            token = json.loads(fetched(f"{control}/issuer/tokens", {"persona": persona}))["access_token"]
            names = {"API": api, "CONTROL": control, "PERSONA": whose, "USER": user, "SEED": seed}
            environment = os.environ | {f"FUZZ_{name}": value for name, value in names.items()}
            environment |= {"PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": "hooks", "PYTHONDONTWRITEBYTECODE": "1"}
            command = [pathlib.Path(sys.executable).with_name("schemathesis"), "--config-file", HERE / "schemathesis.toml",
                       "run", f"{api}/openapi.json", "-H", f"Authorization: Bearer {token}",
                       "--no-color", "--warnings", "off", "--generation-database", "none", *rest]
            if subprocess.run(command, env=environment, cwd=folder).returncode:
                failed.append(persona)
            events.terminate()
            if any(child.poll() is not None for child in run.children if child is not events and child.args[1] != "emit"):
                sys.exit("the API or the sandbox has ended:\n" + (folder / "api.log").read_text()[-4000:])
        trouble = (folder / "api.log").read_text()
        if "panicked" in trouble or '"ERROR"' in trouble:
            sys.exit("the API's log has errors:\n" + trouble[-4000:])
    finally:
        run.end()
        shutil.rmtree(folder, ignore_errors=True)
    if failed:
        sys.exit(f"something was found as {', '.join(failed)}")
    print("\nNothing was found.")


main()
