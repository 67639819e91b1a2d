"""A check of schemathesis's, for ``SCHEMATHESIS_HOOKS``: what fits the document is refused for nothing else."""

from typing import Any

import schemathesis

#: A payload's depth, size and numbers, base64 in it, and that two places for a key name the same one.
BEYOND_SCHEMAS = {"payload", "key"}


@schemathesis.check
def what_fits_the_document_is_taken(ctx: Any, response: Any, case: Any) -> None:
    """Stands in for ``positive_data_acceptance``, which knows statuses alone."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code in (200, 202):
        return
    assert response.status_code == 400, response.text
    assert response.json()["field"] in BEYOND_SCHEMAS, response.text
