// An entry as a file of a cache folder: read without trust, published by a rename.
#pragma once
#include <encore/cache/entry.h>
#include <encore/cache/file_calls.h>

#include <ctime>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace encore::cache {

struct EntryFile {
  enum class Answer {
    good,
    absent,
    unreadable,  // a call failed
    rejected,    // damaged, foreign, or under another entry's name
  };
  Answer answer = Answer::absent;
  std::string problem;           // of the last two
  std::optional<Entry> entry;    // where it is good
  std::vector<std::byte> bytes;  // the file, where it was read
  Descriptor file;
  time_t last_used = 0;
};

/// `path` is within the folder, as layout.h names entries.
EntryFile read_entry_file(FileCalls& calls, const Descriptor& folder, const std::string& path);

/// Makes the subfolder if need be. False with errno, and then nothing is left behind.
bool publish_entry_file(FileCalls& calls, const Descriptor& folder, const std::string& path,
                        std::span<const std::byte> bytes);

}  // namespace encore::cache
