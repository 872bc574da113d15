// Why two nodes do not share a kernel: the reasons (fusion_refusal.def), and one refusal.
#pragma once
#include <cstdint>
#include <string_view>

namespace encore::trace {

enum class FusionRefusal : uint8_t {
#define FUSION_REFUSAL(name, meaning, advice) name,
#include <encore/trace/fusion_refusal.def>
#undef FUSION_REFUSAL
};

inline constexpr int fusion_refusal_count = 0
#define FUSION_REFUSAL(name, meaning, advice) +1
#include <encore/trace/fusion_refusal.def>
#undef FUSION_REFUSAL
    ;

struct FusionRefusalInfo {
  std::string_view name;
  std::string_view meaning;
  std::string_view advice;
};
const FusionRefusalInfo& info(FusionRefusal reason);

/// Of a graph's nodes: `node` was not taken into the kernel of `other`, a value that it reads or a
/// leaf that the kernel reads as well.
struct Refusal {
  uint32_t node = 0;
  uint32_t other = 0;
  FusionRefusal reason{};
  auto operator<=>(const Refusal&) const = default;
};

}  // namespace encore::trace
