"""A whole simulated scan: susceptibility, fields and the multi-echo gradient-echo signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import torch

from isdu_bids.physics.decay import typical_r2star_per_s
from isdu_bids.physics.dipole import forward_field
from isdu_bids.simulation.random_fields import smooth_field
from isdu_bids.simulation.sampling import partial_volume
from isdu_bids.simulation.susceptibility import brain_mask, draw_susceptibility
from isdu_bids.simulation.tissues import (
    BRAIN,
    GREY_MATTER_SIGNAL,
    HEAD,
    R2STAR_PER_PPM,
    SIGNALS,
    Signal,
)
from isdu_bids.units import hz_per_ppm


@dataclass(frozen=True)
class SimulatedScan:
    """Signal and truth; volumes are float32 ``(x, y, z)``, stacks ``(echo, x, y, z)``.

    Attributes
    ----------
    magnitude, phase_rad
        Of every echo; the phase is wrapped to [-pi, pi].
    chi_ppm
        Susceptibility inside the brain, demeaned, zero outside.
    total_field_ppm, local_field_ppm
        Field of everything (with shim), and of the brain's own sources.
    brain_mask
        Intracranial voxels.
    """

    magnitude: torch.Tensor
    phase_rad: torch.Tensor
    chi_ppm: torch.Tensor
    total_field_ppm: torch.Tensor
    local_field_ppm: torch.Tensor
    brain_mask: torch.Tensor


def simulate_scan(
    labels: torch.Tensor,
    generator: torch.Generator,
    *,
    voxel_size_mm: Sequence[float],
    b0_direction: Sequence[float],
    echo_times_s: Sequence[float],
    field_strength_t: float = 3.0,
    snr: float = 80.0,
) -> SimulatedScan:
    """Simulate a gradient-echo scan of a labelled head.

    ``S(TE) = M0 exp(-R2* TE) exp(i (phi_0 + 2 pi f TE)) + noise`` with the field f of the whole
    head, air and bone included; the shim removes its first-order part over the brain, and steep
    fields dephase the voxel.

    Parameters
    ----------
    labels
        FreeSurfer-style integer labels ``(x, y, z)``.
    generator
        Source of every random number.
    voxel_size_mm, b0_direction, echo_times_s, field_strength_t
        The acquisition.
    snr
        Of grey matter at echo time zero.
    """
    brain = brain_mask(labels)
    inside = draw_susceptibility(labels, voxel_size_mm, generator)
    inside = torch.where(brain, inside - inside[brain].mean(), 0.0)
    outside = head_susceptibility(labels) * ~brain
    # air and bone are a hundred times stronger than tissue: theirs is the ringing to avoid
    inside, outside = partial_volume(inside, 0.1), partial_volume(outside, 0.25)
    local = forward_field(inside, voxel_size_mm, b0_direction)
    # relative to air, so that the space around the volume is air too
    background = forward_field(outside - outside[0, 0, 0], voxel_size_mm, b0_direction)
    total = shimmed(local + background, brain)
    frequency_hz = total * hz_per_ppm(field_strength_t)

    density, r2star = signal_maps(labels, inside)
    r2star = r2star * (typical_r2star_per_s(field_strength_t) / typical_r2star_per_s(3.0))
    r2star = r2star + 0.25 * _steepness(frequency_hz)
    receive = torch.exp(0.3 * smooth_field(labels.shape, voxel_size_mm, 90.0, generator))
    offset_rad = 1.5 * smooth_field(labels.shape, voxel_size_mm, 70.0, generator)
    echoes = []
    for time_s in echo_times_s:
        size = density * receive * torch.exp(-r2star * time_s)
        clean = torch.polar(size, offset_rad + 2 * pi * frequency_hz * time_s)
        noise = torch.complex(
            *torch.randn((2, *labels.shape), generator=generator) * GREY_MATTER_SIGNAL.density / snr
        )
        echoes.append(clean + noise)
    signal = torch.stack(echoes)
    return SimulatedScan(1000 * signal.abs(), signal.angle(), inside, total, local, brain)


def head_susceptibility(labels: torch.Tensor) -> torch.Tensor:
    """Susceptibility (ppm) of all that is not brain: air, bone, fat, muscle."""
    chi = torch.zeros(labels.shape)
    for tissue in HEAD:
        where = torch.isin(labels, torch.tensor(tissue.labels, dtype=labels.dtype))
        chi[where] = tissue.chi_mean_ppm
    return chi


def shimmed(field: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
    """Field less its best constant and linear part over the brain."""
    grids = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in field.shape), indexing="ij")
    basis = torch.stack([torch.ones_like(field), *grids], dim=-1)
    weights = torch.linalg.lstsq(basis[brain].double(), field[brain].double()[:, None]).solution
    return field - (basis @ weights.float())[..., 0]


def signal_maps(labels: torch.Tensor, chi_ppm: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Signal at echo time zero, and R2* at 3 T (1/s), which grows with the susceptibility."""
    density, r2star = torch.zeros(labels.shape), torch.zeros(labels.shape)
    for tissue in (*BRAIN, *HEAD):
        signal: Signal = SIGNALS.get(tissue.name, GREY_MATTER_SIGNAL)
        where = torch.isin(labels, torch.tensor(tissue.labels, dtype=labels.dtype))
        density[where], r2star[where] = signal.density, signal.r2star_per_s
    return density, r2star + R2STAR_PER_PPM * chi_ppm.abs()


def _steepness(frequency_hz: torch.Tensor) -> torch.Tensor:
    """Largest frequency step to a neighbour (Hz): what dephases a voxel."""
    steps = [torch.gradient(frequency_hz, dim=axis)[0].abs() for axis in range(3)]
    return torch.stack(steps).amax(0)
