import numpy as np
import pytest

from isdu_bids.phase.registry import UNWRAPPING
from isdu_bids.phase.romeo import voxel_quality
from isdu_bids.phase.wrapping import wrap

EXACT = {
    "romeo": {},
    "individual": {"multi_echo": "individual"},
    "best_path": {},
    "laplacian": {"exact": True},
}


def unwrap(name, scan, **changes):
    method = UNWRAPPING["romeo" if name == "individual" else name]
    inputs = {**scan.keywords, "phase_rad": wrap(scan.phase_rad - scan.offset_rad)}
    parameters = {**EXACT[name]}
    for key, value in changes.items():
        (inputs if key in inputs else parameters)[key] = value
    return method.run(inputs, **parameters)


@pytest.mark.parametrize("name", EXACT)
def test_unwrapped_is_congruent_and_zero_outside(scan, name):
    unwrapped = unwrap(name, scan)
    turns = (unwrapped + scan.offset_rad - scan.phase_rad)[:, scan.mask] / (2 * np.pi)
    np.testing.assert_allclose(turns, np.rint(turns), atol=1e-4)
    assert not unwrapped[:, ~scan.mask].any()


@pytest.mark.parametrize("name", ["romeo", "individual", "best_path"])
def test_turns_are_true(scan, name):
    error = (unwrap(name, scan) - scan.true_rad)[:, scan.mask]
    wrong = np.abs(error) > np.pi
    # True steps beyond pi between neighbours at the late echoes bound every spatial method.
    assert wrong[0].mean() < 1e-3
    assert wrong.mean() < (1e-3 if name == "romeo" else 0.02)


def test_laplacian_follows_the_field_without_being_exact(scan):
    smooth = unwrap("laplacian", scan, exact=False)[0][scan.mask]
    assert np.corrcoef(smooth, scan.true_rad[0][scan.mask])[0, 1] > 0.8


@pytest.mark.parametrize("name", EXACT)
def test_phase_without_wraps_comes_back(scan_maker, name):
    scan = scan_maker((0.0002,), noise=0, offset=False)
    unwrapped = unwrap(name, scan)
    np.testing.assert_allclose(unwrapped[:, scan.mask], scan.phase_rad[:, scan.mask], atol=2e-5)


@pytest.mark.parametrize("axes", [(1, 0, 2), (2, 1, 0), (0, 2, 1)])
def test_romeo_does_not_depend_on_the_order_of_axes(scan, axes):
    straight = unwrap("romeo", scan)
    phase = wrap(scan.phase_rad - scan.offset_rad)
    order = (0, *(axis + 1 for axis in axes))
    turned = UNWRAPPING["romeo"](
        phase.transpose(order),
        magnitude=scan.magnitude.transpose(order),
        mask=scan.mask.transpose(axes),
        echo_times_s=scan.echo_times_s,
    )
    back = turned.transpose(np.argsort(order))
    assert np.mean(np.abs(back - straight)[:, scan.mask] > 1) < 1e-3


def test_romeo_needs_no_magnitude(scan):
    error = (unwrap("romeo", scan, magnitude=None) - scan.true_rad)[:, scan.mask]
    assert np.mean(np.abs(error) > np.pi) < 5e-3


def test_islands_and_single_voxels_are_unwrapped_around_zero(scan_maker):
    scan = scan_maker((0.01,), offset=False, noise=0.005)
    mask = scan.mask.copy()
    mask[18:22] = False  # two islands
    mask[20, 20, 20] = True  # and a single voxel
    unwrapped = UNWRAPPING["romeo"].run(
        {**scan.keywords, "phase_rad": scan.phase_rad, "mask": mask}
    )
    for island in (
        mask & (np.arange(40) < 18)[:, None, None],
        mask & (np.arange(40) > 21)[:, None, None],
    ):
        assert abs(np.median(unwrapped[0][island])) <= np.pi + 0.1
        turns = np.rint((unwrapped[0] - scan.true_rad[0])[island] / (2 * np.pi))
        assert np.mean(turns != np.median(turns)) < 2e-3
    assert unwrapped[0, 20, 20, 20] == scan.phase_rad[0, 20, 20, 20]


def test_a_single_slice_is_unwrapped():
    x, y = np.meshgrid(np.arange(40), np.arange(30), indexing="ij")
    true = (0.02 * (x - 20.0) ** 2 + 0.01 * y**2)[None, :, :, None].astype(np.float32)
    mask = np.ones((40, 30, 1), bool)
    for name in ("romeo", "best_path"):
        unwrapped = UNWRAPPING[name](wrap(true), mask=mask, echo_times_s=(0.01,))
        np.testing.assert_allclose(unwrapped - true, (unwrapped - true).flat[0], atol=1e-4)


def test_an_empty_mask_gives_zeros(scan):
    unwrapped = unwrap("romeo", scan, mask=np.zeros_like(scan.mask))
    assert not unwrapped.any()


def test_late_echoes_follow_a_steep_field(scan_maker):
    # At 30 ms the field of the air sphere turns by more than half a turn from voxel to voxel.
    scan = scan_maker((0.003, 0.006, 0.030), offset=False)
    steps = np.abs(np.diff(scan.true_rad[2], axis=2))
    assert (steps[scan.mask[:, :, 1:] & scan.mask[:, :, :-1]] > np.pi).mean() > 0.01
    unwrapped = UNWRAPPING["romeo"].run({**scan.keywords, "phase_rad": scan.phase_rad})
    error = (unwrapped - scan.true_rad)[2][scan.mask]
    assert np.mean(np.abs(error) > np.pi) < 2e-3


def test_quality_tells_signal_from_noise(scan):
    quality = voxel_quality(scan.phase_rad, scan.magnitude, scan.echo_times_s)
    assert quality.min() >= 0
    assert quality.max() <= 1
    assert np.median(quality[scan.mask]) > 0.7
    assert np.median(quality[~scan.mask]) < 0.2
    alone = voxel_quality(scan.phase_rad[:1])
    assert np.median(alone[scan.mask]) > 2 * np.median(alone[~scan.mask])
