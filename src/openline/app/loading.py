"""Applications by name: what ``module:object`` is, and what an object is called."""

import importlib
import inspect
import os
import sys
from pathlib import Path
from typing import Any

from openline.errors import SettingsError

__all__ = ["load", "name_of"]


def load(target: str, folder: str = "") -> Any:
    """The object that ``module:object`` names, as Python started here would find it, or what such a function makes.

    ``folder`` is where the module is looked for first, instead of this one. Raises :class:`SettingsError`.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise SettingsError(target, "name it as module:object, such as chat:line for the object line in chat.py")
    sys.path.insert(0, folder or os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise SettingsError(target, f"there is no module {error.name!r} in this folder or installed") from error
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise SettingsError(target, f"module {module_name!r} has no {attribute!r}") from error
    if inspect.isfunction(found) and not inspect.signature(found).parameters:
        found = found()
    if not callable(found):
        raise SettingsError(target, f"is a {type(found).__name__}, neither an Openline nor an ASGI application")
    return found


def name_of(app: Any) -> tuple[str, str]:
    """How other processes name ``app``: ``module:object``, and the folder of the program.

    Raises :class:`SettingsError` where no module has it under a name of its own.
    """
    program = sys.modules["__main__"]
    for module in (program, *tuple(sys.modules.values())):
        for name, value in tuple(vars(module).items()) if hasattr(module, "__dict__") else ():
            if value is app and not name.startswith("__"):
                if module is not program:
                    return f"{module.__name__}:{name}", ""
                spec, file = getattr(program, "__spec__", None), getattr(program, "__file__", None)
                if spec is not None:
                    return f"{spec.name}:{name}", ""
                if file is not None:
                    return f"{Path(file).stem}:{name}", str(Path(file).resolve().parent)
    raise SettingsError(
        "workers",
        "each worker imports the application by its name, and this one has none: keep it in a variable of a module, or "
        "name it, as in serve('chat:line', workers=2)",
    )
