"""The keys of the backend API: any of the server's opens it, nothing else does, and none is ever shown."""

import hmac
from dataclasses import replace
from typing import Any

import pytest

from openline import ApiSettings, Openline, Settings, SettingsError
from tests.http_doors.rig import HOSTINGS, Hosting, natively, problem, web
from tests.http_doors.test_backend_api import API, KEY, OTHER, application, backend, look

hostings = pytest.mark.parametrize("hosting", HOSTINGS)


@hostings
async def test_without_a_key_the_api_is_off_and_says_how_to_turn_it_on(hosting: Hosting) -> None:
    async with hosting(Openline(api_keys=[])) as served, backend(served) as client:
        for path, method in [("publish", "POST"), ("channels", "GET"), ("openapi.json", "GET")]:
            answer = await client.request(method, f"{API}/{path}")
            assert problem(answer) == (404, "not_found")
            for remedy in ("OPENLINE_API_KEYS", "--api-key", "Openline(api_keys="):
                assert remedy in answer.json()["detail"]


async def test_every_key_of_the_server_is_good_and_no_other() -> None:
    keys = [f"key-number-{n:03}-of-many" for n in range(200)]
    async with natively(application(*keys)) as served:
        for key in (keys[0], keys[77], keys[-1]):
            async with backend(served, key) as client:
                await look(client, "channels")
        for wrong in ("x", keys[0][:-1], keys[0] + "x", keys[0].upper(), "é" * 20, ",".join(keys[:2]), "x" * 10_000):
            headers = {"authorization": f"Bearer {wrong}".encode()}
            async with web(served, headers=headers) as client:
                answer = await client.get(f"{API}/channels")
                assert problem(answer) == (401, "unauthorized")
                assert answer.headers["www-authenticate"] == "Bearer"
                assert wrong not in answer.text or wrong == "x"


@pytest.mark.parametrize("authorization", [None, "", "Bearer", f"Basic {KEY}", KEY])
async def test_what_is_no_bearer_key_is_told_what_to_send(authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    async with natively(application()) as served, web(served, headers=headers) as client:
        answer = await client.get(f"{API}/channels")
        assert problem(answer) == (401, "unauthorized")
        assert "Authorization: Bearer KEY" in answer.json()["detail"]


async def test_comparing_a_key_tells_nothing_by_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All keys are compared whatever is given, over digests of one length, by what the standard library has for it."""
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def watched(one: Any, other: Any) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    keys = [KEY, OTHER, "a-third-one-of-another-length-" * 5]
    async with natively(application(*keys)) as served:
        for given_key in (KEY, OTHER, keys[2], KEY[:-1] + "x", "x" + KEY[1:], "short"):
            compared.clear()
            async with backend(served, given_key) as client:
                await client.get(f"{API}/channels")
            assert compared == [(32, 32)] * 3


async def test_keys_come_from_the_environment_unless_the_program_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLINE_API_KEYS", f" {KEY} ,, {OTHER},")
    assert Openline().settings.api.keys == (KEY, OTHER)
    assert Openline(api_keys=[]).settings.api.keys == ()
    assert Openline(api_keys=["another-key-of-mine"]).settings.api.keys == ("another-key-of-mine",)


@pytest.mark.parametrize("keys", [["short"], [""], ["with a blank in between"], ["é" * 20], ["x" * 257], KEY])
def test_a_key_that_cannot_work_is_refused_and_not_shown(keys: Any) -> None:
    with pytest.raises(SettingsError) as refused:
        Openline(api_keys=keys)
    assert "api_keys" in str(refused.value)
    assert not any(key and key in str(refused.value) for key in keys if len(key) > 1)


def test_settings_do_not_show_keys() -> None:
    assert KEY not in repr(Openline(api_keys=[KEY]).settings)
    assert KEY not in repr(replace(Settings(), api=ApiSettings(keys=(KEY,))))
