#!/usr/bin/env python3
"""The rivals' side of the yardstick: PyTorch (eager, torch.compile, the latter with CUDA graphs) and JAX (jit).

usage: torch_jax.py [--only name,name] [--modes eager,compile,graphs,jax] [--threads N] [--device cpu|cuda]
                    [--precision f32|tf32|bf16]
Prints one JSON line per workload and mode, in the form of bench/yardstick. One mode a process is best:
a rival's spinning workers slow whatever runs after it.
"""
import argparse
import json
import os
import statistics
import time

parser = argparse.ArgumentParser()
parser.add_argument("--only", default="")
parser.add_argument("--modes", default="eager,compile,jax")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--device", default="cpu")
parser.add_argument("--precision", default="f32", choices=("f32", "tf32", "bf16"))
options = parser.parse_args()
gpu = options.device == "cuda"
if not gpu:
    os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
modes = options.modes.split(",")

BATCH = 128
if gpu:
    EW, SOFTMAX, NORM, ADAM, PRODUCT = (8192, 8192), (16384, 4096), (16384, 1024), (100, 500_000), (8192, 1024, 4096)
else:
    EW, SOFTMAX, NORM, ADAM, PRODUCT = (2048, 4096), (4096, 1024), (4096, 1024), (20, 250_000), (1024, 512, 1024)
LAYERS = (784, 512, 256, 10)


def wanted(name):
    return not options.only or name in options.only.split(",")


def measure_any(name, mode, step, wait):
    """As bench/yardstick: the first call apart, warm ones, then the median of batches."""
    if not wanted(name):
        return
    start = time.perf_counter()
    wait(step())
    first = time.perf_counter() - start
    for _ in range(3):
        wait(step())
    start = time.perf_counter()
    wait(step())
    inner = max(1, int(0.02 / max(time.perf_counter() - start, 1e-6)))
    times, end = [], time.perf_counter() + 1.5
    while len(times) < 7 or (time.perf_counter() < end and len(times) < 200):
        start = time.perf_counter()
        for _ in range(inner):
            result = step()
        wait(result)
        times.append((time.perf_counter() - start) / inner)
    print(json.dumps(dict(name=name, mode=mode, ms=round(statistics.median(times) * 1e3, 4), first_s=round(first, 4),
                          threads=options.threads, device=options.device, prec=options.precision)), flush=True)


def run_torch(mode):
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(options.threads)
    if options.precision != "f32":
        torch.set_float32_matmul_precision("high")
    wrap = {"compile": torch.compile, "graphs": lambda f: torch.compile(f, mode="reduce-overhead")}.get(mode, lambda f: f)
    label, device = "torch-" + mode, options.device

    def R(*shape):  # a default device would cost every call time
        return torch.randn(*shape, device=device)


    def measure(name, mode, step):
        measure_any(name, mode, step, (lambda _: torch.cuda.synchronize()) if gpu else (lambda _: None))

    def mixed():  # f32 weights, products in bf16
        return torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.precision == "bf16")

    a, b, c, bias = R(EW), R(EW), R(EW), R(EW[1])
    chain = wrap(lambda: F.gelu(a * b + bias, approximate="tanh") + c)
    measure("ew_chain", label, chain)

    x = R(SOFTMAX)
    softmax = wrap(lambda x: torch.softmax(x * 0.125, -1))
    measure("softmax", label, lambda: softmax(x))

    width = NORM[1]
    n, g, h, dy = R(NORM).requires_grad_(), R(width).requires_grad_(), R(width).requires_grad_(), R(NORM)
    norm = wrap(lambda n, g, h: F.layer_norm(n, (width,), g, h))
    measure("layernorm_fwd_bwd", label, lambda: torch.autograd.grad(norm(n, g, h), (n, g, h), dy))

    measure("colsum_exp", label, wrap(lambda: (torch.exp(a) * a).sum(0)))

    def adamw():
        parameters = [torch.nn.Parameter(R(ADAM[1])) for _ in range(ADAM[0])]
        optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=gpu or None)
        for p in parameters:
            p.grad = R(ADAM[1])
        return wrap(lambda: optimizer.step())

    if wanted("adamw_step"):
        measure("adamw_step", label, adamw())

    m, k, o = PRODUCT
    left, weight, shift = R(m, k), R(o, k), R(o)

    def linear_gelu(x, w, b):
        with mixed():
            return F.gelu(F.linear(x, w, b), approximate="tanh")

    linear = wrap(linear_gelu)
    measure("linear_gelu", label, lambda: linear(left, weight, shift))

    def tiny(x):
        for _ in range(200):
            x = torch.tanh(x * 1.01 + 0.1)
        return x

    small, tiny = R(64), wrap(tiny)
    measure("tiny_600ops", label, lambda: tiny(small))

    def mlp():
        layers = []
        for i, (inputs, outputs) in enumerate(zip(LAYERS, LAYERS[1:])):
            layers += ([torch.nn.ReLU()] if i else []) + [torch.nn.Linear(inputs, outputs)]
        model = torch.nn.Sequential(*layers).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=gpu or None)
        images, labels = R(BATCH, LAYERS[0]), torch.randint(0, LAYERS[-1], (BATCH,), device=device)

        def forward(x, y):
            with mixed():
                return F.cross_entropy(model(x), y)

        loss_of = wrap(forward)

        def step():
            loss_of(images, labels).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        return step

    if wanted("mlp_train"):
        measure("mlp_train", label, mlp())


def run_jax():
    import jax
    import jax.numpy as jnp

    precision = {"f32": "highest", "tf32": "tensorfloat32", "bf16": "bfloat16"}[options.precision] if gpu else "highest"
    jax.config.update("jax_default_matmul_precision", precision)
    key, wait = jax.random.PRNGKey(0), jax.block_until_ready
    R = lambda *shape: jax.random.normal(key, shape, jnp.float32)
    stored = (lambda x: x.astype(jnp.bfloat16)) if options.precision == "bf16" else (lambda x: x)
    gelu = lambda x: jax.nn.gelu(x, approximate=True)

    a, b, c, bias = R(*EW), R(*EW), R(*EW), R(EW[1])
    chain = jax.jit(lambda a, b, c, bias: gelu(a * b + bias) + c)
    measure_any("ew_chain", "jax-jit", lambda: chain(a, b, c, bias), wait)

    x, softmax = R(*SOFTMAX), jax.jit(lambda x: jax.nn.softmax(x * 0.125))
    measure_any("softmax", "jax-jit", lambda: softmax(x), wait)

    def norm(x, g, b):
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * g + b

    n, g, h, dy = R(*NORM), R(NORM[1]), R(NORM[1]), R(*NORM)
    both = jax.jit(lambda n, g, h, dy: jax.vjp(norm, n, g, h)[1](dy))
    measure_any("layernorm_fwd_bwd", "jax-jit", lambda: both(n, g, h, dy), wait)

    columns = jax.jit(lambda a: (jnp.exp(a) * a).sum(0))
    measure_any("colsum_exp", "jax-jit", lambda: columns(a), wait)

    def adamw(p, g, m, v, t, lr=1e-3, b1=0.9, b2=0.999, eps=1e-8, decay=0.01):
        tree = jax.tree.map
        m = tree(lambda m, g: b1 * m + (1 - b1) * g, m, g)
        v = tree(lambda v, g: b2 * v + (1 - b2) * g * g, v, g)
        p = tree(lambda p, m, v: p * (1 - lr * decay) - lr * (m / (1 - b1**t)) / (jnp.sqrt(v / (1 - b2**t)) + eps), p, m, v)
        return p, m, v, t + 1

    def stateful(update, p):
        """A step that keeps (p, m, v, t) and donates them."""
        state = [p, jax.tree.map(jnp.zeros_like, p), jax.tree.map(jnp.zeros_like, p), jnp.float32(1)]

        def step():
            *state[:], out = update(*state)
            return out

        return step

    if wanted("adamw_step"):
        fresh = lambda: [R(ADAM[1]) for _ in range(ADAM[0])]
        gradients = fresh()

        def update(p, m, v, t):
            state = adamw(p, gradients, m, v, t)
            return *state, state[3]

        measure_any("adamw_step", "jax-jit", stateful(jax.jit(update, donate_argnums=(0, 1, 2)), fresh()), wait)

    m, k, o = PRODUCT
    left, weight, shift = stored(R(m, k)), stored(R(k, o)), stored(R(o))
    linear = jax.jit(lambda x, w, b: gelu(x @ w + b))
    measure_any("linear_gelu", "jax-jit", lambda: linear(left, weight, shift), wait)

    def tiny(x):
        for _ in range(200):
            x = jnp.tanh(x * 1.01 + 0.1)
        return x

    small, tiny = R(64), jax.jit(tiny)
    measure_any("tiny_600ops", "jax-jit", lambda: tiny(small), wait)

    if wanted("mlp_train"):
        images, labels = R(BATCH, LAYERS[0]), jax.random.randint(key, (BATCH,), 0, LAYERS[-1])
        weights = [(R(i, o) * i**-0.5, jnp.zeros(o)) for i, o in zip(LAYERS, LAYERS[1:])]

        def loss_of(p):
            p, h = jax.tree.map(stored, p), stored(images)
            for i, (w, b) in enumerate(p):
                h = (jax.nn.relu(h) if i else h) @ w + b
            h = h.astype(jnp.float32)
            return (jax.nn.logsumexp(h, -1) - jnp.take_along_axis(h, labels[:, None], -1)[:, 0]).mean()

        def update(p, m, v, t):
            loss, g = jax.value_and_grad(loss_of)(p)
            return *adamw(p, g, m, v, t), loss

        measure_any("mlp_train", "jax-jit", stateful(jax.jit(update, donate_argnums=(0, 1, 2)), weights), wait)


for mode in modes:
    run_jax() if mode == "jax" else run_torch(mode)
