// A driver without a device: what tests see of tests/fake_cuda_driver.cpp, which is built as a
// libcuda.so.1 of its own.
//
// "Device memory" is host memory. Everything enqueued waits until the stream (or an event) is
// waited for, so that whoever relies on more than stream order is caught. Kernels that
// tests/fake_nvrtc.cpp compiled run on the host; others do nothing, unless a host function stands
// in for their symbol. FAKE_CUDA_VERSION and FAKE_CUDA_DEVICES set what the driver says of itself.
#pragma once
#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace encore::fake_cuda {

struct Launch {
  std::string symbol;
  unsigned grid = 0, threads = 0, shared_bytes = 0;
  std::vector<std::byte> parameters;  // as the launch copied them
  void* function = nullptr;           // the driver's own
  bool in_graph = false;
};

/// What a kernel's symbol stands for: how many bytes of parameters it takes, and what it does.
struct Stand {
  size_t parameter_bytes = 0;
  std::function<void(const std::byte* parameters)> run;
};

struct Driver {
  std::map<std::string, Stand> kernels;
  std::map<std::string, int> calls;  // by function
  std::vector<Launch> launches;      // in the order in which they ran
  size_t memory = size_t(1) << 30;   // bytes of each device
  size_t used = 0, pinned = 0;
  int refusals = 0;  // allocations that are still to be refused
  int modules = 0, graphs = 0, executable_graphs = 0, events = 0;
  size_t enqueued = 0;  // operations that nobody has waited for
  /// What a device might have done wrongly: uses of memory that nothing orders (see
  /// fake_cuda_order.h), sources that were written too early. Each test fails that leaves any.
  std::vector<std::string> complaints;
  bool complaints_are_read = false;
};

/// The driver of this process, which Encore opens as well: to be called before CUDA is touched.
Driver& driver();

/// Puts work onto a stream of the fake, as libraries do.
void enqueue(void* stream, std::function<void()> work);

/// True where this process has a GPU of its own (and ENCORE_TEST_EMULATE is not set); otherwise
/// opens the fake, so that CUDA works in either case.
bool use_gpu_or_fake();

/// Runs one test of this program in a process of its own, where `is_apart`; what it says. For what
/// happens once in a process, or ends it.
std::string run_apart(const std::string& test, const std::string& environment = {});
bool is_apart();

}  // namespace encore::fake_cuda
