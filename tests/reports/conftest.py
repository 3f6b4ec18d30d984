from pathlib import Path

import numpy as np
import pytest

from isdu_bids.quality.maps import ScanMaps
from isdu_bids.reports.figures import draw_figures


@pytest.fixture(scope="session")
def head() -> ScanMaps:
    """An ellipsoid head on an RAS grid of 2 x 2 x 3 mm, brighter on the patient's right."""
    shape, echo_times_s = (36, 44, 24), (0.005, 0.015, 0.025)
    affine = np.array([[2.0, 0, 0, -36], [0, 2, 0, -44], [0, 0, 3, -36], [0, 0, 0, 1]])
    x, y, z = (np.linspace(-1, 1, n) for n in shape)
    x, y, z = x[:, None, None], y[:, None], z
    radius = np.sqrt((x / 0.7) ** 2 + (y / 0.8) ** 2 + (z / 0.75) ** 2)
    brain, eroded = radius < 1, radius < 0.85
    field = 0.3 * (x * y + z**2) * np.ones(shape)
    chi = np.random.default_rng(0).normal(0, 0.03, shape) * eroded
    unwrapped = np.array([2 * np.pi * 127.7 * te * field for te in echo_times_s])
    return ScanMaps(
        magnitude=np.array([(1 + 0.5 * (x > 0)) * brain * np.exp(-30 * te) for te in echo_times_s]),
        brain_mask=brain,
        eroded_mask=eroded,
        phase=np.angle(np.exp(1j * unwrapped)),
        unwrapped=unwrapped * brain,
        total_field_ppm=field * brain,
        local_field_ppm=chi / 3,
        quality=brain * 0.8,
        chi_ppm=chi,
        affine=affine,
        b0_direction=(0.0, 0.0, 1.0),
        field_strength_t=3.0,
        echo_times_s=echo_times_s,
    )


@pytest.fixture(scope="session")
def drawn(head, tmp_path_factory) -> list[Path]:
    """All figures of the head."""
    return draw_figures(head, tmp_path_factory.mktemp("drawn") / "figures", "sub-01")
