#include <encore/core/error.h>
#include <encore/core/hash.h>
#include <encore/core/settings.h>
#include <encore/jit/cuda/choose_product.h>
#include <encore/jit/cuda/cuda_backend.h>
#include <encore/jit/cuda/executable.h>
#include <encore/jit/cuda/generate.h>
#include <encore/jit/cuda/library_executable.h>
#include <encore/jit/cuda/nvrtc.h>
#include <encore/jit/cuda/sequence.h>
#include <encore/jit/cuda/staging.h>
#include <encore/jit/seal.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>

namespace encore::jit::cuda {
namespace {

/// Kernels that share an NVRTC program. Starting one costs as much as several kernels, but whoever
/// needs one kernel of it loads the whole cubin. Contractions are large, so each has its own.
constexpr size_t most_kernels_per_program = 8;

/// What the kernel's functions are called in its cubin, which may hold other kernels too.
std::string symbol_of(const Kernel& kernel) { return "k" + key_of(kernel).hex(); }

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(int index)
      : gpu_(index),
        memory_(gpu_),
        staging_(gpu_),
        timer_(gpu_),
        products_(gpu_, memory_),
        compiler_(nvrtc_version()) {}

  std::string name() const override { return fmt::format("cuda:{}", gpu_.index()); }
  std::string fingerprint() const override {
    return fmt::format("cuda nvrtc {} sm_{}{}{} code {}", compiler_, gpu_.compute_capability(),
                       target().strict ? " strict" : "", target().wgmma ? " wgmma" : "",
                       code_version());
  }
  Limits limits() const override {
    // A launch costs as much as hundreds of instructions that wait for one another, so kernels may
    // grow as long as they can; the constants that their ops share were counted more than once.
    // Three blocks for each of 132 multiprocessors, and no cut through the tiles of products; in
    // strict mode as everywhere.
    Limits limits{.scalars = 160, .instructions = max_instructions * 3 / 2};
    if (!settings().strict) limits.most_narrow_chunks = 396, limits.product_chunk_rows = 128;
    return limits;
  }

  uint32_t variant(const Kernel& kernel) const override {
    return kernel.contraction ? choose_product(kernel, target(), products_) : 0;
  }

  std::vector<Binary> compile(std::span<const Kernel* const> kernels) override {
    std::vector<std::optional<Kernel>> written;
    for (const Kernel* kernel : kernels) written.push_back(written_part(*kernel));
    const std::vector<std::vector<size_t>> programs = programs_of(written);
    std::vector<std::string> sources;
    for (const std::vector<size_t>& program : programs) {
      std::vector<const Kernel*> together;
      for (size_t i : program) together.push_back(&*written[i]);
      sources.push_back(source(together));
    }
    std::vector<std::vector<std::byte>> cubins =
        compile_to_cubins(sources, gpu_.compute_capability());
    std::vector<Binary> binaries(kernels.size());
    for (size_t p = 0; p < programs.size(); ++p) {
      const bool is_shared = programs[p].size() > 1;
      auto cubin = std::make_shared<const std::vector<std::byte>>(std::move(cubins[p]));
      for (size_t i : programs[p])
        binaries[i] = is_shared ? seal_shared(*kernels[i], fingerprint(), cubin)
                                : seal(*kernels[i], fingerprint(), *cubin);
    }
    for (size_t i = 0; i < kernels.size(); ++i)
      if (!written[i]) binaries[i] = seal(*kernels[i], fingerprint(), {});
    return binaries;
  }

  std::shared_ptr<const Executable> load(const Kernel& kernel, const Binary& binary) override {
    std::span<const std::byte> cubin = unseal(kernel, fingerprint(), binary);
    if (!is_by_library(kernel)) return load_written(kernel, cubin);
    SplitContraction split = split_for_library(kernel);
    auto epilogue = split.epilogue ? load_written(*split.epilogue, cubin) : nullptr;
    return std::make_shared<LibraryExecutable>(gpu_, memory_, products_, kernel, std::move(split),
                                               std::move(epilogue));
  }

  std::vector<Listing> listings(const Kernel& kernel) override {
    Kernel shown = kernel;
    shown.variant = kernel.variant ? kernel.variant : variant(kernel);
    const std::string remark = library_remark(shown);
    const std::optional<Kernel> written = written_part(shown);
    if (!written) return {{"cuda", remark}};
    const Kernel* one[] = {&*written};
    std::string text = source(one);
    return {{"cuda", remark + text}, {"ptx", compile_to_ptx(text, gpu_.compute_capability())}};
  }

  std::string question(const Kernel& kernel) override {
    if (!is_by_library(kernel)) return {};
    const auto shape = library_shape(kernel);
    return shape ? products_.question(*shape) : std::string();
  }
  std::vector<std::byte> answer(const Kernel& kernel, std::span<const std::byte> known) override {
    return products_.choose(library_shape(kernel).value(), known);
  }

  std::unique_ptr<Sequence> sequence(std::vector<std::shared_ptr<const Executable>> code,
                                     std::shared_ptr<const Labels> labels,
                                     Dependencies waits_for) override {
    return std::make_unique<GraphSequence>(gpu_, memory_, std::move(code), std::move(waits_for),
                                           std::move(labels), &timer_);
  }

  Ref<Buffer> allocate(size_t bytes) override { return memory_.allocate_buffer(bytes); }
  bool copy_to_device(void* to, const void* from, size_t bytes) override {
    return staging_.to_device(to, from, bytes);
  }
  void copy_to_host(void* to, const void* from, size_t bytes) override {
    staging_.to_host(to, from, bytes);
    timer_.harvest(false);
    staging_.timer().harvest(false);
  }
  void synchronize() override {
    gpu_.synchronize();
    timer_.harvest(true);
    staging_.timer().harvest(true);
  }
  int64_t live_bytes() const override { return memory_.live_bytes(); }
  int64_t peak_bytes() const override { return memory_.peak_bytes(); }
  void reset_peak_bytes() override { memory_.reset_peak_bytes(); }
  DeviceBytes device_bytes() const override {
    Gpu::Bytes bytes = gpu_.bytes();
    return {int64_t(bytes.free), int64_t(bytes.total), memory_.live_bytes(),
            memory_.reserved_bytes()};
  }
  Staging& staging() { return staging_; }

 private:
  Target target() const { return {gpu_.compute_capability(), settings().strict, settings().wgmma}; }

  static bool is_by_library(const Kernel& kernel) {
    return kernel.contraction && kernel.variant == library_variant;
  }

  static SplitContraction split_for_library(const Kernel& kernel) {
    if (auto split = split_contraction(kernel)) return *std::move(split);
    throw Error("kernel '" + kernel.name + "' is no product for cuBLASLt", {});
  }

  /// The kernel that code is generated for: what the library leaves to do; nothing where that is
  /// nothing.
  static std::optional<Kernel> written_part(const Kernel& kernel) {
    if (!is_by_library(kernel)) return kernel;
    return split_for_library(kernel).epilogue;
  }

  static std::string library_remark(const Kernel& kernel) {
    const auto shape = is_by_library(kernel) ? library_shape(kernel) : std::nullopt;
    return shape ? fmt::format("// by cublasLtMatmul: {}\n", to_text(*shape)) : std::string();
  }

  std::shared_ptr<const KernelExecutable> load_written(const Kernel& kernel,
                                                       std::span<const std::byte> cubin) {
    return std::make_shared<KernelExecutable>(gpu_, memory_, LaunchLayout(kernel, target()),
                                              module(cubin), symbol_of(kernel), cubin.size());
  }

  /// Kernels by their numbers, the dearest programs first.
  static std::vector<std::vector<size_t>> programs_of(
      std::span<const std::optional<Kernel>> kernels) {
    std::vector<std::vector<size_t>> programs;
    for (size_t i = 0; i < kernels.size(); ++i)
      if (kernels[i] && kernels[i]->contraction) programs.push_back({i});
    const size_t alone = programs.size();
    for (size_t i = 0; i < kernels.size(); ++i) {
      if (!kernels[i] || kernels[i]->contraction) continue;
      if (programs.size() == alone || programs.back().size() == most_kernels_per_program)
        programs.emplace_back();
      programs.back().push_back(i);
    }
    return programs;
  }

  /// Each kernel once, behind what they share.
  std::string source(std::span<const Kernel* const> kernels) const {
    std::string text = prelude(target());
    std::vector<std::string> written;
    for (const Kernel* kernel : kernels) {
      std::string symbol = symbol_of(*kernel);
      if (std::find(written.begin(), written.end(), symbol) != written.end()) continue;
      text += generate(*kernel, symbol, target());
      written.push_back(std::move(symbol));
    }
    return text;
  }

  /// A cubin that several kernels came from is loaded once.
  std::shared_ptr<const Module> module(std::span<const std::byte> cubin) {
    Hash128 key = hash_bytes(cubin.data(), cubin.size());
    std::lock_guard lock(modules_mutex_);
    std::weak_ptr<const Module>& known = modules_[key];
    std::shared_ptr<const Module> loaded = known.lock();
    if (loaded) return loaded;
    std::erase_if(modules_,
                  [&](const auto& entry) { return entry.first != key && entry.second.expired(); });
    in_room(memory_, [&] { loaded = std::make_shared<Module>(gpu_, cubin); });
    modules_[key] = loaded;
    return loaded;
  }

  Gpu gpu_;
  DeviceMemory memory_;
  Staging staging_;
  LaunchTimer timer_;
  mutable LibraryProducts products_;
  std::string compiler_;
  std::mutex modules_mutex_;
  std::unordered_map<Hash128, std::weak_ptr<const Module>, HashOfHash128> modules_;
};

/// By device number.
struct Made {
  std::mutex mutex;
  std::array<std::atomic<Backend*>, 256> backends{};
};

Made& made() {
  static auto& instance = *new Made;
  return instance;
}

}  // namespace

Backend& cuda_backend(int index) {
  std::atomic<Backend*>& place = made().backends.at(size_t(index));
  if (Backend* known = place.load(std::memory_order_acquire)) return *known;
  std::lock_guard lock(made().mutex);
  if (!place) place = new CudaBackend(index);
  return *place;
}

Staging& staging_of(int index) { return static_cast<CudaBackend&>(cuda_backend(index)).staging(); }

int device_count() {
  try {
    int count = driver().device_count();
    return count > 0 && nvrtc_is_available() ? count : 0;
  } catch (const DeviceUnavailable&) {
    return 0;
  }
}

std::vector<Backend*> made_backends() {
  std::vector<Backend*> backends;
  for (const std::atomic<Backend*>& place : made().backends)
    if (Backend* backend = place.load(std::memory_order_acquire)) backends.push_back(backend);
  return backends;
}

}  // namespace encore::jit::cuda
