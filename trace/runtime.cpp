#include <encore/core/settings.h>
#include <encore/core/span.h>
#include <encore/lazy/no_sync_scope.h>
#include <encore/trace/check_numerics.h>
#include <encore/trace/known_trace.h>
#include <encore/trace/pipeline.h>
#include <encore/trace/runtime.h>
#include <encore/trace/statistics.h>
#include <encore/trace/trace_history.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>

namespace encore {

Evaluator& evaluator() { return trace::runtime(); }

namespace trace {
namespace {

/// Adds the time from its making to `stop` to a counter.
class Stopwatch {
 public:
  void stop(std::atomic<int64_t>& counter) {
    auto now = std::chrono::steady_clock::now();
    counter += (now - start_).count();
    start_ = now;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Where nodes of a sync may be, the CPU first: what fails on another device keeps nothing from it.
std::vector<Device> devices_of(std::span<Node* const> roots, SyncKind kind) {
  std::vector<Device> devices;
  if (kind != SyncKind::read)
    devices.assign(pending_list().devices().begin(), pending_list().devices().end());
  for (const Node* root : roots)
    if (std::find(devices.begin(), devices.end(), root->device) == devices.end())
      devices.push_back(root->device);
  std::partition(devices.begin(), devices.end(), [](Device device) { return device == cpu; });
  return devices;
}

constexpr std::string_view kind_of(Device device) {
  return device.kind == DeviceKind::cpu ? "cpu" : "cuda";
}

/// Tells how long this thread recorded before a sync, and starts that clock anew after it.
class RecordingTime {
 public:
  RecordingTime() {
    if (!events::wanted(events::times)) return;
    int64_t since = pending_list().recording_since(), now = steady_now();
    if (since)
      events::report({EventKind::span, "record", {}, now - since, {}, since, 0, "recording"});
  }
  ~RecordingTime() {
    if (events::wanted(events::times))
      pending_list().set_recording_since(pending_list().size() ? steady_now() : 0);
  }
};

/// Runs `work`; errors from where no place is known get the user's.
template <class Work>
auto at_place(Location where, Work work) {
  try {
    return work();
  } catch (Error& error) {
    error.place(where);
    throw;
  }
}

}  // namespace

Runtime& runtime() {
  static Runtime& instance = *new Runtime;
  return instance;
}

Runtime::Runtime()
    : programs_(settings().cache_bytes / 2),  // the other half is kernels
      history_(std::make_unique<TraceHistory>()) {}

Runtime::~Runtime() = default;

void Runtime::evaluate(std::span<Node* const> roots, SyncKind kind, Location where) {
  refuse_forbidden_sync(kind, where);
  if (kind == SyncKind::read &&
      std::all_of(roots.begin(), roots.end(), [](Node* node) { return node->materialized(); }))
    return;
  std::vector<Device> devices = devices_of(roots, kind);
  RecordingTime recording;
  Span span("sync", name_of(kind), where);
  std::lock_guard lock(mutex_);
  at_place(where, [&] {
    if (devices.size() == 1) return evaluate_on(devices[0], roots, kind, where);
    for (Device device : devices) {
      std::vector<Node*> here;
      std::copy_if(roots.begin(), roots.end(), std::back_inserter(here),
                   [&](const Node* root) { return root->device == device; });
      evaluate_on(device, here, kind, where);
    }
  });
}

void Runtime::evaluate_on(Device device, std::span<Node* const> roots, SyncKind kind,
                          Location where) {
  struct Clear {
    Capture& capture;
    ~Clear() { capture.clear(); }
  } clear{capture_};
  Stopwatch watch;
  {
    Span span("capture");
    capture(roots, kind, device, capture_);
  }
  watch.stop(counters().capture_nanoseconds);
  if (capture_.outputs.empty()) return;
  ++counters().syncs;
  if (kind == SyncKind::cut) ++counters().cuts;
  counters().nodes_captured += int64_t(capture_.nodes.size());
  if (events::wanted(EventKind::sync))
    events::report({EventKind::sync, name_of(kind), {}, int64_t(capture_.nodes.size()), where});
  jit::Backend& backend = jit::backend(device);
  std::shared_ptr<const Program> program;
  {
    Span span("find");
    program = find_or_compile(capture_, backend, where);
  }
  Stopwatch replay_watch;
  std::vector<Ref<Buffer>> outputs = replay_or_lose(*program, device);
  replay_watch.stop(counters().replay_nanoseconds);
  if (events::wanted(EventKind::counter)) report_memory(device);
  std::optional<Error> culprit;
  if (settings().check_numerics)
    culprit = find_culprit(capture_, outputs, backend, kernels_, scratch_of(device), where);
  publish(std::move(outputs));
  if (culprit) throw *culprit;
}

void Runtime::report_memory(Device device) {
  auto tell = [&](const char* what, int64_t bytes) {
    std::string name = fmt::format("{} {}", encore::name_of(device), what);
    events::report({EventKind::counter, name, {}, bytes});
  };
  tell("live bytes", jit::backend(device).live_bytes());
  const ReplayScratch& scratch = scratch_of(device);
  tell("arena bytes", scratch.arena ? int64_t(scratch.arena->bytes()) : scratch.released_bytes);
  events::report({EventKind::counter, "program cache bytes", {}, programs_.bytes()});
  events::report({EventKind::counter, "kernel cache bytes", {}, kernels_.held_bytes()});
}

ReplayScratch& Runtime::scratch_of(Device device) {
  for (auto& [of, scratch] : scratch_)
    if (of == device) return *scratch;
  return *scratch_.emplace_back(device, std::make_unique<ReplayScratch>()).second;
}

void Runtime::make_room(Device device) {
  scratch_of(device).arena = nullptr;
  programs_.clear();
  kernels_.clear();
  history_->note_cleared(MissReason::made_room);
}

std::vector<Ref<Buffer>> Runtime::replay_in_room(const Program& program, const Capture& capture,
                                                 Device device) {
  ReplayScratch& scratch = scratch_of(device);
  jit::Backend& backend = jit::backend(device);
  std::vector<Ref<Buffer>> outputs;
  try {
    outputs = replay(program, capture, backend, scratch);
  } catch (const OutOfMemory&) {
    if (device == cpu || scratch.progress.launched) throw;
    make_room(device);
    outputs = replay(program, capture, backend, scratch);
  }
  counters().launches += int64_t(program.launches.size());
  counters().graph_launches += scratch.progress.graphs;
  return outputs;
}

std::vector<Ref<Buffer>> Runtime::replay_or_lose(const Program& program, Device device) {
  try {
    return replay_in_room(program, capture_, device);
  } catch (...) {
    if (scratch_of(device).progress.launched)
      for (uint32_t slot : program.overwritten_leaves) capture_.leaves[slot]->buffer->lose();
    throw;
  }
}

std::shared_ptr<const Program> Runtime::find_or_compile(const Capture& capture,
                                                        jit::Backend& backend, Location where) {
  if (auto* found = programs_.find(capture.key); found && (*found)->words == capture.words) {
    ++counters().trace_hits;
    return *found;
  }
  Stopwatch watch;
  int64_t compiling = counters().compile_nanoseconds;
  std::shared_ptr<const Program> program = compile_missed(capture, backend, where);
  watch.stop(counters().plan_nanoseconds);
  counters().plan_nanoseconds -= counters().compile_nanoseconds - compiling;
  ++counters().trace_misses;
  int64_t evicted = programs_.evictions() + kernels_.evictions();
  programs_.put(capture.key, program, program->bytes());
  // Programs keep kernels alive that the store has let go of.
  while (kernels_.held_bytes() > settings().cache_bytes / 2 && programs_.evict_oldest()) {
  }
  counters().evictions += programs_.evictions() + kernels_.evictions() - evicted;
  return program;
}

std::shared_ptr<const Program> Runtime::compile_missed(const Capture& capture,
                                                       jit::Backend& backend, Location where) {
  Graph graph = build_graph(capture);
  KnownTrace now = remember(graph, capture, where);
  Miss miss = history_->explain(now);
  const Missed missed{now.key.hex().substr(0, 8), now.key.hex(), name_of(capture.kind), where};
  report_miss(miss, missed);
  auto compile_graph = [&](Graph one) {
    return compile(std::move(one), capture, backend, kernels_, where);
  };
  try {
    std::shared_ptr<const Program> program;
    try {
      program = compile_graph(std::move(graph));
    } catch (const OutOfMemory&) {  // code needs memory of a device, too
      const Device device = capture.outputs[0]->device;
      if (device == cpu) throw;
      make_room(device);
      program = compile_graph(build_graph(capture));  // the first was used up
    }
    history_->add(std::move(now));
    return program;
  } catch (CompileForbidden& error) {
    error.needed_by(fmt::format("{} ({})", explanation(miss, missed), name_of(miss.reason)),
                    miss.where);
    throw;
  } catch (...) {
    history_->note_failed(now.key, where);
    throw;
  }
}

int Recorded::output_of(const Node* node) const {
  auto found = std::find(capture.outputs.begin(), capture.outputs.end(), node);
  return found == capture.outputs.end() ? -1 : int(found - capture.outputs.begin());
}

void Runtime::record(std::span<Node* const> roots, Location where, Recorded& into) {
  if (roots.empty()) return;
  Device device = roots[0]->device;
  for (const Node* root : roots)
    if (root->device != device)
      throw Error(fmt::format("a compiled function gave results on different devices, {} and {}",
                              encore::name_of(device), encore::name_of(root->device)),
                  where, "compile one function per device, and move values between them");
  std::lock_guard lock(mutex_);
  trace::capture(roots, SyncKind::read, device, into.capture);
  if (into.capture.outputs.empty()) return;
  into.program =
      at_place(where, [&] { return find_or_compile(into.capture, jit::backend(device), where); });
  for (Node* node : into.capture.nodes)
    if (node->pending) node->pending->remove(node);
}

std::vector<Ref<Buffer>> Runtime::run(Recorded& recorded, Location where) {
  if (!recorded.program) return {};
  std::lock_guard lock(mutex_);
  recorded.capture.renew_scalars();
  return at_place(where, [&] {
    return replay_in_room(*recorded.program, recorded.capture, recorded.capture.outputs[0]->device);
  });
}

void Runtime::publish(std::vector<Ref<Buffer>> buffers) {
  for (size_t i = 0; i < buffers.size(); ++i) {
    Node* node = capture_.outputs[i];
    node->buffer = std::move(buffers[i]);
    if (node->pending) node->pending->remove(node);
  }
  for (Node* node : capture_.outputs)
    if (!node->needs_gradient) drop_inputs(node);
}

void Runtime::consume_tape(std::span<Node* const> walked) {
  std::lock_guard lock(mutex_);
  Evaluator::consume_tape(walked);
}

Ref<Buffer> Runtime::allocate(Device device, size_t bytes, Location where) {
  return at_place(where, [&] {
    try {
      return jit::backend(device).allocate(bytes);
    } catch (const OutOfMemory&) {
      if (device == cpu) throw;
    }
    std::lock_guard lock(mutex_);
    make_room(device);
    return jit::backend(device).allocate(bytes);
  });
}

void Runtime::copy_to_device(const Buffer& to, const void* from, size_t bytes, Location where) {
  if (!bytes) return;
  Span span("copy to", kind_of(to.device()), where, int64_t(bytes));
  const bool overlapped = at_place(
      where, [&] { return jit::backend(to.device()).copy_to_device(to.data(), from, bytes); });
  if (!overlapped) return;
  ++counters().overlapped_copies;
  counters().overlapped_bytes += int64_t(bytes);
}

void Runtime::copy_to_host(void* to, const Buffer& from, size_t offset, size_t bytes,
                           Location where) {
  if (!bytes) return;
  Span span("copy from", kind_of(from.device()), where, int64_t(bytes));
  at_place(where, [&] {
    jit::backend(from.device())
        .copy_to_host(to, static_cast<const std::byte*>(from.data()) + offset, bytes);
  });
}

void Runtime::synchronize(Location where) {
  at_place(where, [] {
    for (jit::Backend* backend : jit::backends_in_use()) backend->synchronize();
  });
}

int64_t Runtime::total_bytes(Device device, Location where) {
  return at_place(where, [&] { return jit::backend(device).device_bytes().total; });
}

void Runtime::check_device(Device device, Location where) {
  at_place(where, [&] { jit::backend(device); });
}

std::string Runtime::explain(Node* root) {
  if (root->materialized()) return {};
  std::lock_guard lock(mutex_);
  Capture captured;
  capture(std::span<Node* const>(&root, 1), SyncKind::read, root->device, captured);
  return captured.outputs.empty() ? "" : trace::explain(captured, jit::backend(root->device));
}

void Runtime::clear_caches() {
  std::lock_guard lock(mutex_);
  for (auto& [device, scratch] : scratch_) scratch->arena = nullptr;
  programs_.clear();
  kernels_.clear();
  history_->note_cleared(MissReason::cleared);
}

void Runtime::fail_compile(int64_t n) {
  std::lock_guard lock(mutex_);
  kernels_.fail_compile(n);
}

Counters& counters() {
  static auto& instance = *new Counters;
  return instance;
}

Statistics statistics() {
  Statistics result;
#define STATISTIC(name, meaning) result.name = counters().name.load(std::memory_order_relaxed);
  ENCORE_STATISTICS(STATISTIC)
#undef STATISTIC
  for (int i = 0; i < miss_reason_count; ++i)
    result.misses[i] = counters().misses[i].load(std::memory_order_relaxed);
  for (int i = 0; i < fusion_refusal_count; ++i)
    result.fusion_refusals[i] = counters().fusion_refusals[i].load(std::memory_order_relaxed);
  for (const jit::Backend* backend : jit::backends_in_use()) {
    result.live_bytes += backend->live_bytes();
    result.peak_bytes += backend->peak_bytes();
  }
  return result;
}

void reset_peak_bytes() {
  for (jit::Backend* backend : jit::backends_in_use()) backend->reset_peak_bytes();
}

}  // namespace trace
}  // namespace encore
