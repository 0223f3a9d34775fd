"""A real JupyterHub on loopback, and learners who work on it through its own doors.

Called by tests/test_jupyterhub.py and by `bench hub`. The hub has the course's own
configuration; only the spawner and the log-in are others, because a test may not make
accounts. Learners use their own tokens, the hub's REST API, the link of nbgitpuller,
Jupyter's contents and sessions, and their kernel's websocket.
"""

import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import requests
import websocket

from utils.launcher import environment
from utils.launcher.jupyterhub.command import link
from utils.launcher.jupyterhub.proxy import find_proxy
from utils.launcher.jupyterhub.settings import HubRoom

__all__ = ["Hub", "Learner", "Memory", "need_proxy", "running_hub"]

CONFIG = """
from pathlib import Path
from utils.launcher.jupyterhub.settings import culler, for_learners, read_room, roles

c = get_config()
room = read_room(Path({settings!r}))
for_learners(c, room, {python!r})
c.Spawner.args += {extra!r}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r}
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {password!r}
c.Authenticator.allow_all = True
c.JupyterHub.bind_url = {address!r}
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.JupyterHub.services = [culler(room), {{"name": "test", "api_token": {token!r}}}]
test = {{"name": "test", "scopes": ["admin:users", "admin:servers", "tokens"],
         "services": ["test"]}}
c.JupyterHub.load_roles = [*roles(room), test]
"""

# A site of one page, whether or not the course's own is built.
SITE = """
from pathlib import Path
from utils.launcher import site

site.FOLDER = Path({folder!r})
site.FIRST_PAGE = site.FOLDER / "html" / "index.html"
"""


def need_proxy() -> None:
    """Skip a test where the hub's proxy is not installed; under CI it has to be."""
    import pytest  # which the bench does without

    if find_proxy() is None:
        words = "JupyterHub's proxy is not there; utils hub install brings it by npm"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)


@dataclass
class Hub:
    """A running hub: its address, its log, where its learners' homes are."""

    address: str
    token: str
    password: str
    folder: Path
    process: subprocess.Popen
    seconds: float  # until it answered

    def ask(self, method: str, path: str, **words) -> requests.Response:
        """A request to the hub's API with the test's own token."""
        return _ask(method, f"{self.address}/hub/api/{path}", self.token, **words)

    def log(self) -> str:
        return (self.folder / "hub.log").read_text(errors="replace")

    def home(self, name: str) -> Path:
        return self.folder / "homes" / name

    def token_of(self, name: str) -> str:
        """A token with the rights of one user, who is made if new."""
        self.ask("post", f"users/{name}")
        given = self.ask("post", f"users/{name}/tokens")
        given.raise_for_status()
        return given.json()["token"]


@dataclass
class Memory:
    """What a learner's processes hold, in MB: `server` and `kernels`, shares summed.

    A page that n processes share counts 1/n for each (Linux calls it PSS).
    """

    server: float
    kernels: float

    @property
    def all(self) -> float:
        return self.server + self.kernels


@dataclass
class Learner:
    """One learner of a hub, with a token of their own."""

    hub: Hub
    name: str
    token: str
    kernel: websocket.WebSocket | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def ask(self, method: str, path: str, **words) -> requests.Response:
        """A request to the learner's own server."""
        url = f"{self.hub.address}/user/{self.name}/{path}"
        return _ask(method, url, self.token, **words)

    def start(self, share: bool) -> None:
        """Press the button on the page before the server, and wait until it runs."""
        began = time.perf_counter()
        url = f"{self.hub.address}/hub/api/users/{self.name}/server"
        choice = {"share": "yes" if share else "no"}
        _ask("post", url, self.token, json=choice).raise_for_status()
        for _ in range(600):
            with contextlib.suppress(requests.RequestException):
                if self.ask("get", "api/status").status_code == 200:
                    self.seconds["server"] = time.perf_counter() - began
                    return
            time.sleep(0.2)
        raise TimeoutError(f"no server for {self.name}\n{self.hub.log()[-3000:]}")

    def pull(self, repository: str, chapter: str) -> str:
        """Follow the facilitator's link; what nbgitpuller said while it pulled."""
        address = link(self.hub.address, repository, chapter)
        query = address.partition("?")[2]
        told = self.ask("get", f"git-pull/api?{query}", timeout=120)
        told.raise_for_status()
        phases = [json.loads(line) for line in re.findall(r"data: (.*)", told.text)]
        assert phases[-1]["phase"] == "finished", phases[-3:]
        return told.text

    def notebook(self, path: str) -> dict:
        """A notebook's content, as JupyterLab gets it."""
        found = self.ask("get", f"api/contents/{path}", params={"type": "notebook"})
        found.raise_for_status()
        return found.json()["content"]

    def save(self, path: str, content: dict) -> None:
        """Save a notebook, as JupyterLab does it."""
        model = {"type": "notebook", "format": "json", "content": content}
        self.ask("put", f"api/contents/{path}", json=model).raise_for_status()

    def open(self, path: str) -> None:
        """A session on a notebook, and a line to its kernel."""
        wanted = {"path": path, "name": path, "type": "notebook"}
        wanted["kernel"] = {"name": "python3"}
        made = self.ask("post", "api/sessions", json=wanted)
        made.raise_for_status()
        kernel = made.json()["kernel"]["id"]
        url = f"{self.hub.address}/user/{self.name}/api/kernels/{kernel}/channels"
        self.kernel = websocket.create_connection(
            url.replace("http", "ws", 1),
            header=[f"Authorization: token {self.token}"],
            timeout=300,
        )

    def run(self, code: str) -> str:
        """Run a cell; what it printed. Raises RuntimeError where the cell does."""
        began = time.perf_counter()
        message = self.send(code)
        said = []
        while True:
            answer = json.loads(self.kernel.recv())
            if answer["parent_header"].get("msg_id") != message:
                continue
            content = answer["content"]
            if answer["msg_type"] == "stream":
                said.append(content["text"])
            elif answer["msg_type"] == "error":
                raise RuntimeError("\n".join(content["traceback"]))
            elif (
                answer["msg_type"] == "status" and content["execution_state"] == "idle"
            ):
                self.seconds["cell"] = time.perf_counter() - began
                return "".join(said)

    def send(self, code: str) -> str:
        """Begin a cell and do not wait for it; returns the message's name."""
        message = uuid.uuid4().hex
        self.kernel.send(json.dumps(_request(message, code)))
        return message

    def memory(self) -> Memory:
        """What the learner's processes hold now."""
        held = {"server": 0.0, "kernels": 0.0}
        for kind, process in self._processes():
            held[kind] += process.memory_full_info().pss / 1e6
        return Memory(**held)

    def processor(self) -> float:
        """Seconds of one core that the learner's processes have used so far."""
        return sum(sum(one.cpu_times()[:2]) for _, one in self._processes())

    def _processes(self) -> Iterator[tuple[str, psutil.Process]]:
        for process in psutil.Process(self.hub.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if process.environ().get("JUPYTERHUB_USER") == self.name:
                    kernel = "ipykernel_launcher" in process.cmdline()
                    yield "kernels" if kernel else "server", process


def _ask(method: str, url: str, token: str, timeout: float = 60, **words):
    headers = {"Authorization": f"token {token}"}
    return requests.request(method, url, headers=headers, timeout=timeout, **words)


def _request(message: str, code: str) -> dict:
    header = {
        "msg_id": message,
        "msg_type": "execute_request",
        "username": "",
        "session": message,
        "version": "5.3",
    }
    content = {"code": code, "silent": False, "store_history": True}
    content |= {"user_expressions": {}, "allow_stdin": False, "stop_on_error": True}
    return {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "channel": "shell",
        "buffers": [],
    }


@contextlib.contextmanager
def running_hub(
    folder: Path, room: HubRoom, base: str = "/", **variables: str
) -> Iterator[Hub]:
    """A hub for a room, whose addresses begin with `base`; it writes into `folder`.

    `variables` are set for every learner's server besides those of the configuration.
    """
    token, password = secrets.token_hex(16), secrets.token_hex(8)
    port, hub_port, proxy_port = _free_ports(3)
    address = f"http://127.0.0.1:{port}{base}".rstrip("/")
    settings = folder / "course-hub.toml"
    settings.write_text(_as_toml(room))
    extra = ["--allow-root"] if os.geteuid() == 0 else []
    config = CONFIG.format(
        settings=str(settings),
        python=sys.executable,
        extra=extra,
        homes=str(folder / "homes" / "{username}"),
        password=password,
        address=address,
        hub_port=hub_port,
        proxy_port=proxy_port,
        token=token,
    )
    paths = os.pathsep.join([_lay_site(folder), str(environment.ROOT)])
    variables["PYTHONPATH"] = paths
    config += f"c.Spawner.environment |= {variables!r}\n"
    (folder / "config.py").write_text(config)
    (folder / "homes").mkdir(exist_ok=True)
    began = time.perf_counter()
    with open(folder / "hub.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", str(folder / "config.py")],
            cwd=folder,
            env=environment.child_environment() | {"PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        hub = Hub(address, token, password, folder, process, 0)
        try:
            _wait_for(hub)
            hub.seconds = time.perf_counter() - began
            yield hub
        finally:
            _stop(process)


def _lay_site(folder: Path) -> str:
    """Make a site and what points Python to it; returns the path for Python."""
    page = folder / "site" / "html" / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("The site's first page")
    (folder / "path").mkdir(exist_ok=True)
    own = SITE.format(folder=str(folder / "site"))
    (folder / "path" / "sitecustomize.py").write_text(own)
    return str(folder / "path")


def _as_toml(room: HubRoom) -> str:
    lines = [f"{name} = {json.dumps(value)}" for name, value in vars(room).items()]
    return "\n".join(line for line in lines if not line.endswith("null")) + "\n"


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        made = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            for _ in range(number)
        ]
        return [one.getsockname()[1] for one in made]


def _wait_for(hub: Hub) -> None:
    for _ in range(300):
        if hub.process.poll() is not None:
            raise RuntimeError(f"the hub did not start\n{hub.log()[-3000:]}")
        with contextlib.suppress(requests.RequestException):
            if hub.ask("get", "").status_code == 200:
                return
        time.sleep(0.2)
    raise TimeoutError(f"the hub did not answer\n{hub.log()[-3000:]}")


def _stop(process: subprocess.Popen) -> None:
    """End the hub and all that it has started, without the time a farewell takes."""
    mine = []
    with contextlib.suppress(psutil.NoSuchProcess):
        mine = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for left in mine:
        with contextlib.suppress(psutil.Error):
            left.kill()
    psutil.wait_procs(mine, 10)
    process.wait(10)
