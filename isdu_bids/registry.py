"""One registry per choice: name -> function, parameters, reference, one line of description.

Command-line choices, documentation, methods text and property tests are all driven by it, so that
a new method cannot escape them. Functions are named by import path and loaded when first called:
a registry can be read, for ``--help`` say, without importing torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from inspect import signature
from typing import Any

from isdu_bids.errors import UsageError


@dataclass(frozen=True)
class Method:
    """A method by name, with what the report must say about it.

    Attributes
    ----------
    name
        What a user types.
    target
        Import path ``module:function`` of the implementation.
    description
        One line for ``--help`` and the methods text.
    reference
        DOI of the source, or the key of its citation.
    parameters
        Default keyword arguments.
    """

    name: str
    target: str
    description: str
    reference: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The implementation, imported now."""
        module, name = self.target.split(":")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every parameter that has a default, as a report must state it."""
        return {
            name: self.parameters.get(name, parameter.default)
            for name, parameter in signature(self.function).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
            and isinstance(parameter.default, bool | int | float | str | tuple)
        }

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method with its defaults, overridden by ``kwargs``."""
        return self.function(*args, **{**self.parameters, **kwargs})


class Registry(Mapping[str, Method]):
    """Methods of one stage, in the order in which they are documented.

    Examples
    --------
    >>> roots = Registry("root", Method("square", "math:sqrt", "Square root.", ""))
    >>> roots["square"](9.0)
    3.0
    >>> roots["cube"]
    Traceback (most recent call last):
    isdu_bids.errors.UsageError: unknown root method 'cube'; choose from: square
    """

    def __init__(self, stage: str, *methods: Method) -> None:
        self.stage = stage
        self._methods = {method.name: method for method in methods}

    def __getitem__(self, name: str) -> Method:
        if name not in self._methods:
            raise UsageError(
                f"unknown {self.stage} method {name!r}; choose from: {', '.join(self._methods)}"
            )
        return self._methods[name]

    def __contains__(self, name: object) -> bool:
        return name in self._methods

    def __iter__(self) -> Iterator[str]:
        return iter(self._methods)

    def __len__(self) -> int:
        return len(self._methods)
