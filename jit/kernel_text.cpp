// The text's grammar is in docs/kernel-text.md; parse_kernel.cpp reads it.
#include <encore/jit/kernel_words.h>
#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <concepts>

namespace encore::jit {
namespace {

class Printer {
 public:
  explicit Printer(const Kernel& kernel) : kernel_(kernel) {}

  std::string print() {
    print_interface();
    auto stage = kernel_.stages.begin();
    for (; stage != kernel_.stages.end() && stage->kind == StageKind::setup; ++stage)
      print_stage(*stage);
    if (kernel_.contraction) print_contraction(*kernel_.contraction);
    for (; stage != kernel_.stages.end(); ++stage) print_stage(*stage);
    return std::move(text_);
  }

  std::string print_head() {
    if (!kernel_.name.empty()) {
      put("kernel ");
      for (char c : kernel_.name) text_ += c == '#' || c == '\n' || c == '\r' ? '_' : c;
      text_ += '\n';
    }
    for (size_t i = 0; i < kernel_.sizes.size(); ++i)
      if (!kernel_.sizes[i].fixed) line("size s", i, " = ", kernel_.sizes[i].value);
    return std::move(text_);
  }

 private:
  // Appends words and numbers. Keys are made of these texts, so a format string would be felt.
  void append(std::string_view word) { text_ += word; }
  template <std::integral Number>
  void append(Number number) {
    char digits[24];
    text_.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
  }
  // A size that is not fixed keeps its number in the table, because code finds it there by number.
  void append(const Size& size) {
    if (size.fixed) return append(size.value);
    put("s", &size - kernel_.sizes.data());
  }
  template <class... Parts>
  void put(const Parts&... parts) {
    (append(parts), ...);
  }
  template <class... Parts>
  void line(const Parts&... parts) {
    put(parts..., "\n");
  }

  const Size& size(SizeId id) const { return kernel_.sizes[id]; }

  void print_interface() {
    for (size_t i = 0; i < kernel_.axes.size(); ++i)
      line("axis ", i, ": ", role_names[int(kernel_.axes[i].role)], " ",
           size(kernel_.axes[i].extent));
    if (kernel_.rows_per_chunk != none) line("rows per chunk: ", size(kernel_.rows_per_chunk));
    if (kernel_.variant) line("variant: ", kernel_.variant);
    for (size_t i = 0; i < kernel_.arguments.size(); ++i)
      line("argument ", i, ": ", use_names[int(kernel_.arguments[i].use)], " ",
           name_of(kernel_.arguments[i].dtype));
    for (size_t i = 0; i < kernel_.scalars.size(); ++i)
      line("scalar ", i, ": ", name_of(kernel_.scalars[i]));
  }

  void print_contraction(const Contraction& contraction) {
    line("operand a");
    print_instructions(contraction.a_begin, contraction.a_end);
    line("operand b");
    print_instructions(contraction.b_begin, contraction.b_end);
    line("product = ", name_of(contraction.dtype), " sum of %", contraction.a, " * %",
         contraction.b);
    if (contraction.precision != MatmulPrecision::highest)
      line("precision: ", name_of(contraction.precision));
  }

  void print_stage(const Stage& stage) {
    line(stage_names[int(stage.kind)]);
    print_instructions(stage.begin, stage.end);
    for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i)
      print_accumulator(i);
  }

  void print_instructions(uint32_t begin, uint32_t end) {
    for (uint32_t i = begin; i < end; ++i) {
      print_instruction(i);
      put("\n");
    }
  }

  void print_instruction(uint32_t i) {
    const Instruction& instruction = kernel_.instructions[i];
    put("  %", i, " = ", name_of(instruction.op), " ", name_of(instruction.dtype));
    for (int j = 0; j < operand_count(instruction.op); ++j) put(" %", instruction.operands[j]);
    switch (detail_of(instruction.op)) {
      case Detail::none:
        return;
      case Detail::literal:
        return print_literal(instruction);
      case Detail::scalar:
        return put(" scalar ", instruction.aux);
      case Detail::size:
        return put(" ", size(instruction.aux));
      case Detail::axis:
        return put(" axis ", instruction.aux);
      case Detail::access:
        return print_access(kernel_.accesses[instruction.aux]);
      case Detail::accumulator:
        return put(" accumulator ", instruction.aux);
      case Detail::storage:
        return put(" ", name_of(DType(instruction.aux)));
    }
  }

  void print_literal(const Instruction& constant) {
    put(fmt::format(" 0x{:x}", constant.bits));
    std::string number = number_text(constant.dtype, constant.bits);
    if (!number.empty()) put(" (", number, ")");
  }

  void print_access(const Access& access) {
    put(" argument ", access.argument, " [");
    const size_t empty = text_.size();
    auto plus = [&] {
      if (text_.size() > empty) put(" + ");
    };
    auto is = [&](SizeId id, int64_t value) { return size(id).fixed && size(id).value == value; };
    auto times = [&](SizeId stride) {
      if (!is(stride, 1)) put(" * ", size(stride));
    };
    if (access.base != none && !is(access.base, 0)) put(size(access.base));
    for (size_t axis = 0; axis < access.strides.size(); ++axis) {
      const SizeId stride = access.strides[axis];
      if (stride == none || is(stride, 0)) continue;
      plus(), put("axis ", axis), times(stride);
    }
    if (access.chunk_stride != none && !is(access.chunk_stride, 0))
      plus(), put("chunk"), times(access.chunk_stride);
    if (access.offset != none) plus(), put("%", access.offset);
    put(text_.size() > empty ? "]" : "0]");
    if (access.predicate != none) put(" if %", access.predicate);
  }

  void print_accumulator(uint32_t i) {
    const Accumulator& accumulator = kernel_.accumulators[i];
    put("  accumulator ", i, " = ", reduce_names[int(accumulator.reduce)], " ",
        name_of(accumulator.dtype), " %", accumulator.value);
    if (accumulator.predicate != none) put(" if %", accumulator.predicate);
    if (accumulator.column) {
      put(" by column to");
      print_access(kernel_.accesses[accumulator.access]);
    }
    put("\n");
  }

  const Kernel& kernel_;
  std::string text_;
};

}  // namespace

std::string number_text(DType dtype, uint64_t bits) {
  if (dtype == DType::f32) return fmt::format("{}", std::bit_cast<float>(uint32_t(bits)));
  if (dtype == DType::f64) return fmt::format("{}", std::bit_cast<double>(bits));
  if (!is_integer(dtype)) return {};
  if (!is_signed(dtype)) return fmt::format("{}", bits);
  int unused = 64 - 8 * int(size_of(dtype));
  return fmt::format("{}", int64_t(bits << unused) >> unused);
}

std::string to_text(const Kernel& kernel) { return Printer(kernel).print(); }

std::string describe(const Kernel& kernel) {
  return Printer(kernel).print_head() + to_text(kernel);
}

}  // namespace encore::jit
