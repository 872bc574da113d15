// Hands short work over as fast as two cores can tell each other, to threads that wait awake.
//
// A job is up to 64 parts. The thread that has it takes the first, and then one by one those that
// nobody else has claimed, so it waits for nobody who did not come. Whoever serves claims what is
// left, goes on looking for work for a while, then leaves.
//
// Threads: `run` and `serve` may be called from any, at once.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>

namespace encore::jit {

/// `body` over [0, count) in `parts` parts.
struct Job {
  void (*body)(void* context, int64_t begin, int64_t end);
  void* context;
  int64_t count, parts;

  void run(int64_t part) const { body(context, count * part / parts, count * (part + 1) / parts); }
};

class Crew {
 public:
  static constexpr int most_parts = 64;

  /// Runs the job and returns true, or false at once where another job runs. Calls `enlist` for
  /// every helper that is missing, which shall make some thread call `serve`. The first exception
  /// of a part is thrown when all are done.
  template <class Enlist>
  bool run(const Job& job, const Enlist& enlist) {
    if (busy_.exchange(true, std::memory_order_acquire)) return false;
    open(job);
    try {
      // One that is leaving may still be counted; then the job runs without it.
      for (int64_t i = serving_.load(); i < job.parts - 1; ++i) {
        enlist();
        serving_.fetch_add(1);
      }
    } catch (...) {  // then fewer do the same
    }
    finish();
    return true;
  }

  /// Works on jobs, on part `preferred` if it is there, until none has come for a while.
  void serve(int preferred) noexcept;

 private:
  void open(const Job& job) noexcept;
  void finish();
  int work(int preferred) noexcept;
  void run_part(int part) noexcept;

  // What a helper needs comes with one line.
  alignas(64) std::atomic<uint64_t> left_{0};  // parts that nobody has claimed
  Job job_{};                                  // only for who has claimed a part of it
  // Of whoever runs jobs.
  alignas(64) std::atomic<bool> busy_{false};
  std::exception_ptr failure_;
  std::atomic<bool> failed_{false};
  int64_t expected_ = 0;                          // of `finished_`
  alignas(64) std::atomic<int64_t> finished_{0};  // parts that helpers have run, ever
  alignas(64) std::atomic<int64_t> serving_{0};   // helpers that work, look for work or will
};

}  // namespace encore::jit
