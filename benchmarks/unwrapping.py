"""Unwrapping on the hard phantom: ours beside scikit-image's, in one run.

    python benchmarks/unwrapping.py [--size 160] [--methods romeo best_path]

Prints per method the share of voxels with a wrong number of turns, the processor time (one thread,
best of some runs, compiled before) and the peak memory of its own process; then the ratios, and the
time of ROMEO on four echoes over that on one.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from isdu_bids.phase.registry import UNWRAPPING

GYROMAGNETIC_HZ_PER_PPM = 42.576 * 3
SPHERES = (((0, 60, -45), 14), ((40, -10, -58), 9), ((-40, -10, -58), 9))  # centre, radius (mm)
AIR_PPM = 9.4
ONE_ECHO_S = (0.025,)
FOUR_ECHOES_S = (0.007, 0.013, 0.019, 0.025)


def hard_phantom(size=160, echo_times_s=ONE_ECHO_S):
    """Three air spheres near the rim of an ellipsoid, at ``size`` voxels of 160/``size`` mm.

    Returns
    -------
    phase_rad, magnitude
        Wrapped and noisy, shape ``(echo, x, y, z)``.
    mask
        Ellipsoid without the voxels beyond 3 ppm.
    true_rad
        Phase before wrapping.
    """
    generator = np.random.default_rng(0)
    axis = (np.arange(size) - size // 2) * (160 / size)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    field_ppm = 0.15 * z / 160 + 1.0 * (x / 160) ** 2
    for (cx, cy, cz), radius in SPHERES:
        distance2 = (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2
        outside = distance2 > radius**2
        distance2 = np.where(outside, distance2, 1)
        dipole = AIR_PPM / 3 * radius**3 / distance2**1.5 * (3 * (z - cz) ** 2 / distance2 - 1)
        field_ppm = field_ppm + outside * dipole
    mask = (x / 62) ** 2 + (y / 72) ** 2 + (z / 60) ** 2 <= 1
    mask &= np.abs(field_ppm) < 3
    field_hz = GYROMAGNETIC_HZ_PER_PPM * field_ppm
    true, phase, magnitude = (np.empty((len(echo_times_s), *mask.shape), np.float32) for _ in "123")
    for echo, echo_time in enumerate(echo_times_s):
        true[echo] = 2 * np.pi * field_hz * echo_time
        signal = mask * np.exp(-echo_time * (20 + 0.25 * np.abs(field_hz)) + 1j * true[echo])
        signal += 0.03 * generator.standard_normal(mask.shape)
        signal += 0.03j * generator.standard_normal(mask.shape)
        phase[echo], magnitude[echo] = np.angle(signal), np.abs(signal)
    return phase, magnitude, mask, true


def wrong_turns(unwrapped, phase, true, mask):
    """Share of voxels in the mask whose number of turns is wrong (last echo)."""
    wrapped_true = np.rint((true - phase)[-1][mask] / (2 * np.pi))
    turns = np.rint((unwrapped - phase)[-1][mask] / (2 * np.pi)) - wrapped_true
    return float(np.mean(turns != np.median(turns)))


def measure(method, size, echo_times_s, repeats=5):
    """Score, best time and added peak memory of one method; to be run in a process of its own."""
    phase, magnitude, mask, true = hard_phantom(size, echo_times_s)
    scan = {
        "phase_rad": phase,
        "magnitude": magnitude,
        "mask": mask,
        "echo_times_s": echo_times_s,
        "voxel_size_mm": (160 / size,) * 3,
    }
    corner = (slice(None), *(slice(size // 2 - 8, size // 2 + 8),) * 3)
    part = {"phase_rad": phase[corner], "magnitude": magnitude[corner], "mask": mask[corner[1:]]}
    UNWRAPPING[method].run({**scan, **part})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        unwrapped = UNWRAPPING[method].run(scan)
        seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "wrong_percent": 100 * wrong_turns(unwrapped, phase, true, mask),
        "seconds": min(seconds),
        "peak_gb": peak / 2**20,
        "added_gb": (peak - before) / 2**20,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--methods", nargs="+", default=["romeo", "best_path"])
    parser.add_argument("--single", nargs=2, metavar=("METHOD", "ECHOES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.single:
        times = ONE_ECHO_S if options.single[1] == "1" else FOUR_ECHOES_S
        print(json.dumps(measure(options.single[0], options.size, times)))
        return
    results = {}
    runs = [(method, "1") for method in options.methods] + [("romeo", "4")]
    for method, echoes in runs:
        command = [
            sys.executable,
            __file__,
            "--size",
            str(options.size),
            "--single",
            method,
            echoes,
        ]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        results[method, echoes] = measured = json.loads(answer)
        print(
            f"{method:10} {echoes} echo(es): {measured['wrong_percent']:.3f} % wrong, "
            f"{measured['seconds']:.2f} s CPU, peak {measured['peak_gb']:.2f} GB "
            f"(+{measured['added_gb']:.2f} GB)",
            flush=True,
        )
    romeo, four = results["romeo", "1"], results["romeo", "4"]
    for method in options.methods:
        if method != "romeo":
            ratio = results[method, "1"]["seconds"] / romeo["seconds"]
            print(f"romeo is {ratio:.1f} times as fast as {method}")
    print(f"four echoes take {four['seconds'] / romeo['seconds']:.2f} times as long as one")


if __name__ == "__main__":
    main()
