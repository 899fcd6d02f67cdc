"""Facts about a type that are read without running any of its code: no property, no metaclass, no ``__getattr__``."""

import collections
import sys
from types import ModuleType
from typing import Any, Dict, Optional, Tuple

_type_getattribute = type.__getattribute__
_namespace = type.__dict__["__dict__"].__get__
_object_getattribute = object.__getattribute__
_MISSING = object()
_SLOT = type(type("_", (), {}).__dict__["__dict__"])
_MODULE_SLOT = vars(ModuleType)["__dict__"]
_MEMBER = type(type("_", (), {"__slots__": ("x",)}).__dict__["x"])
NAMEDTUPLE_FILE = collections.namedtuple.__code__.co_filename


def mro(kind: type) -> Tuple[type, ...]:
    """The classes of ``kind``, most derived first."""
    found = _type_getattribute(kind, "__mro__")
    return found if type(found) is tuple else (kind,)


def full_name(kind: type) -> str:
    """``module.qualname``; builtins stand without a module."""
    module = module_name(kind)
    name = qualified_name(kind)
    return name if module in ("builtins", "") else module + "." + name


def simple_name(kind: type) -> str:
    """``kind.__name__``, past any metaclass."""
    found = _type_getattribute(kind, "__name__")
    return found if type(found) is str else "?"


def on_heap(kind: type) -> bool:
    """Whether a class statement, or a C module's specification, made the type; the older static C types are not."""
    return bool(_type_getattribute(kind, "__flags__") & 512)


def qualified_name(kind: type) -> str:
    """The class's qualified name."""
    name = _type_getattribute(kind, "__qualname__")
    return name if type(name) is str else "?"


def module_name(kind: type) -> str:
    """The module that defines the class, empty where it does not say."""
    name = _type_getattribute(kind, "__module__")
    return name if type(name) is str else ""


def find(kind: type, name: str) -> Tuple[Optional[type], Any]:
    """The class that defines an attribute, and the raw attribute: descriptors are not called."""
    for owner in mro(kind):
        found = _namespace(owner).get(name, _MISSING)
        if found is not _MISSING:
            return owner, found
    return None, None


def own(kind: type, name: str) -> Any:
    """An attribute that the class itself defines, raw; None without one."""
    return _namespace(kind).get(name)


def derives(kind: type, base: type) -> bool:
    """``issubclass`` without ``__subclasscheck__``."""
    return any(owner is base for owner in mro(kind))


def attributes(value: Any) -> Dict[str, Any]:
    """An instance's own ``__dict__``; empty without one."""
    owner, found = find(type(value), "__dict__")
    if owner is None or (type(found) is not _SLOT and found is not _MODULE_SLOT):
        return {}
    try:
        held = found.__get__(value)
    except Exception:
        return {}
    return held if type(held) is dict else {}


def attribute(value: Any, name: str) -> Any:
    """An instance's attribute as ``self.NAME`` gives it, if no code of the program runs for it.

    Raises:
        LookupError: there is none, or reading it could run code.
    """
    owner, found = find(type(value), name)
    if owner is not None and type(found) is _MEMBER:  # a slot
        try:
            return found.__get__(value)
        except AttributeError:
            raise LookupError(name) from None
    if (
        owner is not None and find(type(found), "__set__")[0] is not None
    ):  # a property would win over the instance's dict
        raise LookupError(name)
    held = attributes(value)
    if name in held:
        return held[name]
    if owner is None or find(type(found), "__get__")[0] is not None:
        raise LookupError(name)
    return found


def from_standard_library(kind: type) -> bool:
    """Whether the module that the class names is one of the interpreter's own that are known to be harmless."""
    return (module_name(kind), qualified_name(kind)) in _HARMLESS and kind is _get(kind)


def _get(kind: type) -> Any:
    """The class that its module really holds: anybody can write ``__module__ = "decimal"``."""
    module = sys.modules.get(module_name(kind))
    return getattr(module, "__dict__", {}).get(qualified_name(kind))


_HARMLESS = frozenset(
    [("datetime", name) for name in ("date", "time", "datetime", "timedelta", "timezone")]
    + [("pathlib", name) for name in ("PurePosixPath", "PosixPath", "PureWindowsPath", "Path")]
    + [("pathlib._local", name) for name in ("PurePosixPath", "PosixPath", "PureWindowsPath", "Path")]
    + [("ipaddress", "IPv{}{}".format(v, n)) for v in "46" for n in ("Address", "Network", "Interface")]
    + [("decimal", "Decimal"), ("fractions", "Fraction"), ("uuid", "UUID"), ("zoneinfo", "ZoneInfo")]
    + [("re", "Pattern"), ("_sre", "SRE_Pattern"), ("array", "array"), ("builtins", "builtin_function_or_method")]
    + [("builtins", n) for n in ("method_descriptor", "wrapper_descriptor", "getset_descriptor", "member_descriptor")]
)
