// Keeps a cache folder within its budget.
#pragma once
#include <encore/cache/file_calls.h>

#include <cstdint>

namespace encore::cache {

struct SweepLimits {
  int64_t bytes;
  int64_t files;
};

struct Sweep {
  bool ran = false;  // false: another one is at work, or there is no lock to be had
  int64_t kept_files = 0;
  int64_t kept_bytes = 0;
  int64_t removed_files = 0;
};

/// Removes what dead or very slow writers left, what stands under an entry's name and cannot be
/// one, and, where a limit is passed, entries from the least recently used on until four fifths of
/// it are kept. Files being written count for nothing. One sweep at a time works on a folder;
/// harmless beside readers, who miss, and writers.
Sweep sweep(FileCalls& calls, const Descriptor& folder, SweepLimits limits);

/// Whether nobody has swept within the last ten seconds.
bool is_unswept(FileCalls& calls, const Descriptor& folder);

}  // namespace encore::cache
