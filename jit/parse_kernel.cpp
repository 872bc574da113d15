#include <encore/core/error.h>
#include <encore/jit/kernel_words.h>
#include <encore/jit/parse_kernel.h>
#include <encore/jit/text_reader.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>

namespace encore::jit {
namespace {

constexpr std::string_view opcode_names[] = {
#define INSTRUCTION(name, operands, meaning) #name,
    ENCORE_INSTRUCTIONS(INSTRUCTION)
#undef INSTRUCTION
};

constexpr std::string_view dtype_names[] = {
#define DTYPE(name, bytes, kind, type) name_of(DType::name),
    ENCORE_DTYPES(DTYPE)
#undef DTYPE
};

constexpr MatmulPrecision precisions[] = {MatmulPrecision::highest, MatmulPrecision::high,
                                          MatmulPrecision::medium};

/// The sizes of a text. While it is read, a size that is not fixed has its final number, and a
/// fixed one a number from `first_fixed` on.
class SizeTable {
 public:
  static constexpr SizeId first_fixed = 1 << 16;

  SizeId fixed(int64_t value) {
    fixed_.push_back(value);
    return first_fixed + SizeId(fixed_.size() - 1);
  }
  void use(SizeId id) { free_.try_emplace(id, untold_size); }
  bool declare(SizeId id, int64_t value) { return free_.try_emplace(id, value).second; }

  /// Puts fixed sizes where no other is, in the order in which trace/compact_sizes numbers them.
  void number(Kernel& kernel) {
    sizes_.assign(free_.empty() ? 0 : free_.rbegin()->first + 1, Size{});
    for (const auto& [id, value] : free_) sizes_[id] = {value, false};
    for (Axis& axis : kernel.axes) number(axis.extent);
    number(kernel.rows_per_chunk);
    std::vector<bool> seen(kernel.accesses.size());
    auto visit = [&](uint32_t id) {
      if (!seen[id]) number(kernel.accesses[id]);
      seen[id] = true;
    };
    for (Instruction& instruction : kernel.instructions) {
      if (instruction.op == Opcode::size) number(instruction.aux);
      if (detail_of(instruction.op) == Detail::access) visit(instruction.aux);
    }
    for (Accumulator& accumulator : kernel.accumulators)
      if (accumulator.access != none) visit(accumulator.access);
    kernel.sizes = std::move(sizes_);
  }

 private:
  void number(Access& access) {
    number(access.base);
    for (SizeId& stride : access.strides) number(stride);
    number(access.chunk_stride);
  }
  void number(SizeId& id) {
    if (id == none || id < first_fixed) return;
    while (free_.contains(next_)) ++next_;
    if (next_ >= sizes_.size()) sizes_.resize(next_ + 1);
    sizes_[next_] = {fixed_[id - first_fixed], true};
    id = next_++;
  }

  std::vector<int64_t> fixed_;
  std::map<SizeId, int64_t> free_;
  std::vector<Size> sizes_;
  SizeId next_ = 0;
};

class Parser {
 public:
  explicit Parser(std::string_view text) : in_(text) {}

  Kernel parse() {
    parse_head();
    parse_interface();
    while (in_.sees("setup")) parse_stage();
    if (in_.sees("operand")) parse_contraction();
    while (!in_.at_end()) parse_stage();
    for (size_t id = 0; id < known_.size(); ++id)
      if (!known_[id]) in_.fail(fmt::format("instruction %{} somewhere", id));
    sizes_.number(kernel_);
    return std::move(kernel_);
  }

 private:
  // ---- What stands before the instructions ------------------------------------------------------

  void parse_head() {
    if (in_.accept("kernel")) {
      kernel_.name = in_.up_to('\n');
      in_.end_line();
    }
    while (in_.accept("size")) {
      const size_t start = in_.place();
      const SizeId id = size_number();
      in_.expect("=");
      if (!sizes_.declare(id, in_.integer("a value")))
        in_.fail_at(start, "a size that has no value yet");
      in_.end_line();
    }
  }

  void parse_interface() {
    for (uint32_t i = 0; accept_item("axis", i); ++i) {
      const Role role = Role(in_.choice(role_names, "a role: outer, row, inner or contracted"));
      kernel_.axes.push_back({role, size()});
      in_.end_line();
    }
    if (in_.accept("rows per chunk:")) {
      kernel_.rows_per_chunk = size();
      in_.end_line();
    }
    if (in_.accept("variant:")) {
      kernel_.variant = in_.number("the number of a variant");
      in_.end_line();
    }
    for (uint32_t i = 0; accept_item("argument", i); ++i) {
      const Use use = Use(in_.choice(use_names, "a use: read, write or update"));
      kernel_.arguments.push_back({dtype(), use});
      in_.end_line();
    }
    for (uint32_t i = 0; accept_item("scalar", i); ++i) {
      kernel_.scalars.push_back(dtype());
      in_.end_line();
    }
  }

  /// "axis 3:", where 3 is its turn.
  bool accept_item(std::string_view word, uint32_t turn) {
    if (!in_.accept(word)) return false;
    in_.expect(std::to_string(turn));
    in_.expect(":");
    return true;
  }

  // ---- Words ------------------------------------------------------------------------------------

  DType dtype() { return DType(in_.choice(dtype_names, "a dtype")); }

  SizeId size_number() {
    const size_t start = in_.place();
    const SizeId id = in_.marked('s', "a size, as in s3");
    if (id < SizeTable::first_fixed) return id;
    in_.fail_at(start, fmt::format("a size below s{}", SizeTable::first_fixed));
  }

  SizeId size() {
    if (!in_.sees_mark('s')) return sizes_.fixed(in_.integer("a size: a number, or as in s3"));
    const SizeId id = size_number();
    sizes_.use(id);
    return id;
  }

  ValueId value() { return in_.marked('%', "a value, as in %3"); }

  ValueId condition() { return in_.accept("if") ? value() : none; }

  /// The number of a thing that exists.
  uint32_t item(const char* word, size_t count) {
    in_.expect(word);
    const size_t start = in_.place();
    const uint32_t id = in_.number("a number");
    if (id < count) return id;
    in_.fail_at(start, fmt::format("one of the kernel's {}s, of which there are {}", word, count));
  }

  // ---- Instructions -----------------------------------------------------------------------------

  void parse_contraction() {
    Contraction contraction;
    in_.expect("operand a");
    in_.end_line();
    parse_instructions(contraction.a_begin, contraction.a_end);
    in_.expect("operand b");
    in_.end_line();
    parse_instructions(contraction.b_begin, contraction.b_end);
    in_.expect("product");
    in_.expect("=");
    contraction.dtype = dtype();
    in_.expect("sum of");
    contraction.a = value();
    in_.expect("*");
    contraction.b = value();
    in_.end_line();
    if (in_.accept("precision:")) {
      std::string_view names[std::size(precisions)];
      std::ranges::transform(precisions, names, [](auto precision) { return name_of(precision); });
      contraction.precision = precisions[in_.choice(names, "a precision")];
      in_.end_line();
    }
    kernel_.contraction = contraction;
  }

  void parse_stage() {
    Stage stage;
    stage.kind = StageKind(in_.choice(stage_names, "an instruction, an accumulator or a stage"));
    in_.end_line();
    parse_instructions(stage.begin, stage.end);
    stage.first_accumulator = uint32_t(kernel_.accumulators.size());
    while (in_.accept("accumulator")) parse_accumulator();
    stage.last_accumulator = uint32_t(kernel_.accumulators.size());
    kernel_.stages.push_back(stage);
  }

  void parse_instructions(uint32_t& begin, uint32_t& end) {
    begin = end = uint32_t(known_.size());
    for (bool first = true; in_.sees_mark('%'); first = false) {
      const size_t start = in_.place();
      const ValueId id = value();
      if (first) begin = end = id;
      const bool known = id < known_.size() && known_[id];
      if (id != end || known || id >= max_instructions) {
        in_.fail_at(start, id != end ? fmt::format("%{}", end)
                           : known   ? "an instruction that was not there yet"
                                     : fmt::format("at most {} instructions", max_instructions));
      }
      ++end;
      in_.expect("=");
      if (id >= known_.size()) {
        known_.resize(id + 1);
        kernel_.instructions.resize(id + 1);
      }
      known_[id] = true;
      kernel_.instructions[id] = instruction();
      in_.end_line();
    }
  }

  Instruction instruction() {
    Instruction result;
    result.op = Opcode(in_.choice(opcode_names, "an instruction of lazy/instruction.h"));
    result.dtype = dtype();
    for (int i = 0; i < operand_count(result.op); ++i) result.operands[i] = value();
    switch (detail_of(result.op)) {
      case Detail::none:
        break;
      case Detail::literal:
        result.bits = literal(result.dtype);
        break;
      case Detail::scalar:
        result.aux = item("scalar", kernel_.scalars.size());
        break;
      case Detail::size:
        result.aux = size();
        break;
      case Detail::axis:
        result.aux = item("axis", kernel_.axes.size());
        break;
      case Detail::access:
        result.aux = access();
        break;
      case Detail::accumulator:
        in_.expect("accumulator");
        result.aux = in_.number("the number of an accumulator");
        break;
      case Detail::storage:
        result.aux = uint32_t(dtype());
        break;
    }
    return result;
  }

  /// The bits count; a number behind them must be the one that they are.
  uint64_t literal(DType dtype) {
    const uint64_t bits = in_.hexadecimal("bits, as in 0x3f");
    const size_t start = in_.place();
    if (!in_.accept("(")) return bits;
    const std::string number = number_text(dtype, bits);
    if (in_.up_to(')') != number || !in_.accept(")")) {
      in_.fail_at(start, number.empty() ? "nothing more"
                                        : fmt::format("({}), which is what the bits say", number));
    }
    return bits;
  }

  void parse_accumulator() {
    Accumulator accumulator{};
    in_.expect(std::to_string(kernel_.accumulators.size()));
    in_.expect("=");
    accumulator.reduce = Reduce(in_.choice(reduce_names, "a reduction, as sum or max"));
    accumulator.dtype = dtype();
    accumulator.value = value();
    accumulator.predicate = condition();
    accumulator.column = in_.accept("by column to");
    if (accumulator.column) accumulator.access = access();
    kernel_.accumulators.push_back(accumulator);
    in_.end_line();
  }

  // ---- Accesses ---------------------------------------------------------------------------------

  /// Equal ones share an entry.
  uint32_t access() {
    const size_t start = in_.place();
    Access access;
    access.argument = item("argument", kernel_.arguments.size());
    access.strides.assign(kernel_.axes.size(), none);
    in_.expect("[");
    do parse_term(access);
    while (in_.accept("+"));
    in_.expect("]");
    access.predicate = condition();
    auto [place, is_new] =
        known_accesses_.try_emplace(in_.since(start), uint32_t(kernel_.accesses.size()));
    if (is_new) kernel_.accesses.push_back(std::move(access));
    return place->second;
  }

  void parse_term(Access& access) {
    const size_t start = in_.place();
    auto once = [&](uint32_t& member, uint32_t id) {
      if (member != none) in_.fail_at(start, "a term that is not in the sum yet");
      member = id;
    };
    auto stride = [&] { return in_.accept("*") ? size() : sizes_.fixed(1); };
    if (in_.sees("axis")) {
      const uint32_t axis = item("axis", kernel_.axes.size());
      once(access.strides[axis], stride());
    } else if (in_.accept("chunk")) {
      once(access.chunk_stride, stride());
    } else if (in_.sees_mark('%')) {
      once(access.offset, value());
    } else if (!in_.accept("0")) {
      once(access.base, size());
    }
  }

  TextReader in_;
  Kernel kernel_;
  SizeTable sizes_;
  std::vector<bool> known_;  // by instruction
  std::map<std::string_view, uint32_t> known_accesses_;
};

}  // namespace

Kernel parse_kernel(std::string_view text) { return Parser(text).parse(); }

}  // namespace encore::jit
