"""The contract of a method: what it takes, what a user may set, what a report must say of it.

Command line, help, wiring, methods text and property tests all read the registries, so a new method
is known everywhere as soon as it has its entry. Functions are named by import path and loaded when
first called: ``--help`` reads every registry without importing torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import Any

from isdu_bids.errors import DataError, UsageError


@dataclass(frozen=True)
class Parameter:
    """What a user may set of a method. Its default is written here and nowhere else.

    Attributes
    ----------
    name
        Keyword of the function.
    default
        Value where the user gives none; the type of the others follows from it.
    help
        What completes "the parameter is the ...".
    unit
        Of a number; empty for none.
    kind
        Type, where the default is None.
    choices
        The only values of a text.
    minimum
        The least value of a number.
    option
        Option of the command line of its own, for what is set often: ``--weights``.
    """

    name: str
    default: Any
    help: str
    unit: str = ""
    kind: type | None = None
    choices: tuple[str, ...] = ()
    minimum: float = -math.inf
    option: str = ""

    def __str__(self) -> str:
        value = "none" if self.default is None else _written(self.default)
        return f"{self.name}={value}{f' {self.unit}' if self.unit else ''}"

    def parse(self, text: str) -> Any:
        """Read a value from the command line.

        Raises
        ------
        UsageError
            If it is none.
        """
        kind = self.kind or type(self.default)
        try:
            if kind is bool:
                return self.check({"true": True, "false": False}[text.lower()])
            if kind is tuple:
                return self.check(tuple(float(part) for part in text.split(",")))
            return self.check(kind(text))
        except (KeyError, ValueError) as error:
            wanted = {float: "a number", int: "a whole number", bool: "true or false"}
            known = wanted.get(kind, "a list of numbers, e.g. 3,2,1")
            raise UsageError(f"{self.name}={text}: expected {known}") from error

    def check(self, value: Any) -> Any:
        """Return a value that is allowed.

        Raises
        ------
        UsageError
            For another.
        """
        if self.choices and value not in self.choices:
            raise UsageError(
                f"{self.name} {value!r} is unknown; known are {', '.join(self.choices)}"
            )
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not self.minimum <= number < math.inf:
                raise UsageError(f"{self.name}={number:g} is not allowed; least: {self.minimum:g}")
        return value


@dataclass(frozen=True)
class Prepared:
    """A method made ready in the process that runs it.

    Attributes
    ----------
    parameters
        What its function is called with: weights are loaded, ``auto`` is decided.
    facts
        What a sidecar must say beside the parameters, by name.
    flags
        What a reader must know before using the result.
    """

    parameters: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()

    @property
    def stated(self) -> dict[str, Any]:
        """Parameters as a sidecar can state them: weights by their name."""
        return {name: self.facts.get(name, value) for name, value in self.parameters.items()}


@dataclass(frozen=True)
class Method:
    """A method by name, and its contract.

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
    inputs
        Arguments that it needs of the scan, by name: maps, geometry, echo times.
    optional
        Arguments that it takes where a scan has them.
    parameters
        What a user may set: its other arguments.
    linear
        Whether the result is linear in the first input.
    min_echoes
        Echoes that a scan must have.
    locate
        Import path of a function that takes the parameters and returns those that are files, found
        (`pathlib.Path`); called when a run is set up, so that a missing file stops it there.
    prepare
        Import path of a function of parameters and inputs that returns what `Prepared` holds;
        called in the process that runs the method.
    """

    name: str
    target: str
    description: str
    reference: str
    inputs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    linear: bool = False
    min_echoes: int = 1
    locate: str = ""
    prepare: str = ""

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The implementation, imported now."""
        return _imported(self.target)

    @property
    def defaults(self) -> dict[str, Any]:
        """Every parameter, as a report must state it."""
        return {parameter.name: parameter.default for parameter in self.parameters}

    def takes(self, names: Iterable[str]) -> list[str]:
        """Those of the names that are inputs of the method."""
        return [name for name in names if name in (*self.inputs, *self.optional)]

    def parameter(self, name: str) -> Parameter:
        """Parameter by name.

        Raises
        ------
        UsageError
            If the method has none of that name.
        """
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        known = ", ".join(self.defaults) or "none"
        raise UsageError(f"{self.name} has no parameter {name!r}; it has: {known}")

    def with_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every parameter, those given checked.

        Raises
        ------
        UsageError
            For an unknown parameter or a value that is not allowed.
        """
        checked = {name: self.parameter(name).check(value) for name, value in given.items()}
        return self.defaults | checked

    def located(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every parameter, files found; raises the errors of the method's ``locate``."""
        parameters = self.with_defaults(given)
        return parameters | (_imported(self.locate)(**parameters) if self.locate else {})

    def prepared(self, parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> Prepared:
        """Load what the parameters name, and decide what depends on the inputs."""
        every = self.with_defaults(parameters)  # a plain dictionary, whatever was given
        return _imported(self.prepare)(every, inputs) if self.prepare else Prepared(every)

    def run(self, available: Mapping[str, Any], **parameters: Any) -> Any:
        """Call the method with those of the available inputs that it takes.

        Raises
        ------
        DataError
            If an input that it needs is not there.
        """
        missing = [name for name in self.inputs if available.get(name) is None]
        if missing:
            raise DataError(f"the method {self.name!r} needs {', '.join(missing)}")
        taken = {
            name: available[name]
            for name in (*self.inputs, *self.optional)
            if available.get(name) is not None
        }
        return self(**taken, **parameters)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the implementation with its defaults, overridden by ``kwargs``."""
        return self.function(*args, **{**self.defaults, **kwargs})


@dataclass(frozen=True)
class Choice:
    """A method by name, with the parameters that the user set."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return ":".join([self.name, *(f"{k}={_written(v)}" for k, v in self.parameters.items())])


class Registry(Mapping[str, Method]):
    """Methods of one stage, in the order in which they are documented.

    Parameters
    ----------
    title
        What they are, for messages.
    methods
        The methods.
    default
        Name of the method, or of the rule below, that runs where nothing is chosen.
    auto
        Rule that chooses, offered as a method of the name ``auto``: its function takes facts of a
        scan (its inputs) and the parameters, and returns a name.
    none
        What it means to choose ``none``, which is offered if this is not empty.

    Examples
    --------
    >>> power = Parameter("power", 2.0, "exponent")
    >>> roots = Registry("root", Method("pow", "math:pow", "Power.", "", parameters=(power,)),
    ...                  default="pow")
    >>> str(roots.parse("pow:power=3"))
    'pow:power=3.0'
    >>> roots.parse("pow:base=3")
    Traceback (most recent call last):
    isdu_bids.errors.UsageError: pow has no parameter 'base'; it has: power
    >>> roots["cube"]
    Traceback (most recent call last):
    isdu_bids.errors.UsageError: unknown root 'cube'; choose from: pow
    """

    def __init__(
        self,
        title: str,
        *methods: Method,
        default: str,
        auto: Method | None = None,
        none: str = "",
    ) -> None:
        self.title = title
        self.auto = auto
        self.none = Method("none", "", none, "") if none else None
        self._methods = {method.name: method for method in methods}
        self.default = self.parse(default)

    @property
    def offered(self) -> dict[str, Method]:
        """What a user can choose: the methods, and ``auto`` and ``none`` where there are."""
        first, last = ([rule] if rule else [] for rule in (self.auto, self.none))
        return {method.name: method for method in (*first, *self._methods.values(), *last)}

    def parse(self, text: str) -> Choice:
        """Read ``NAME`` or ``NAME:PARAMETER=VALUE:...``.

        Raises
        ------
        UsageError
            For an unknown name or parameter, or a value that is not allowed.
        """
        name, *settings = text.split(":")
        method = self._offered(name)
        parameters = {}
        for setting in settings:
            key, equals, value = setting.partition("=")
            if not equals:
                raise UsageError(f"{text}: write {name}:PARAMETER=VALUE")
            parameters[key] = method.parameter(key).parse(value)
        return Choice(name, parameters)

    def with_parameters(self, choice: Choice, more: Mapping[str, Any]) -> Choice:
        """Set further parameters, which must be the method's."""
        self._offered(choice.name).with_defaults(more)
        return Choice(choice.name, {**choice.parameters, **more})

    def resolved(self, choice: Choice | str, facts: Mapping[str, Any]) -> Choice | None:
        """Choice with ``auto`` decided by what it takes of ``facts``; None for ``none``."""
        if isinstance(choice, str):
            choice = self.parse(choice)
        if self.auto is not None and self.is_left_open(choice):
            choice = Choice(self.auto.run(facts, **choice.parameters), choice.parameters)
        if self.none is not None and choice.name == self.none.name:
            return None
        return choice

    def run(self, choice: Choice | str, available: Mapping[str, Any]) -> Any:
        """Run what is chosen with those of the available inputs that it takes; None for none."""
        resolved = self.resolved(choice, available)
        if resolved is None:
            return None
        return self[resolved.name].run(available, **resolved.parameters)

    def is_left_open(self, choice: Choice) -> bool:
        """Whether the rule ``auto`` is to choose."""
        return self.auto is not None and choice.name == self.auto.name

    def min_echoes(self, choice: Choice) -> int:
        """Echoes that a scan must have."""
        return self._offered(choice.name).min_echoes

    def step(self, sentence: str, choice: Choice | str) -> tuple[str, str]:
        """Sentence of a methods text, with what describes the method in its gap, and reference."""
        method = self[(self.parse(choice) if isinstance(choice, str) else choice).name]
        return sentence.format(method.description), method.reference

    def _offered(self, name: str) -> Method:
        offered = self.offered
        if name not in offered:
            known = ", ".join(offered)
            raise UsageError(f"unknown {self.title} {name!r}; choose from: {known}")
        return offered[name]

    def __getitem__(self, name: str) -> Method:
        if name not in self._methods:
            known = ", ".join(self._methods)
            raise UsageError(f"unknown {self.title} {name!r}; choose from: {known}")
        return self._methods[name]

    def __contains__(self, name: object) -> bool:
        return name in self._methods

    def __iter__(self) -> Iterator[str]:
        return iter(self._methods)

    def __len__(self) -> int:
        return len(self._methods)


def _imported(target: str) -> Callable[..., Any]:
    module, name = target.split(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(f"{x:.12g}" for x in value) if isinstance(value, tuple) else str(value)
