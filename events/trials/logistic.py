"""Logistic regression on two noisy classes of points that it generates; prints the accuracy after each epoch."""

import argparse
import math
import random

COUNT, FEATURES = 300, 8


def make_points(chance: random.Random) -> list[tuple[list[float], int]]:
    """Return points with their classes. Three features matter, the others are noise."""
    points = []
    for _ in range(COUNT):
        point = [chance.gauss(0, 1) for _ in range(FEATURES)]
        score = 2 * point[0] - 3 * point[1] + point[2] + chance.gauss(0, 1)
        points.append((point, int(score > 0)))
    return points


def predict(weights: list[float], point: list[float]) -> float:
    """Return the probability that a point is of class 1."""
    score = weights[-1] + sum(weight * value for weight, value in zip(weights, point))  # noqa: B905
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, score))))


def main() -> None:
    """Train by stochastic gradient descent with momentum, and test on a third of the points."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--l2", type=float, required=True)
    parser.add_argument("--momentum", type=float, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    options = parser.parse_args()
    chance = random.Random(7)  # noqa: S311 - every trial has the same data
    points = make_points(chance)
    training, test = points[COUNT // 3 :], points[: COUNT // 3]
    weights, speed = [0.0] * (FEATURES + 1), [0.0] * (FEATURES + 1)
    for _ in range(options.epochs):
        chance.shuffle(training)
        for point, label in training:
            error = predict(weights, point) - label
            for index, value in enumerate([*point, 1.0]):
                gradient = error * value + options.l2 * weights[index]
                speed[index] = options.momentum * speed[index] - options.lr * gradient
                weights[index] += speed[index]
        right = sum((predict(weights, point) > 0.5) == label for point, label in test)
        print(f"accuracy={right / len(test):.4f}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
