"""What the command lines share: the parser, types of arguments, and the choice of methods."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import NoReturn

from isdu_bids.background.registry import BACKGROUND
from isdu_bids.errors import UsageError
from isdu_bids.inversion.registry import INVERSION, REFERENCE
from isdu_bids.masking.registry import MASKS
from isdu_bids.phase.registry import COMBINATION, OFFSET, RELAXATION, UNWRAPPING
from isdu_bids.registry import Choice, Parameter, Registry
from isdu_bids.segmentation.registry import SEGMENTATION

#: Option of ``isdu-bids`` -> what it chooses from, in the order of the corridor.
METHODS = {
    "mask": MASKS,
    "offset": OFFSET,
    "unwrapping": UNWRAPPING,
    "combination": COMBINATION,
    "background": BACKGROUND,
    "relaxation": RELAXATION,
    "inversion": INVERSION,
    "reference": REFERENCE,
    "segmentation": SEGMENTATION,
}


class Parser(argparse.ArgumentParser):
    """Parser whose errors are `UsageError`, exit code 64."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting with argparse's own code 2."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def add_method(group: argparse._ActionsContainer, option: str, registry: Registry) -> None:
    """Add the option that chooses a method, and those of its parameters that have their own."""
    offered = registry.offered
    lines = "; ".join(f"{name}: {method.description}" for name, method in offered.items())
    group.add_argument(
        option,
        type=registry.parse,
        default=registry.default,
        metavar="NAME[:PARAMETER=VALUE]",
        help=f"{lines} (default: {registry.default})".replace("%", "%%"),
    )
    for parameter, methods in _own_options(registry):
        default = "" if parameter.default is None else f"; default: {parameter.default}"
        group.add_argument(
            parameter.option,
            type=parameter.parse,
            metavar="|".join(parameter.choices) or "VALUE",
            help=f"{parameter.help} (for {option} {methods}{default})",
        )


def chosen(options: argparse.Namespace, option: str, registry: Registry) -> Choice:
    """Join a method with the parameters that were given by options of their own.

    Raises
    ------
    UsageError
        If the method does not have one of them.
    """
    choice: Choice = getattr(options, _destination(option))
    for parameter, methods in _own_options(registry):
        destination = _destination(parameter.option)
        value = getattr(options, destination)
        setattr(options, destination, None)  # it is a part of the choice now
        if value is None:
            continue
        if choice.name not in methods.split(", "):
            raise UsageError(
                f"{parameter.option} is for {option} {methods}, not {choice.name}; drop one of them"
            )
        choice = registry.with_parameters(choice, {parameter.name: value})
    return choice


def positive(text: str) -> int:
    """Whole number of one or more, as an argument type."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive whole number")
    return int(text)


def device_name(text: str) -> str:
    """Check a device name."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is none of auto, cpu, cuda, cuda:N")
    return text


def _own_options(registry: Registry) -> Iterator[tuple[Parameter, str]]:
    """Parameters with options of their own, each once, and the methods that have them."""
    found: dict[str, tuple[Parameter, list[str]]] = {}
    for method in registry.offered.values():
        for parameter in method.parameters:
            if parameter.option:
                found.setdefault(parameter.option, (parameter, []))[1].append(method.name)
    return ((parameter, ", ".join(methods)) for parameter, methods in found.values())


def _destination(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")
