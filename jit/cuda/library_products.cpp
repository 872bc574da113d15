#include <encore/core/error.h>
#include <encore/jit/cuda/library_products.h>
#include <encore/jit/cuda/measure_product.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <limits>
#include <optional>
#include <vector>

namespace encore::jit::cuda {
namespace {

std::atomic<int64_t> calls{0};

/// A later algorithm must be faster by this, so that noise does not choose.
constexpr float least_gain = 0.98f;

/// The number of the fastest algorithm, the first of those that are about as fast, among those that
/// need so much workspace at most; nothing where all of these fail.
std::optional<size_t> fastest_of(const CublasLtProduct& product, const std::vector<float>& times,
                                 size_t most_workspace) {
  std::optional<size_t> fastest;
  float best = std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < times.size(); ++i)
    if (product.workspace_bytes(i) <= most_workspace && times[i] < best * least_gain)
      fastest = i, best = times[i];
  return fastest;
}

size_t least_workspace(const CublasLtProduct& product) {
  size_t least = product.workspace_bytes(0);
  for (size_t i = 1; i < product.algorithms(); ++i)
    least = std::min(least, product.workspace_bytes(i));
  return std::max(least, CublasLtProduct::little_workspace_bytes);
}

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
  if (entries_.size() > most_shapes) forget_half();
  auto [place, is_new] = entries_.try_emplace(shape);
  Entry& entry = place->second;
  entry.asked = ++now_;
  if (!is_new) return entry;
  try {
    gpu_.enter();
    entry.product = std::make_shared<const CublasLtProduct>(shape);
    while (entry.product->workspace_bytes(entry.thrifty) > least_workspace(*entry.product))
      ++entry.thrifty;
  } catch (const DeviceLost&) {
    entries_.erase(place);
    throw;
  } catch (const DeviceError& error) {
    entry.refusal = error.message();
    tell_once(entry.refusal);
  }
  return entry;
}

void LibraryProducts::forget_half() {
  std::vector<uint64_t> times;
  for (const auto& [shape, entry] : entries_) times.push_back(entry.asked);
  const auto middle = times.begin() + ptrdiff_t(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  std::erase_if(entries_, [&](const auto& one) { return one.second.asked < *middle; });
}

bool LibraryProducts::can(const CublasLtShape& shape) {
  std::lock_guard lock(mutex_);
  return entry(shape).product != nullptr;
}

LibraryProducts::Chosen LibraryProducts::get(const CublasLtShape& shape, size_t most_workspace) {
  std::lock_guard lock(mutex_);
  const Entry& known = entry(shape);
  if (!known.product) throw DeviceError(known.refusal, {});
  const bool fits = known.product->workspace_bytes(known.fastest) <= most_workspace;
  return {known.product, fits ? known.fastest : known.thrifty};
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
  const CublasLtProduct& product = *chosen.product;
  size_t fastest = product.find(known.first(known.size() / 2));
  size_t thrifty = product.find(known.last(known.size() / 2));
  if (fastest == product.algorithms() || thrifty == product.algorithms()) {
    try {
      const std::vector<float> times = time_algorithms(gpu_, memory_, product);
      const auto first = fastest_of(product, times, ~size_t(0));
      if (!first) return {};
      fastest = *first;
      thrifty = fastest_of(product, times, least_workspace(product)).value_or(fastest);
    } catch (const OutOfMemory&) {
      return {};
    }
  }
  chosen.fastest = fastest, chosen.thrifty = thrifty;
  chosen.is_chosen = true;
  std::vector<std::byte> answer = product.bytes(fastest), second = product.bytes(thrifty);
  answer.insert(answer.end(), second.begin(), second.end());
  return answer;
}

}  // namespace encore::jit::cuda
