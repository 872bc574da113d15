#include <encore/core/error.h>
#include <encore/jit/cuda/contraction_traits.h>
#include <encore/jit/cuda/enqueue.h>
#include <encore/jit/cuda/library_executable.h>
#include <fmt/format.h>

#include <cstring>
#include <memory>
#include <utility>

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

/// The memory that a launch was given, to be cut into pieces; where it ends, memory is allocated.
class LibraryExecutable::Room {
 public:
  /// Of a piece's beginning and size.
  static constexpr size_t alignment = 256;

  Room(const Segment& segment, DeviceMemory& memory, LaunchList& to)
      : memory_(memory), to_(to), left_(segment.scratch_bytes) {
    void* begin = segment.scratch;
    is_given_ = begin && std::align(alignment, 0, begin, left_);
    next_ = static_cast<std::byte*>(begin);
  }

  size_t left() const { return left_; }

  void* take(size_t bytes) {
    bytes = round_up(bytes);
    if (!is_given_ || bytes > left_) return allocate(bytes);
    left_ -= bytes;
    return std::exchange(next_, next_ + bytes);
  }

  static size_t round_up(size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

 private:
  void* allocate(size_t bytes) {
    to_.temporaries.push_back(
        {memory_.allocate(bytes), [&memory = memory_](void* data) { memory.free(data); }});
    return to_.temporaries.back().get();
  }

  DeviceMemory& memory_;
  LaunchList& to_;
  size_t left_;
  bool is_given_;
  std::byte* next_;
};

CublasLtShape LibraryExecutable::shape_of(const Segment& segment) const {
  if (const auto shape = library_shape(kernel_, split_, segment.sizes)) return *shape;
  throw Error(fmt::format("kernel '{}' was made for products of cuBLASLt, and these sizes are for "
                          "none",
                          kernel_.name),
              {});
}

/// The matrix lies in the output, unless that is also an argument which is still to be read.
size_t LibraryExecutable::matrix_bytes(const Segment& segment, const CublasLtShape& shape) const {
  if (split_.in_place()) {
    const uint32_t output = kernel_.accesses[split_.result].argument;
    bool shared = false;
    for (uint32_t i = 0; i < kernel_.arguments.size(); ++i)
      shared |= i != output && segment.arguments[i] == segment.arguments[output];
    if (!shared) return 0;
    if (!epilogue_)
      throw Error(fmt::format("kernel '{}' was given one memory twice", kernel_.name), {});
  }
  return size_t(extent_of(shape.c, shape.batch, shape.m, shape.n)) * size_of(shape.result);
}

ScratchWish LibraryExecutable::scratch(const Segment& segment) const {
  const CublasLtShape shape = shape_of(segment);
  const size_t matrix = Room::round_up(matrix_bytes(segment, shape));
  auto with = [&](size_t workspace) {
    const size_t bytes = matrix + Room::round_up(workspace);
    return bytes ? bytes + Room::alignment : 0;
  };
  return {with(products_.get(shape, 0).workspace_bytes()),
          with(products_.get(shape).workspace_bytes())};
}

void LibraryExecutable::pack_one(const Segment& segment, LaunchList& to) const {
  const CublasLtShape shape = shape_of(segment);
  Room room(segment, memory_, to);
  const size_t matrix_bytes = this->matrix_bytes(segment, shape);
  void* const matrix = matrix_bytes ? room.take(matrix_bytes)
                                    : segment.arguments[kernel_.accesses[split_.result].argument];
  const LibraryProducts::Chosen chosen = products_.get(shape, room.left());
  Call call{chosen.product.get(), chosen.algorithm, {}};
  to.pointed_to.push_back(chosen.product);
  call.operands.a = first_of(kernel_, segment, true);
  call.operands.b = first_of(kernel_, segment, false);
  if (shape.bias) call.operands.bias = segment.arguments[split_.bias];
  call.operands.c = matrix;
  if (const size_t bytes = chosen.workspace_bytes()) call.operands.workspace = room.take(bytes);
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
