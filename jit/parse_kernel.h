// The inverse of `to_text` and `describe`: a kernel from its text. docs/kernel-text.md has the
// grammar.
//
// For every kernel k: to_text(parse_kernel(to_text(k))) == to_text(k). The kernel read has the
// sizes that are not fixed at k's numbers; where the others stand in the table, which equal
// accesses share an entry, and whether a stride of 0 has one, the text leaves open.
#pragma once
#include <encore/jit/kernel.h>

#include <string_view>

namespace encore::jit {

/// A size that is not fixed and whose value the text does not tell has this one.
inline constexpr int64_t untold_size = 2;

/// Throws Error with line, column, what was expected and the line. The kernel can be printed and
/// verified; whether it obeys the rules of kernel.h is for verify_kernel to say.
Kernel parse_kernel(std::string_view text);

}  // namespace encore::jit
