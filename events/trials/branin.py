"""A noisy Branin function, which a search minimizes: its three minima have the value 0.398.

It prints a value after each of five measurements, and each measurement makes it more precise.
"""

import argparse
import math
import random


def branin(x: float, y: float) -> float:
    """Return the value of the Branin function; x is from -5 to 10, y from 0 to 15."""
    curve = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    return curve**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def main() -> None:
    """Measure the function at a point, with noise that the point determines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--x", type=float, required=True)
    parser.add_argument("--y", type=float, required=True)
    point = parser.parse_args()
    noise = random.Random(f"{point.x} {point.y}")  # noqa: S311 - the same point has the same noise
    for step in range(1, 6):
        print(f"value={branin(point.x, point.y) + noise.gauss(0, 0.1) / step:.4f}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
