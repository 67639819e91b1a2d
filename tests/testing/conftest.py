"""What every test of this folder leaves behind: nothing that goes on."""

import asyncio
from typing import Any

import pytest

from openline.testing import settle


@pytest.fixture(autouse=True)
async def nothing_goes_on() -> Any:
    before = asyncio.all_tasks()
    yield
    await settle()
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}
