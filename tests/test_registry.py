"""The contract of every method of every registry: what it declares is what its function takes."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from inspect import Parameter as Argument
from inspect import signature
from pathlib import Path

import pytest

import isdu_bids
from isdu_bids.background.registry import BACKGROUND
from isdu_bids.cli.arguments import METHODS
from isdu_bids.errors import DataError, UsageError
from isdu_bids.evaluation.registry import FAMILIES
from isdu_bids.inversion.registry import INVERSION, SCALARS, VOLUMES
from isdu_bids.registry import Choice, Method, Parameter, Registry

ALL = [
    pytest.param(method, id=f"{registry.title}-{method.name}")
    for registry in (*METHODS.values(), FAMILIES)
    for method in (*([registry.auto] if registry.auto else []), *registry.values())
]


@pytest.mark.parametrize("method", ALL)
def test_the_function_takes_what_the_method_declares(method):
    """Inputs and parameters have no default: it is in the registry; others are internal."""
    arguments = signature(method.function).parameters
    declared = [*method.inputs, *(parameter.name for parameter in method.parameters)]
    assert len({*declared, *method.optional}) == len(declared) + len(method.optional)
    for name in declared:
        assert name in arguments, name
    for name, argument in arguments.items():
        if name in declared:
            assert argument.default is Argument.empty, name
        else:
            assert argument.default is not Argument.empty, name
    assert set(method.optional) <= set(arguments)


@pytest.mark.parametrize("method", ALL)
def test_a_method_says_what_it_is(method):
    assert method.description
    assert not method.description.endswith(".")
    assert method.reference or method.name == "auto"
    for parameter in method.parameters:
        assert parameter.help
        assert parameter.check(parameter.default) == parameter.default
        if parameter.default is None:
            assert parameter.kind is not None
        else:
            text = str(parameter).removesuffix(parameter.unit).strip().partition("=")[2]
            assert parameter.parse(text) == parameter.default


@pytest.mark.parametrize("method", ALL)
def test_hooks_are_there(method):
    for target in filter(None, (method.locate, method.prepare)):
        module, name = target.split(":")
        assert find_spec(module)
        assert f"def {name}(" in Path(find_spec(module).origin).read_text()


@pytest.mark.parametrize("method", INVERSION.values(), ids=lambda method: method.name)
def test_inversions_ask_only_for_what_there_is(method):
    known = {*VOLUMES, *SCALARS}
    assert {*method.inputs, *method.optional} <= known
    assert {"mask"} < set(method.inputs)
    assert len(method.takes(("field_ppm", "total_field_ppm"))) == 1


def test_no_module_branches_on_the_name_of_a_method():
    """Comparing with the name of a method is what the contract is there to spare."""
    names = {name for registry in METHODS.values() for name in registry}
    names -= {"magnitude", "quality"}  # maps are called so, too
    found = []
    for path in Path(isdu_bids.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Compare):
                continue
            sides = [*node.comparators]
            if isinstance(node.ops[0], ast.Eq | ast.NotEq):
                sides.append(node.left)  # what is looked for in a file name is no choice
            compared = {part.value for side in sides for part in _constants(side)}
            if compared & names:
                found.append(f"{path.name}:{node.lineno}: {compared & names}")
    assert not found


def _constants(side):
    parts = side.elts if isinstance(side, ast.Tuple | ast.List | ast.Set) else [side]
    return [p for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str)]


def double(field, scale, offset=0.0):
    return scale * field + offset


METHOD = Method(
    "double",
    f"{__name__}:double",
    "doubling",
    "",
    inputs=("field",),
    optional=("offset",),
    parameters=(Parameter("scale", 2.0, "factor", minimum=0),),
)


def test_a_method_gets_its_inputs_and_defaults_and_nothing_else():
    assert METHOD.run({"field": 3.0, "unrelated": 7}) == 6
    assert METHOD.run({"field": 3.0, "offset": 1.0}, scale=1.0) == 4
    assert METHOD(3.0, scale=3.0) == 9
    with pytest.raises(DataError, match="'double' needs field"):
        METHOD.run({"offset": 1.0})


def test_a_choice_survives_being_written():
    choice = BACKGROUND.parse("vsharp:radii_mm=8,4.5,2:threshold=0.1")
    assert choice == Choice("vsharp", {"radii_mm": (8.0, 4.5, 2.0), "threshold": 0.1})
    assert BACKGROUND.parse(str(choice)) == choice


def test_rules_and_none_are_choices_but_no_methods():
    rule = Method("auto", f"{__name__}:rule", "by size", "", inputs=("size",))
    registry = Registry("thing", METHOD, default="auto", auto=rule, none="nothing is done")
    assert list(registry.offered) == ["auto", "double", "none"]
    assert list(registry) == ["double"]
    assert registry.resolved("auto", {"size": 5}) == Choice("double")
    assert registry.resolved("auto", {"size": 0}) is None
    assert registry.run("none", {"field": 1.0}) is None
    with pytest.raises(UsageError, match="choose from: auto, double, none"):
        registry.parse("triple")


def rule(size):
    return "double" if size else "none"
