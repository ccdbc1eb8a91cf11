"""How the code of one plugin is run: imported, registered and called, each under guard.

Whatever happens inside, `SystemExit` included, ends as a `Refusal` that names the stage and the way out.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import attrs
import pluggy

from anymodal.errors import AnymodalError, nearest, one_line, sort_of
from anymodal.hookspecs import GROUP, Hooks, Preset
from anymodal.labeler import Labeler
from anymodal.modality import API, Modality
from anymodal.plugins.discovery import Candidate
from anymodal.plugins.reinstalled import package_of, reach


class Refusal(Exception):
    """A plugin cannot be used: the `stage` it fails in, why, and what to do about it."""

    def __init__(self, stage: str, message: str, hint: str = "") -> None:
        super().__init__("; ".join(filter(None, (message, hint))))
        self.stage, self.message, self.hint = stage, message, hint


@attrs.frozen
class Loaded:
    """The object that an entry point names, in a plugin manager of its own: a failure has one suspect."""

    plugin: Any
    manager: pluggy.PluginManager

    def call(self, hook: str, **arguments: Any) -> Any:
        """What the plugin returns from a hook. Raises Refusal when it has none or fails."""
        caller = getattr(self.manager.hook, hook)
        if not caller.get_hookimpls():
            hint = f"decorate {hook} with @hookimpl" if hasattr(self.plugin, hook) else f"let it implement {hook}"
            if hook == "anymodal_modalities" and isinstance(self.plugin, ModuleType):
                hint += f", or name the class in the entry point: `{self.plugin.__name__}:Class`"
            raise Refusal("register", "provides nothing of its kind", hint)
        with _guard("call", f"{hook} raises"):
            results = caller(**arguments)
        return results[0] if results else None


def load(candidate: Candidate, trace: Callable[[str], None] | None = None) -> Loaded:
    """Import a plugin and register it; `trace` receives one line for each of its hook calls. Raises Refusal."""
    plugin = _imported(candidate)
    check_api(plugin, candidate.distribution)
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    if trace is not None:
        manager.add_hookcall_monitoring(
            before=lambda hook, impls, arguments: trace(f"{candidate.key} {hook}({', '.join(arguments)})"),
            after=lambda outcome, hook, impls, arguments: trace(f"{candidate.key} {hook} -> {_outcome(outcome)}"),
        )
    names = ", ".join(name for name in vars(Hooks) if not name.startswith("_"))
    with _guard("register", "does not fit the hooks", f"they are {names}; see {Hooks.__module__}"):
        manager.register(plugin, name=candidate.key)
        manager.check_pending()
    return Loaded(plugin, manager)


def check_api(plugin: object, distribution: str) -> None:
    """Raise Refusal when `plugin.api`, the plugin API it was written for, is not one that this version offers."""
    stated: Any = getattr(plugin, "api", None)
    if not isinstance(stated, str) and not isinstance(plugin, type):
        return
    if stated is None:
        raise Refusal("load", "is a class of no modality", "derive it from ImageModality or another family")
    try:
        major, minor = (int(part) for part in stated.split("."))
    except (AttributeError, ValueError):
        raise Refusal("load", f"states the plugin API {stated!r}", "write it as '1.0'") from None
    if major == API[0] and minor <= API[1]:
        return
    older = "anymodal" if (major, minor) > API else distribution
    hint = f"pip install --upgrade {older}" if older else "write the class for the newer one"
    raise Refusal("load", f"needs plugin API {stated}, and this is {API[0]}.{API[1]}", hint)


def check_class(cls: object) -> type[Modality]:
    """`cls` itself. Raises Refusal when it is not a Modality class."""
    if isinstance(cls, type) and issubclass(cls, Modality):
        return cls
    text = cls if isinstance(cls, str) else type(cls).__name__
    raise Refusal("validate", f"{text!r} is not a Modality class", "return the class, not an instance or its name")


def check_modality(cls: type[Modality], distribution: str) -> type[Modality]:
    """`cls` itself. Raises Refusal when the class is not usable."""
    check_api(cls, distribution)
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise Refusal("validate", f"class {cls.__name__} leaves abstract methods: {missing}", "implement them")
    with _guard("validate", f"class {cls.__name__} is not usable"):
        cls.validate()
    return cls


def check_labeler(cls: object) -> type[Labeler]:
    """`cls` itself. Raises Refusal when it is not a usable Labeler class."""
    if not (isinstance(cls, type) and issubclass(cls, Labeler)):
        text = cls if isinstance(cls, str) else getattr(cls, "__name__", type(cls).__name__)
        raise Refusal("validate", f"{text!r} is not a Labeler class", "return the class, not an instance or a function")
    with _guard("validate", f"class {cls.__name__} is not usable"):
        cls.validate()
    return cls


def check_preset(given: object) -> None:
    """Raise Refusal when it is neither a folder nor a `Preset`."""
    if not isinstance(given, (str, Preset)):
        hint = "return the folder as a text, or anymodal.Preset(folder, modalities)"
        raise Refusal("validate", f"{sort_of(given)} is not a preset", hint)


def _imported(candidate: Candidate) -> object:
    module_name, _, attribute = candidate.value.partition(":")
    reinstall = f"pip install --force-reinstall {candidate.distribution}"
    try:
        with _guard("load", "raises at import"):
            plugin: object = importlib.import_module(module_name)
    except Refusal as refusal:
        missing = refusal.__cause__
        if not isinstance(missing, ModuleNotFoundError) or missing.name is None:
            raise
        if f"{module_name}.".startswith(f"{missing.name}."):
            if reach(package_of(candidate.value), candidate.distribution):
                return _imported(candidate)
            raise Refusal("load", f"its module {missing.name!r} is missing", reinstall) from missing
        hint = f"pip install {candidate.distribution}, which brings what it requires"
        raise Refusal("load", f"needs the module {missing.name!r}, which is missing", hint) from missing
    for part in filter(None, attribute.split(".")):
        with _guard("load", f"the module {module_name!r} raises when asked for {attribute!r}"):
            if not hasattr(plugin, part):
                hint = f"correct the entry point{nearest(part, dir(plugin))}"
                raise Refusal("load", f"the module {module_name!r} has no {attribute!r}", hint)
            plugin = getattr(plugin, part)
    return plugin


@contextlib.contextmanager
def _guard(stage: str, what: str, hint: str = "") -> Iterator[None]:
    """Turn anything but KeyboardInterrupt into a Refusal of that stage."""
    try:
        yield
    except (KeyboardInterrupt, Refusal):
        raise
    except AnymodalError as error:
        raise Refusal(stage, one_line(error), hint) from error
    except SyntaxError as error:
        place = f"{error.filename}, line {error.lineno}"
        raise Refusal(stage, f"has a syntax error in {place}: {error.msg}", hint) from error
    except SystemExit as error:
        raise Refusal(stage, f"{what}: it calls sys.exit({error.code!r})", hint) from error
    except BaseException as error:
        raise Refusal(stage, f"{what}: {type(error).__name__}: {one_line(error, 300)}", hint) from error


def _outcome(outcome: pluggy.Result[Any]) -> str:
    return repr(outcome.exception or outcome.get_result())
