#include <encore/core/error.h>
#include <encore/core/events.h>
#include <encore/core/settings.h>
#include <encore/trace/kernel_store.h>

#include <algorithm>

namespace encore::trace {
namespace {

using jit::Kernel;

Kernel generic_copy(const Kernel& kernel) {
  Kernel copy = kernel;
  for (jit::Size& size : copy.sizes) size.fixed = size.value == 0 || size.value == 1;
  return copy;
}

/// Keys of different backends never meet.
Hash128 with_backend(const jit::Backend& backend, Hash128 key) {
  Hash128 other = hash_text(backend.name() + ' ' + backend.fingerprint());  // code is loaded per device
  uint64_t words[] = {key.low, key.high, other.low, other.high};
  return hash_words(words);
}

void report(const Kernel& kernel) {
  if (!events::wanted(EventKind::compile)) return;
  events::report({EventKind::compile, kernel.name, to_text(kernel)});
}

}  // namespace

Hash128 structure_key(const Kernel& kernel) { return key_of(generic_copy(kernel)); }

KernelStore::KernelStore() : executables_(settings().cache_bytes) {}

void KernelStore::clear() {
  executables_.clear();
  first_seen_.clear();
}

std::shared_ptr<const jit::Executable> KernelStore::counted(
    std::shared_ptr<const jit::Executable> code) {
  *held_ += int64_t(code->bytes());
  const jit::Executable* address = code.get();
  return {address, [code = std::move(code), held = held_](const jit::Executable*) {
            *held -= int64_t(code->bytes());
          }};
}

std::vector<std::shared_ptr<const jit::Executable>> KernelStore::get(
    jit::Backend& backend, std::span<const KernelRequest> requests, int64_t& compiled) {
  struct Missing {
    Kernel kernel;
    Hash128 key;
    std::vector<size_t> wanted_by;
  };
  std::vector<std::shared_ptr<const jit::Executable>> result(requests.size());
  std::vector<Missing> missing;
  std::unordered_map<Hash128, Hash128, HashOfHash128> newly_seen;
  for (size_t i = 0; i < requests.size(); ++i) {
    Kernel generic = generic_copy(*requests[i].kernel);
    generic.variant = backend.variant(generic);
    Hash128 structure = with_backend(backend, key_of(generic));
    Hash128 exact = with_backend(backend, key_of(*requests[i].kernel));
    if (auto* found = executables_.find(structure)) {
      result[i] = *found;
      continue;
    }
    if (auto* found = executables_.find(exact); found && !requests[i].generic) {
      result[i] = *found;
      continue;
    }
    auto seen = first_seen_.find(structure);
    auto seen_now = newly_seen.try_emplace(structure, exact).first;
    bool other_extents =
        seen_now->second != exact || (seen != first_seen_.end() && seen->second != exact);
    bool needs_generic = requests[i].generic || other_extents;
    Hash128 key = needs_generic ? structure : exact;
    auto same = std::find_if(missing.begin(), missing.end(),
                             [&](const Missing& m) { return m.key == key; });
    if (same != missing.end())
      same->wanted_by.push_back(i);
    else
      missing.push_back({needs_generic ? std::move(generic) : *requests[i].kernel, key, {i}});
  }
  std::vector<const Kernel*> kernels;
  for (const Missing& one : missing) kernels.push_back(&one.kernel);
  if (kernels.empty()) return result;
  for (const Kernel* kernel : kernels)
    if (until_failure_ && --until_failure_ == 0)
      throw Error("compiling kernel '" + kernel->name + "' failed as a test wanted", {});
  std::vector<jit::Binary> binaries = backend.compile(kernels);
  std::vector<std::shared_ptr<const jit::Executable>> loaded;
  for (size_t i = 0; i < missing.size(); ++i)
    loaded.push_back(counted(backend.load(missing[i].kernel, binaries[i])));
  // Nothing is noted before everything has worked.
  for (size_t i = 0; i < missing.size(); ++i) {
    for (size_t request : missing[i].wanted_by) result[request] = loaded[i];
    executables_.put(missing[i].key, loaded[i], int64_t(loaded[i]->bytes()));
    report(missing[i].kernel);
  }
  first_seen_.merge(newly_seen);
  compiled += int64_t(missing.size());
  return result;
}

}  // namespace encore::trace
