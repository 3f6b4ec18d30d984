"""ISDU-QSMNet: K iteration-specific denoisers, each followed by dipole data consistency.

``chi_0 = D y``; then for k = 1..K

``z_k = denoise_k(mask chi_{k-1})``
``chi_k = mask argmin_x ||D x - y||^2 + lambda_k ||x - z_k||^2``

The data-consistency step is diagonal in k-space, hence a closed form (`physics.dipole`), where the
published code iterates conjugate gradients.

With ``noise_input``, every denoiser also sees ``log(sd / 0.003 ppm)`` of the field's standard
deviation inside the mask, and ``lambda_k = exp(l_k) (level / 0.003 ppm)^p_k`` follows its root mean
square: one network is sharp on clean fields and firm on noisy ones.

With ``known_field``, what the mask hides of ``y`` is not taken for zero but for the field of the
proposal, ``y_k = mask y + (1 - mask) D z_k``: the step of a majorisation of ``||mask (D x - y)||^2
+ lambda_k ||x - z_k||^2`` at ``x = z_k``, still in closed form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from isdu_bids.errors import UsageError
from isdu_bids.networks.denoisers import build_denoiser
from isdu_bids.physics.dipole import convolve, data_consistency, from_spectrum, spectrum

Denoise = Callable[[int, torch.Tensor], torch.Tensor]

#: Noise at which the lambdas are what is learned for them, and the least that a network is told.
REFERENCE_SD_PPM, LEAST_SD_PPM = 0.003, 0.0003


@dataclass(frozen=True)
class Architecture:
    """What, beside the weights, defines an ISDU-QSMNet.

    Attributes
    ----------
    iterations
        K, the number of denoise / data-consistency pairs.
    shared
        Whether all iterations use one denoiser and one lambda (the ablation of the paper).
    denoiser
        Kind, a name from `denoisers.DENOISERS`.
    depth
        Of each `WideResNet`; K numbers, one per iteration, give a network whose denoisers become
        shallower (or deeper) as the iterations go on.
    features
        Width of the first level of any kind; by default that of the paper.
    blocks
        Residual blocks of each `MultiScale`, by level; by default those of the class.
    channels
        2: chi and a scratch channel that the data do not constrain; 1: chi only.
    noise_input
        Whether the field's standard deviation is an input: every denoiser sees its map, and every
        lambda follows its level.
    solve_first
        Whether the first denoiser starts from the least-squares solution
        ``argmin_x ||D x - y||^2 + lambda_0 ||x||^2`` instead of ``D y``.
    masked_prior
        Whether what a denoiser proposes outside the mask is replaced by zero.
    known_field
        Whether the data count only where the field is known, inside the mask, instead of as zero
        around it.
    chi_mean_ppm, chi_std_ppm
        Normalisation around each denoiser, from the training labels.
    dc_value
        Dipole kernel at k = 0 in training.
    dropout
        In training only.
    """

    iterations: int = 4
    shared: bool = False
    denoiser: str = "wideresnet"
    depth: int | tuple[int, ...] | None = None
    features: int | None = None
    blocks: tuple[int, ...] | None = None
    channels: int = 2
    noise_input: bool = False
    solve_first: bool = False
    masked_prior: bool = False
    known_field: bool = False
    chi_mean_ppm: float = 0.0
    chi_std_ppm: float = 0.03
    dc_value: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.blocks is not None:  # lists in TOML and in weights files
            object.__setattr__(self, "blocks", tuple(self.blocks))
        if isinstance(self.depth, Sequence):
            object.__setattr__(self, "depth", tuple(self.depth))
            if self.shared or len(self.depth) != self.iterations:
                raise UsageError(
                    f"depth lists {len(self.depth)} numbers; it takes one for each of the "
                    f"{self.iterations} iterations, which must not share their weights"
                )

    @property
    def copies(self) -> int:
        """Number of denoisers."""
        return 1 if self.shared else self.iterations

    def build_denoiser(self, index: int) -> nn.Module:
        """Untrained denoiser of an iteration."""
        depth = self.depth[index] if isinstance(self.depth, tuple) else self.depth
        options: dict[str, Any] = {
            "depth": depth,
            "features": self.features,
            "blocks": self.blocks,
            "dropout": self.dropout,
            "inputs": self.channels + 1 if self.noise_input else None,
        }
        given = {name: value for name, value in options.items() if value}
        return build_denoiser(self.denoiser, self.channels, **given)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as written into a weights file."""
        return asdict(self)


@dataclass(frozen=True)
class Iterate:
    """One iteration: what the denoiser proposed and what the data made of it (ppm).

    ``weight`` is that of the proposal against the data, lambda_k at the noise of each field.
    """

    denoised: torch.Tensor
    consistent: torch.Tensor
    weight: torch.Tensor


class ISDUQSMNet(nn.Module):
    """Unrolled susceptibility network.

    Examples
    --------
    >>> net = ISDUQSMNet(Architecture(iterations=4))
    >>> sum(p.numel() for p in net.parameters())
    1788932

    References
    ----------
    Vaddadi, Mathew & Yalavarthy 2025, NMR in Biomedicine.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        copies = architecture.copies
        self.denoisers = nn.ModuleList(architecture.build_denoiser(k) for k in range(copies))
        # lambda stays positive and trains on its own scale
        self.log_lambdas = nn.Parameter(torch.full((copies,), 0.15).log())
        if architecture.solve_first:
            self.log_lambda_0 = nn.Parameter(torch.tensor(0.05).log())
        if architecture.noise_input:
            self.noise_powers = nn.Parameter(torch.full((copies,), 0.75))

    @property
    def lambdas(self) -> torch.Tensor:
        """Weight of each denoiser's proposal against the data, at the reference noise."""
        return self.log_lambdas.exp()

    def iterate(
        self,
        field_ppm: torch.Tensor,
        mask: torch.Tensor,
        kernel: torch.Tensor,
        field_sd_ppm: torch.Tensor | None = None,
        denoise: Denoise | None = None,
    ) -> Iterator[Iterate]:
        """Run the K iterations one by one.

        Parameters
        ----------
        field_ppm, mask, kernel, field_sd_ppm
            As for `forward`.
        denoise
            Stands in for the denoisers: takes the iteration's index of the denoiser and its input,
            returns the normalised chi and scratch.
        """
        net = self.architecture
        noise = self._noise(field_sd_ppm, mask)
        projected_k = kernel * spectrum(field_ppm)
        first = projected_k
        if net.solve_first:
            first = projected_k / (kernel**2 + self.log_lambda_0.exp() * noise.powers(0.75))
        state = _with_scratch(from_spectrum(first, field_ppm.shape[-3:]), net.channels) * mask
        projected_k = _with_scratch(projected_k, net.channels)
        for k in range(net.iterations):
            index = 0 if net.shared else k
            seen = (state - net.chi_mean_ppm) / net.chi_std_ppm
            if net.noise_input:
                seen = torch.cat([seen, noise.log_map], dim=1)
            proposal = denoise(index, seen) if denoise else self.denoisers[index](seen)
            denoised = proposal * net.chi_std_ppm + net.chi_mean_ppm
            if net.masked_prior:
                denoised = denoised * mask
            weight = self.lambdas[index]
            if net.noise_input:
                weight = weight * noise.powers(self.noise_powers[index])
            # FFTs stay in float32 under autocast: half precision loses the small local field
            denoised = denoised.float()
            if net.known_field:
                filled = _filled(field_ppm, mask, denoised[:, :1], kernel)
                projected_k = _with_scratch(kernel * spectrum(filled), net.channels)
            state = data_consistency(projected_k, denoised, kernel, weight) * mask
            yield Iterate(denoised, state, weight)

    def forward(
        self,
        field_ppm: torch.Tensor,
        mask: torch.Tensor,
        kernel: torch.Tensor,
        field_sd_ppm: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Susceptibility of a local field.

        Parameters
        ----------
        field_ppm
            Local field in ppm, ``(batch, 1, x, y, z)``, zero outside the mask.
        mask
            1 inside, 0 outside, same shape.
        kernel
            Half-spectrum dipole kernel, ``(x, y, z//2+1)`` or one per sample ``(batch, 1, ...)``.
        field_sd_ppm
            Standard deviation of the field in ppm, same shape as it; needed with ``noise_input``.

        Returns
        -------
        torch.Tensor
            chi in ppm, ``(batch, 1, x, y, z)``, zero outside the mask.
        """
        *_, last = self.iterate(field_ppm, mask, kernel, field_sd_ppm)
        return last.consistent[:, :1]

    def _noise(self, field_sd_ppm: torch.Tensor | None, mask: torch.Tensor) -> Noise:
        if not self.architecture.noise_input:
            return Noise(mask, mask.new_ones(()))
        if field_sd_ppm is None:
            raise UsageError("this network needs the field's standard deviation (field_sd_ppm)")
        return Noise.of(field_sd_ppm, mask)


@dataclass(frozen=True)
class Noise:
    """The field's standard deviation as networks are told it, relative to the reference.

    Attributes
    ----------
    log_map
        Its logarithm, ``(batch, 1, x, y, z)``, zero outside the mask.
    level
        Its root mean square inside the mask, ``(batch, 1, 1, 1, 1)``.
    """

    log_map: torch.Tensor
    level: torch.Tensor

    @classmethod
    def of(cls, field_sd_ppm: torch.Tensor, mask: torch.Tensor) -> Noise:
        """Noise of standard deviations in ppm, of the shape of the mask."""
        relative = field_sd_ppm.clamp(min=LEAST_SD_PPM) / REFERENCE_SD_PPM
        axes = (-3, -2, -1)
        inside = mask.sum(axes, keepdim=True).clamp(min=1)
        level = ((relative**2 * mask).sum(axes, keepdim=True) / inside).sqrt()
        return cls(relative.log() * mask, level.clamp(min=LEAST_SD_PPM / REFERENCE_SD_PPM))

    def powers(self, exponent: torch.Tensor | float) -> torch.Tensor:
        """Level to some power."""
        return self.level**exponent


def _filled(
    field_ppm: torch.Tensor, mask: torch.Tensor, chi_ppm: torch.Tensor, kernel: torch.Tensor
) -> torch.Tensor:
    """Field inside the mask, and what a susceptibility would make of it outside."""
    return field_ppm * mask + convolve(chi_ppm, kernel) * (1 - mask)


def _with_scratch(volume: torch.Tensor, channels: int) -> torch.Tensor:
    """Append zero channels to ``(batch, 1, x, y, z)``."""
    if channels == 1:
        return volume
    batch, _, *shape = volume.shape
    return torch.cat([volume, volume.new_zeros(batch, channels - 1, *shape)], dim=1)
