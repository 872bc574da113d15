// What this machine can do at best, measured in the same run as everything it is compared with.
#pragma once

namespace encore {

/// What bounds a workload: bytes a second of memory, floating-point operations a second.
struct Ceilings {
  double stream = 0;
  double flops = 0;
};

/// Bytes a second of a[i] = b[i] + s * c[i] over arrays far larger than the caches, with stores
/// that bypass them; 12 bytes an element. The best of several rounds.
double stream_bytes_per_second(int threads);

/// Multiply-adds in registers only, counted as two operations each. The best of several rounds.
double fma_flops_per_second(int threads);

}  // namespace encore
