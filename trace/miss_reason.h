// Why a trace or kernel had to be compiled: the reasons (miss_reason.def), and what is told of one
// miss.
#pragma once
#include <encore/core/hash.h>
#include <encore/core/location.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace encore::trace {

enum class MissReason : uint8_t {
#define MISS_REASON(name, subject, meaning, advice) name,
#include <encore/trace/miss_reason.def>
#undef MISS_REASON
};

inline constexpr int miss_reason_count = 0
#define MISS_REASON(name, subject, meaning, advice) +1
#include <encore/trace/miss_reason.def>
#undef MISS_REASON
    ;

enum class MissSubject : uint8_t { trace, kernel };

struct MissReasonInfo {
  std::string_view name;
  MissSubject subject;
  std::string_view meaning;
  std::string_view advice;
};
const MissReasonInfo& info(MissReason reason);
inline std::string_view name_of(MissReason reason) { return info(reason).name; }

/// A miss, explained. Places without a line are not known.
struct Miss {
  MissReason reason = MissReason::first_sight;
  std::string difference;  // what differs, in one sentence
  Location where;          // the user's line that differs
  Location known_where;    // the same in the nearest known trace
  bool has_nearest = false;
  Hash128 nearest;  // the nearest known trace
  Location nearest_sync;
};

/// What was compiled, and for whom.
struct Missed {
  std::string name;            // first digits of a trace's key, or a kernel's name
  std::string key;             // in full
  std::string_view sync_kind;  // of a trace
  Location sync;
};

/// "train.cpp:12", without folders; "an unknown line".
std::string short_place(Location where);

/// All of it in one line: what missed, for which sync, the difference, the nearest that was known.
std::string explanation(const Miss& miss, const Missed& what);

/// Counts it and tells listeners: an `EventKind::miss`. Its text is the explanation in one line,
/// the advice, and all of it once more as a JSON object in one line.
void report_miss(const Miss& miss, const Missed& what);

}  // namespace encore::trace
