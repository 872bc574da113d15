#!/usr/bin/env python3
"""Writes elementary.txt: values of the elementary functions where they are hard (needs mpmath).

A line is `name dtype a [b] high low`, hexadecimal; the value is high + low, good to 100 bits. The
test of the expansions measures against it, as a second opinion beside the C library's.
"""
import pathlib
import random
import struct

from mpmath import mp, mpf

mp.prec = 2400  # pi to the last place of the largest argument
random.seed(20)
FRACTION = {"f32": 24, "f64": 53}
LARGEST = 49  # sin, cos and tan: |x| < 2^49


def rounded(x, dtype):
    x = float(x)
    return struct.unpack("f", struct.pack("f", x))[0] if dtype == "f32" else x


def near_quarter_turns(dtype):
    """For each exponent the m 2^e closest to a multiple of pi/2, by continued fractions."""
    points = []
    for e in range(-FRACTION[dtype] + 1, LARGEST - FRACTION[dtype] + 1):
        ratio = mpf(2) ** e / (mp.pi / 2)
        x, before, now = ratio - mp.floor(ratio), 0, 1  # denominators of the convergents
        while True:
            x = 1 / x
            digit = int(mp.floor(x))
            x -= digit
            before, now = now, digit * now + before
            if now >= 2 ** FRACTION[dtype]:
                break
        points.append(float(before * mpf(2) ** e))
    return points


def spread(low, high, count=12):
    """Exponents spread evenly, both signs where `low` is negative."""
    signs = (1, -1) if low < 0 else (1,)
    least, most = (mp.log(mpf(v), 2) for v in (1e-30 if low <= 0 else low, high))
    return [random.choice(signs) * mpf(2) ** random.uniform(float(least), float(most))
            for _ in range(count)]


def around(*centres):
    return [c * (1 + mpf(s) / 2 ** random.randint(8, 50)) for c in centres for s in (-1, 1)]


limits = {"f32": (128, 149), "f64": (1024, 1074)}  # overflow at 2^first, least number 2^-second


def unary(dtype):
    top, bottom = (v * mp.log(2) for v in limits[dtype])
    half_ln2, root = mp.log(2) / 2, mp.sqrt(2)
    turns = near_quarter_turns(dtype)
    positive = spread(mpf(2) ** -limits[dtype][1], mpf(2) ** limits[dtype][0] * 0.9, 24)
    near_1 = around(1, 1, 1, 1, root, 1 / root)
    return {
        "exp": (mp.exp, spread(-1, top) + around(half_ln2, -half_ln2, top * 0.999, -bottom * 0.95)),
        "expm1": (mp.expm1, spread(-1, top) + around(half_ln2, -half_ln2, 3 * half_ln2)),
        "sinh": (mp.sinh, spread(-1, top) + around(1, -1, top * 0.999)),
        "cosh": (mp.cosh, spread(-1, top) + around(1, -1, top * 0.999)),
        "tanh": (mp.tanh, spread(-1, 20) + around(half_ln2 / 2, half_ln2, -1)),
        "log": (mp.log, positive + near_1),
        "log1p": (mp.log1p, spread(-1, 0.9) + spread(1, 1e30) + around(root - 1, 1 / root - 1)),
        "log2": (lambda x: mp.log(x, 2), positive + near_1),
        "rsqrt": (lambda x: 1 / mp.sqrt(x), positive),
        "cbrt": (lambda x: mp.sign(x) * mp.cbrt(abs(x)), positive + [-x for x in positive[:6]]),
        "sin": (mp.sin, spread(-1, 2 ** LARGEST) + turns),
        "cos": (mp.cos, spread(-1, 2 ** LARGEST) + turns),
        "tan": (mp.tan, spread(-1, 2 ** LARGEST) + turns),
        "asin": (mp.asin, spread(-1, 1) + around(0.5, -0.5, 0.875) + [1 - mpf(2) ** -20]),
        "acos": (mp.acos, spread(-1, 1) + around(0.5, -0.5, 0.875) + [1 - mpf(2) ** -20]),
        "atan": (mp.atan, spread(-1, 1e30) + around(1, -1, root - 1, root + 1)),
        "erf": (mp.erf, spread(-1, 6) + around(0.2, 0.5, 1, 2, 3)),
    }


def pow_points(dtype):
    top = limits[dtype][0]
    near = [(1 + mpf(2) ** -k, mpf(2) ** (k + 5) / 3) for k in range(2, FRACTION[dtype], 4)]
    wide = [(a, random.uniform(-1, 1) * top / mp.log(a, 2)) for a in spread(1e-30, 1e30, 24)]
    whole = [(-random.uniform(0.5, 3), mpf(random.randint(-60, 60))) for _ in range(8)]
    return near + wide + whole


def write(lines, name, dtype, function, arguments):
    arguments = [rounded(a, dtype) for a in arguments]
    value = function(*(mpf(a) for a in arguments))
    if not mpf(2) ** -limits[dtype][1] < abs(value) < mpf(2) ** limits[dtype][0]:
        return
    high = float(value)
    low = float(value - high)
    lines.append(" ".join([name, dtype, *(a.hex() for a in arguments), high.hex(), low.hex()]))


def main():
    lines = []
    for dtype in FRACTION:
        for name, (function, points) in unary(dtype).items():
            for x in points:
                write(lines, name, dtype, function, [x])
        for pair in pow_points(dtype):
            write(lines, "pow", dtype, mp.power, pair)
        for y, x in zip(spread(-1, 1e20, 24), spread(-1, 1e20, 24)):
            write(lines, "atan2", dtype, mp.atan2, [y, x])
    path = pathlib.Path(__file__).with_suffix(".txt")
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
