#!/usr/bin/env python3
"""What this GPU does at best, through PyTorch: GB/s of a copy and of three reads and a write (addcmul), GFLOP/s of a
large cuBLAS product in f32, TF32 and bf16. Prints one JSON line."""
import json

import torch


def seconds(run, repeats=30):
    for _ in range(3):
        run()
    events = [(torch.cuda.Event(True), torch.cuda.Event(True)) for _ in range(repeats)]
    for start, end in events:
        start.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return sorted(start.elapsed_time(end) for start, end in events)[repeats // 2] / 1e3


def product(dtype, precision, n=8192):
    torch.set_float32_matmul_precision(precision)
    a, b = (torch.randn(n, n, device="cuda", dtype=dtype) for _ in range(2))
    c = torch.empty_like(a)
    return 2 * n**3 / seconds(lambda: torch.matmul(a, b, out=c), 10) / 1e9


a, b, c = (torch.randn(1 << 26, device="cuda") for _ in range(3))
out = torch.empty_like(a)
bytes_of_one = a.numel() * 4
print(json.dumps({
    "name": "gpu_ceilings",
    "gpu": torch.cuda.get_device_name(),
    "copy_GBps": round(2 * bytes_of_one / seconds(lambda: out.copy_(a)) / 1e9, 1),
    "three_reads_one_write_GBps": round(4 * bytes_of_one / seconds(lambda: torch.addcmul(a, b, c, out=out)) / 1e9, 1),
    "f32_GFLOPs": round(product(torch.float32, "highest")),
    "tf32_GFLOPs": round(product(torch.float32, "high")),
    "bf16_GFLOPs": round(product(torch.bfloat16, "high")),
}))
