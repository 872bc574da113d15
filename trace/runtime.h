// The one runtime object: caches, lock, scratch. Leaked on purpose, so that exit order doesn't
// matter.
//
// One thread evaluates at a time; recording never takes its lock. A node that one thread computes
// is waited for by others simply because they wait for the lock and then find it materialized.
#pragma once
#include <encore/lazy/evaluator.h>
#include <encore/trace/kernel_store.h>
#include <encore/trace/program.h>

#include <mutex>

namespace encore::trace {

class TraceHistory;

/// A trace that was captured and compiled but not published: it can run again and again on what its
/// leaves and scalars then hold. Its nodes are in no pending list any more.
struct Recorded {
  Capture capture;
  std::shared_ptr<const Program> program;
  /// Which output a node is; -1: none (it was given).
  int output_of(const Node* node) const;
};

class Runtime final : public Evaluator {
 public:
  Runtime();
  ~Runtime() override;

  void evaluate(std::span<Node* const> roots, SyncKind kind, Location where) override;
  void consume_tape(std::span<Node* const> walked) override;
  Ref<Buffer> allocate(Device device, size_t bytes, Location where) override;
  void copy_to_device(const Buffer& to, const void* from, size_t bytes, Location where) override;
  void copy_to_host(void* to, const Buffer& from, size_t offset, size_t bytes,
                    Location where) override;
  void synchronize(Location where) override;
  int64_t total_bytes(Device device, Location where) override;
  void check_device(Device device, Location where) override;

  /// What a read of `root` would run, for people; runs and compiles nothing. Empty: it is computed
  /// already.
  std::string explain(Node* root);

  /// Captures and compiles what `roots` need.
  void record(std::span<Node* const> roots, Location where, Recorded& into);
  /// Runs it; one buffer per output of the capture.
  std::vector<Ref<Buffer>> run(Recorded& recorded, Location where);

  /// Forgets every program, kernel and scratch memory; for tests and for memory pressure.
  void clear_caches();
  /// For tests: the n-th kernel to be compiled from now on fails, the next one being number 1; 0:
  /// none.
  void fail_compile(int64_t n);

 private:
  using Programs = cache::Lru<Hash128, std::shared_ptr<const Program>, HashOfHash128>;

  /// The part of a sync that is on one device; so are its roots.
  void evaluate_on(Device device, std::span<Node* const> roots, SyncKind kind, Location where);
  std::shared_ptr<const Program> find_or_compile(const Capture& capture, jit::Backend& backend,
                                                 Location where);
  std::shared_ptr<const Program> compile_missed(const Capture& capture, jit::Backend& backend,
                                                Location where);
  /// A replay that fails after a launch has overwritten what it took over.
  std::vector<Ref<Buffer>> replay_or_lose(const Program& program, Device device);
  /// Replays once more without what was kept for later, should a device other than the CPU run out
  /// of memory.
  std::vector<Ref<Buffer>> replay_in_room(const Program& program, const Capture& capture,
                                          Device device);
  /// Forgets all that can be made again, so that a device has more memory.
  void make_room(Device device);
  ReplayScratch& scratch_of(Device device);
  void publish(std::vector<Ref<Buffer>> buffers);
  void report_memory(Device device);

  std::mutex mutex_;
  Programs programs_;
  KernelStore kernels_;
  std::unique_ptr<TraceHistory> history_;
  Capture capture_;
  std::vector<std::pair<Device, std::unique_ptr<ReplayScratch>>> scratch_;
};

Runtime& runtime();

}  // namespace encore::trace
