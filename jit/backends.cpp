#include <encore/core/error.h>
#include <encore/core/settings.h>
#include <encore/core/span.h>
#include <encore/jit/backend.h>
#include <encore/jit/cpu/cpu_backend.h>
#include <encore/jit/cuda/cuda_backend.h>
#include <encore/jit/reference/interpreter.h>
#include <fmt/format.h>
#include <unistd.h>

namespace encore::jit {
namespace {

class PlainSequence final : public Sequence {
 public:
  PlainSequence(std::vector<std::shared_ptr<const Executable>> code,
                std::shared_ptr<const Labels> labels)
      : code_(std::move(code)), labels_(std::move(labels)) {}
  void run(std::span<const std::span<const Segment>> launches, Progress& progress) override {
    bool timed = events::wanted(events::kernel_times);
    for (size_t i = 0; i < launches.size(); ++i) {
      progress.launched = true;
      if (timed)
        launch_timed(i, launches[i]);
      else
        code_[i]->launch(launches[i]);
    }
  }

 private:
  void launch_timed(size_t i, std::span<const Segment> segments) const {
    const Label& label = (*labels_)[i];
    Event event{EventKind::begin, label.name, {}};
    events::report(event);
    event.start = steady_now();
    code_[i]->launch(segments);
    event.value = steady_now() - event.start;
    event.kind = EventKind::kernel;
    event.text = label.about;
    event.bytes = label.bytes;
    events::report(event);
  }

  std::vector<std::shared_ptr<const Executable>> code_;
  std::shared_ptr<const Labels> labels_;
};

}  // namespace

std::unique_ptr<Sequence> Backend::sequence(std::vector<std::shared_ptr<const Executable>> code,
                                            std::shared_ptr<const Labels> labels, Dependencies) {
  return std::make_unique<PlainSequence>(std::move(code), std::move(labels));
}

DeviceBytes Backend::device_bytes() const {
  int64_t page = sysconf(_SC_PAGESIZE), held = live_bytes();
  return {page * sysconf(_SC_AVPHYS_PAGES), page * sysconf(_SC_PHYS_PAGES), held, held};
}

Backend& backend(Device device) {
  if (device.kind == DeviceKind::cuda) return cuda::cuda_backend(device.index);
  const std::string& wanted = settings().backend;
  if (wanted == "reference") return interpreter();
  if (wanted.empty()) return cpu_backend();
  throw Error(fmt::format("ENCORE_BACKEND={} is no backend", wanted), {},
              "use 'reference', or leave it empty");
}

std::vector<Backend*> backends_in_use() {
  std::vector<Backend*> all = cuda::made_backends();
  all.insert(all.begin(), &backend(cpu));
  return all;
}

int cuda_device_count() { return cuda::device_count(); }

}  // namespace encore::jit
