// The rules of kernel.h and instruction.h, each stated once beside the words that name its breach.
//
// A *place* is where an instruction runs: a stage, or an operand program of the contraction. Places
// cover the instructions without gap or overlap.
#include <encore/core/error.h>
#include <encore/jit/kernel.h>
#include <encore/jit/reference/evaluate.h>
#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <vector>

namespace encore::jit {
namespace {

struct Place {
  std::string name;
  uint32_t begin, end;
  const Stage* stage;  // null: an operand program
  bool roles[4];       // roles of the axes whose index is known here, by Role
};

bool sees_role(const Place& place, Role role) { return place.roles[int(role)]; }

bool is_store(Opcode op) { return op == Opcode::store || op == Opcode::store_add; }
bool is_extreme_index(Reduce reduce) {
  return reduce == Reduce::argmax || reduce == Reduce::argmin;
}

/// Whom an error names. Made for every check, so it is only put into words where one fails.
struct Offender {
  std::string_view what;
  uint32_t number = none;
  std::string_view part = {};
  uint32_t part_number = none;

  Offender operand(uint32_t j) const { return {what, number, "operand", j}; }
  Offender its(std::string_view its_part) const { return {what, number, its_part}; }
};

class Verifier {
 public:
  explicit Verifier(const Kernel& kernel) : kernel_(kernel) {}

  void verify() {
    check_sizes();
    check_axes();
    check_scalars();
    collect_places();
    check_cover();
    check_accumulator_cover();
    for (uint32_t i = 0; i < kernel_.accesses.size(); ++i) check_access(i);
    for (const Place& place : places_) {
      for (uint32_t i = place.begin; i < place.end; ++i) check_instruction(place, i);
      if (place.stage)
        for (uint32_t i = place.stage->first_accumulator; i < place.stage->last_accumulator; ++i)
          check_accumulator(place, i);
    }
    check_chunks();
    if (kernel_.contraction) check_contraction(*kernel_.contraction);
  }

 private:
  [[noreturn]] void fail(const Offender& offender, const std::string& what) const {
    std::string name(offender.what);
    if (offender.number != none) name += fmt::format(" {}", offender.number);
    if (offender.what == instruction_word) {
      const Instruction& instruction = kernel_.instructions[offender.number];
      name += fmt::format(" ({} {})", name_of(instruction.op), name_of(instruction.dtype));
    }
    if (!offender.part.empty()) name += fmt::format(": {}", offender.part);
    if (offender.part_number != none) name += fmt::format(" {}", offender.part_number);
    throw Error(fmt::format("kernel '{}': {}: {}", kernel_.name, name, what), {});
  }
  void require(bool holds, const Offender& offender, const char* what) const {
    if (!holds) fail(offender, what);
  }

  static constexpr std::string_view instruction_word = "instruction";
  static Offender instruction_name(uint32_t i) { return {instruction_word, i}; }

  bool is_size(SizeId id) const { return id < kernel_.sizes.size(); }
  bool is_size_or_none(SizeId id) const { return id == none || is_size(id); }

  void check_sizes() const {
    for (size_t i = 0; i < kernel_.sizes.size(); ++i) {
      const Size& size = kernel_.sizes[i];
      if (!size.fixed && (size.value == 0 || size.value == 1))
        fail({"size", uint32_t(i)}, fmt::format("is {} and not fixed", size.value));
    }
  }

  void check_axes() const {
    for (uint32_t i = 0; i < kernel_.axes.size(); ++i) {
      const Axis& axis = kernel_.axes[i];
      const Offender offender{"axis", i};
      require(is_size(axis.extent), offender, "its extent is no size of the kernel");
      require(kernel_.size(axis.extent) >= 0, offender, "its extent is negative");
      require(i == 0 || kernel_.axes[i - 1].role <= axis.role, offender,
              "axes must be ordered by role: outer, row, inner, contracted");
      require(axis.role != Role::contracted || kernel_.contraction, offender,
              "is contracted in a kernel without a contraction");
    }
  }

  void check_scalars() const {
    for (size_t i = 0; i < kernel_.scalars.size(); ++i)
      require(compute_dtype(kernel_.scalars[i]) == kernel_.scalars[i],
              Offender{"scalar", uint32_t(i)}, "f16 and bf16 are no compute dtypes");
  }

  void collect_places() {
    for (uint32_t i = 0; i < kernel_.stages.size(); ++i) {
      const Stage& stage = kernel_.stages[i];
      bool row = stage.kind != StageKind::setup, inner = stage.kind == StageKind::sweep;
      constexpr const char* kinds[] = {"setup", "row", "sweep"};
      places_.push_back({fmt::format("stage {} ({})", i, kinds[int(stage.kind)]),
                         stage.begin,
                         stage.end,
                         &stage,
                         {row, row, inner, false}});
      require(stage.kind != StageKind::setup || i == 0 ||
                  kernel_.stages[i - 1].kind == StageKind::setup,
              {places_.back().name}, "setup stages come before all others");
    }
    if (!kernel_.contraction) return;
    const Contraction& contraction = *kernel_.contraction;
    places_.push_back({"operand a of the contraction",
                       contraction.a_begin,
                       contraction.a_end,
                       nullptr,
                       {true, true, false, true}});
    places_.push_back({"operand b of the contraction",
                       contraction.b_begin,
                       contraction.b_end,
                       nullptr,
                       {true, false, true, true}});
  }

  /// Every instruction belongs to exactly one place, and stages are in order.
  void check_cover() {
    size_t count = kernel_.instructions.size();
    if (count > max_instructions)
      fail({"the kernel"},
           fmt::format("has {} instructions; {} are allowed", count, max_instructions));
    place_of_.assign(count, nullptr);
    uint32_t last_end = 0;
    for (const Place& place : places_) {
      require(place.begin <= place.end && place.end <= count, {place.name},
              "its instructions are no range of the kernel's");
      if (place.stage && place.begin != place.end) {
        require(place.begin >= last_end, {place.name},
                "its instructions come before those of the stage before it");
        last_end = place.end;
      }
      for (uint32_t i = place.begin; i < place.end; ++i) {
        require(!place_of_[i], instruction_name(i), "belongs to two stages or operand programs");
        place_of_[i] = &place;
      }
    }
    for (uint32_t i = 0; i < count; ++i)
      require(place_of_[i], instruction_name(i), "belongs to no stage or operand program");
  }

  void check_accumulator_cover() const {
    uint32_t next = 0;
    for (const Place& place : places_) {
      if (!place.stage) continue;
      uint32_t first = place.stage->first_accumulator, last = place.stage->last_accumulator;
      if (first == last) continue;
      require(first == next && first < last && last <= kernel_.accumulators.size(), {place.name},
              "accumulators must be numbered from 0 in the order of the stages that feed them");
      next = last;
    }
    if (next != kernel_.accumulators.size()) fail({"accumulator", next}, "no stage feeds it");
  }

  /// What holds of an access wherever it is used.
  void check_access(uint32_t i) const {
    const Access& access = kernel_.accesses[i];
    const Offender offender{"access", i};
    require(access.argument < kernel_.arguments.size(), offender, "its argument does not exist");
    require(is_size_or_none(access.base), offender, "its base is no size of the kernel");
    require(access.strides.size() == kernel_.axes.size(), offender,
            "it needs one stride for each axis of the kernel");
    for (SizeId stride : access.strides)
      require(is_size_or_none(stride), offender, "a stride is no size of the kernel");
    require(is_size_or_none(access.chunk_stride), offender,
            "its chunk stride is no size of the kernel");
  }

  void check_instruction(const Place& place, uint32_t i) const {
    const Instruction& instruction = kernel_.instructions[i];
    const Offender name = instruction_name(i);
    require(compute_dtype(instruction.dtype) == instruction.dtype, name,
            "f16 and bf16 are no compute dtypes");
    int count = operand_count(instruction.op);
    for (int j = 0; j < 3; ++j) {
      const Offender operand = name.operand(uint32_t(j));
      if (j < count) check_use(place, instruction.operands[j], i, operand);
      require(j < count || instruction.operands[j] == none, operand, "is one too many");
    }
    switch (instruction.op) {
      case Opcode::load:
      case Opcode::store:
      case Opcode::store_add:
        return check_memory(place, i);
      case Opcode::scalar:
      case Opcode::size:
      case Opcode::index:
      case Opcode::reduced:
      case Opcode::product:
        return check_source(place, i);
      default:
        return check_pure(i);
    }
  }

  /// `id` is a value that is computed before instruction `before` and can be seen from `place`.
  void check_use(const Place& place, ValueId id, uint32_t before, const Offender& user) const {
    if (id >= kernel_.instructions.size()) fail(user, "is no value of the kernel");
    if (id >= before) fail(user, fmt::format("value {} is not computed yet", id));
    if (is_store(kernel_.instructions[id].op)) fail(user, fmt::format("value {} is a store", id));
    const Place* home = place_of_[id];
    if (home == &place) return;
    bool setup = home->stage && home->stage->kind == StageKind::setup;
    bool row = home->stage && home->stage->kind == StageKind::row && place.stage;
    if (!setup && !row)
      fail(user, fmt::format("value {} of {} cannot be used in {}", id, home->name, place.name));
  }

  void check_dtype(ValueId id, DType needed, const Offender& user) const {
    DType found = kernel_.instructions[id].dtype;
    if (found != needed)
      fail(user, fmt::format("has dtype {}, {} is needed", name_of(found), name_of(needed)));
  }

  void check_pure(uint32_t i) const {
    const Instruction& instruction = kernel_.instructions[i];
    const Offender name = instruction_name(i);
    if (instruction.op == Opcode::constant) {
      int bits = instruction.dtype == DType::boolean ? 1 : 8 * int(size_of(instruction.dtype));
      require(bits == 64 || instruction.bits >> bits == 0, name, "its literal is too wide");
      return;
    }
    auto is = [&](std::initializer_list<Opcode> ops) {
      return std::find(ops.begin(), ops.end(), instruction.op) != ops.end();
    };
    DType first = kernel_.instructions[instruction.operands[0]].dtype;
    DType needed[3] = {instruction.dtype, instruction.dtype, instruction.dtype};
    bool comparison = is({Opcode::eq, Opcode::ne, Opcode::lt, Opcode::le});
    if (comparison) needed[0] = needed[1] = first;
    if (is({Opcode::cast, Opcode::bitcast})) needed[0] = first;
    if (instruction.op == Opcode::select) needed[0] = DType::boolean;
    for (int j = 0; j < operand_count(instruction.op); ++j)
      check_dtype(instruction.operands[j], needed[j], name.operand(uint32_t(j)));
    require(!comparison || instruction.dtype == DType::boolean, name, "a comparison gives bool");
    if (evaluation_of(instruction.op, instruction.dtype, first, instruction.aux)) return;
    if (instruction.op == Opcode::quantize)
      require(instruction.dtype != DType::f32, name, "quantizes to f16 or bf16 only");
    fail(name, fmt::format("has no meaning on {}", name_of(first)));
  }

  void check_memory(const Place& place, uint32_t i) const {
    const Instruction& instruction = kernel_.instructions[i];
    const Offender name = instruction_name(i);
    require(instruction.aux < kernel_.accesses.size(), name, "its access does not exist");
    const Access& access = kernel_.accesses[instruction.aux];
    const Argument& argument = kernel_.arguments[access.argument];
    if (compute_dtype(argument.dtype) != instruction.dtype)
      fail(name, fmt::format("argument {} has dtype {}", access.argument, name_of(argument.dtype)));
    check_direction(place, instruction.op, argument.use, name);
    if (is_store(instruction.op))
      check_dtype(instruction.operands[0], instruction.dtype, name.operand(0));
    check_strides(place.roles, access, name);
    require(access.chunk_stride == none, name,
            "only a column accumulator's access may use the chunk");
    check_condition(place, access.offset, DType::i64, i, name.its("offset"));
    check_condition(place, access.predicate, DType::boolean, i, name.its("predicate"));
  }

  void check_direction(const Place& place, Opcode op, Use use, const Offender& name) const {
    bool setup = place.stage && place.stage->kind == StageKind::setup;
    if (op == Opcode::load) {
      require(use != Use::write, name, "loads from an argument that is only written");
      require(!setup || use == Use::read, name,
              "setup loads only from arguments that are only read");
      return;
    }
    require(use != Use::read, name, "stores to an argument that is only read");
    require(op == Opcode::store || use == Use::update, name, "needs an argument in use `update`");
    require(!setup, name, "setup stores nothing");
    require(place.stage, name, "an operand program stores nothing");
  }

  void check_strides(const bool (&roles)[4], const Access& access, const Offender& user) const {
    for (size_t axis = 0; axis < access.strides.size(); ++axis)
      if (access.strides[axis] != none && !roles[int(kernel_.axes[axis].role)])
        fail(user, fmt::format("its access has a stride on axis {}, whose index is not known there",
                               axis));
  }

  void check_condition(const Place& place, ValueId id, DType dtype, uint32_t before,
                       const Offender& user) const {
    if (id == none) return;
    check_use(place, id, before, user);
    check_dtype(id, dtype, user);
  }

  /// Instructions that bring a value in from elsewhere than memory.
  void check_source(const Place& place, uint32_t i) const {
    const Instruction& instruction = kernel_.instructions[i];
    const Offender name = instruction_name(i);
    switch (instruction.op) {
      case Opcode::scalar:
        require(instruction.aux < kernel_.scalars.size(), name, "its scalar slot does not exist");
        require(kernel_.scalars[instruction.aux] == instruction.dtype, name,
                "its scalar slot has another dtype");
        break;
      case Opcode::size:
        require(is_size(instruction.aux), name, "its size does not exist");
        require(instruction.dtype == DType::i64, name, "a size is i64");
        break;
      case Opcode::index:
        require(instruction.aux < kernel_.axes.size(), name, "its axis does not exist");
        require(instruction.dtype == DType::i64, name, "an index is i64");
        require(sees_role(place, kernel_.axes[instruction.aux].role), name,
                "the index of its axis is not known there");
        break;
      case Opcode::reduced:
        check_reduced(place, instruction, name);
        break;
      default:
        check_product(place, instruction, name);
    }
  }

  void check_reduced(const Place& place, const Instruction& reduced, const Offender& name) const {
    require(place.stage && place.stage->kind == StageKind::row, name, "belongs in a row stage");
    require(reduced.aux < kernel_.accumulators.size(), name, "its accumulator does not exist");
    const Accumulator& accumulator = kernel_.accumulators[reduced.aux];
    require(!accumulator.column, name, "its accumulator is a column one");
    require(accumulator.dtype == reduced.dtype, name, "its accumulator has another dtype");
    bool fed = false;
    for (const Stage* stage = kernel_.stages.data(); stage != place.stage; ++stage)
      fed |= stage->first_accumulator <= reduced.aux && reduced.aux < stage->last_accumulator;
    require(fed, name, "no sweep before it feeds its accumulator");
  }

  void check_product(const Place& place, const Instruction& product, const Offender& name) const {
    require(kernel_.contraction.has_value(), name, "the kernel has no contraction");
    require(place.stage && place.stage->kind == StageKind::sweep, name,
            "belongs in the contraction's sweep");
    require(kernel_.contraction->dtype == product.dtype, name, "the contraction has another dtype");
  }

  void check_accumulator(const Place& place, uint32_t i) const {
    const Accumulator& accumulator = kernel_.accumulators[i];
    const Offender name{"accumulator", i};
    require(compute_dtype(accumulator.dtype) == accumulator.dtype, name,
            "f16 and bf16 are no compute dtypes");
    require(place.stage->kind != StageKind::setup, name, "a setup stage feeds no accumulator");
    require(accumulator.column || place.stage->kind == StageKind::sweep, name,
            "a row stage feeds only column accumulators");
    check_use(place, accumulator.value, place.end, name.its("value"));
    check_condition(place, accumulator.predicate, DType::boolean, place.end, name.its("predicate"));
    DType value = kernel_.instructions[accumulator.value].dtype;
    if (is_extreme_index(accumulator.reduce)) {
      require(accumulator.dtype == DType::i64, name, "argmax and argmin give i64");
      require(!accumulator.column, name, "argmax and argmin are row accumulators only");
    } else {
      check_dtype(accumulator.value, accumulator.dtype, name.its("value"));
    }
    bool logical = accumulator.reduce == Reduce::any || accumulator.reduce == Reduce::all;
    require(!logical || value == DType::boolean, name, "any and all need bool");
    if (accumulator.column)
      check_column(place, accumulator, name);
    else
      require(accumulator.access == none, name, "a row accumulator has no access");
  }

  void check_column(const Place& place, const Accumulator& accumulator,
                    const Offender& name) const {
    require(accumulator.access < kernel_.accesses.size(), name, "its access does not exist");
    const Access& access = kernel_.accesses[accumulator.access];
    const Argument& argument = kernel_.arguments[access.argument];
    require(compute_dtype(argument.dtype) == accumulator.dtype, name,
            "its access's argument has another dtype");
    require(argument.use != Use::read, name, "its access's argument is only read");
    const bool roles[4] = {true, false, sees_role(place, Role::inner), false};
    check_strides(roles, access, name);
    require(access.offset == none && access.predicate == none, name,
            "its access has neither offset nor predicate");
  }

  void check_chunks() const {
    bool column = std::any_of(kernel_.accumulators.begin(), kernel_.accumulators.end(),
                              [](const Accumulator& accumulator) { return accumulator.column; });
    bool chunks = kernel_.rows_per_chunk != none;
    require(chunks || !column, {"rows_per_chunk"}, "a kernel with column accumulators needs it");
    require(column || !chunks, {"rows_per_chunk"}, "is for kernels with column accumulators");
    require(is_size_or_none(kernel_.rows_per_chunk), {"rows_per_chunk"},
            "is no size of the kernel");
    require(!chunks || kernel_.size(kernel_.rows_per_chunk) >= 1, {"rows_per_chunk"},
            "must be at least 1");
  }

  void check_contraction(const Contraction& contraction) const {
    const Offender name{"the contraction"};
    require(compute_dtype(contraction.dtype) == contraction.dtype &&
                contraction.dtype != DType::boolean,
            name, "its dtype must be a number's compute dtype");
    auto sweeps = std::count_if(kernel_.stages.begin(), kernel_.stages.end(),
                                [](const Stage& stage) { return stage.kind == StageKind::sweep; });
    require(sweeps == 1, name, "needs exactly one sweep");
    check_operand(contraction.a, contraction.a_begin, contraction.a_end, {"operand a"});
    check_operand(contraction.b, contraction.b_begin, contraction.b_end, {"operand b"});
  }

  void check_operand(ValueId id, uint32_t begin, uint32_t end, const Offender& name) const {
    require(id >= begin && id < end, name, "its value is not computed by its own program");
    check_dtype(id, kernel_.contraction->dtype, name);
  }

  const Kernel& kernel_;
  std::vector<Place> places_;
  std::vector<const Place*> place_of_;  // by instruction
};

}  // namespace

void verify_kernel(const Kernel& kernel) { Verifier(kernel).verify(); }

}  // namespace encore::jit
