// Seeded random kernels that obey every rule of kernel.h, with inputs, for comparing backends with
// the interpreter bit by bit.
//
// Whatever no rule orders is left out: no two points of a launch store to one element, and what
// store_add hits twice it hits from different rows. NaN payloads reach integers nowhere.
#pragma once
#include <encore/jit/backend.h>
#include <encore/jit/kernel.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace encore::jit {

/// What a random kernel may contain; a backend that still grows turns off what it lacks.
struct RandomKernelOptions {
  bool contractions = true;
  bool row_accumulators = true;
  bool column_accumulators = true;
  bool arg_reductions = true;
  bool predicates = true;
  bool indirect = true;  // offsets computed in the kernel
  bool store_add = true;
  bool in_place = true;         // an argument that each point reads and then writes
  bool kept_rows = true;        // an argument through which sweeps pass values on
  bool segments = true;         // up to three, else one
  std::vector<DType> dtypes;    // of values and memory; empty: all
  std::vector<Opcode> without;  // pure instructions to leave out
  int64_t max_points = 4000;    // five times as many products
  int max_stages = 5;
  int instructions_per_stage = 8;  // at most, besides loads, stores and casts that they need
};

/// What one segment is launched with.
struct LaunchData {
  std::vector<std::vector<std::byte>> arguments;
  std::vector<int64_t> sizes;
  std::vector<uint64_t> scalars;
};

struct RandomKernel {
  Kernel kernel;
  std::vector<LaunchData> segments;
  /// By argument: the one whose memory it is handed, mostly itself. Of the rest, LaunchData holds
  /// no bytes.
  std::vector<uint32_t> owners;
};

RandomKernel make_random_kernel(uint64_t seed, const RandomKernelOptions& options = {});

/// Runs the segments by the interpreter, with every access checked; returns what memory holds then.
std::vector<LaunchData> run_reference(const RandomKernel& random);

/// Compiles, loads and launches on `backend` in one launch; returns what memory holds then.
std::vector<LaunchData> run_on(Backend& backend, const RandomKernel& random);
/// Likewise with code that was compiled before.
std::vector<LaunchData> run_on(Backend& backend, const Executable& code,
                               const RandomKernel& random);

/// Where memory differs first, in words; all NaNs count as equal. Empty: nowhere.
std::string first_difference(const Kernel& kernel, const std::vector<LaunchData>& expected,
                             const std::vector<LaunchData>& actual);

}  // namespace encore::jit
