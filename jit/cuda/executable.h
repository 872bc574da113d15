// Loaded code of one kernel.
//
// Several kernels may come from one cubin; it is loaded once and unloaded with the last of them.
#pragma once
#include <encore/jit/cuda/launch_list.h>
#include <encore/jit/cuda/memory.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace encore::jit::cuda {

/// A loaded cubin.
class Module {
 public:
  Module(const Gpu& gpu, std::span<const std::byte> cubin);
  /// Waits for the stream: what runs must not lose its code.
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  CUfunction function(const std::string& symbol) const;

 private:
  const Gpu& gpu_;
  CUmodule module_ = nullptr;
};

class KernelExecutable final : public Launchable {
 public:
  KernelExecutable(const Gpu& gpu, DeviceMemory& memory, LaunchLayout layout,
                   std::shared_ptr<const Module> module, const std::string& symbol, size_t bytes);

  void pack(std::span<const Segment> segments, LaunchList& to) const override;
  void set_scratch(std::byte* block, void* scratch) const override {
    layout_.set_scratch(block, scratch);
  }
  void launch(std::span<const Segment> segments) const override;
  size_t bytes() const override { return bytes_; }

 private:
  /// A function and the dynamic shared memory that it was permitted so far.
  struct Function {
    CUfunction handle;
    std::atomic<uint32_t> permitted;
  };
  void permit(Function& function, uint32_t shared_bytes) const;

  const Gpu& gpu_;
  DeviceMemory& memory_;
  LaunchLayout layout_;
  std::shared_ptr<const Module> module_;
  std::unique_ptr<Function[]> functions_;
  size_t bytes_;
};

}  // namespace encore::jit::cuda
