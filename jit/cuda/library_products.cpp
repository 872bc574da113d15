#include <encore/core/error.h>
#include <encore/jit/cuda/library_products.h>
#include <encore/jit/cuda/measure_product.h>
#include <fmt/format.h>

#include <atomic>
#include <cstdio>

namespace encore::jit::cuda {
namespace {

std::atomic<int64_t> calls{0};

/// Once for the process: it is slower than it could be, and nothing is wrong.
void tell_once(const std::string& what) {
  static std::atomic_flag told;
  if (!told.test_and_set())
    fmt::print(stderr, "encore: {}; generated code makes such products\n", what);
}

}  // namespace

int64_t library_calls() { return calls.load(std::memory_order_relaxed); }
void count_library_call() { calls.fetch_add(1, std::memory_order_relaxed); }

LibraryProducts::Entry& LibraryProducts::entry(const CublasLtShape& shape) {
  auto [place, is_new] = entries_.try_emplace(shape);
  Entry& entry = place->second;
  if (!is_new) return entry;
  try {
    gpu_.enter();
    entry.product = std::make_unique<const CublasLtProduct>(shape);
  } catch (const DeviceLost&) {
    entries_.erase(place);
    throw;
  } catch (const DeviceError& error) {
    entry.refusal = error.message();
    tell_once(entry.refusal);
  }
  return entry;
}

bool LibraryProducts::can(const CublasLtShape& shape) {
  std::lock_guard lock(mutex_);
  return entry(shape).product != nullptr;
}

LibraryProducts::Chosen LibraryProducts::get(const CublasLtShape& shape) {
  std::lock_guard lock(mutex_);
  const Entry& known = entry(shape);
  if (!known.product) throw DeviceError(known.refusal, {});
  return {known.product.get(), known.algorithm};
}

std::string LibraryProducts::question(const CublasLtShape& shape) {
  std::lock_guard lock(mutex_);
  const Entry& known = entry(shape);
  if (!known.product || known.is_chosen) return {};
  return fmt::format("cublaslt {} driver {} on {} with {} multiprocessors: {}", cublaslt_version(),
                     driver().version(), gpu_.name(), gpu_.multiprocessors(), to_text(shape));
}

std::vector<std::byte> LibraryProducts::choose(const CublasLtShape& shape,
                                               std::span<const std::byte> known) {
  std::lock_guard lock(mutex_);
  Entry& chosen = entry(shape);
  if (!chosen.product) return {};
  size_t algorithm = chosen.product->find(known);
  if (algorithm == chosen.product->algorithms()) {
    try {
      const std::optional<size_t> fastest = fastest_algorithm(gpu_, memory_, *chosen.product);
      if (!fastest) return {};
      algorithm = *fastest;
    } catch (const OutOfMemory&) {
      return {};
    }
  }
  chosen.algorithm = algorithm;
  chosen.is_chosen = true;
  return chosen.product->bytes(algorithm);
}

}  // namespace encore::jit::cuda
