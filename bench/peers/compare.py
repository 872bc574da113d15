#!/usr/bin/env python3
"""Reads yardstick lines from the files given and prints a table: ours, the best rival, ours / best."""
import json
import sys

rows = {}
for path in sys.argv[1:]:
    for line in open(path):
        if line.startswith("{"):
            row = json.loads(line)
            rows.setdefault(row["name"], {})[row.get("mode", "")] = row
print(f"{'workload':20} {'encore ms':>10} {'ceiling':>8} {'best rival':>24} {'ours/best':>10}")
for name, by_mode in rows.items():
    ours = by_mode.pop("encore", None)
    if not ours or not ours.get("ms"):
        continue
    ceiling = f"{ours['fraction_of_ceiling']:.2f}" if ours["floor_ms"] else "-"
    best = min(by_mode.values(), key=lambda row: row["ms"], default=None)
    rival = f"{best['mode']} {best['ms']:.4f}" if best else "-"
    ratio = f"{ours['ms'] / best['ms']:.2f}" if best else "-"
    print(f"{name:20} {ours['ms']:10.4f} {ceiling:>8} {rival:>24} {ratio:>10}")
