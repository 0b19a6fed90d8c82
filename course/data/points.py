"""Point sets to cluster: seeded generators of the kinds that HPDBSCAN was made for.

The paper's data are geo-tagged tweets (two dimensions, cities far denser than the land
between) and a laser scan of the old town of Bremen (three dimensions, surfaces); the lecture
adds brain tissue. Götz, Bodenstein, Riedel: HPDBSCAN, MLHPC 2015; lecture slide on HPDBSCAN.
"""

import numpy as np


def twenty_points() -> np.ndarray:
    """Return 20 points small enough to cluster by hand, float64 (20, 2).

    With ``eps=1`` and ``min_samples=4`` they hold two clusters, five border points and
    three points of noise.
    """
    return np.array(
        [
            (1.0, 1.0),
            (1.5, 1.2),
            (1.2, 1.7),
            (1.9, 1.8),
            (2.3, 1.3),
            (2.6, 2.1),
            (3.5, 2.3),
            (2.1, 2.6),
            (6.0, 4.0),
            (6.4, 4.5),
            (5.7, 4.7),
            (6.8, 3.9),
            (6.3, 5.2),
            (7.1, 4.6),
            (7.9, 5.1),
            (5.0, 3.6),
            (6.9, 5.4),
            (0.5, 5.0),
            (4.0, 0.4),
            (2.8, 1.6),
        ]
    )


def skewed_plane(n: int, seed: int = 0, cities: int = 300) -> np.ndarray:
    """Return points on a plane, most of them in a few very dense places.

    Cities differ in size (the k-th has a share proportional to 1/k) and in extent; one
    point in ten lies anywhere. With ``eps=0.02`` the densest cells hold thousands of
    points of a million.

    Args:
        n: number of points.
        seed: the same seed gives the same points.
        cities: number of dense places.

    Returns:
        float32 (n, 2), each coordinate about 0 to 100.
    """
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, cities + 1)
    city = rng.choice(cities, size=n, p=share / share.sum())
    centre = rng.uniform(5, 95, size=(cities, 2))
    extent = rng.lognormal(mean=-2.0, sigma=1.0, size=cities)
    points = centre[city] + extent[city, None] * rng.standard_t(3, size=(n, 2)) / 2
    anywhere = rng.random(n) < 0.1
    points[anywhere] = rng.uniform(0, 100, size=(int(anywhere.sum()), 2))
    return np.clip(points, 0, 100).astype(np.float32)


def street_scan(n: int, seed: int = 0) -> np.ndarray:
    """Return a laser scan of a street: ground, house fronts, trees, posts and stray returns.

    A scanner stands every 25 m in the middle of a street 200 m long and sees less the
    further away things are, so density falls with distance.

    Args:
        n: number of points.
        seed: the same seed gives the same points.

    Returns:
        float32 (n, 3) in metres: along the street, across it, and height.
    """
    rng = np.random.default_rng(seed)
    kind = rng.choice(5, size=n, p=(0.40, 0.42, 0.12, 0.04, 0.02))
    station = rng.choice(np.arange(12.5, 200, 25), size=n)
    distance = 3 * (rng.pareto(1.5, size=n) + 1)
    along = station + distance * rng.choice((-1, 1), size=n) * rng.uniform(0.2, 1, size=n)
    along = np.mod(along, 200.0)
    across = rng.uniform(-7, 7, size=n)
    height = np.zeros(n)

    front = kind == 1
    across[front] = np.where(rng.random(int(front.sum())) < 0.5, -7.0, 7.0)
    height[front] = 14 * rng.beta(1, 2, size=int(front.sum()))
    # Windows lie 20 cm behind the front, a passage every 40 m leaves a gap.
    window = front & (np.mod(along, 4) > 2.5) & (np.mod(height, 3.2) > 1.4)
    across[window] *= 7.2 / 7.0
    passage = front & (np.mod(along, 40) < 2)
    across[passage] *= rng.uniform(1, 2, size=int(passage.sum()))
    for which, spacing, radius, foot, top in ((2, 16, 1.6, 4.0, 3.2), (3, 10, 0.08, 0.0, 5.0)):
        chosen = np.flatnonzero(kind == which)
        spot = np.floor(along[chosen] / spacing)
        side = np.where(np.mod(spot, 2) == 0, -4.5, 4.5)
        direction = rng.normal(size=(len(chosen), 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        size = radius * np.cbrt(rng.uniform(0.3, 1, size=len(chosen)))
        along[chosen] = (spot + 0.5) * spacing + size * direction[:, 0]
        across[chosen] = side + size * direction[:, 1]
        if which == 2:
            height[chosen] = foot + top / 2 + size * direction[:, 2]
        else:
            height[chosen] = rng.uniform(foot, top, size=len(chosen))
    points = np.column_stack((along, across, height)) + rng.normal(scale=0.01, size=(n, 3))
    stray = kind == 4
    points[stray] = rng.uniform((0, -9, 0), (200, 9, 15), size=(int(stray.sum()), 3))
    return points.astype(np.float32)


# Cortical layers from the surface inwards: depth in micrometres where each ends, and its
# density of cell bodies relative to the others (layer I has hardly any).
LAYER_ENDS = (150.0, 500.0, 800.0, 1050.0, 1450.0, 1900.0)
LAYER_DENSITIES = (0.04, 1.0, 0.22, 1.4, 0.18, 0.9)


def brain_tissue(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return cell bodies in a folded piece of cortex: dense layers between sparse ones.

    A made-up volume with the look of the lecture's use case, not a measurement: six layers
    follow a folded surface, and differ in density by up to thirty-five times.

    Args:
        n: number of cell bodies.
        seed: the same seed gives the same volume.

    Returns:
        float32 (n, 3) in micrometres, 2,000 by 2,000 wide and about 2,300 deep, and the
        layer, int8 (n,), 1 to 6.
    """
    rng = np.random.default_rng(seed)
    ends = np.array(LAYER_ENDS)
    begins = np.concatenate(([0.0], ends[:-1]))
    mass = (ends - begins) * np.array(LAYER_DENSITIES)
    layer = rng.choice(6, size=n, p=mass / mass.sum())
    depth = rng.uniform(begins[layer], ends[layer])
    x, y = rng.uniform(0, 2000, size=(2, n))
    fold = 200 * np.sin(2 * np.pi * x / 1700) * np.cos(2 * np.pi * y / 2600)
    points = np.column_stack((x, y, depth + fold))
    return points.astype(np.float32), (layer + 1).astype(np.int8)
