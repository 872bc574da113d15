#include <encore/trace/runtime.h>
#include <encore/utils/profile.h>
#include <encore/utils/profiler.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <set>

namespace encore {
namespace {

/// Devices tell the times of what they still do; they may fail, as whoever uses them will see.
void wait_for_devices() {
  try {
    trace::runtime().synchronize({});
  } catch (const std::exception&) {
  }
}

}  // namespace

/// Listens as long as it lives.
class Profiler::Session {
 public:
  explicit Session(std::string file);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Hears what devices still have to tell.
  void finish() const {
    if (profile_.awaits_device()) wait_for_devices();
  }
  std::string summary() const { return profile_.summary(); }
  /// Writes the file, once; a forked child leaves its parent's alone.
  void write();
  bool is_of_this_process() const { return getpid() == process_; }

 private:
  /// All that live, for when the program dies of an exception, which destroys nothing.
  struct Living {
    std::mutex mutex;
    std::set<Session*> sessions;
    std::terminate_handler before = nullptr;
  };
  static Living& living();
  [[noreturn]] static void write_all_and_die();
  void take(const Event& event) noexcept;

  const std::string file_;
  const pid_t process_;
  Profile profile_;
  uint32_t listener_;
  std::atomic<bool> written_{false};
};

Profiler::Session::Living& Profiler::Session::living() {
  static Living& instance = *[] {
    auto* made = new Living;
    made->before = std::set_terminate(write_all_and_die);
    return made;
  }();
  return instance;
}

void Profiler::Session::write_all_and_die() {
  if (std::unique_lock lock(living().mutex, std::try_to_lock); lock)
    for (Session* session : living().sessions) session->write();
  if (living().before) living().before();
  std::abort();
}

Profiler::Session::Session(std::string file) : file_(std::move(file)), process_(getpid()) {
  listener_ = events::listen([this](const Event& event) { take(event); }, Profile::kinds);
  std::lock_guard lock(living().mutex);
  living().sessions.insert(this);
}

Profiler::Session::~Session() {
  events::ignore(listener_);
  std::lock_guard lock(living().mutex);
  living().sessions.erase(this);
}

void Profiler::Session::take(const Event& event) noexcept {
  try {
    profile_.take(event);
    // A driver ends before the process does: it must have told its times by then.
    static std::atomic<bool> registered{false};
    if (profile_.awaits_device() && !registered.exchange(true)) std::atexit(wait_for_devices);
  } catch (const std::exception&) {
    // No memory for one more entry must not stop the program.
  }
}

void Profiler::Session::write() {
  if (file_.empty() || !is_of_this_process() || written_.exchange(true)) return;
  std::ofstream stream(file_);
  profile_.write_trace(stream);
  stream.close();
  if (!stream)
    fmt::print(stderr, "encore: the profile cannot be written to {}: {}\n", file_,
               std::strerror(errno));
}

Profiler::Profiler(std::string file) : session_(std::make_unique<Session>(std::move(file))) {}

Profiler::~Profiler() {
  session_->finish();
  session_->write();
}

std::string Profiler::summary() const {
  session_->finish();
  return session_->summary();
}

void Profiler::profile_process(const std::string& where) {
  static Session* const whole = new Session(where == "-" ? "" : where);  // leaked: heard to the end
  std::atexit([] {
    if (!whole->is_of_this_process()) return;
    whole->write();  // devices have told theirs by now
    fmt::print(stderr, "{}", whole->summary());
  });
}

}  // namespace encore
