"""Brain surface: a sphere inflated inside the head until the image falls off below it.

Follows the published equations of the Brain Extraction Tool: every vertex moves to even out the
mesh, to keep the surface smooth, and outwards while the darkest tissue just below it is bright
compared with the brightest; at CSF or skull it is not.

References
----------
Smith 2002, doi:10.1002/hbm.10062.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from isdu_bids.errors import DataError

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]

#: Radii of curvature (mm) between which the surface goes from stiff to free.
_STIFF_MM, _FREE_MM = 3.33, 10.0
#: How deep below a vertex the image is searched for its darkest and brightest value (mm).
_DARK_DEPTH_MM, _BRIGHT_DEPTH_MM = 20.0, 10.0


def brain_surface_mask(
    image: FloatArray,
    voxel_size_mm: Sequence[float],
    *,
    fraction: float = 0.6,
    iterations: int = 300,
) -> BoolArray:
    """Inside of the inflated surface.

    Parameters
    ----------
    image
        Magnitude of a head, shape ``(x, y, z)``.
    voxel_size_mm
        Edge lengths of a voxel in mm.
    fraction
        Where the surface stops, between dark (0) and bright (1) tissue below it.
    iterations
        Number of steps; each moves a vertex outwards by a twentieth of an edge at most.
    """
    sizes = np.asarray(voxel_size_mm, float)
    levels = _Levels.of(image, sizes)
    mesh = _Mesh.icosphere(3)
    points = levels.centre_mm + mesh.vertices * (levels.radius_mm / 2)
    step_mm = max(1.0, float(sizes.min()))
    depths_mm = np.arange(0.0, _DARK_DEPTH_MM + 0.1, step_mm, dtype=np.float64)
    for _ in range(iterations):
        normals, edge_mm = mesh.geometry(points)
        smoothing = mesh.neighbour_mean @ points - points
        along = np.einsum("vi,vi->v", smoothing, normals)[:, None] * normals
        curvature = 2 * np.linalg.norm(along, axis=1, keepdims=True) / edge_mm**2
        centre = (1 / _STIFF_MM + 1 / _FREE_MM) / 2
        slope = 6 / (1 / _STIFF_MM - 1 / _FREE_MM)
        stiffness = (1 + np.tanh(slope * (curvature - centre))) / 2
        below = _sample(image, points[:, None] - depths_mm[:, None] * normals[:, None], sizes)
        push = 0.05 * edge_mm * levels.push(below, depths_mm, fraction)
        points = points + (smoothing - along) / 2 + stiffness * along + push[:, None] * normals
    return _inside(mesh.subdivided_points(points, float(sizes.min()) / 2), image.shape, sizes)


@dataclass(frozen=True)
class _Levels:
    """Intensities and rough geometry of the head."""

    dark: float
    threshold: float
    typical: float
    centre_mm: Points
    radius_mm: float

    @classmethod
    def of(cls, image: FloatArray, sizes: Points) -> _Levels:
        dark, bright = np.percentile(image, [2, 98])
        threshold = dark + 0.1 * (bright - dark)
        head = np.argwhere(image > threshold)
        weight = np.minimum(image[tuple(head.T)], bright)
        if not weight.sum() > 0:  # nor with NaN
            raise DataError("no brain found in the magnitude; give a mask (--mask-pattern)")
        centre = np.average(head * sizes, axis=0, weights=weight)
        radius = float((len(head) * sizes.prod() * 3 / (4 * np.pi)) ** (1 / 3))
        ball = np.linalg.norm(head * sizes - centre, axis=1) < radius
        typical = float(np.median(image[tuple(head[ball].T)]))
        return cls(float(dark), float(threshold), typical, centre, radius)

    def push(self, below: FloatArray, depths_mm: Points, fraction: float) -> Points:
        """Outward push in [-2, 2] from the image values ``(vertex, depth)`` below the vertices."""
        shallow = below[:, depths_mm <= _BRIGHT_DEPTH_MM]
        darkest = np.maximum(self.dark, np.minimum(self.typical, below.min(axis=1)))
        brightest = np.minimum(self.typical, np.maximum(self.threshold, shallow.max(axis=1)))
        stop = self.dark + fraction * (brightest - self.dark)
        return 2 * (darkest - stop) / (brightest - self.dark)


@dataclass(frozen=True)
class _Mesh:
    """A triangulated sphere."""

    vertices: Points
    faces: npt.NDArray[np.int64]
    neighbour_mean: sparse.csr_array
    face_sum: sparse.csr_array

    @classmethod
    def icosphere(cls, subdivisions: int) -> _Mesh:
        vertices, faces = _icosahedron()
        for _ in range(subdivisions):
            vertices, faces = _subdivide(vertices, faces)
        n, rolled = len(vertices), np.roll(faces, 1, axis=1)
        pairs = (np.r_[faces.ravel(), rolled.ravel()], np.r_[rolled.ravel(), faces.ravel()])
        adjacent = sparse.csr_array((np.ones(len(pairs[0])), pairs), shape=(n, n)) > 0
        mean = sparse.csr_array(adjacent / adjacent.sum(axis=1)[:, None])
        columns = np.repeat(np.arange(len(faces)), 3)
        face_sum = sparse.csr_array((np.ones(faces.size), (faces.ravel(), columns)))
        return cls(vertices, faces, mean, face_sum)

    def geometry(self, points: Points) -> tuple[Points, float]:
        """Outward unit normals of the vertices, and the mean length of an edge."""
        a, b, c = points[self.faces].swapaxes(0, 1)
        normals = self.face_sum @ np.cross(b - a, c - a)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        return normals, float(np.linalg.norm(b - a, axis=1).mean())

    def subdivided_points(self, points: Points, spacing_mm: float) -> Points:
        """Points on the faces, at most ``spacing_mm`` apart."""
        a, b, c = points[self.faces].swapaxes(0, 1)
        longest = max(np.linalg.norm(side, axis=1).max() for side in (b - a, c - b, a - c))
        steps = int(np.ceil(longest / spacing_mm))
        u, v = np.triu_indices(steps + 1)
        of_a, of_b = (u / steps)[:, None, None], (1 - v / steps)[:, None, None]
        return (of_a * a + of_b * b + (1 - of_a - of_b) * c).reshape(-1, 3)


def _icosahedron() -> tuple[Points, npt.NDArray[np.int64]]:
    golden = (1 + 5**0.5) / 2
    corners = [(0, s, t * golden) for s in (-1, 1) for t in (-1, 1)]
    vertices = np.array([np.roll(corner, shift) for shift in range(3) for corner in corners])
    distance = np.linalg.norm(vertices[:, None] - vertices, axis=-1)
    touch = np.isclose(distance, 2)
    faces = [
        (i, j, k)
        for i in range(12)
        for j in range(i + 1, 12)
        for k in range(j + 1, 12)
        if touch[i, j] and touch[j, k] and touch[i, k]
    ]
    outward = [
        (i, j, k) if np.linalg.det(vertices[[i, j, k]]) > 0 else (i, k, j) for i, j, k in faces
    ]
    return vertices / np.linalg.norm(vertices[0]), np.array(outward)


def _subdivide(
    vertices: Points, faces: npt.NDArray[np.int64]
) -> tuple[Points, npt.NDArray[np.int64]]:
    """Split every face in four, with the new vertices on the unit sphere."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, which = np.unique(edges, axis=0, return_inverse=True)
    middle = vertices[unique].mean(axis=1)
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    ab, bc, ca = len(vertices) + which.reshape(3, -1)
    a, b, c = faces.T
    corners = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.concatenate([vertices, middle]), np.concatenate([np.stack(f, 1) for f in corners])


def _sample(image: FloatArray, points_mm: Points, sizes: Points) -> FloatArray:
    """Values at the nearest voxels; 0 outside the volume."""
    index = np.rint(points_mm / sizes).astype(np.int64)
    valid = np.all((index >= 0) & (index < image.shape), axis=-1)
    x, y, z = np.moveaxis(np.where(valid[..., None], index, 0), -1, 0)
    return np.where(valid, image[x, y, z], np.float32(0))


def _inside(shell_mm: Points, shape: tuple[int, ...], sizes: Points) -> BoolArray:
    index = np.clip(np.rint(shell_mm / sizes).astype(np.int64) + 1, 0, np.array(shape) + 1)
    shell = np.zeros([n + 2 for n in shape], np.bool_)
    shell[tuple(index.T)] = True
    return ndimage.binary_fill_holes(shell)[1:-1, 1:-1, 1:-1]
