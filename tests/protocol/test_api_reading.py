"""What the backend API takes is what the program itself may use."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from openline import CommandError
from openline.protocol import api
from openline.protocol.api_reading import read_body
from openline.protocol.channel_name import require_channel, require_event


def accepted(kind: type[Any], **said: Any) -> bool:
    try:
        read_body(json.dumps(said).encode(), kind)
    except CommandError:
        return False
    return True


def works(function: Any, text: str) -> bool:
    try:
        function(text)
    except ValueError:
        return False
    return True


@given(st.text(max_size=130) | st.from_regex(r"\A[\w$:@ .\n-]{0,130}\Z"))
def test_the_api_takes_the_names_that_the_program_itself_may_use(text: str) -> None:
    assert accepted(api.Publish, channel="a", type=text) == works(require_event, text)
    assert accepted(api.Publish, channel=text, type="a") == works(require_channel, text)
