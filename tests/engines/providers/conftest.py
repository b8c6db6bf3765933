"""A house whose remote worker talks to providers of ours."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from nacl.public import PrivateKey

from tests.engines.house import EngineHouse, engine_house
from tests.engines.providers.server import Providers, serving

SLOTS = 8
OWNERS = {
    "google": "owner-key-of-google-0001",
    "fal": "owner-key-of-fal-0002",
    "openai": "owner-key-of-openai-0003",
    "compatible": "owner-key-of-compatible-0004",
    "stability": "owner-key-of-stability-0005",
}


@pytest.fixture(scope="package")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="package")
def servers(certificates: Path) -> Iterator[Providers]:
    with serving(certificates) as providers:
        yield providers


@pytest.fixture
def providers(servers: Providers) -> Iterator[Providers]:
    servers.forget()
    yield servers
    servers.forget()


@pytest.fixture(scope="package")
def home(
    worker_settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EngineHouse]:
    """One for all modules here: they need no weights."""
    weights = tmp_path_factory.mktemp("weights")
    with (
        tempfile.TemporaryDirectory(prefix="nijika-house-") as folder,
        engine_house(
            Path(folder),
            weights=weights,
            queues=("remote",),
            slots=SLOTS,
            settings=worker_settings,
        ) as built,
    ):
        yield built
        built.check_ledger()


@pytest.fixture(scope="package")
def worker_settings(servers: Providers, certificates: Path) -> dict[str, str]:
    plain = f"http://127.0.0.1:{servers.http_port}"
    return {
        "GOOGLE_API_KEY": OWNERS["google"],
        "FAL_KEY": OWNERS["fal"],
        "OPENAI_API_KEY": OWNERS["openai"],
        "NIJIKA_COMPATIBLE_API_KEY": OWNERS["compatible"],
        "STABILITY_API_KEY": OWNERS["stability"],
        "NIJIKA_GOOGLE_URL": plain,
        "NIJIKA_OPENAI_URL": f"{plain}/v1",
        "NIJIKA_COMPATIBLE_URL": f"{plain}/compatible/v1",
        "NIJIKA_COMPATIBLE_MODEL": "local-paint",
        "NIJIKA_STABILITY_URL": plain,
        "NIJIKA_FAL_QUEUE_HOST": f"localhost:{servers.https_port}",
        "NIJIKA_PROVIDER_ALLOWED_HOSTS": ",".join(
            (f"127.0.0.1:{servers.http_port}", f"localhost:{servers.https_port}")
        ),
        "NIJIKA_PROVIDER_POLL": "100ms",
        "NIJIKA_PROVIDER_TIMEOUT": "3s",
        "NIJIKA_PROVIDER_CIRCUIT_PAUSE": "300ms",
        "NIJIKA_SEALING_KEYS": base64.b64encode(bytes(PrivateKey.generate())).decode(),
        "SSL_CERT_FILE": str(certificates / "ca.pem"),
        # Of the owner: what no key of another's may go along with.
        "OPENAI_ORG_ID": "org-of-the-owner",
        "OPENAI_PROJECT_ID": "project-of-the-owner",
    }
