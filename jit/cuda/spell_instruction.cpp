#include <encore/core/error.h>
#include <encore/jit/cuda/spell_instruction.h>
#include <fmt/format.h>

#include <bit>
#include <cmath>

namespace encore::jit::cuda {
namespace {

using Text = const std::string&;

bool is_wide(DType dtype) { return size_of(dtype) == 8; }

/// Integer arithmetic that wraps: unsigned, and wide enough that nothing is promoted to int.
std::string wrapping(DType dtype, std::string_view op, Text a, Text b) {
  std::string_view wide = is_wide(dtype) ? "u64" : "u32";
  return fmt::format("({})(({}){} {} ({}){})", type_name(dtype), wide, a, op, wide, b);
}

std::string infix(const Instruction& i, std::string_view op, std::string_view logical, Text a,
                  Text b) {
  if (i.dtype == DType::boolean) return fmt::format("{} {} {}", a, logical, b);
  if (is_floating(i.dtype)) return fmt::format("{} {} {}", a, op, b);
  return wrapping(i.dtype, op, a, b);
}

std::string bitwise(const Instruction& i, std::string_view op, Text a, Text b) {
  return fmt::format("({})({} {} {})", type_name(i.dtype), a, op, b);
}

/// The float function's name with `f` for f32.
std::string call(const Instruction& i, std::string_view name, Text a) {
  return fmt::format("{}{}({})", name, i.dtype == DType::f32 ? "f" : "", a);
}

std::string spell_cast(DType to, DType from, Text a) {
  if (to == DType::boolean) return fmt::format("{} != 0", a);
  if (is_integer(to) && is_floating(from))
    return fmt::format("Saturate<{}>::of({})", type_name(to), a);
  return fmt::format("({}){}", type_name(to), a);
}

std::string spell_bitcast(DType to, DType from, Text a) {
  if (is_floating(to) && !is_floating(from))
    return fmt::format("{}(({}){})", to == DType::f32 ? "float_of" : "double_of",
                       to == DType::f32 ? "u32" : "u64", a);
  if (is_floating(from) && !is_floating(to))
    return fmt::format("({})bits_of({})", type_name(to), a);
  return fmt::format("({}){}", type_name(to), a);
}

template <class T>
std::string spell_float(T value, std::string_view suffix) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  text += suffix;
  return std::signbit(value) ? "(" + text + ")" : text;
}

}  // namespace

std::string_view type_name(DType dtype) {
  DType computed = compute_dtype(dtype);
  return computed == DType::boolean ? "bool" : name_of(computed);
}

std::string_view stored_type_name(DType dtype) {
  return dtype == DType::boolean ? "b8" : name_of(dtype);
}

std::string literal(DType dtype, uint64_t bits) {
  if (dtype == DType::boolean) return bits & 1 ? "true" : "false";
  if (dtype == DType::f32) {
    float value = std::bit_cast<float>(uint32_t(bits));
    return std::isfinite(value) ? spell_float(value, "f")
                                : fmt::format("float_of(0x{:08x}u)", uint32_t(bits));
  }
  if (dtype == DType::f64) {
    double value = std::bit_cast<double>(bits);
    return std::isfinite(value) ? spell_float(value, "")
                                : fmt::format("double_of(0x{:016x}ull)", bits);
  }
  int unused = 64 - 8 * int(size_of(dtype));
  int64_t number = int64_t(bits << unused) >> unused;
  bool small = number >= 0 ? number < (int64_t(1) << 31) : number > -(int64_t(1) << 31);
  if (!is_signed(dtype))
    return fmt::format("({}){}ull", type_name(dtype), bits << unused >> unused);
  if (small) return fmt::format("({})({})", type_name(dtype), number);
  return fmt::format("({})0x{:x}ull", type_name(dtype), uint64_t(number));
}

std::string spell(const Instruction& i, DType operand, Text a, Text b, Text c) {
  std::string_view type = type_name(i.dtype);
  bool floating = is_floating(i.dtype);
  switch (i.op) {
    case Opcode::constant:
    case Opcode::scalar:
    case Opcode::size:
    case Opcode::index:
    case Opcode::load:
    case Opcode::store:
    case Opcode::store_add:
    case Opcode::reduced:
    case Opcode::product:
      break;
    case Opcode::add:
      return infix(i, "+", "||", a, b);
    case Opcode::sub:
      return infix(i, "-", "!=", a, b);
    case Opcode::mul:
      return infix(i, "*", "&&", a, b);
    case Opcode::div:
      return floating ? fmt::format("{} / {}", a, b)
                      : fmt::format("divide<{}>({}, {})", type, a, b);
    case Opcode::rem:
      if (floating)
        return fmt::format("{}({}, {})", i.dtype == DType::f32 ? "fmodf" : "fmod", a, b);
      return fmt::format("remainder_of<{}>({}, {})", type, a, b);
    case Opcode::fma:
      return fmt::format("{}({}, {}, {})", i.dtype == DType::f32 ? "__fmaf_rn" : "__fma_rn", a, b,
                         c);
    case Opcode::neg:
      return floating ? fmt::format("-{}", a) : wrapping(i.dtype, "-", "0", a);
    case Opcode::abs:
      if (floating) return call(i, "fabs", a);
      if (!is_signed(i.dtype)) return a;
      return fmt::format("{} < 0 ? {} : {}", a, wrapping(i.dtype, "-", "0", a), a);
    case Opcode::min:
      return fmt::format("smaller<{}>({}, {})", type, a, b);
    case Opcode::max:
      return fmt::format("larger<{}>({}, {})", type, a, b);
    case Opcode::sqrt:
      return fmt::format("{}({})", i.dtype == DType::f32 ? "__fsqrt_rn" : "__dsqrt_rn", a);
    case Opcode::floor:
      return call(i, "floor", a);
    case Opcode::ceil:
      return call(i, "ceil", a);
    case Opcode::trunc:
      return call(i, "trunc", a);
    case Opcode::round:
      return call(i, "rint", a);
    case Opcode::scale2:
      return fmt::format("scale2({}, {})", a, b);
    case Opcode::eq:
      return fmt::format("{} == {}", a, b);
    case Opcode::ne:
      return fmt::format("{} != {}", a, b);
    case Opcode::lt:
      return fmt::format("{} < {}", a, b);
    case Opcode::le:
      return fmt::format("{} <= {}", a, b);
    case Opcode::bit_and:
      return bitwise(i, "&", a, b);
    case Opcode::bit_or:
      return bitwise(i, "|", a, b);
    case Opcode::bit_xor:
      return bitwise(i, "^", a, b);
    case Opcode::bit_not:
      return i.dtype == DType::boolean ? fmt::format("!{}", a) : fmt::format("({})~{}", type, a);
    case Opcode::shl:
      return fmt::format("shift_left<{}>({}, {})", type, a, b);
    case Opcode::shr:
      return fmt::format("shift_right<{}>({}, {})", type, a, b);
    case Opcode::mul_high:
      return fmt::format("{}({}, {})", is_wide(i.dtype) ? "__umul64hi" : "__umulhi", a, b);
    case Opcode::select:
      return fmt::format("{} ? {} : {}", a, b, c);
    case Opcode::cast:
      return spell_cast(i.dtype, operand, a);
    case Opcode::bitcast:
      return spell_bitcast(i.dtype, operand, a);
    case Opcode::quantize:
      return fmt::format("{}({})", i.aux == uint32_t(DType::f16) ? "through_half" : "through_brain",
                         a);
  }
  internal_error("the instruction is pure", std::source_location::current());
}

std::string_view combiner(Reduce reduce, bool ordered) {
  switch (reduce) {
    case Reduce::sum:
      return "Sum";
    case Reduce::prod:
      return "Product";
    case Reduce::max:
    case Reduce::argmax:
      return ordered ? "Larger" : "Greatest";
    case Reduce::min:
    case Reduce::argmin:
      return ordered ? "Smaller" : "Least";
    case Reduce::any:
      return "Any";
    case Reduce::all:
      return "All";
  }
  internal_error("the reduction exists", std::source_location::current());
}

}  // namespace encore::jit::cuda
