"""Plays the API against its own description: tests/services/run -- python tests/fuzz/run.py WATCHBELL [--personas P,..] [SCHEMATHESIS...]

Starts the sandbox and `watchbell api` on the services' PostgreSQL, Redis and Kafka, lets events come in that ask, and runs schemathesis
once as each persona, in a workspace of its own, with a phone that signs (phone.py) and checks of our own (hooks.py). The output names the
seed. Exit code 0: no server error, no answer that is not described, nothing else that a check found, and every persona got somewhere with
each operation that it may do (rights.py).
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

import rights
from people import USERS

HERE = pathlib.Path(__file__).resolve().parent
READY_S = 60
# Who may not is refused before anything of the call is read: so few calls of each operation show it.
REFUSED_EXAMPLES = 20


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
        """Its control endpoint, and what it says to clients."""
        ports = [f"--{name}-port=0" for name in ("apns", "fcm", "issuer", "control")]
        child = self.child("sandbox", "--dir", str(self.folder / "sandbox"), *ports, stdout=subprocess.PIPE)
        said = iter(lambda: child.stdout.readline().decode(), "")
        control = next(line.split()[1] for line in said if line.startswith("Control"))
        next(line for line in said if line.startswith("Ready"))
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
            tests_per_hour = 1000
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

    def cast(self, control, workspace):
        """The people of a workspace. Everybody's sign-in is one that may enrol a phone."""
        for persona, user in USERS.items():
            person = {"name": persona, "user": user, "workspaces": {workspace: persona}, "acr": "phr"}
            fetched(f"{control}/issuer/personas/{persona}", person, "PUT")
        person = {"name": rights.OPERATOR, "user": "otto", "workspaces": {}, "operator": True}
        fetched(f"{control}/issuer/personas/{rights.OPERATOR}", person, "PUT")

    def events(self, workspace, user):
        """Something awaits an answer, all the time."""
        common = ("--workspace", workspace, "--user", user, "--count", "1000000", "--rate", "10/s", "--config", str(self.config))
        return self.child("emit", "identity-verification", "--application", "Payroll", *common)

    def play(self, persona, api, control, seed, more):
        """What was found, a sentence each."""
        workspace, answers = f"acme-{persona}", self.folder / f"{persona}.json"
        self.cast(control, workspace)
        events = self.events(workspace, USERS.get(persona, USERS["user"]))
        names = {"API": api, "CONTROL": control, "PERSONA": persona, "WORKSPACE": workspace, "SEED": seed, "ANSWERS": answers}
        environment = os.environ | {f"FUZZ_{name}": str(value) for name, value in names.items()}
        # Sets are gone through in the same order with the same seed.
        environment |= {"PYTHONHASHSEED": "0", "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1", "SCHEMATHESIS_HOOKS": "hooks"}
        config = self.folder / f"{persona}.toml"
        few = (f"[[operations]]\ninclude-name = {json.dumps(operation)}\ngeneration.max-examples = {REFUSED_EXAMPLES}\n"
               for operation, personas in rights.MAY.items() if persona not in personas)
        config.write_text("\n".join([(HERE / "schemathesis.toml").read_text(), *few]))
        command = [pathlib.Path(sys.executable).with_name("schemathesis"), "--config-file", config,
                   "run", f"{api}/openapi.json", "--no-color", "--warnings", "off", "--generation-database", "none", *more]
        ended = subprocess.run(command, env=environment, cwd=self.folder).returncode
        events.terminate()
        events.wait()
        self.children.remove(events)
        if any(child.poll() is not None for child in self.children):
            sys.exit("the API or the sandbox has ended:\n" + (self.folder / "api.log").read_text()[-4000:])
        some = any(argument.startswith(("--include", "--exclude")) for argument in more)
        told = json.loads(answers.read_text()) if answers.exists() else {}
        return [*(["schemathesis found something, see above."] if ended else []), *rights.unplayed(persona, told, some)]

    def end(self):
        for child in self.children:
            child.terminate()
        for child in self.children:
            child.wait()


def main():
    watchbell, *rest = sys.argv[1:]
    watchbell, personas = os.path.abspath(watchbell), [*rights.EVERYBODY]
    if rest[:1] == ["--personas"]:
        personas, rest = rest[1].split(","), rest[2:]
    if "--seed" not in rest:
        rest += ["--seed", str(random.randrange(1 << 32))]
    seed = rest[rest.index("--seed") + 1]
    described = subprocess.run([watchbell, "openapi"], check=True, stdout=subprocess.PIPE).stdout
    if strays := [*rights.strays(json.loads(described))]:
        sys.exit("\n".join(strays))
    folder = pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("WATCHBELL_TEST_DIR")))
    run, found = Run(watchbell, folder), []
    try:
        control, told = run.sandbox()
        api = run.api(told)
        for persona in personas:
            print(f"\n=== as {persona}, seed {seed}", flush=True)
            found += [f"as {persona}: {what}" for what in run.play(persona, api, control, seed, rest)]
        trouble = (folder / "api.log").read_text()
        if "panicked" in trouble or '"ERROR"' in trouble:
            sys.exit("the API's log has errors:\n" + trouble[-4000:])
    finally:
        run.end()
        shutil.rmtree(folder, ignore_errors=True)
    if found:
        sys.exit("\n" + "\n".join(found))
    print("\nNothing was found.")


main()
