// Where the time goes: a trace for Perfetto, a table of kernels and of the user's lines.
//
//   {
//     Profiler profiler("trace.json");
//     for (int step = 0; step < 10; ++step) train_step();
//     std::cout << profiler.summary();
//   }                                      // trace.json is written here
//
// ENCORE_PROFILE=FILE does the same for the whole process and prints the table at its end;
// ENCORE_PROFILE=- prints the table alone. While one lives every kernel is timed by itself, so CUDA
// graphs are launched kernel by kernel. Everything of the process is heard, whichever thread does
// it; profilers may overlap. docs/profile.md explains what is shown.
#pragma once
#include <memory>
#include <string>

namespace encore {

class Profiler {
 public:
  /// `file`: where the trace is written when this dies, or when the program dies of an exception;
  /// empty: nowhere. A file that cannot be written is a warning on stderr.
  explicit Profiler(std::string file = {});
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  /// Tables of all that was heard so far; waits for devices.
  std::string summary() const;

  /// What ENCORE_PROFILE=`where` does; once.
  static void profile_process(const std::string& where);

 private:
  class Session;
  std::unique_ptr<Session> session_;
};

}  // namespace encore
