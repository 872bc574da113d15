// The kernels that tensors lower to, without running anything.
#pragma once
#include <encore/jit/reference/interpreter.h>
#include <encore/lazy/tensor.h>
#include <encore/trace/pipeline.h>

#include <span>
#include <vector>

namespace encore::testing {

/// The interpreter, which notes what it is asked to compile.
class RecordingBackend : public jit::Backend {
 public:
  std::vector<jit::Kernel> kernels;

  std::string name() const override { return "recording"; }
  std::string fingerprint() const override { return "recording"; }
  jit::Limits limits() const override { return below_.limits(); }
  std::vector<jit::Binary> compile(std::span<const jit::Kernel* const> wanted) override {
    for (const jit::Kernel* kernel : wanted) kernels.push_back(*kernel);
    return below_.compile(wanted);
  }
  std::shared_ptr<const jit::Executable> load(const jit::Kernel& kernel,
                                              const jit::Binary& binary) override {
    return below_.load(kernel, binary);
  }
  std::vector<jit::Listing> listings(const jit::Kernel&) override { return {}; }
  Ref<Buffer> allocate(size_t bytes) override { return below_.allocate(bytes); }
  bool copy_to_device(void* to, const void* from, size_t bytes) override {
    return below_.copy_to_device(to, from, bytes);
  }
  void copy_to_host(void* to, const void* from, size_t bytes) override {
    below_.copy_to_host(to, from, bytes);
  }
  void synchronize() override {}
  int64_t live_bytes() const override { return 0; }
  int64_t peak_bytes() const override { return 0; }
  void reset_peak_bytes() override {}

 private:
  jit::Backend& below_ = jit::interpreter();
};

inline std::vector<jit::Kernel> kernels_of(std::span<const Tensor> results) {
  std::vector<Node*> roots;
  for (const Tensor& result : results) roots.push_back(result.node());
  trace::Capture captured;
  trace::capture(roots, SyncKind::step, roots[0]->device, captured);
  RecordingBackend backend;
  trace::KernelStore store;
  trace::compile(captured, backend, store, {});
  return std::move(backend.kernels);
}

}  // namespace encore::testing
