// Runs one kernel on made-up data: how fast is it, and does it compute what the interpreter does?
#pragma once
#include <encore/jit/backend.h>
#include <encore/utils/ceilings.h>
#include <encore/utils/kernel_ranges.h>
#include <encore/utils/kernel_work.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace encore {

struct KernelTiming {
  double median = 0, best = 0;  // seconds a launch
  int64_t launches = 0;         // all that were timed
};

/// How a kernel's results differ from the interpreter's.
struct KernelDifference {
  int64_t elements = 0, differing = 0;
  double largest = 0;  // |a - b| / max(1, |b|) of floating elements; infinite where others differ
};

/// Every argument has memory of its own, as long as the kernel's accesses need: floating ones hold
/// normal numbers, integers what `KernelRanges::bound` says, and scalars numbers in (0, 1] or 1.
class KernelAlone {
 public:
  /// Throws what verify_kernel and work_of throw.
  KernelAlone(const jit::Kernel& kernel, jit::Backend& backend, uint64_t seed);
  KernelAlone(const KernelAlone&) = delete;

  const KernelWork& work() const { return work_; }

  /// Launches often enough for a millisecond, `rounds` times; the kernel works on what it left.
  KernelTiming time(int rounds);
  /// Launches once on fresh data.
  KernelDifference check();

 private:
  struct Memory {
    std::vector<std::byte> values;  // all that can be reached
    size_t skipped = 0;             // bytes that stand before element 0
    Ref<Buffer> buffer;
  };
  void fill(uint32_t argument, uint64_t seed, int64_t bound);
  void copy_to_device();
  void launch(int64_t times);

  jit::Kernel kernel_;
  jit::Backend& backend_;
  KernelWork work_;
  std::vector<Memory> memory_;  // by argument
  std::vector<void*> pointers_;
  std::vector<int64_t> sizes_;
  std::vector<uint64_t> scalars_;
  std::shared_ptr<const jit::Executable> code_;
};

/// What the backend's device does at best: on a CPU as utils/ceilings.h says, elsewhere by kernels
/// that stream through memory and that multiply and add in registers.
Ceilings ceilings_of(jit::Backend& backend);

}  // namespace encore
