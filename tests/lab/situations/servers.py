"""Servers that people run (nginx, HAProxy, Redis, PostgreSQL), their clients, and what watches them."""

import contextlib
import socket
import threading

from tests.lab.segment import FIN
from tests.lab.situations import situation
from tests.lab.situations.steps import CLIENT_PORT, SERVER_PORT, abort, with_flags

REQUEST = b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n"
LAST_REQUEST = b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n"

NGINX = """
daemon off; pid {folder}/nginx.pid; error_log /dev/null;
events {{}}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen {address}:{port}; keepalive_timeout {seconds}s; location / {{ return 200 "{body}"; }} }}
}}
"""


def nginx(lab, seconds=75, body="hello"):
    """Start nginx on the server."""
    words = {"folder": lab.folder, "address": lab.server.address, "port": SERVER_PORT, "seconds": seconds, "body": body}
    lab.software.start(
        lab.server, "nginx", "-c", lab.software.file("nginx.conf", NGINX.format(**words)), port=SERVER_PORT
    )


def dial(lab, source, port=SERVER_PORT):
    """A connection from a port of the client to a program on the server."""
    made = lab.client.tcp()
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.bind((lab.client.address, source))
    made.connect((lab.server.address, port))
    lab.sleep(0.02)
    return made


def ask(made, request=REQUEST, answer=b"hello"):
    """Send a request and read until the answer ends so."""
    made.sendall(request)
    got = b""
    while not got.endswith(answer):
        piece = made.recv(65536)
        if not piece:
            break
        got += piece
    return got


def read_to_the_end(made):
    """Read until the other side has closed, and close."""
    with contextlib.suppress(ConnectionResetError):
        while made.recv(65536):
            pass
    made.close()


@situation("nginx-healthy", prepare=nginx, needs=("nginx",))
def nginx_healthy(lab):
    """Four clients ask nginx three times each over one connection: two close it themselves, two ask nginx to close it
    with the last answer.
    """
    for i in range(4):
        client = dial(lab, CLIENT_PORT + i)
        for _ in range(2):
            ask(client)
            lab.sleep(0.05)
        ask(client, LAST_REQUEST if i % 2 else REQUEST)
        read_to_the_end(client) if i % 2 else client.close()
        lab.sleep(0.1)


@situation("nginx-keepalive-race", prepare=lambda lab: nginx(lab, seconds=2), needs=("nginx",))
def nginx_keepalive_race(lab):
    """nginx closes idle connections after keepalive_timeout 2s; the next requests of two clients of five cross its FIN
    on the wire (20 ms one way) and are answered by RST.
    """
    lab.relay.one_way_s = 0.02
    clients = [dial(lab, CLIENT_PORT + i) for i in range(5)]
    for i, client in enumerate(clients):
        lab.sleep(0.05)
        ask(client)
        if i in (1, 3):
            threading.Thread(target=_race, args=[lab, client, CLIENT_PORT + i]).start()
    lab.sleep(2.6)
    for client in clients:
        read_to_the_end(client)
    lab.sleep(0.3)


def _race(lab, client, port):
    """Send the next request while the server's FIN is on its way."""
    is_fin = with_flags(FIN, SERVER_PORT)
    lab.relay.last(lambda s: is_fin(s) and s.dport == port, seconds=5)
    client.sendall(REQUEST)


HAPROXY = """
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
frontend in
    bind {bind}
    default_backend out
backend out
    {lines}
"""


def haproxy(lab, host, bind, *lines):
    """Start HAProxy on a host."""
    config = lab.software.file("haproxy.cfg", HAPROXY.format(bind=bind, lines="\n    ".join(lines)))
    lab.software.start(host, "haproxy", "-db", "-f", config)
    lab.sleep(0.5)


def _close_towards_nginx(lab):
    nginx(lab)
    way_in = f"unix@{lab.folder}/in.sock"
    haproxy(lab, lab.client, way_in, "option http-server-close", f"server s1 {lab.server.address}:{SERVER_PORT}")


@situation("haproxy-http-server-close", prepare=_close_towards_nginx, needs=("haproxy", "nginx"))
def haproxy_http_server_close(lab):
    """HAProxy with `option http-server-close` in front of nginx, seen between the two: it reads each answer to its end
    and closes the connection itself.
    """
    with socket.socket(socket.AF_UNIX) as user:
        user.settimeout(5)
        user.connect(f"{lab.folder}/in.sock")
        for _ in range(5):
            ask(user)
            lab.sleep(0.2)


AGENT_PORT, BARE_PORT = SERVER_PORT + 2, SERVER_PORT + 1

CHECKS = """
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
    default-server inter 700ms
frontend in
    bind unix@{folder}/in.sock
    default_backend web
backend web
    option httpchk GET /
    server http {host}:{http} check
backend bare
    mode tcp
    server bare {host}:{bare} check
backend agent
    server agent {host}:{http} agent-check agent-port {agent} agent-inter 700ms
"""


def _check_three_ways(lab):
    nginx(lab)
    lab.listener(lab.server, BARE_PORT)
    threading.Thread(target=_agent, args=[lab.listener(lab.server, AGENT_PORT)], daemon=True).start()
    ports = {"http": SERVER_PORT, "bare": BARE_PORT, "agent": AGENT_PORT}
    lab.checks = lab.software.file("checks.cfg", CHECKS.format(host=lab.server.address, folder=lab.folder, **ports))


def _agent(listener):
    """An agent of HAProxy: it says how the host does, and closes."""
    listener.settimeout(20)
    with contextlib.suppress(OSError):
        while True:
            made, _ = listener.accept()
            made.sendall(b"up 75%\n")
            made.close()


@situation("haproxy-checks", prepare=_check_three_ways, needs=("haproxy", "nginx"))
def haproxy_checks(lab):
    """HAProxy checks a host in three ways, every 0.7 s: `option httpchk`, a bare TCP connect, and an agent that speaks
    first.
    """
    process = lab.software.start(lab.client, "haproxy", "-db", "-f", lab.checks)
    lab.sleep(3)
    process.terminate()
    lab.sleep(0.3)


REDIS = ("redis-server", "--save", "", "--appendonly", "no", "--daemonize", "no", "--port", str(SERVER_PORT))


def _redis(lab, timeout=0):
    words = (
        "--bind",
        lab.server.address,
        "--protected-mode",
        "no",
        "--timeout",
        str(timeout),
        "--dir",
        str(lab.folder),
    )
    lab.software.start(lab.server, *REDIS, *words, port=SERVER_PORT)


def _redis_cli(lab, *words):
    return lab.software.run(lab.client, "redis-cli", "-h", lab.server.address, "-p", str(SERVER_PORT), *words)


@situation("redis-healthy", prepare=_redis, needs=("redis-server", "redis-cli"))
def redis_healthy(lab):
    """redis-cli sets, reads and counts in Redis: six short conversations and one of fifty commands."""
    for words in ("PING", "SET a 1", "GET a", "INCR a", "INFO server", "DEL a"):
        _redis_cli(lab, *words.split())
    _redis_cli(lab, "-r", "50", "INCR", "b")
    lab.sleep(0.2)


@situation("redis-idle-timeout", prepare=lambda lab: _redis(lab, timeout=2), needs=("redis-server",))
def redis_idle_timeout(lab):
    """Redis with `timeout 2` closes three connections that are idle; two clients notice, the third sends a command into
    it later and gets a RST.
    """
    clients = [dial(lab, CLIENT_PORT + i) for i in range(3)]
    for client in clients:
        ask(client, b"PING\r\n", b"PONG\r\n")
    lab.sleep(4.5)
    clients[2].sendall(b"PING\r\n")
    lab.sleep(0.1)
    for client in clients:
        read_to_the_end(client)
    lab.sleep(0.2)


@situation("redis-probes", prepare=_redis, needs=("redis-server",))
def redis_probes(lab):
    """Bare TCP probes of Redis, every half second: three connect and close, three connect and reset."""
    for i in range(6):
        probe = dial(lab, CLIENT_PORT + i)
        abort(probe) if i % 2 else probe.close()
        lab.sleep(0.5)


def _postgres(lab):
    folder = lab.folder / "data"
    folder.mkdir()
    folder.chmod(0o777)
    lab.software.run(
        lab.server, "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups",
        "initdb", "-D", str(folder / "db"), "-A", "trust", "-U", "postgres", "--no-sync",
    )  # fmt: skip
    with open(folder / "db" / "pg_hba.conf", "a") as file:
        file.write("host all all 198.18.0.0/16 trust\n")
    lab.software.start(
        lab.server, "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "postgres",
        "-D", str(folder / "db"), "-h", lab.server.address, "-p", str(SERVER_PORT), "-k", str(folder),
        "-c", "dynamic_shared_memory_type=mmap", port=SERVER_PORT,
    )  # fmt: skip
    lab.sleep(1)


def _psql(lab, query):
    words = ("-X", "-h", lab.server.address, "-p", str(SERVER_PORT), "-U", "postgres", "-c", query)
    return lab.software.run(lab.client, "psql", *words)


@situation("postgres-healthy", prepare=_postgres, needs=("postgres", "initdb", "psql"))
def postgres_healthy(lab):
    """psql asks PostgreSQL three times, one answer of 10 kB among them; the client says goodbye and closes."""
    for query in ("select 1", "select repeat('x', 10000)", "select no_such_column"):
        lab.note(f"{query}: {len(_psql(lab, query))} bytes printed")
    lab.sleep(0.2)


@situation("postgres-probes", prepare=_postgres, needs=("postgres", "initdb"))
def postgres_probes(lab):
    """Bare TCP probes of PostgreSQL, every half second: three connect and close, three connect and reset."""
    for i in range(6):
        probe = dial(lab, CLIENT_PORT + i)
        abort(probe) if i % 2 else probe.close()
        lab.sleep(0.5)


@situation("banner-probes")
def banner_probes(lab):
    """A server that speaks first, as SSH and SMTP servers do: four probes connect and close without reading what it
    said, two read it and close.
    """
    listener = lab.listener(lab.server, SERVER_PORT)
    for i in range(6):
        probe = dial(lab, CLIENT_PORT + i)
        server, _ = listener.accept()
        server.sendall(b"220 lab ready\r\n")
        lab.sleep(0.1)
        if i % 3 == 2:
            probe.recv(100)
        probe.close()
        lab.sleep(0.1)
        server.settimeout(1)
        read_to_the_end(server)
        lab.sleep(0.3)
