#!/usr/bin/env python3
"""Writes composite_reference.json: inputs, and what PyTorch makes of them in f64, with the gradients
of sum(result * weight), weight[i] = (i % 7 - 2.5) / 3. Run by hand; needs torch."""
import json
import math
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(0)
inf, nan = math.inf, math.nan
line = torch.cat([torch.linspace(-6, 6, 25, dtype=torch.float64), torch.tensor([-3.0, 3, -100, 100, -800, 800, 0], dtype=torch.float64)])
a, b = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
cube = torch.randn(2, 4, 3, dtype=torch.float64) * 3
image = torch.randn(2, 6, 2, 2, dtype=torch.float64)
scale, shift = torch.randn(5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
per_channel, offset = torch.randn(6, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
labels, cube_labels = torch.tensor([4, 0, 2]), torch.tensor([[0, 3, 1], [2, 2, 0]])
shares = torch.softmax(torch.randn(3, 5, dtype=torch.float64), 1)
cube_shares = torch.softmax(torch.randn(2, 4, 3, dtype=torch.float64), 1)
inside = torch.rand(3, 5, dtype=torch.float64) * 0.8 + 0.1
holes = torch.tensor([[1, -inf, 2, 0, -inf], [-inf, -inf, -inf, -inf, 3.0], [1e4, 1e4 + 1, -1e4, 0, 5]], dtype=torch.float64)
broken = torch.tensor([[-inf] * 5, [inf, 1, 2, 3, 4], [nan, 1, 2, 3, 4]], dtype=torch.float64)
special = torch.tensor([-inf, inf, nan], dtype=torch.float64)
zero_row = torch.cat([a[:2], torch.zeros(1, 5, dtype=torch.float64)])

# name, function, inputs; integer inputs get no gradient
cases = [
    ("relu", F.relu, [line]), ("sigmoid", torch.sigmoid, [line]), ("leaky_relu", F.leaky_relu, [line]),
    ("leaky_relu 0.2", lambda x: F.leaky_relu(x, 0.2), [line]), ("elu", F.elu, [line]), ("elu 0.5", lambda x: F.elu(x, 0.5), [line]),
    ("selu", F.selu, [line]), ("gelu", F.gelu, [line]), ("gelu tanh", lambda x: F.gelu(x, approximate="tanh"), [line]),
    ("silu", F.silu, [line]), ("mish", F.mish, [line]), ("hardswish", F.hardswish, [line]),
    # Beyond PyTorch's threshold its softplus is x itself, equal in f64 from 37 on.
    ("softplus", lambda x: F.softplus(x, threshold=40), [line]), ("softplus 2", lambda x: F.softplus(x, 2, threshold=40), [line]),
    ("log_sigmoid", F.logsigmoid, [line]), ("clamp", lambda x: torch.clamp(x, -1, 3), [line]),
    ("clamp_min", lambda x: torch.clamp_min(x, -3), [line]), ("clamp_max", lambda x: torch.clamp_max(x, 3), [line]),
    ("clamp crossed", lambda x: torch.clamp(x, 2, 1), [line]), ("lerp 0.3", lambda x, y: torch.lerp(x, y, 0.3), [a, b]),
    ("lerp 1", lambda x, y: torch.lerp(x, y, 1.0), [a, b]), ("lerp", torch.lerp, [a, b, inside]),
    ("logaddexp", torch.logaddexp, [a * 100, b * 100]), ("square", torch.square, [a]),
    ("softmax", lambda x: F.softmax(x, -1), [a]), ("softmax", lambda x: F.softmax(x, -1), [holes]),
    ("softmax 1", lambda x: F.softmax(x, 1), [cube]), ("log_softmax", lambda x: F.log_softmax(x, -1), [a]),
    ("log_softmax 1", lambda x: F.log_softmax(x, 1), [cube]), ("logsumexp", lambda x: torch.logsumexp(x, -1), [a]),
    ("logsumexp", lambda x: torch.logsumexp(x, -1), [holes]), ("logsumexp 0 2", lambda x: torch.logsumexp(x, (0, 2)), [cube]),
    ("layer_norm", lambda x: F.layer_norm(x, (5,)), [a]),
    ("layer_norm affine", lambda x, w, c: F.layer_norm(x, (5,), w, c, 1e-3), [a, scale, shift]),
    ("layer_norm 2", lambda x: F.layer_norm(x, (4, 3)), [cube]), ("rms_norm", lambda x: F.rms_norm(x, (5,)), [a]),
    ("rms_norm affine", lambda x, w: F.rms_norm(x, (5,), w, 1e-3), [a, scale]),
    ("group_norm", lambda x: F.group_norm(x, 3), [image]),
    ("group_norm affine", lambda x, w, c: F.group_norm(x, 2, w, c), [image, per_channel, offset]),
    ("norm", lambda x: torch.linalg.vector_norm(x, dim=1), [zero_row]), ("normalize", F.normalize, [zero_row]),
    ("cosine_similarity", F.cosine_similarity, [a, b]),
    ("cross_entropy", F.cross_entropy, [a, labels]), ("cross_entropy", F.cross_entropy, [a * 1000, labels]),
    ("cross_entropy", F.cross_entropy, [a[0], labels[2]]), ("cross_entropy", F.cross_entropy, [cube, cube_labels]),
    ("cross_entropy", F.cross_entropy, [a, shares]), ("cross_entropy", F.cross_entropy, [cube, cube_shares]),
    ("cross_entropy sum", lambda x, t: F.cross_entropy(x, t, reduction="sum"), [cube, cube_labels]),
    ("cross_entropy none", lambda x, t: F.cross_entropy(x, t, reduction="none"), [cube, cube_labels]),
    ("cross_entropy smooth", lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1), [a, labels]),
    ("cross_entropy smooth", lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1), [cube, cube_labels]),
    ("cross_entropy smooth", lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1), [a, shares]),
    ("cross_entropy ignore 2", lambda x, t: F.cross_entropy(x, t, ignore_index=2), [a, labels]),
    ("cross_entropy ignore 2", lambda x, t: F.cross_entropy(x, t, ignore_index=2), [cube, cube_labels]),
    ("cross_entropy ignore 2 none", lambda x, t: F.cross_entropy(x, t, ignore_index=2, reduction="none"), [cube, cube_labels]),
    ("nll_loss", F.nll_loss, [a, labels]), ("nll_loss ignore 0 sum", lambda x, t: F.nll_loss(x, t, ignore_index=0, reduction="sum"), [cube, cube_labels]),
    ("mse_loss", F.mse_loss, [a, b]), ("mse_loss none", lambda x, t: F.mse_loss(x, t, reduction="none"), [a, b]),
    ("l1_loss", F.l1_loss, [a, torch.cat([a[:1], b[1:]])]), ("huber_loss", F.huber_loss, [a, b]),
    ("huber_loss 0.3", lambda x, t: F.huber_loss(x, t, delta=0.3), [a, b]), ("smooth_l1_loss", F.smooth_l1_loss, [a, b]),
    ("smooth_l1_loss 0.3", lambda x, t: F.smooth_l1_loss(x, t, beta=0.3), [a, b]),
    ("binary_cross_entropy", F.binary_cross_entropy, [inside, shares]),
    ("binary_cross_entropy_with_logits", F.binary_cross_entropy_with_logits, [a * 50, shares]),
    ("binary_cross_entropy_with_logits", F.binary_cross_entropy_with_logits, [zero_row * 0, shares]),
    ("binary_cross_entropy_with_logits weighted", lambda x, t, w: F.binary_cross_entropy_with_logits(x, t, pos_weight=w), [a, shares, scale.abs()]),
    ("kl_div", F.kl_div, [a, shares]), ("var", lambda x: torch.var(x, 1), [a]), ("standard_deviation", lambda x: torch.std(x, 1), [a]),
]
# Where PyTorch has no gradient to compare, or one that is NaN.
values_only = [
    ("softmax", lambda x: F.softmax(x, -1), [broken]), ("log_softmax", lambda x: F.log_softmax(x, -1), [broken]),
    ("logsumexp", lambda x: torch.logsumexp(x, -1), [broken]), ("cross_entropy none", lambda x, t: F.cross_entropy(x, t, reduction="none"), [broken, labels]),
    ("relu", F.relu, [special]), ("sigmoid", torch.sigmoid, [special]), ("softplus", F.softplus, [special]), ("silu", F.silu, [special]),
    ("gelu", F.gelu, [special]), ("clamp", lambda x: torch.clamp(x, -1, 3), [special]), ("elu", F.elu, [special]),
    ("leaky_relu", F.leaky_relu, [special]), ("log_sigmoid", F.logsigmoid, [special]),
    ("logaddexp", torch.logaddexp, [special, torch.tensor([-inf, inf, 1], dtype=torch.float64)]),
    ("binary_cross_entropy", F.binary_cross_entropy, [torch.tensor([0.0, 1, 0, 1], dtype=torch.float64), torch.tensor([0.0, 1, 1, 0.5], dtype=torch.float64)]),
    ("kl_div", F.kl_div, [a, torch.eye(3, 5, dtype=torch.float64)]), ("mish", F.mish, [special]),
]


def number(x):
    return x if math.isfinite(x) else str(x)


def tensor(t):
    values = [number(x) for x in t.flatten().tolist()]
    return {"shape": list(t.shape), "integers": not t.is_floating_point(), "values": values}


def record(name, function, inputs, with_gradients):
    # A target is data: PyTorch may refuse to differentiate by it.
    leaves = [x.detach().clone() for x in inputs]
    targets = {"cross_entropy", "kl_div", "binary_cross_entropy", "binary_cross_entropy_with_logits"}
    for i, x in enumerate(leaves):
        is_target = i >= 1 and name.split()[0] in targets
        x.requires_grad_(with_gradients and x.is_floating_point() and not is_target)
    result = function(*leaves)
    gradients = []
    if with_gradients:
        weight = (torch.arange(result.numel(), dtype=torch.float64) % 7 - 2.5) / 3
        (result * weight.reshape(result.shape)).sum().backward()
        gradients = [[number(g) for g in x.grad.flatten().tolist()] if x.requires_grad else None for x in leaves]
    return {"name": name, "inputs": [tensor(x.detach()) for x in leaves], "result": tensor(result.detach()), "gradients": gradients}


records = [record(*case, True) for case in cases] + [record(*case, False) for case in values_only]
path = pathlib.Path(__file__).with_name("composite_reference.json")
path.write_text("[\n" + ",\n".join(json.dumps(r) for r in records) + "\n]\n")
