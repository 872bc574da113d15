#include <encore/jit/cuda/reuse.h>

#include <algorithm>
#include <map>
#include <set>

namespace encore::jit::cuda {
namespace {

/// Computing this many instructions again costs more than registers.
constexpr uint32_t worth_keeping = 6;

using Words = std::vector<uint64_t>;

bool is_store(Opcode op) { return op == Opcode::store || op == Opcode::store_add; }

class Finder {
 public:
  Finder(const Kernel& kernel, uint32_t elements, uint32_t registers)
      : kernel_(kernel),
        axes_(varying_axes(kernel)),
        inner_(axes_with(kernel, Role::inner)),
        elements_(elements),
        registers_(registers),
        stage_of_(kernel.instructions.size()) {
    size_t count = kernel.instructions.size();
    reuse_.canonical.resize(count);
    reuse_.kept.assign(count, false);
    for (ValueId i = 0; i < count; ++i) reuse_.canonical[i] = i;
    for (uint32_t s = 0; s < kernel.stages.size(); ++s)
      for (uint32_t i = kernel.stages[s].begin; i < kernel.stages[s].end; ++i) stage_of_[i] = s;
  }

  Reuse run() {
    if (registers_ > 0) {
      number_values();
      find_dead_stores();
    }
    collect();
    return std::move(reuse_);
  }

 private:
  bool varies_inside(ValueId value) const { return axes_[value] & inner_; }
  ValueId canonical(ValueId value) const { return value == none ? none : reuse_.canonical[value]; }

  /// Where an access goes, by content.
  Words map_of(const Access& access) const {
    auto size = [&](SizeId id) -> uint64_t {
      if (id == none || (kernel_.sizes[id].fixed && kernel_.sizes[id].value == 0)) return 0;
      return kernel_.sizes[id].fixed ? uint64_t(kernel_.sizes[id].value) << 1 | 1
                                     : (uint64_t(id) + 1) << 1;
    };
    Words words{access.argument, size(access.base), canonical(access.offset)};
    for (SizeId stride : access.strides) words.push_back(size(stride));
    return words;
  }

  void number_values() {
    std::map<Words, ValueId> known;
    std::vector<uint64_t> version(kernel_.arguments.size());
    std::map<Words, ValueId> stored;  // map and version -> value
    for (ValueId i = 0; i < kernel_.instructions.size(); ++i) {
      const Instruction& instruction = kernel_.instructions[i];
      if (instruction.op == Opcode::product) continue;
      if (is_store(instruction.op)) {
        note_store(i, version, stored);
        continue;
      }
      Words key{uint64_t(instruction.op), uint64_t(instruction.dtype), instruction.aux,
                instruction.bits};
      for (ValueId operand : instruction.operands) key.push_back(canonical(operand));
      if (instruction.op == Opcode::load) {
        const Access& access = kernel_.accesses[instruction.aux];
        Words place = map_of(access);
        place.push_back(version[access.argument]);
        auto found = stored.find(place);
        if (found != stored.end() && access.predicate == none) {
          reuse_.canonical[i] = found->second;
          continue;
        }
        key[2] = canonical(access.predicate);
        key.insert(key.end(), place.begin(), place.end());
      }
      reuse_.canonical[i] = known.try_emplace(std::move(key), i).first->second;
    }
  }

  void note_store(ValueId i, std::vector<uint64_t>& version, std::map<Words, ValueId>& stored) {
    const Instruction& instruction = kernel_.instructions[i];
    const Access& access = kernel_.accesses[instruction.aux];
    ++version[access.argument];
    ValueId value = canonical(instruction.operands[0]);
    bool exact = kernel_.arguments[access.argument].dtype == instruction.dtype;
    // A place that not every inner point has for itself is left alone.
    bool own = true;
    for (uint32_t axis = 0; axis < kernel_.axes.size(); ++axis)
      own &= kernel_.axes[axis].role != Role::inner || moves_along(kernel_, access, axis);
    if (instruction.op != Opcode::store || access.predicate != none || !exact || !own) return;
    Words place = map_of(access);
    place.push_back(version[access.argument]);
    stored[place] = value;
  }

  /// A store is dead when a later stage stores to the same place and nothing loads it in between.
  void find_dead_stores() {
    std::map<Words, uint32_t> overwritten;
    for (ValueId i = ValueId(kernel_.instructions.size()); i-- > 0;) {
      const Instruction& instruction = kernel_.instructions[i];
      if (instruction.op == Opcode::load && reuse_.canonical[i] == i) {
        uint32_t argument = kernel_.accesses[instruction.aux].argument;
        std::erase_if(overwritten, [&](const auto& item) { return item.first[0] == argument; });
      }
      if (instruction.op != Opcode::store) continue;
      const Access& access = kernel_.accesses[instruction.aux];
      if (access.predicate != none) continue;
      Words place = map_of(access);
      place.push_back(kernel_.stages[stage_of_[i]].kind == StageKind::sweep);
      if (overwritten.contains(place))
        dead_.insert(i);
      else
        overwritten.emplace(place, i);
    }
  }

  void collect() {
    needed_.resize(kernel_.stages.size());
    for (uint32_t s = 0; s < kernel_.stages.size(); ++s) {
      const Stage& stage = kernel_.stages[s];
      for (ValueId i = stage.begin; i < stage.end; ++i) {
        const Instruction& instruction = kernel_.instructions[i];
        if (!is_store(instruction.op) || dead_.contains(i)) continue;
        need(instruction.operands[0], s);
        need_access(instruction.aux, s);
        needed_[s].insert(i);
      }
      for (uint32_t a = stage.first_accumulator; a < stage.last_accumulator; ++a) {
        need(kernel_.accumulators[a].value, s);
        need(kernel_.accumulators[a].predicate, s);
      }
    }
    for (const std::set<ValueId>& values : needed_)
      reuse_.computed.emplace_back(values.begin(), values.end());
  }

  void need_access(uint32_t access, uint32_t stage) {
    need(kernel_.accesses[access].offset, stage);
    need(kernel_.accesses[access].predicate, stage);
  }

  /// `value` is wanted by `stage`: from its own stage, if it is the same for a whole row or kept.
  void need(ValueId value, uint32_t stage) {
    value = canonical(value);
    if (value == none) return;
    uint32_t home = stage_of_[value];
    bool in_sweep = kernel_.stages[home].kind == StageKind::sweep && varies_inside(value);
    if (home != stage && (!in_sweep || keep(value))) stage = home;
    if (needed_[stage].insert(value).second) need_operands(value, stage);
  }

  void need_operands(ValueId value, uint32_t stage) {
    const Instruction& instruction = kernel_.instructions[value];
    for (ValueId operand : instruction.operands) need(operand, stage);
    if (instruction.op == Opcode::load) need_access(instruction.aux, stage);
  }

  /// Loads are kept in any case, since memory may have changed; save those of what all rows share,
  /// which is near.
  bool keep(ValueId value) {
    if (reuse_.kept[value]) return true;
    const Instruction& instruction = kernel_.instructions[value];
    uint32_t cost = elements_ * (size_of(instruction.dtype) == 8 ? 2 : 1);
    bool load = instruction.op == Opcode::load;
    if (load && !(axes_[value] & ~inner_) &&
        kernel_.arguments[kernel_.accesses[instruction.aux].argument].use == Use::read)
      return false;
    if (!load && (used_ + cost > registers_ || expense(value) < worth_keeping)) return false;
    used_ += cost;
    return reuse_.kept[value] = true;
  }

  uint32_t expense(ValueId value) const {
    std::set<ValueId> seen;
    std::vector<ValueId> stack{value};
    while (!stack.empty() && seen.size() < worth_keeping) {
      ValueId next = canonical(stack.back());
      stack.pop_back();
      if (next == none || !varies_inside(next) || (next != value && reuse_.kept[next])) continue;
      const Instruction& instruction = kernel_.instructions[next];
      if (instruction.op == Opcode::load || !seen.insert(next).second) continue;
      for (ValueId operand : instruction.operands) stack.push_back(operand);
    }
    return uint32_t(seen.size());
  }

  const Kernel& kernel_;
  std::vector<uint64_t> axes_;
  uint64_t inner_;
  uint32_t elements_, registers_, used_ = 0;
  std::vector<uint32_t> stage_of_;
  std::set<ValueId> dead_;
  std::vector<std::set<ValueId>> needed_;  // by stage
  Reuse reuse_;
};

}  // namespace

Reuse find_reuse(const Kernel& kernel, uint32_t elements, uint32_t registers) {
  return Finder(kernel, elements, registers).run();
}

}  // namespace encore::jit::cuda
