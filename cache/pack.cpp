#include <encore/cache/disk_store.h>
#include <encore/cache/entry_file.h>
#include <encore/cache/pack.h>
#include <encore/cache/private_folder.h>
#include <encore/cache/scan.h>
#include <encore/core/error.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace encore::cache {
namespace {

namespace fs = std::filesystem;

constexpr size_t search_step = 1 << 16;

std::string reason() { return std::strerror(errno); }

bool read_whole_at(FileCalls& calls, int file, int64_t offset, std::span<std::byte> bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t part =
        calls.read_at(file, bytes.data() + done, bytes.size() - done, offset + done);
    if (part <= 0) return false;
    done += part;
  }
  return true;
}

Error unusable(const fs::path& path, const std::string& why) {
  return Error(fmt::format("{} cannot be used: {}", path.string(), why), {});
}

}  // namespace

Pack::Pack(FileCalls& calls, const fs::path& path) : path_(path) { problem_ = open(calls); }

std::string Pack::open(FileCalls& calls) {
  file_ = calls.open(AT_FDCWD, path_.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY);
  struct stat status;
  if (!file_ || calls.stat(file_.get(), status) != 0) return reason();
  if (!S_ISREG(status.st_mode)) return "it is no regular file";
  if (status.st_mode & (S_IWGRP | S_IWOTH)) return "others may write it; chmod go-w it";
  size_ = status.st_size;
  std::string problem;
  for (int64_t at = 0; at < size_;) {
    std::byte bytes[sizeof(EntryHeader)];
    std::string_view what = "it is cut off";
    const auto left = std::span(bytes).first(std::min<int64_t>(sizeof bytes, size_ - at));
    if (!read_whole_at(calls, file_.get(), at, left)) return reason();
    const auto header = entry_header(left, what);
    if (header && header->entry_size() <= size_ - at) {
      if (places_.try_emplace(header->name, Place{at, header->entry_size()}).second)
        names_.push_back(header->name);
      at += header->entry_size();
      continue;
    }
    if (problem.empty()) problem = fmt::format("at byte {}: {}", at, what);
    at = next_entry(calls, at + 1);
  }
  return problem;
}

// Where the next header seems to begin; the end where none does.
int64_t Pack::next_entry(FileCalls& calls, int64_t from) const {
  std::vector<std::byte> bytes;
  while (from < size_) {
    bytes.resize(std::min<int64_t>(search_step + entry_magic.size(), size_ - from));
    if (!read_whole_at(calls, file_.get(), from, bytes)) return size_;
    const char* text = reinterpret_cast<const char*>(bytes.data());
    const size_t found = std::string_view(text, bytes.size()).find(entry_magic);
    if (found != std::string_view::npos) return from + found;
    from += search_step;
  }
  return size_;
}

DecodedEntry Pack::read(FileCalls& calls, const Hash128& name) const {
  const Place& place = places_.at(name);
  std::vector<std::byte> bytes(place.size);
  if (!read_whole_at(calls, file_.get(), place.offset, bytes))
    return {std::nullopt, "it cannot be read"};
  return decode_entry(bytes);
}

PackReport export_pack(const fs::path& folder, const fs::path& file,
                       const std::function<bool(const Entry&)>& wanted) {
  FileCalls calls;
  PrivateFolder opened = open_private_folder(calls, fs::absolute(folder), false);
  if (!opened.descriptor)
    throw unusable(folder, opened.problem.empty() ? "there is no such folder" : opened.problem);
  const fs::path temporary = file.string() + ".new";
  Descriptor into = calls.open(AT_FDCWD, temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (!into) throw unusable(file, reason());
  PackReport report;
  for (const StoredFile& stored : scan(calls, opened.descriptor)) {
    if (stored.digits.empty()) continue;
    const EntryFile read = read_entry_file(calls, opened.descriptor, stored.path);
    if (read.answer == EntryFile::Answer::absent) continue;
    report.rejected += !read.entry;
    if (!read.entry || (wanted && !wanted(*read.entry))) continue;
    if (!write_whole(calls, into.get(), read.bytes)) {
      const std::string why = reason();
      ::unlink(temporary.c_str());
      throw unusable(file, why);
    }
    ++report.entries;
    report.bytes += read.bytes.size();
  }
  if (calls.close(std::move(into)) != 0 ||
      calls.rename(AT_FDCWD, temporary.c_str(), AT_FDCWD, file.c_str()) != 0) {
    const std::string why = reason();
    ::unlink(temporary.c_str());
    throw unusable(file, why);
  }
  return report;
}

PackReport import_pack(DiskStore& store, const fs::path& file) {
  FileCalls calls;
  const Pack pack(calls, file);
  if (pack.names().empty() && !pack.problem().empty()) throw unusable(file, pack.problem());
  PackReport report{.rejected = !pack.problem().empty()};
  for (const Hash128& name : pack.names()) {
    const DecodedEntry read = pack.read(calls, name);
    const bool good =
        read.entry && store.write(read.entry->kind, read.entry->key, read.entry->payload);
    ++(good ? report.entries : report.rejected);
  }
  report.bytes = fs::file_size(file);
  return report;
}

}  // namespace encore::cache
