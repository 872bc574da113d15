// What two bundles differ in, as JSON: {a, b, same, header, nodes, kernels, memory, texts};
// docs/dump-format.md says what stands in them. Times, misses and places in the source make no
// difference.
#pragma once
#include <encore/utils/bundle.h>

#include <nlohmann/json.hpp>

namespace encore {

using Json = nlohmann::ordered_json;

Json compare_bundles(const Bundle& a, const Bundle& b);

/// {a, b, same, only_a, only_b, traces}: traces of one key belong together, then, in order, those
/// that were compiled for the same line.
Json compare_folders(const std::filesystem::path& a, const std::filesystem::path& b);

/// For people.
std::string comparison_text(const Json& comparison);

}  // namespace encore
