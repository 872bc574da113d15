// Folders that only this user can change: what is found in them may be run.
#pragma once
#include <encore/cache/file_calls.h>

#include <filesystem>
#include <string>

namespace encore::cache {

/// Ours, and nobody else may write it.
bool is_private(const struct stat& status);

struct PrivateFolder {
  Descriptor descriptor;
  std::string problem;   // empty where the folder was opened, or is absent
  bool refused = false;  // because of who can write it; else a call failed, and may work again
};

/// Opens a folder if it is this user's, if only this user may write it, and if nobody but this user
/// and root can put another in its place: all folders above are theirs, and others may write them
/// only where they are sticky, as /tmp is. With `create` a missing one is made, for this user
/// alone.
PrivateFolder open_private_folder(FileCalls& calls, const std::filesystem::path& path, bool create);

}  // namespace encore::cache
