// Random tensors: Philox 4x32-10 by (seed, draw index), the same bits on every backend.
//
// Every call draws its own index from a generator of the process (any thread may call). Seed and
// index are runtime arguments, so a replayed program draws new numbers. No gradient flows.
#pragma once
#include <encore/lazy/record.h>

namespace encore {

/// Restarts the generator: the same calls after it give the same numbers. The first seed is 0.
void manual_seed(int64_t seed);

/// Uniform in [0, 1), with as many bits as the dtype's fraction holds.
Tensor rand(Shape shape, Options options = {}, Tensor::At at = Tensor::At::current());
/// Normal with mean 0 and variance 1 (Box and Muller, 1958).
Tensor randn(Shape shape, Options options = {}, Tensor::At at = Tensor::At::current());
/// Integers in [low, high), all about equally likely (the bias is below (high - low) / 2^32 for
/// ranges up to 2^32, and below (high - low) / 2^64 beyond).
Tensor randint(int64_t low, int64_t high, Shape shape, Options options = {.dtype = DType::i64},
               Tensor::At at = Tensor::At::current());
/// 1 with probability `p` (a number or a tensor that broadcasts to `shape`), else 0.
Tensor bernoulli(const Arg& p, Shape shape, Options options = {},
                 Tensor::At at = Tensor::At::current());
/// The numbers 0 … count - 1 in random order; shuffled on the host.
Tensor randperm(int64_t count, Options options = {.dtype = DType::i64},
                Tensor::At at = Tensor::At::current());

/// Takes the next draw index from the process's generator: what each random tensor does once.
int64_t next_draw_index();

}  // namespace encore
