#include <encore/cache/layout.h>
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>

namespace encore::cache {
namespace {

constexpr std::string_view entry_ending = ".entry", temporary_ending = ".tmp";

bool is_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

std::string path_of(const Hash128& name) {
  const std::string digits = name.hex();
  return fmt::format("{}/{}{}", digits.substr(0, 2), digits, entry_ending);
}

std::string shard_of_path(const std::string& path) { return path.substr(0, path.find('/')); }

std::string temporary_path(const std::string& shard, uint64_t number) {
  return fmt::format("{}/{}.{:x}{}", shard, getpid(), number, temporary_ending);
}

bool is_shard(std::string_view folder) { return folder.size() == 2 && is_hex(folder); }

std::optional<std::string> entry_digits(std::string_view file) {
  if (!file.ends_with(entry_ending)) return std::nullopt;
  file.remove_suffix(entry_ending.size());
  if (file.size() != 32 || !is_hex(file)) return std::nullopt;
  return std::string(file);
}

std::optional<pid_t> temporary_writer(std::string_view file) {
  if (!file.ends_with(temporary_ending)) return std::nullopt;
  file.remove_suffix(temporary_ending.size());
  pid_t writer = 0;
  auto [end, error] = std::from_chars(file.data(), file.data() + file.size(), writer);
  if (error != std::errc() || writer <= 0) return std::nullopt;
  std::string_view rest(end, file.data() + file.size() - end);
  if (rest.size() < 2 || rest[0] != '.' || !is_hex(rest.substr(1))) return std::nullopt;
  return writer;
}

}  // namespace encore::cache
