// A bundle's trace.json, short enough for a page: of very long lists only the beginning is read,
// and what is left out is said in the document itself.
#pragma once
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace encore {

struct ShortDocument {
  static constexpr size_t most_nodes = 20'000;     // of each graph
  static constexpr size_t most_refusals = 20'000;  // of fusion

  /// Throws nlohmann::json::exception where the file is not JSON.
  ///
  /// References to nodes that are left out lead to one more node, whose op is "left out"; its scope
  /// says how many there are.
  static nlohmann::ordered_json read(const std::filesystem::path& file);
};

}  // namespace encore
