#include <encore/core/error.h>
#include <encore/jit/cuda/contraction_traits.h>
#include <encore/jit/cuda/enqueue.h>
#include <encore/jit/cuda/library_executable.h>
#include <fmt/format.h>

#include <cstring>

namespace encore::jit::cuda {
namespace {

/// A block of a call. It has no padding, since blocks are compared byte by byte.
struct Call {
  const CublasLtProduct* product;
  size_t algorithm;
  CublasLtOperands operands;
};
static_assert(sizeof(Call) == 7 * sizeof(void*));

/// The address of an operand's first element.
const void* first_of(const Kernel& kernel, const Segment& segment, bool a) {
  const Access& access = *plain_load(kernel, a);
  const int64_t base = access.base == none ? 0 : segment.sizes[access.base];
  const size_t bytes = size_of(kernel.arguments[access.argument].dtype);
  return static_cast<const std::byte*>(segment.arguments[access.argument]) + base * int64_t(bytes);
}

}  // namespace

LibraryExecutable::LibraryExecutable(const Gpu& gpu, DeviceMemory& memory,
                                     LibraryProducts& products, Kernel kernel,
                                     SplitContraction split,
                                     std::shared_ptr<const KernelExecutable> epilogue)
    : gpu_(gpu),
      memory_(memory),
      products_(products),
      kernel_(std::move(kernel)),
      split_(std::move(split)),
      epilogue_(std::move(epilogue)) {}

std::shared_ptr<void> LibraryExecutable::temporary(size_t bytes) const {
  return {memory_.allocate(bytes), [&memory = memory_](void* data) { memory.free(data); }};
}

/// The output's memory, unless it is also that of an argument which is still to be read.
void* LibraryExecutable::matrix(const Segment& segment, const CublasLtShape& shape,
                                LaunchList& to) const {
  if (split_.in_place()) {
    const uint32_t output = kernel_.accesses[split_.result].argument;
    bool shared = false;
    for (uint32_t i = 0; i < kernel_.arguments.size(); ++i)
      shared |= i != output && segment.arguments[i] == segment.arguments[output];
    if (!shared) return segment.arguments[output];
    if (!epilogue_)
      throw Error(fmt::format("kernel '{}' was given one memory twice", kernel_.name), {});
  }
  const int64_t elements = extent_of(shape.c, shape.batch, shape.m, shape.n);
  to.temporaries.push_back(temporary(size_t(elements) * size_of(shape.result)));
  return to.temporaries.back().get();
}

void LibraryExecutable::pack_one(const Segment& segment, LaunchList& to) const {
  const auto shape = library_shape(kernel_, split_, segment.sizes);
  if (!shape)
    throw Error(
        fmt::format("kernel '{}' was made for products of cuBLASLt, and these sizes are for "
                    "none",
                    kernel_.name),
        {});
  const LibraryProducts::Chosen chosen = products_.get(*shape);
  Call call{chosen.product, chosen.algorithm, {}};
  call.operands.a = first_of(kernel_, segment, true);
  call.operands.b = first_of(kernel_, segment, false);
  if (shape->bias) call.operands.bias = segment.arguments[split_.bias];
  void* matrix = call.operands.c = this->matrix(segment, *shape, to);
  if (const size_t bytes = chosen.product->workspace_bytes(chosen.algorithm)) {
    to.temporaries.push_back(temporary(bytes));
    call.operands.workspace = to.temporaries.back().get();
  }
  const size_t block = to.add_block(sizeof call);
  std::memcpy(to.block(block), &call, sizeof call);
  to.launches.push_back({nullptr, {}, block, sizeof call, this});
  if (!epilogue_) return;
  std::vector<void*> arguments(segment.arguments, segment.arguments + kernel_.arguments.size());
  arguments.push_back(matrix);
  const std::vector<int64_t> sizes = epilogue_sizes(kernel_, segment.sizes);
  const Segment after{arguments.data(), sizes.data(), segment.scalars};
  const size_t next = to.launches.size();
  epilogue_->pack({&after, 1}, to);
  if (next < to.launches.size()) to.launches[next].is_behind = true;
}

void LibraryExecutable::pack(std::span<const Segment> segments, LaunchList& to) const {
  for (const Segment& segment : segments) pack_one(segment, to);
}

void LibraryExecutable::enqueue(const std::byte* block, CUstream stream) const {
  Call call;
  std::memcpy(&call, block, sizeof call);
  call.product->run(call.algorithm, call.operands, stream);
  count_library_call();
}

void LibraryExecutable::launch(std::span<const Segment> segments) const {
  LaunchList launches;
  pack(segments, launches);
  Scratch scratch(memory_, launches);
  gpu_.enter();
  for (const LaunchList::Launch& one : launches.launches) cuda::enqueue(gpu_, launches, one);
}

}  // namespace encore::jit::cuda
