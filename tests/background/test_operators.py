"""Operators that least squares rest on: every class with an adjoint in the package."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import pytest
import torch
from properties import ball, check_adjoint, check_linear

import isdu_bids.background
from isdu_bids.background.jdf import Sources
from isdu_bids.background.pdf import DipolesOutside
from isdu_bids.background.resharp import Remainder
from isdu_bids.physics.conjugate_gradients import Operator, least_squares
from isdu_bids.physics.dipole import dipole_kernel
from isdu_bids.physics.sphere import kernel_spectrum, sphere

SHAPE, SIZE, B0 = (16, 18, 20), (1.0, 1.2, 1.5), (0.36, 0.48, 0.8)
MASK = ball(SHAPE, 6).float()
KERNEL = dipole_kernel(SHAPE, SIZE, B0, dc_value=1 / 3)
HIGH_PASS = 1 - kernel_spectrum(sphere(SIZE, 3.0), SHAPE)

#: Operator and the shape of its input; fields are (x, y, z).
OPERATORS = {
    DipolesOutside: (DipolesOutside(KERNEL, 1 - MASK), SHAPE),
    Remainder: (Remainder(HIGH_PASS, MASK), SHAPE),
    Sources: (Sources(KERNEL, 1 / (1 + HIGH_PASS), 0.5 * (1 - MASK)), (2, *SHAPE)),
}
EACH = pytest.mark.parametrize("kind", OPERATORS)


def test_every_operator_is_tested():
    package = isdu_bids.background
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    modules = [import_module(f"{package.__name__}.{name}") for name in names]
    objects = [thing for module in modules for thing in vars(module).values()]
    classes = {thing for thing in objects if isinstance(thing, type) and hasattr(thing, "adjoint")}
    assert classes - {Operator} == set(OPERATORS)


@EACH
def test_adjoint(kind, generator):
    operator, shape = OPERATORS[kind]
    x, y = torch.randn(shape, generator=generator), torch.randn(SHAPE, generator=generator)
    check_adjoint(operator.forward, operator.adjoint, x, y, 1e-6)


@EACH
def test_linear(kind, generator):
    operator, shape = OPERATORS[kind]
    check_linear(operator.forward, *torch.randn((2, *shape), generator=generator), 1e-5)


@EACH
def test_least_squares_solve_their_normal_equations(kind, generator):
    operator, _ = OPERATORS[kind]
    data, weight = torch.rand((2, *SHAPE), generator=generator)
    x = least_squares(operator, data, weight=weight, damping=0.1, tolerance=1e-6, iterations=200)
    gradient = operator.adjoint(weight * (operator.forward(x) - data)) + 0.1 * x
    assert gradient.norm() < 1e-5 * operator.adjoint(weight * data).norm()


def test_the_field_of_both_sources_is_the_sum_of_their_fields(generator):
    sources, shape = OPERATORS[Sources]
    white = torch.randn(shape, generator=generator)
    total = sources.field_of_tissue(white) + sources.field_of_outside(white)
    assert torch.allclose(total, sources.forward(white), atol=1e-5)
