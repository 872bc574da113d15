#!/usr/bin/env python3
"""Derives the polynomials of lazy/math_expansion_*.cpp (needs mpmath, numpy).

Each row below is one polynomial q: the expansion computes shape(x, q(x)), and q makes the largest
error relative to scale(x) smallest over [low, high] (Remez exchange). Coefficients are rounded to
their dtype; for f32 a descent over steps in the last place then wins back most of what that lost.

    minimax.py [name ...]     prints C++ literals, lowest degree first, and the error before
                              and after rounding
"""
import sys

import numpy as np
from mpmath import mp, mpf, mpmathify

mp.dps = 45


def grid(low, high, count):
    middle, half = (low + high) / 2, (high - low) / 2
    return [middle - half * mp.cos(mp.pi * i / (count - 1)) for i in range(count)]


def extrema(error, count):
    """Where each run of one sign is largest; of too many the smaller outer ones are dropped."""
    runs, start = [], 0
    for i in range(1, len(error) + 1):
        if i == len(error) or error[i] * error[start] < 0:
            runs.append(max(range(start, i), key=lambda n: abs(error[n])))
            start = i
    while len(runs) > count:
        runs.pop(0 if abs(error[runs[0]]) < abs(error[runs[-1]]) else -1)
    return runs


def remez(target, weight, degree, points):
    """q of `degree` with the least max |weight * (q - target)|; arrays over `points`."""
    count = degree + 2
    picks = [round(i * (len(points) - 1) / (count - 1)) for i in range(count)]
    for _ in range(60):
        rows = mp.matrix(count, count)
        right = mp.matrix(count, 1)
        for i, p in enumerate(picks):
            for j in range(degree + 1):
                rows[i, j] = points[p] ** j
            rows[i, degree + 1] = (-1) ** i / weight[p]
            right[i] = target[p]
        solution = mp.lu_solve(rows, right)
        q = [solution[j] for j in range(degree + 1)]
        error = [w * (mp.polyval(q[::-1], x) - t) for x, t, w in zip(points, target, weight)]
        runs = extrema(error, count)
        worst = max(abs(e) for e in error)
        if len(runs) < count or worst < abs(solution[degree + 1]) * mpf("1.001"):
            break
        picks = runs
    return q, worst


def to_float(value, bits):
    if value == 0:
        return mpf(0)
    exponent = int(mp.floor(mp.log(abs(value), 2))) + 1 - bits
    return mp.nint(value / mpf(2) ** exponent) * mpf(2) ** exponent


def fit(target, weight, low, high, degree, bits, count=600):
    """Coefficients of `bits` bits; short ones are then moved by single steps while that helps."""
    points = [x for x in grid(mpmathify(low), mpmathify(high), count) if abs(x) > mpf(10) ** -12]
    values = [target(x) for x in points]
    weights = [abs(weight(x)) for x in points]
    q, worst = remez(values, weights, degree, points)
    q = [to_float(c, bits) for c in q]
    powers = [[w * x ** n for x, w in zip(points, weights)] for n in range(degree + 1)]
    error = [mp.fsum(c * p[i] for c, p in zip(q, powers)) - v * weights[i]
             for i, v in enumerate(values)]
    if bits == 24:
        q, error = descend(q, np.array(powers, float), np.array(error, float), bits)
    return q, worst, max(abs(e) for e in error)


def descend(q, powers, error, bits):
    """Coordinate descent over single and paired steps in the last place."""
    step = [float(mpf(2) ** (int(mp.floor(mp.log(abs(c), 2))) + 1 - bits)) for c in q]
    moves = [{i: d} for i in range(len(q)) for d in (-4, -2, -1, 1, 2, 4)]
    moves += [{**a, **b} for a in moves for b in moves if min(a) < min(b)]
    deltas = [sum(d * step[i] * powers[i] for i, d in move.items()) for move in moves]
    while True:
        bests = [np.abs(error + delta).max() for delta in deltas]
        best = int(np.argmin(bests))
        if bests[best] >= np.abs(error).max() * 0.9999:
            return q, error
        error = error + deltas[best]
        q = [c + mpf(moves[best].get(i, 0)) * step[i] for i, c in enumerate(q)]


def half_ln2():
    return mp.log(2) / 2 * mpf("1.0001")


def root_minus_1(sign):
    return mp.sqrt(2) ** sign - 1


def log_tail(f):
    return (mp.log1p(f) - f) / f ** 2


def atanh_tail(z):
    """2 atanh(s) = 2 s + s R(z), z = s^2."""
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) - 2 * s) / s


def log_erfc(t):
    return -mp.log(mp.erfc(t))


def odd(function):
    """(f(x) - x) / (x z) as a function of z = x^2."""
    return lambda z: (function(mp.sqrt(z)) - mp.sqrt(z)) / (mp.sqrt(z) * z)


def odd_weight(function):
    return lambda z: mp.sqrt(z) * z / function(mp.sqrt(z))


quarter_pi = mp.pi / 4 * mpf("1.0001")
eighth = mp.tan(mp.pi / 8) * mpf("1.0001")

# name: (target, weight, low, high, degree, bits of a coefficient)
TABLE = {
    # e^r = 1 + r + r^2 q(r), relative to expm1
    "exp_f32": (lambda r: (mp.expm1(r) - r) / r ** 2, lambda r: r ** 2 / mp.expm1(r),
                -half_ln2(), half_ln2(), 4, 24),
    "exp_f64": (lambda r: (mp.expm1(r) - r) / r ** 2, lambda r: r ** 2 / mp.expm1(r),
                -half_ln2(), half_ln2(), 10, 53),
    "expm1_f32": (lambda r: (mp.expm1(r) - r) / r ** 2, lambda r: r ** 2 / mp.expm1(r),
                  -half_ln2(), half_ln2(), 5, 24),
    "exp_pow_f32": (lambda r: (mp.expm1(r) - r) / r ** 2, lambda r: r ** 2,
                    -half_ln2(), half_ln2(), 5, 53),
    # log(1 + f) = f + f^2 q(f)
    "log_f32": (log_tail, lambda f: f ** 2 / mp.log1p(f),
                root_minus_1(-1) * mpf("1.0001"), root_minus_1(1) * mpf("1.0001"), 8, 24),
    "log_pow_f32": (log_tail, lambda f: f ** 2 / mp.log1p(f),
                    root_minus_1(-1) * mpf("1.0001"), root_minus_1(1) * mpf("1.0001"), 12, 53),
    # log(1 + f) = 2 s + s z q(z), s = f / (2 + f), z = s^2
    "log_f64": (lambda z: atanh_tail(z) / z, lambda z: z / (2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z)),
                0, mpf("0.02945"), 6, 53),
    # log(1 + f) = 2 s + s z (2/3 + z q(z))
    "log_pow_f64": (lambda z: (atanh_tail(z) / z - mpf(2) / 3) / z,
                    lambda z: z ** 2 / (2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z)),
                    0, mpf("0.02945"), 7, 53),
    "sin_f32": (odd(mp.sin), odd_weight(mp.sin), 0, quarter_pi ** 2, 2, 24),
    "sin_f64": (odd(mp.sin), odd_weight(mp.sin), 0, quarter_pi ** 2, 5, 53),
    # cos r = 1 - z / 2 + z^2 q(z)
    "cos_f32": (lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z ** 2,
                lambda z: z ** 2 / mp.cos(mp.sqrt(z)), 0, quarter_pi ** 2, 2, 24),
    "cos_f64": (lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z ** 2,
                lambda z: z ** 2 / mp.cos(mp.sqrt(z)), 0, quarter_pi ** 2, 5, 53),
    "asin_f32": (odd(mp.asin), odd_weight(mp.asin), 0, mpf("0.25"), 4, 24),
    "asin_f64": (odd(mp.asin), odd_weight(mp.asin), 0, mpf("0.25"), 11, 53),
    "atan_f32": (odd(mp.atan), odd_weight(mp.atan), 0, 1, 8, 24),
    "atan_f64": (odd(mp.atan), odd_weight(mp.atan), 0, eighth ** 2, 10, 53),
    # erf(x) = -expm1(-t - t q(t)), t = |x|
    "erf_f32": (lambda t: log_erfc(t) / t - 1, lambda t: t * mp.erfc(t) / mp.erf(t),
                0, mpf("3.93"), 8, 24),
    "erf_f64": (lambda t: log_erfc(t) / t - 1, lambda t: t * mp.erfc(t) / mp.erf(t),
                0, mpf("5.95"), 24, 53),
    "sinh_f32": (odd(mp.sinh), odd_weight(mp.sinh), 0, 1, 3, 24),
    "sinh_f64": (odd(mp.sinh), odd_weight(mp.sinh), 0, 1, 6, 53),
}


def main():
    for name in sys.argv[1:] or TABLE:
        q, ideal, worst = fit(*TABLE[name])
        errors = [float(mp.log(e, 2)) for e in (ideal, worst)]
        print(f"{name}: 2^{errors[0]:.1f} 2^{errors[1]:.1f}")
        print("  " + ", ".join(float(c).hex().replace("0000000p", "p") for c in q), flush=True)


if __name__ == "__main__":
    main()
