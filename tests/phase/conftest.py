"""A small head with known field: an air sphere under an ellipsoid of tissue."""

from dataclasses import dataclass

import numpy as np
import pytest

from isdu_bids.phase.wrapping import wrap

SIZE_MM = (2.0, 2.0, 2.0)


@dataclass(frozen=True)
class Scan:
    phase_rad: np.ndarray
    magnitude: np.ndarray
    echo_times_s: tuple[float, ...]
    mask: np.ndarray
    field_hz: np.ndarray
    offset_rad: np.ndarray
    true_rad: np.ndarray

    @property
    def given(self):
        return self.phase_rad, self.magnitude, self.echo_times_s, self.mask, SIZE_MM

    @property
    def keywords(self):
        return {
            "magnitude": self.magnitude,
            "mask": self.mask,
            "echo_times_s": self.echo_times_s,
            "voxel_size_mm": SIZE_MM,
        }


def make_scan(
    echo_times_s=(0.004, 0.009, 0.014, 0.019),
    *,
    shape=(40, 44, 36),
    noise=0.01,
    offset=True,
    bipolar_rad=0.0,
):
    """Field of an air sphere (analytic dipole outside it) and a linear shim, with T2* decay."""
    generator = np.random.default_rng(0)
    axes = [(np.arange(n) - n / 2) * size for n, size in zip(shape, SIZE_MM, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    mask = (x / 32) ** 2 + (y / 36) ** 2 + (z / 30) ** 2 < 1
    radius = 10.0
    distance = np.maximum(np.sqrt(x**2 + (y - 8) ** 2 + (z + 34) ** 2), radius / 2)
    dipole = (radius / distance) ** 3 * (3 * ((z + 34) / distance) ** 2 - 1)
    field_hz = np.where(distance > radius, 9.4 / 3 * 127.7 * dipole, 0) + 0.4 * x - 0.2 * y
    mask &= distance > radius + 4
    offset_rad = 1.0 + 0.5 * (x / 40) - 0.8 * (y / 40) ** 2 if offset else np.zeros(shape)
    times = np.array(echo_times_s)[:, None, None, None]
    true = 2 * np.pi * field_hz * times
    turns = (
        bipolar_rad
        * (1 + 0.3 * x / 40)
        * np.where(np.arange(len(times)) % 2, -1, 1)[:, None, None, None]
    )
    signal = mask * np.exp(-times / 0.04 + 1j * (true + offset_rad + turns))
    signal = signal + noise * generator.standard_normal(signal.shape)
    signal = signal + 1j * noise * generator.standard_normal(signal.shape)
    return Scan(
        wrap(np.angle(signal)),
        np.abs(signal).astype(np.float32),
        tuple(echo_times_s),
        mask,
        field_hz.astype(np.float32),
        offset_rad.astype(np.float32),
        true.astype(np.float32),
    )


@pytest.fixture(scope="session")
def scan():
    return make_scan()


@pytest.fixture(scope="session")
def scan_maker():
    return make_scan
