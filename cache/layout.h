// How the files of a cache folder are named. What is not named so is never touched.
//
//   ab/ab0123….entry    an entry, by the hex digits of its name
//   ab/<pid>.<n>.tmp    one that is being written, or whose writer died
//   sweep.lock          held by the process that sweeps
#pragma once
#include <encore/core/hash.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

namespace encore::cache {

inline constexpr const char* sweep_lock = "sweep.lock";

/// "ab/ab0123….entry"
std::string path_of(const Hash128& name);
/// The subfolder, "ab".
std::string shard_of_path(const std::string& path);
/// "ab/<pid>.<n>.tmp"
std::string temporary_path(const std::string& shard, uint64_t number);

bool is_shard(std::string_view folder);
/// The hex digits of an entry's file.
std::optional<std::string> entry_digits(std::string_view file);
/// Who writes, or wrote, a temporary file.
std::optional<pid_t> temporary_writer(std::string_view file);

}  // namespace encore::cache
