"""A store that speaks S3, on this host."""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tcptrace_tw import storage

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


@contextmanager
def s3_store() -> Iterator[str]:
    """``s3://bucket`` of a server that this process, and those that it starts, find by their environment."""
    server_of = pytest.importorskip("moto.server")
    pytest.importorskip("obstore")
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true"}.items():
            patch.setenv(name, value)
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{url}/bucket", method="PUT")):
                yield "s3://bucket"
        finally:
            storage._store.cache_clear()
            server.stop()
