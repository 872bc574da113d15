// A contraction whose product cuBLASLt makes; what the library does not do is a kernel that reads
// the product from memory.
#pragma once
#include <encore/jit/cuda/executable.h>
#include <encore/jit/cuda/library_products.h>
#include <encore/jit/cuda/split_contraction.h>

namespace encore::jit::cuda {

class LibraryExecutable final : public Launchable, public LibraryCall {
 public:
  /// `epilogue` is the code of `split.epilogue`, null where there is none.
  LibraryExecutable(const Gpu& gpu, DeviceMemory& memory, LibraryProducts& products, Kernel kernel,
                    SplitContraction split, std::shared_ptr<const KernelExecutable> epilogue);

  void pack(std::span<const Segment> segments, LaunchList& to) const override;
  void set_scratch(std::byte*, void*) const override {}
  void launch(std::span<const Segment> segments) const override;
  void enqueue(const std::byte* block, CUstream stream) const override;
  ScratchWish scratch(const Segment& segment) const override;
  size_t bytes() const override { return epilogue_ ? epilogue_->bytes() : 0; }

 private:
  class Room;

  void pack_one(const Segment& segment, LaunchList& to) const;
  CublasLtShape shape_of(const Segment& segment) const;
  /// Of a matrix that lies in no output; 0: it lies in one.
  size_t matrix_bytes(const Segment& segment, const CublasLtShape& shape) const;

  const Gpu& gpu_;
  DeviceMemory& memory_;
  LibraryProducts& products_;
  const Kernel kernel_;
  const SplitContraction split_;
  std::shared_ptr<const KernelExecutable> epilogue_;
};

}  // namespace encore::jit::cuda
