#include <encore/jit/cuda/spell_in_range.h>
#include <encore/jit/cuda/spell_instruction.h>
#include <fmt/format.h>

#include <bit>
#include <cmath>

namespace encore::jit::cuda {

std::string RangedSpelling::spell(const Instruction& instruction, const Names& name) const {
  if (instruction.op == Opcode::scale2) return scale2(instruction, name);
  if (std::string limited = limit(instruction, name); !limited.empty()) return limited;
  if (is_reciprocal_near(instruction))
    return fmt::format("reciprocal_near({})", name(instruction.operands[1]));
  std::string names[3];
  for (int i = 0; i < 3; ++i)
    if (instruction.operands[i] != none) names[i] = name(instruction.operands[i]);
  return cuda::spell(instruction, kernel_.instructions[instruction.operands[0]].dtype, names[0],
                     names[1], names[2]);
}

/// That of an f32.
float RangedSpelling::constant(ValueId id) const {
  return std::bit_cast<float>(uint32_t(kernel_.instructions[id].bits));
}

/// `x` kept below or above a number: one machine instruction, where a comparison and a selection
/// are two, or none where it lies there anyway. Empty where the instruction is none such.
std::string RangedSpelling::limit(const Instruction& instruction, const Names& name) const {
  if (instruction.op != Opcode::select || instruction.dtype != DType::f32) return {};
  const Instruction& condition = kernel_.instructions[instruction.operands[0]];
  const ValueId bound = instruction.operands[1], x = instruction.operands[2];
  if (condition.op != Opcode::lt || kernel_.instructions[bound].op != Opcode::constant) return {};
  const float number = constant(bound);
  if (number == 0 || std::isnan(number)) return {};  // zeros of either sign are alike to `<` alone
  if (condition.operands[0] == bound && condition.operands[1] == x)
    return ranges_[x].high <= number ? name(x)
                                     : fmt::format("min_or_nan({}, {})", name(x), name(bound));
  if (condition.operands[0] == x && condition.operands[1] == bound)
    return ranges_[x].low >= number ? name(x)
                                    : fmt::format("max_or_nan({}, {})", name(x), name(bound));
  return {};
}

/// 1 / x of an x that needs no care, which spares the branch of a quotient.
bool RangedSpelling::is_reciprocal_near(const Instruction& instruction) const {
  return instruction.op == Opcode::div && instruction.dtype == DType::f32 &&
         kernel_.instructions[instruction.operands[0]].op == Opcode::constant &&
         constant(instruction.operands[0]) == 1 &&
         ranges_[instruction.operands[1]].within(0x1p-126, 0x1p126);
}

/// The cheapest way that serves all exponents which may come.
std::string RangedSpelling::scale2(const Instruction& instruction, const Names& name) const {
  const ValueId scaled = instruction.operands[0], exponent = instruction.operands[1];
  const std::string a = name(scaled), n = name(exponent);
  const Range& range = ranges_[exponent];
  const bool single = instruction.dtype == DType::f32;
  const bool near = single ? range.within(-126, 127) : range.within(-1022, 1023);
  if (!near && !(single && range.within(-252, 254))) return fmt::format("scale2({}, {})", a, n);
  const bool moderate = ranges_[scaled].within(0.25, 4);
  const char* function = near                                  ? "scale2_near"
                         : moderate && range.within(-180, 60)  ? "scale2_low"
                         : moderate && range.within(-240, 240) ? "scale2_halves"
                                                               : "scale2_middle";
  const std::string result =
      fmt::format("{}({}, {})", function, a, single ? shifted_bits(exponent, name) : n);
  if (nan_follows(kernel_, scaled, exponent)) return result;
  return fmt::format("{} != {} ? {} : {}", n, n, n, result);
}

/// The bits of n + 1.5 * 2^23. Mostly n was rounded by adding this number; then they are there.
std::string RangedSpelling::shifted_bits(ValueId exponent, const Names& name) const {
  constexpr double magic = 12582912;
  const Instruction& difference = kernel_.instructions[exponent];
  if (difference.op == Opcode::sub &&
      ranges_[difference.operands[0]].within(magic - (1 << 20), magic + (1 << 20)) &&
      ranges_[difference.operands[1]].within(magic, magic))
    if (const std::string sum = name(difference.operands[0]); !sum.empty())
      return fmt::format("bits_of({})", sum);
  return fmt::format("shifted_bits({})", name(exponent));
}

}  // namespace encore::jit::cuda
