#include <encore/core/settings.h>
#include <encore/jit/cpu/crew.h>
#include <encore/jit/cpu/parallel.h>
#include <pthread.h>
#include <sched.h>
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <tbb/task_scheduler_observer.h>

#include <algorithm>
#include <atomic>
#ifdef __SANITIZE_THREAD__
#include <future>
#include <thread>
#endif
#include <vector>

namespace encore::jit {
namespace {

std::vector<int> usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int core = 0; core < CPU_SETSIZE; ++core)
      if (CPU_ISSET(core, &set)) cores.push_back(core);
  return cores;
}

/// Binds the pool's own threads to one core each; the caller's threads are not ours to bind.
class Pinning : public tbb::task_scheduler_observer {
 public:
  explicit Pinning(tbb::task_arena& arena)
      : task_scheduler_observer(arena), cores_(usable_cores()) {
    observe(true);
  }
  void on_scheduler_entry(bool is_worker) override {
    int number = tbb::this_task_arena::current_thread_index();
    if (!is_worker || number < 0 || cores_.empty()) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cores_[size_t(number) % cores_.size()], &set);
    sched_setaffinity(0, sizeof set, &set);
  }

 private:
  std::vector<int> cores_;
};

std::atomic<bool> forked{false};

struct Pool {
  int threads;
  tbb::task_arena arena;
  std::unique_ptr<Pinning> pinning;

  Pool() : threads(wanted_threads()), arena(threads) {
    if (settings().pin_threads) pinning = std::make_unique<Pinning>(arena);
    pthread_atfork(nullptr, nullptr, [] { forked = true; });
  }
  static int wanted_threads() {
    if (settings().threads > 0) return int(settings().threads);
    return std::max(1, int(usable_cores().size()));
  }
};

/// Leaked on purpose: threads may still work while the process exits.
Pool& pool() {
  static Pool& instance = *new Pool;
  return instance;
}

}  // namespace

int thread_count() { return forked.load(std::memory_order_relaxed) ? 1 : pool().threads; }

namespace {

/// Who short work is handed to.
Crew& crew() {
  static Crew& instance = *new Crew;
  return instance;
}

#ifdef __SANITIZE_THREAD__
// oneTBB is not built for ThreadSanitizer, which takes all that it orders for races.
void enlist() {
  std::thread([] { crew().serve(1); }).detach();
}
#else
void enlist() {
  pool().arena.enqueue(
      [] { crew().serve(std::max(0, tbb::this_task_arena::current_thread_index())); });
}
#endif

/// Where several jobs run at once.
void run_in_pool(const Job& job) {
#ifdef __SANITIZE_THREAD__
  std::vector<std::future<void>> running;
  for (int64_t i = 0; i < job.parts; ++i)
    running.push_back(std::async(std::launch::async, [&job, i] { job.run(i); }));
  for (std::future<void>& one : running) one.wait();
  for (std::future<void>& one : running) one.get();
#else
  using Range = tbb::blocked_range<int64_t>;
  pool().arena.execute([&] {
    tbb::parallel_for(
        Range(0, job.count),
        [&](const Range& range) { job.body(job.context, range.begin(), range.end()); },
        tbb::static_partitioner());
  });
#endif
}

}  // namespace

void parallel_for(int64_t count, void (*body)(void*, int64_t, int64_t), void* context) {
  if (count <= 0) return;
  if (count == 1 || thread_count() == 1) return body(context, 0, count);
  Job job{body, context, count, std::min<int64_t>(count, thread_count())};
  if (job.parts > Crew::most_parts || !crew().run(job, enlist)) run_in_pool(job);
}

}  // namespace encore::jit
