"""Functions of an application that want to hear of something."""

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Listeners"]

_log = logging.getLogger("openline.client")

T = TypeVar("T")


class Listeners(Generic[T]):
    """Calls each with what there is to tell, in the order in which they came; what they raise is logged."""

    def __init__(self) -> None:
        self._functions: list[Callable[[T], object]] = []

    def add(self, function: Callable[[T], object]) -> None:
        """From now on it hears, too."""
        self._functions.append(function)

    def remove(self, function: Callable[[T], object]) -> None:
        """It hears nothing any more."""
        self._functions.remove(function)

    def tell(self, news: T) -> None:
        """Call each of them."""
        for function in tuple(self._functions):
            try:
                function(news)
            except Exception:
                _log.exception("A function that was to hear of a line failed")
