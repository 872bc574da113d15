// The text's grammar is in docs/kernel-text.md; parse_kernel.cpp reads it.
#include <encore/jit/kernel_words.h>
#include <fmt/format.h>

#include <bit>
#include <iterator>

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
      if (!kernel_.sizes[i].fixed) line("size s{} = {}", i, kernel_.sizes[i].value);
    return std::move(text_);
  }

 private:
  template <class... Parts>
  void put(fmt::format_string<Parts...> format, Parts&&... parts) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Parts>(parts)...);
  }
  template <class... Parts>
  void line(fmt::format_string<Parts...> format, Parts&&... parts) {
    put(format, std::forward<Parts>(parts)...);
    text_ += '\n';
  }

  // A size that is not fixed keeps its number in the table, because code finds it there by number.
  std::string size(SizeId id) const {
    const Size& size = kernel_.sizes[id];
    return size.fixed ? fmt::format("{}", size.value) : fmt::format("s{}", id);
  }

  void print_interface() {
    for (size_t i = 0; i < kernel_.axes.size(); ++i)
      line("axis {}: {} {}", i, role_names[int(kernel_.axes[i].role)],
           size(kernel_.axes[i].extent));
    if (kernel_.rows_per_chunk != none) line("rows per chunk: {}", size(kernel_.rows_per_chunk));
    for (size_t i = 0; i < kernel_.arguments.size(); ++i)
      line("argument {}: {} {}", i, use_names[int(kernel_.arguments[i].use)],
           name_of(kernel_.arguments[i].dtype));
    for (size_t i = 0; i < kernel_.scalars.size(); ++i)
      line("scalar {}: {}", i, name_of(kernel_.scalars[i]));
  }

  void print_contraction(const Contraction& contraction) {
    line("operand a");
    print_instructions(contraction.a_begin, contraction.a_end);
    line("operand b");
    print_instructions(contraction.b_begin, contraction.b_end);
    line("product = {} sum of %{} * %{}", name_of(contraction.dtype), contraction.a, contraction.b);
    if (contraction.precision != MatmulPrecision::highest)
      line("precision: {}", name_of(contraction.precision));
  }

  void print_stage(const Stage& stage) {
    line("{}", stage_names[int(stage.kind)]);
    print_instructions(stage.begin, stage.end);
    for (uint32_t i = stage.first_accumulator; i < stage.last_accumulator; ++i)
      print_accumulator(i);
  }

  void print_instructions(uint32_t begin, uint32_t end) {
    for (uint32_t i = begin; i < end; ++i) {
      print_instruction(i);
      text_ += '\n';
    }
  }

  void print_instruction(uint32_t i) {
    const Instruction& instruction = kernel_.instructions[i];
    put("  %{} = {} {}", i, name_of(instruction.op), name_of(instruction.dtype));
    for (int j = 0; j < operand_count(instruction.op); ++j) put(" %{}", instruction.operands[j]);
    switch (detail_of(instruction.op)) {
      case Detail::none:
        return;
      case Detail::literal:
        return print_literal(instruction);
      case Detail::scalar:
        return put(" scalar {}", instruction.aux);
      case Detail::size:
        return put(" {}", size(instruction.aux));
      case Detail::axis:
        return put(" axis {}", instruction.aux);
      case Detail::access:
        return print_access(kernel_.accesses[instruction.aux]);
      case Detail::accumulator:
        return put(" accumulator {}", instruction.aux);
      case Detail::storage:
        return put(" {}", name_of(DType(instruction.aux)));
    }
  }

  void print_literal(const Instruction& constant) {
    put(" 0x{:x}", constant.bits);
    std::string number = number_text(constant.dtype, constant.bits);
    if (!number.empty()) put(" ({})", number);
  }

  void print_access(const Access& access) {
    std::string sum;
    auto add = [&](std::string term) { sum += sum.empty() ? term : " + " + term; };
    auto add_product = [&](std::string index, SizeId stride) {
      if (stride == none) return;
      const Size& factor = kernel_.sizes[stride];
      if (factor.fixed && factor.value == 0) return;
      bool one = factor.fixed && factor.value == 1;
      add(one ? index : index + " * " + size(stride));
    };
    if (access.base != none && size(access.base) != "0") add(size(access.base));
    for (size_t axis = 0; axis < access.strides.size(); ++axis)
      add_product(fmt::format("axis {}", axis), access.strides[axis]);
    add_product("chunk", access.chunk_stride);
    if (access.offset != none) add(fmt::format("%{}", access.offset));
    put(" argument {} [{}]", access.argument, sum.empty() ? "0" : sum);
    if (access.predicate != none) put(" if %{}", access.predicate);
  }

  void print_accumulator(uint32_t i) {
    const Accumulator& accumulator = kernel_.accumulators[i];
    put("  accumulator {} = {} {} %{}", i, reduce_names[int(accumulator.reduce)],
        name_of(accumulator.dtype), accumulator.value);
    if (accumulator.predicate != none) put(" if %{}", accumulator.predicate);
    if (accumulator.column) {
      put(" by column to");
      print_access(kernel_.accesses[accumulator.access]);
    }
    text_ += '\n';
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
