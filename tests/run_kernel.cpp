// Runs random kernels and compares what they leave in memory.
#include <encore/jit/reference/execute.h>
#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "random_kernel.h"

namespace encore::jit {
namespace {

template <class Arguments>
Segment segment_of(const LaunchData& data, const Arguments& arguments) {
  return {arguments.data(), data.sizes.data(), data.scalars.data()};
}

bool is_nan(DType dtype, const std::byte* at) {
  uint64_t bits = 0;
  std::memcpy(&bits, at, size_of(dtype));
  bits &= ~(uint64_t(1) << (8 * size_of(dtype) - 1));
  if (dtype == DType::f16) return bits > 0x7c00;
  if (dtype == DType::bf16) return bits > 0x7f80;
  if (dtype == DType::f32) return bits > 0x7f800000;
  return dtype == DType::f64 && bits > 0x7ff0000000000000;
}

std::string hex(const std::byte* at, size_t bytes) {
  uint64_t bits = 0;
  std::memcpy(&bits, at, bytes);
  return fmt::format("0x{:0{}x}", bits, 2 * bytes);
}

}  // namespace

std::vector<LaunchData> run_reference(const RandomKernel& random) {
  Program program(random.kernel);
  std::vector<LaunchData> result = random.segments;
  for (LaunchData& data : result) {
    std::vector<void*> arguments;
    std::vector<size_t> bytes;
    for (uint32_t owner : random.owners) {
      arguments.push_back(data.arguments[owner].data());
      bytes.push_back(data.arguments[owner].size());
    }
    program.run(segment_of(data, arguments), bytes);
  }
  return result;
}

std::vector<LaunchData> run_on(Backend& backend, const RandomKernel& random) {
  const Kernel* kernel = &random.kernel;
  std::vector<Binary> binaries = backend.compile({&kernel, 1});
  return run_on(backend, *backend.load(random.kernel, binaries[0]), random);
}

std::vector<LaunchData> run_on(Backend& backend, const Executable& code,
                               const RandomKernel& random) {
  std::vector<LaunchData> result = random.segments;
  std::vector<Ref<Buffer>> buffers;
  std::vector<std::vector<void*>> arguments;
  std::vector<Segment> segments;
  for (const LaunchData& data : random.segments) {
    size_t first = buffers.size();
    for (const std::vector<std::byte>& memory : data.arguments) {
      buffers.push_back(backend.allocate(memory.size()));
      backend.copy_to_device(buffers.back()->data(), memory.data(), memory.size());
    }
    std::vector<void*>& pointers = arguments.emplace_back();
    for (uint32_t owner : random.owners) pointers.push_back(buffers[first + owner]->data());
    segments.push_back(segment_of(data, pointers));
  }
  code.launch(segments);
  backend.synchronize();
  size_t next = 0;
  for (LaunchData& data : result)
    for (std::vector<std::byte>& memory : data.arguments)
      backend.copy_to_host(memory.data(), buffers[next++]->data(), memory.size());
  return result;
}

std::string first_difference(const Kernel& kernel, const std::vector<LaunchData>& expected,
                             const std::vector<LaunchData>& actual) {
  for (size_t segment = 0; segment < expected.size(); ++segment) {
    for (size_t argument = 0; argument < kernel.arguments.size(); ++argument) {
      DType dtype = kernel.arguments[argument].dtype;
      size_t width = size_of(dtype);
      const auto& wanted = expected[segment].arguments[argument];
      const auto& found = actual[segment].arguments[argument];
      for (size_t at = 0; at < wanted.size(); at += width) {
        const std::byte *a = wanted.data() + at, *b = found.data() + at;
        if (std::memcmp(a, b, width) == 0 || (is_nan(dtype, a) && is_nan(dtype, b))) continue;
        return fmt::format(
            "kernel '{}', segment {}, argument {} ({}), element {}: expected {}, found {}",
            kernel.name, segment, argument, name_of(dtype), at / width, hex(a, width),
            hex(b, width));
      }
    }
  }
  return {};
}

}  // namespace encore::jit
