#include <encore/core/error.h>
#include <encore/core/events.h>
#include <encore/core/settings.h>
#include <encore/trace/kernel_store.h>
#include <encore/trace/statistics.h>
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

namespace encore::trace {
namespace {

using jit::Kernel;

/// Structures whose first extents are remembered; their code may be gone long since.
constexpr int64_t most_first_extents = 1 << 14;

void report(EventKind kind, const Kernel& kernel) {
  if (events::wanted(kind)) events::report({kind, kernel.name, to_text(kernel)});
}

bool may_compile() {
  if (settings().compile != "allow" && settings().compile != "forbid")
    throw Error("ENCORE_COMPILE is '" + settings().compile + "'", {}, "it is allow or forbid");
  return settings().compile == "allow";
}

}  // namespace

Hash128 structure_key(const Kernel& kernel) { return key_of(with_sizes_as_arguments(kernel)); }

KernelStore::KernelStore()
    : executables_(settings().cache_bytes / 2), first_extents_(most_first_extents) {}

void KernelStore::clear() {
  executables_.clear();
  first_extents_.clear();
  stored_.close();
  history_.note_cleared();
}

KernelStore::Code KernelStore::counted(Code code) {
  *held_ += int64_t(code->bytes());
  const jit::Executable* address = code.get();
  return {address, [code = std::move(code), held = held_](const jit::Executable*) {
            *held -= int64_t(code->bytes());
          }};
}

/// What one call of `get` asks for. Nothing of it is noted in the store before everything has
/// worked.
class KernelStore::Batch {
 public:
  Batch(KernelStore& store, jit::Backend& backend)
      : store_(store),
        backend_(backend),
        fingerprint_(backend.fingerprint()),
        device_(hash_text(backend.name())) {}

  void add(size_t request, const KernelRequest& asked) {
    Kernel kernel = *asked.kernel;
    Kernel generic = with_sizes_as_arguments(kernel);
    generic.variant = backend_.variant(generic);
    kernel.variant = backend_.variant(kernel);
    const Key structure = key_of(generic);
    const Key exact = asked.generic ? structure : key_of(kernel);
    auto found = [&](const Key& key) { return find_in_memory(request, key); };
    if (found(exact) || found(structure)) return;
    const bool is_exact = exact.hash != structure.hash;
    const Origin origin{generic.variant, asked.generic, asked.where};
    if (is_exact && load(request, exact, kernel, origin)) {
      first_extents_.try_emplace(structure.hash, hash_text(exact.text));
      return;
    }
    if (load(request, structure, generic, origin)) return;
    if (!is_exact || has_other_extents(structure, exact))
      wanted_.push_back({std::move(generic), structure, {request}, origin});
    else
      wanted_.push_back({std::move(kernel), exact, {request}, origin, structure.text});
  }

  void compile() {
    std::vector<const Kernel*> kernels;
    for (const Wanted& one : wanted_)
      if (!one.code) kernels.push_back(&one.kernel);
    if (!kernels.empty() && !may_compile()) refuse(kernels.size());
    for (const Kernel* kernel : kernels)
      if (store_.until_failure_ && --store_.until_failure_ == 0)
        throw Error("compiling kernel '" + kernel->name + "' failed as a test wanted", {});
    if (kernels.empty()) return;
    std::vector<jit::Binary> binaries = backend_.compile(kernels);
    auto binary = binaries.begin();
    for (Wanted& one : wanted_) {
      if (one.code) continue;
      one.binary = std::move(*binary++);
      one.code = store_.counted(backend_.load(one.kernel, one.binary));
    }
  }

  void note(std::vector<Code>& result) {
    for (Wanted& one : wanted_) {
      for (size_t request : one.wanted_by) result[request] = one.code;
      store_.executables_.put(one.key.hash, one.code, int64_t(one.code->bytes()));
      const bool compiled = !one.binary.bytes.empty();
      if (compiled) report_miss(explain(one), {one.kernel.name, one.key.hash.hex()});
      store_.history_.add(asked(one));
      report(compiled ? EventKind::compile : EventKind::load, one.kernel);
      ++(compiled ? counters().kernels_compiled : counters().kernels_loaded);
    }
    for (auto& [request, code] : in_memory_) result[request] = std::move(code);
    for (auto& [structure, extents] : first_extents_)
      store_.first_extents_.put(structure, extents, 1);
  }

  /// Cannot fail: what is not stored is compiled again by the next process.
  void store() {
    for (const Wanted& one : wanted_) {
      if (one.binary.bytes.empty()) continue;
      store_.stored_.store(one.key.text, one.binary);
      if (!one.structure.empty())
        store_.stored_.store_first_extents(one.structure, hash_text(one.key.text));
    }
  }

 private:
  struct Key {
    std::string text;  // all that the binary depends on
    Hash128 hash;      // with the device that it is loaded for
  };
  /// Who wants it: what explains a miss.
  struct Origin {
    uint32_t variant;
    bool is_joined;
    Location where;
  };
  struct Wanted {
    Kernel kernel;
    Key key;
    std::vector<size_t> wanted_by;
    Origin origin;
    std::string structure{};  // of a kernel with the first extents of its structure
    Code code{};
    jit::Binary binary{};  // empty when the code came from disk
  };

  AskedKernel asked(const Wanted& one) const {
    const auto& [variant, is_joined, where] = one.origin;
    return {one.kernel, one.key.hash, backend_.name(), variant, is_joined, where};
  }
  Miss explain(const Wanted& one) const { return store_.history_.explain(asked(one)); }

  [[noreturn]] void refuse(size_t missing) const {
    const Wanted& one = *std::ranges::find_if(wanted_, [](auto& one) { return !one.code; });
    const Miss miss = explain(one);
    std::string why = fmt::format("{}, {}", name_of(miss.reason), miss.difference);
    if (miss.where.line) why += fmt::format(", for {}", short_place(miss.where));
    throw CompileForbidden(one.kernel.name, missing, why);
  }

  Key key_of(const Kernel& kernel) const {
    Key key{fingerprint_ + '\n' + to_text(kernel), {}};
    const Hash128 text = hash_text(key.text);
    uint64_t words[] = {text.low, text.high, device_.low, device_.high};
    key.hash = hash_words(words);
    return key;
  }

  bool find_in_memory(size_t request, const Key& key) {
    if (Code* known = store_.executables_.find(key.hash)) {
      in_memory_.emplace_back(request, *known);
      return true;
    }
    for (Wanted& one : wanted_) {
      if (one.key.hash != key.hash) continue;
      one.wanted_by.push_back(request);
      return true;
    }
    return false;
  }

  bool load(size_t request, const Key& key, const Kernel& kernel, const Origin& origin) {
    Code code = store_.stored_.load(backend_, kernel, key.text);
    if (!code) return false;
    wanted_.push_back({kernel, key, {request}, origin, {}, store_.counted(std::move(code))});
    return true;
  }

  /// Notes these as the first ones otherwise.
  bool has_other_extents(const Key& structure, const Key& exact) {
    const Hash128 mine = hash_text(exact.text);
    if (const Hash128* seen = store_.first_extents_.find(structure.hash)) return *seen != mine;
    auto [seen, is_new] = first_extents_.try_emplace(structure.hash, mine);
    if (!is_new) return seen->second != mine;
    if (auto stored = store_.stored_.first_extents(structure.text)) seen->second = *stored;
    return seen->second != mine;
  }

  KernelStore& store_;
  jit::Backend& backend_;
  const std::string fingerprint_;
  const Hash128 device_;
  std::vector<Wanted> wanted_;
  std::vector<std::pair<size_t, Code>> in_memory_;
  std::unordered_map<Hash128, Hash128, HashOfHash128> first_extents_;
};

void KernelStore::choose(jit::Backend& backend, const KernelRequest& request) {
  if (!request.kernel->contraction) return;
  Kernel kernel = *request.kernel;
  kernel.variant = backend.variant(kernel);
  const std::string question = backend.question(kernel);
  if (question.empty()) return;
  const std::vector<std::byte> known = stored_.choice(question);
  const std::vector<std::byte> answer = backend.answer(kernel, known);
  if (answer.empty() || answer == known) return;
  ++counters().choices_measured;
  stored_.store_choice(question, answer);
}

std::vector<KernelStore::Code> KernelStore::get(jit::Backend& backend,
                                                std::span<const KernelRequest> requests) {
  std::vector<Code> result(requests.size());
  Batch batch(*this, backend);
  for (size_t i = 0; i < requests.size(); ++i) batch.add(i, requests[i]);
  batch.compile();
  batch.note(result);
  batch.store();
  for (const KernelRequest& request : requests) choose(backend, request);
  return result;
}

}  // namespace encore::trace
