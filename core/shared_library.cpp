#include <dlfcn.h>
#include <encore/core/shared_library.h>
#include <fmt/format.h>

#include <filesystem>
#include <vector>

namespace encore {

SharedLibrary::SharedLibrary(std::span<const std::string> names,
                             std::span<const std::string> folders) {
  std::vector<std::string> candidates;
  for (const std::string& folder : folders)
    for (const std::string& name : names)
      if (std::string path = folder + "/" + name; std::filesystem::exists(path))
        candidates.push_back(path);
  candidates.insert(candidates.end(), names.begin(), names.end());
  std::string reasons;
  for (const std::string& candidate : candidates) {
    handle_ = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle_) {
      name_ = candidate;
      return;
    }
    const char* reason = dlerror();
    reasons += fmt::format("\n    {}", reason ? reason : candidate);
  }
  failure_ =
      fmt::format("none of {} could be opened, in the folders [{}] or where the system looks:{}",
                  fmt::join(names, ", "), fmt::join(folders, ", "), reasons);
}

SharedLibrary::~SharedLibrary() {
  if (handle_) dlclose(handle_);
}

void* SharedLibrary::find(const char* symbol) const {
  return handle_ ? dlsym(handle_, symbol) : nullptr;
}

}  // namespace encore
