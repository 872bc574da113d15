#!/usr/bin/env python3
"""Writes print_reference.json: arrays, and what NumPy prints for them. Run by hand; NumPy 2."""
import json
import pathlib

import numpy as np

rng = np.random.default_rng(0)
f = np.float32
arrays = [
    np.array(3, f), np.array(0.1, f), np.array(1 / 3), np.array(1e20, f), np.array(-1.25e-7), np.array(0.0), np.array(np.nan),
    np.array(-np.inf, f), np.array(123456, f), np.array(1e16), np.array(12345678.5), np.array(True), np.array(False),
    np.array(-7), np.array(255, np.uint8), np.array(0.1, np.float16), np.array(-0.0, f),
    np.array([1, 2, 3], f), np.array([1.5, -2.25, 3], f), np.array([0.1, 0.2, 1 / 3], f), np.array([1e-5, 1, 2], f),
    np.array([1e8, 1], f), np.array([1e-4, 0.1], f), np.array([1, 1001], f), np.array([1, 1000], f), np.array([1e-10, 1e10]),
    np.array([1.23456789012345, 2]), np.array([1e100, 1e-100, -1]), np.array([0, 0], f), np.array([-0.0, 0.0], f),
    np.array([np.nan, 1, np.inf], f), np.array([np.nan, -np.inf], f), np.array([np.nan, 1e10, -np.inf]), np.array([np.nan, 0.5], f),
    np.array([np.inf], f), np.array([-np.inf, 1.5], f), np.array([np.nan, 1], f), np.array([99999999, 0.5]),
    np.array([True, False]), np.array([[True], [False]]), np.array([1, -20, 300]), np.array([[1, 2], [3, 4]], np.int8),
    np.array([2**63], np.uint64), np.array([-2**63, 1]), np.array([0.1, 1.5, 65504], np.float16), np.array([6e-8, 1], np.float16),
    np.zeros((0,), f), np.zeros((0, 3), f), np.zeros((2, 0), f), np.zeros((1, 1, 1), f),
    np.arange(24).reshape(2, 3, 4), np.arange(24, dtype=f).reshape(2, 3, 4) / 7, np.arange(16).reshape(2, 2, 2, 2),
    np.arange(40, dtype=f) / 3, rng.standard_normal((3, 17)), rng.standard_normal((4, 5)).astype(f),
    np.exp(rng.standard_normal((3, 9)) * 6).astype(f),
]
records = [
    {"dtype": str(a.dtype), "shape": list(a.shape), "bytes": a.tobytes().hex(), "text": str(a)} for a in arrays
] + [
    # Larger ones are described, not stored.
    {"dtype": str(a.dtype), "shape": list(a.shape), "arange_divided_by": int(d), "text": str(a)}
    for a, d in ((np.arange(100), 1), (np.arange(1000), 1), (np.arange(1001), 1), (np.arange(1001, dtype=f), 1),
                 (np.arange(10000, dtype=f).reshape(100, 100), 1), (np.arange(30000).reshape(30, 1000), 1),
                 (np.arange(2400).reshape(4, 600), 1), (np.arange(8000, dtype=f).reshape(20, 20, 20) / f(3), 3),
                 (np.arange(4096).reshape(8, 8, 8, 8), 1), (np.arange(1200).reshape(6, 200), 1),
                 (np.arange(1400).reshape(7, 200), 1), (np.arange(300000, dtype=f).reshape(3000, 100) / f(7), 7))
]
path = pathlib.Path(__file__).with_name("print_reference.json")
path.write_text("[\n" + ",\n".join(json.dumps(record) for record in records) + "\n]\n")
