from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rigs.raw_service import RawService, reply
from tilltap.errors import StartError
from tilltap.loyalty import DEFAULT_URLS, make_provider
from tilltap.loyalty.passentry import PassEntry
from tilltap.loyalty.provider import Outcome


@pytest.mark.anyio
async def test_the_sandbox_speaks_passentry_with_and_without_a_key() -> None:
    document = {"data": {"id": "p"}, "meta": {"loyalty": {"balance": 3}}}
    async with RawService(answer=lambda _: [reply(200, document)]) as service:
        for key in (None, "abc"):
            provider = make_provider(provider="sandbox", url=service.url, key=key, ca_file=None)
            answer = await provider.read("p", deadline=5)
            assert answer.outcome is Outcome.DONE
            assert answer.state is not None
            assert answer.state.points == 3
            await provider.aclose()
    assert [request.header("authorization") for request in service.requests] == [None, "Bearer abc"]


@pytest.mark.anyio
@pytest.mark.parametrize("name", DEFAULT_URLS)
async def test_every_service_has_a_usual_address(name: str) -> None:
    provider = make_provider(provider=name, url="", key="abc", ca_file=None)
    assert isinstance(provider, PassEntry)
    assert provider._http.base == DEFAULT_URLS[name]
    await provider.aclose()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"provider": "passquare"}, "not available yet"),
        ({"key": None}, "needs an API key"),
        ({"key": "topsecret\n"}, "API key"),
        ({"url": "http://api.example.com"}, "https"),
        ({"ca_file": Path("/nonexistent/ca.pem")}, "/nonexistent/ca.pem"),
    ],
)
def test_what_cannot_be_used_is_one_line(wrong: dict[str, object], says: str) -> None:
    options = {
        "provider": "passentry",
        "url": "https://api.example.com",
        "key": "abc",
        "ca_file": None,
        **wrong,
    }
    with pytest.raises(StartError) as refused:
        make_provider(**options)  # type: ignore[arg-type]
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "topsecret" not in str(refused.value)


def test_importing_the_package_does_not_load_the_client() -> None:
    code = "import sys, tilltap.loyalty; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
