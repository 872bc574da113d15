// Where syncs come from: how often each kind was asked for by each line, kept in one small text
// file. Any thread.
#pragma once
#include <encore/core/events.h>

#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace encore {

struct SyncCount {
  std::string kind;   // read, step or cut
  std::string place;  // file:line
  int64_t count = 0;
  int64_t nodes = 0;  // computed by all of them
};

class SyncLog {
 public:
  /// Goes on with the counts that are in the file.
  explicit SyncLog(std::filesystem::path file);
  /// Writes what is not written yet; failures are lost.
  ~SyncLog();
  /// Writes whenever the number of syncs has doubled. Throws std::exception where that fails.
  void add(const Event& sync);
  /// Writes what is not written yet.
  void flush();

 private:
  struct Sum {
    int64_t count = 0, nodes = 0;
  };
  void write();

  std::filesystem::path file_;
  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, Sum> sums_;  // by kind and place
  int64_t total_ = 0, written_ = 0;
};

/// What a log wrote, the most frequent first.
std::vector<SyncCount> read_syncs(const std::filesystem::path& file);

}  // namespace encore
