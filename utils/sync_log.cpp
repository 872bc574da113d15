#include <encore/utils/sync_log.h>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>

namespace encore {

SyncLog::SyncLog(std::filesystem::path file) : file_(std::move(file)) {
  for (const SyncCount& known : read_syncs(file_)) {
    sums_[{known.kind, known.place}] = {known.count, known.nodes};
    written_ = total_ += known.count;
  }
}

SyncLog::~SyncLog() {
  try {
    flush();
  } catch (const std::exception&) {
  }
}

void SyncLog::add(const Event& sync) {
  std::lock_guard lock(mutex_);
  Sum& sum =
      sums_[{std::string(sync.name), fmt::format("{}:{}", sync.where.file, sync.where.line)}];
  ++sum.count;
  sum.nodes += sync.value;
  if (++total_ >= 2 * written_) write();
}

void SyncLog::flush() {
  std::lock_guard lock(mutex_);
  if (total_ != written_) write();
}

void SyncLog::write() {
  std::filesystem::create_directories(file_.parent_path());
  std::ofstream stream(file_);
  for (const auto& [of, sum] : sums_)
    stream << fmt::format("{:<5} {:>9} {:>12} {}\n", of.first, sum.count, sum.nodes, of.second);
  stream.close();
  if (!stream) throw std::runtime_error("cannot write " + file_.string());
  written_ = total_;
}

std::vector<SyncCount> read_syncs(const std::filesystem::path& file) {
  std::vector<SyncCount> counts;
  std::ifstream stream(file);
  for (SyncCount one; stream >> one.kind >> one.count >> one.nodes;) {
    std::getline(stream >> std::ws, one.place);
    counts.push_back(one);
  }
  std::stable_sort(counts.begin(), counts.end(),
                   [](const SyncCount& a, const SyncCount& b) { return a.count > b.count; });
  return counts;
}

}  // namespace encore
