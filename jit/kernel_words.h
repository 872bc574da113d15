// The words of a kernel's text, for the printer and the parser alike.
#pragma once
#include <encore/jit/kernel.h>

#include <string>
#include <string_view>

namespace encore::jit {

inline constexpr std::string_view role_names[] = {"outer", "row", "inner", "contracted"};
inline constexpr std::string_view use_names[] = {"read", "write", "update"};
inline constexpr std::string_view reduce_names[] = {"sum", "prod", "max",    "min",
                                                    "any", "all",  "argmax", "argmin"};
inline constexpr std::string_view stage_names[] = {"setup", "row", "sweep"};

/// What follows an instruction's operands.
enum class Detail : uint8_t { none, literal, scalar, size, axis, access, accumulator, storage };

constexpr Detail detail_of(Opcode op) {
  switch (op) {
    case Opcode::constant:
      return Detail::literal;
    case Opcode::scalar:
      return Detail::scalar;
    case Opcode::size:
      return Detail::size;
    case Opcode::index:
      return Detail::axis;
    case Opcode::load:
    case Opcode::store:
    case Opcode::store_add:
      return Detail::access;
    case Opcode::reduced:
      return Detail::accumulator;
    case Opcode::quantize:
      return Detail::storage;
    default:
      return Detail::none;
  }
}

/// The number that a constant's bits are: "-3", "0.5", "nan"; empty for bool.
std::string number_text(DType dtype, uint64_t bits);

}  // namespace encore::jit
