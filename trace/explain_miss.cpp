#include <encore/trace/explain_miss.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

namespace encore::trace {
namespace {

using Node = KnownTrace::Node;
using Found = std::optional<Miss>;

constexpr uint32_t none = ~0u;
/// How far behind a difference the two traces are looked for in step again, and for how many ops.
constexpr size_t most_skipped = 512, in_step[] = {4, 2, 1};

std::string type_of(const KnownTrace& trace, const Node& node) {
  return fmt::format("{}[{}]", name_of(node.dtype), fmt::join(trace.shape(node), ", "));
}

std::string_view spoken(OpId op) {
  switch (op) {
    case OpId::leaf:
      return "a stored value";
    case OpId::scalar:
      return "a C++ number";
    case OpId::literal:
      return "a constant";
    default:
      return name_of(op);
  }
}

/// An op as the user knows it: `mul (in gelu)`.
std::string op_of(const Node& node) {
  if (!node.scope || !*node.scope) return std::string(name_of(node.op));
  return fmt::format("{} (in {})", name_of(node.op), node.scope);
}

std::string attributes_of(const KnownTrace& trace, const Node& node) {
  if (trace.attributes(node).empty()) return std::string(name_of(node.op));
  return fmt::format("{}({})", name_of(node.op), fmt::join(trace.attributes(node), ", "));
}

/// One side of the comparison.
struct Side {
  explicit Side(const KnownTrace& trace) : trace(trace), partner(trace.nodes.size(), none) {
    for (uint32_t id = 0; id < trace.nodes.size(); ++id)
      if (trace.nodes[id].input_count) ops.push_back(id);
  }
  const Node& op(size_t i) const { return trace.nodes[ops[i]]; }
  bool is_op(int64_t id) const { return trace.nodes[size_t(id)].input_count != 0; }

  const KnownTrace& trace;
  std::vector<uint32_t> ops;      // nodes that are computed
  std::vector<uint32_t> partner;  // by node: the same node of the other side
};

class Comparison {
 public:
  Comparison(const KnownTrace& now, const KnownTrace& then) : now_(now), then_(then) {}

  Miss run() {
    if (Found miss = flags()) return *miss;
    // Ops of one line may look alike, and be taken for each other where some are missing.
    bool may_walk = now_.trace.lines == then_.trace.lines || is_beginning();
    if (Found miss = may_walk ? Found() : stored_between()) return *miss;
    size_t count = std::min(now_.ops.size(), then_.ops.size());
    for (size_t i = 0; i < count; ++i) {
      if (!same_op(i, i)) return other_ops(i);
      if (Found miss = node(i)) return *miss;
      pair(now_.ops[i], then_.ops[i]);
    }
    bool whole = now_.trace.is_whole && then_.trace.is_whole;
    if (whole && now_.ops.size() != then_.ops.size()) return other_ops(count);
    if (Found miss = outputs()) return *miss;
    if (Found miss = donation()) return *miss;
    return {MissReason::too_deep,
            fmt::format("the first {} nodes are the same", now_.trace.nodes.size()),
            now_.trace.sync, then_.trace.sync};
  }

 private:
  void pair(uint32_t a, uint32_t b) { now_.partner[a] = b, then_.partner[b] = a; }

  Found flags() const {
    const KnownTrace::Flags &a = now_.trace.flags, &b = then_.trace.flags;
    auto miss = [&](MissReason reason, auto&& now, auto&& then) {
      return Miss{reason, fmt::format("{} is {} now, and was {}", name_of(reason), now, then),
                  now_.trace.sync, then_.trace.sync};
    };
    auto word = [](bool on) { return on ? "on" : "off"; };
    auto backend = [](bool interpreted) {
      return interpreted ? "the interpreter" : "the device's";
    };
    if (a.device != b.device) return miss(MissReason::device, name_of(a.device), name_of(b.device));
    if (a.interpreted != b.interpreted)
      return miss(MissReason::backend, backend(a.interpreted), backend(b.interpreted));
    if (a.strict != b.strict) return miss(MissReason::strict, word(a.strict), word(b.strict));
    if (a.fuse != b.fuse) return miss(MissReason::fuse, word(a.fuse), word(b.fuse));
    if (a.matmul_precision != b.matmul_precision)
      return miss(MissReason::matmul_precision, name_of(a.matmul_precision),
                  name_of(b.matmul_precision));
    return {};
  }

  bool same_op(size_t i, size_t j) const {
    const Node &a = now_.op(i), &b = then_.op(j);
    return a.op == b.op && same_place(a.location, b.location);
  }

  /// Whether the ops of this trace are the first of the other.
  bool is_beginning() const {
    if (now_.ops.size() > then_.ops.size()) return false;
    for (size_t i = 0; i < now_.ops.size(); ++i)
      if (!same_op(i, i)) return false;
    return true;
  }

  Found node(size_t i) {
    const Node &a = now_.op(i), &b = then_.op(i);
    auto mine = now_.trace.inputs(a), known = then_.trace.inputs(b);
    if (mine.size() != known.size())
      return Miss{
          MissReason::input_count,
          fmt::format("{} has {} inputs instead of {}", op_of(a), mine.size(), known.size()),
          a.location, b.location};
    for (size_t k = 0; k < mine.size(); ++k)
      if (Found miss = input(i, k, uint32_t(mine[k]), uint32_t(known[k]))) return miss;
    return own(a, b);
  }

  /// Input `k` of op `i`.
  Found input(size_t i, size_t k, uint32_t a, uint32_t b) {
    const Node &reader = now_.op(i), &known_reader = then_.op(i);
    auto miss = [&](MissReason reason, std::string_view what) {
      return Miss{reason, fmt::format("input {} of {} {}", k, op_of(reader), what), reader.location,
                  known_reader.location};
    };
    if (now_.partner[a] == b) return {};
    const Node &mine = now_.trace.nodes[a], &known = then_.trace.nodes[b];
    bool computed = now_.is_op(a), was_computed = then_.is_op(b);
    if (computed != was_computed) return changed_place(mine, known, reader, known_reader, computed);
    if (computed) return miss(MissReason::wiring, "is another value of the same trace");
    if (now_.partner[a] == none && then_.partner[b] == none) {
      pair(a, b);
      return source(mine, known, reader, known_reader);
    }
    return miss(MissReason::alias, now_.partner[a] != none
                                       ? "is a value that was read before, and was one of its own"
                                       : "is a value of its own, and was one that was read before");
  }

  /// What is computed in one trace comes in as a source in the other.
  Found changed_place(const Node& mine, const Node& known, const Node& reader,
                      const Node& known_reader, bool computed) const {
    const Node &source = computed ? known : mine, &op = computed ? mine : known;
    Location where = mine.location.line ? mine.location : reader.location;
    Location known_where = known.location.line ? known.location : known_reader.location;
    if (source.op != OpId::leaf)
      return Miss{MissReason::wiring,
                  fmt::format("{} reads {} instead of {}", op_of(reader), spoken(mine.op),
                              spoken(known.op)),
                  where, known_where};
    if (computed)
      return Miss{MissReason::computed_input,
                  fmt::format("the {} that {} reads is computed now, and was a stored value",
                              op_of(op), op_of(reader)),
                  where, known_where};
    return Miss{MissReason::stored_input,
                fmt::format("the {} that {} reads is a stored value now, and was computed here",
                            op_of(op), op_of(reader)),
                where, known_where};
  }

  /// Two sources that take the same place.
  Found source(const Node& mine, const Node& known, const Node& reader,
               const Node& known_reader) const {
    Location where = mine.location.line ? mine.location : reader.location;
    Location known_where = known.location.line ? known.location : known_reader.location;
    auto miss = [&](MissReason reason, std::string now, std::string then) {
      std::string what = fmt::format("{} that {} reads is {} now, and was {}", spoken(mine.op),
                                     op_of(reader), now, then);
      return Miss{reason, std::move(what), where, known_where};
    };
    if (mine.op != known.op)
      return miss(MissReason::wiring, std::string(spoken(mine.op)), std::string(spoken(known.op)));
    std::string now = type_of(now_.trace, mine), then = type_of(then_.trace, known);
    if (mine.dtype != known.dtype)
      return miss(mine.op == OpId::leaf ? MissReason::dtype : MissReason::scalar_kind, now, then);
    if (now != then) return miss(shape_reason(mine, known), now, then);
    if (now_.trace.literal(mine) != then_.trace.literal(known))
      return miss(MissReason::constant,
                  literal_text(uint64_t(now_.trace.literal(mine)), mine.dtype),
                  literal_text(uint64_t(then_.trace.literal(known)), known.dtype));
    if (!std::ranges::equal(now_.trace.attributes(mine), then_.trace.attributes(known)))
      return miss(MissReason::attribute, attributes_of(now_.trace, mine),
                  attributes_of(then_.trace, known));
    return {};
  }

  MissReason shape_reason(const Node& mine, const Node& known) const {
    auto now = now_.trace.shape(mine), then = then_.trace.shape(known);
    bool only_first = now.size() == then.size() && !now.empty() &&
                      std::ranges::equal(now.subspan(1), then.subspan(1));
    return mine.op == OpId::leaf && only_first && now[0] < then[0] ? MissReason::short_batch
                                                                   : MissReason::shape;
  }

  /// Of an op whose inputs are the same.
  Found own(const Node& mine, const Node& known) const {
    auto miss = [&](MissReason reason) {
      auto text = [&](const KnownTrace& trace, const Node& node) {
        return fmt::format("{} to {}", attributes_of(trace, node), type_of(trace, node));
      };
      return Miss{reason,
                  fmt::format("{}, and was {}", text(now_.trace, mine), text(then_.trace, known)),
                  mine.location, known.location};
    };
    if (mine.dtype != known.dtype) return miss(MissReason::dtype);
    if (!std::ranges::equal(now_.trace.attributes(mine), then_.trace.attributes(known)))
      return miss(MissReason::attribute);
    if (!std::ranges::equal(now_.trace.shape(mine), then_.trace.shape(known)))
      return miss(is_factory(mine) ? MissReason::shape : MissReason::attribute);
    return {};
  }

  /// Whether the op makes a tensor out of nothing but numbers.
  bool is_factory(const Node& node) const {
    auto inputs = now_.trace.inputs(node);
    return family_of(node.op) == OpFamily::random ||
           std::all_of(inputs.begin(), inputs.end(), [&](int64_t input) {
             const Node& from = now_.trace.nodes[size_t(input)];
             return from.input_count == 0 && from.op != OpId::leaf;
           });
  }

  /// The ops differ from number `at` on; of both sides those before the two are in step again.
  struct Hunk {
    size_t added, removed;
  };

  bool is_in_step(size_t i, size_t j, size_t count) const {
    for (size_t k = 0; k < count; ++k) {
      bool ends = i + k == now_.ops.size(), known_ends = j + k == then_.ops.size();
      if (ends || known_ends) return ends && known_ends;
      if (!same_op(i + k, j + k)) return false;
    }
    return true;
  }

  Hunk find_hunk(size_t at) const {
    size_t mine = now_.ops.size() - at, known = then_.ops.size() - at;
    for (size_t count : in_step)
      for (size_t skipped = 0; skipped <= std::min(most_skipped, mine + known); ++skipped)
        for (size_t added = skipped > known ? skipped - known : 0; added <= std::min(skipped, mine);
             ++added)
          if (is_in_step(at + added, at + skipped - added, count)) return {added, skipped - added};
    return {mine, known};
  }

  Miss other_ops(size_t at) {
    Hunk hunk = find_hunk(at);
    if (now_.trace.lines == then_.trace.lines) return other_order(at);
    if (Found miss = other_number(at)) return *miss;
    if (Found miss = other_rounds(at, hunk)) return *miss;
    if (at == now_.ops.size() && !same_place(now_.trace.sync, then_.trace.sync))
      return {MissReason::part,
              fmt::format("this sync asks for the first {} ops of {}", at, then_.ops.size()),
              now_.trace.sync, then_.trace.sync};
    if (hunk.removed == 0)
      return {MissReason::added,
              counted("is recorded here now, and was not", now_, at, hunk.added),
              now_.op(at).location,
              {}};
    if (hunk.added == 0)
      return {MissReason::removed,
              counted("was recorded here, and is not now", then_, at, hunk.removed),
              then_.op(at).location, then_.op(at).location};
    return {MissReason::op,
            fmt::format("{} stands where {} stood", op_of(now_.op(at)), op_of(then_.op(at))),
            now_.op(at).location, then_.op(at).location};
  }

  static std::string counted(std::string_view what, const Side& side, size_t at, size_t count) {
    std::string more = count > 1 ? fmt::format(" (and {} ops after it)", count - 1) : "";
    return fmt::format("{} {}{}", op_of(side.op(at)), what, more);
  }

  /// A C++ number decides which ops are recorded: an integer exponent, or a floating number that
  /// meets a tensor of integers.
  Found other_number(size_t at) const {
    if (at == now_.ops.size() || at == then_.ops.size()) return {};
    const Node &mine = now_.op(at), &known = then_.op(at);
    auto miss = [&](MissReason reason, std::string what) {
      return Miss{reason, std::move(what), mine.location, known.location};
    };
    bool from_integer = is_integer_power(mine), was_integer = is_integer_power(known);
    bool same_line = same_place(mine.location, known.location);
    if (same_line && from_integer != was_integer && (mine.op == OpId::pow || known.op == OpId::pow))
      return miss(MissReason::scalar_kind,
                  fmt::format("an exponent is {} now, and was {}", kind_of_exponent(from_integer),
                              kind_of_exponent(was_integer)));
    if (mine.op == OpId::cast && meets_other_number(at + 1, at))
      return miss(MissReason::scalar_kind,
                  fmt::format("{} meets a number of another kind", op_of(known)));
    if (known.op == OpId::cast && meets_other_number(at, at + 1))
      return miss(MissReason::scalar_kind,
                  fmt::format("{} meets a number of another kind", op_of(mine)));
    return {};
  }

  static bool is_integer_power(const Node& node) {
    return node.scope && std::string_view(node.scope).ends_with("pow");
  }
  static std::string_view kind_of_exponent(bool integer) {
    return integer ? "an integer" : "a floating number";
  }

  bool meets_other_number(size_t i, size_t j) const {
    if (i >= now_.ops.size() || j >= then_.ops.size() || !same_op(i, j)) return false;
    const Node &reader = now_.op(i), &known_reader = then_.op(j);
    auto mine = now_.trace.inputs(reader), known = then_.trace.inputs(known_reader);
    for (size_t k = 0; k < std::min(mine.size(), known.size()); ++k) {
      const Node &a = now_.trace.nodes[size_t(mine[k])], &b = then_.trace.nodes[size_t(known[k])];
      if (a.op == OpId::scalar && b.op == OpId::scalar && a.dtype != b.dtype) return true;
    }
    return false;
  }

  Miss other_order(size_t at) const {
    return {MissReason::order,
            fmt::format("{} comes first now, where {} came first", op_of(now_.op(at)),
                        op_of(then_.op(at))),
            now_.op(at).location, then_.op(at).location};
  }

  /// The same lines, one more often in one trace than in the other.
  Found other_rounds(size_t at, Hunk hunk) const {
    if ((hunk.added == 0) == (hunk.removed == 0)) return {};
    auto distinct = [](std::vector<uint32_t> lines) {
      lines.erase(std::unique(lines.begin(), lines.end()), lines.end());
      return lines;
    };
    if (distinct(now_.trace.lines) != distinct(then_.trace.lines)) return {};
    const Node& node = hunk.added ? now_.op(at) : then_.op(at);
    auto count = [&](const Side& side) {
      return std::count_if(side.ops.begin(), side.ops.end(), [&](uint32_t id) {
        const Node& other = side.trace.nodes[id];
        return other.op == node.op && same_place(other.location, node.location);
      });
    };
    return Miss{is_integer_power(node) ? MissReason::attribute : MissReason::loop_count,
                fmt::format("{} is recorded here {} times, and was {} times", op_of(node),
                            count(now_), count(then_)),
                node.location, node.location};
  }

  /// A leaf of one side that was computed by an op that only the other side has.
  static const Node* find_stored(const Side& with_leaf, const Side& with_op) {
    auto count = [](const Side& side, uint32_t hash) {
      auto [first, last] = std::equal_range(side.trace.lines.begin(), side.trace.lines.end(), hash);
      return last - first;
    };
    auto is_leaf_there = [&](const Node& node) {
      return std::ranges::any_of(with_op.trace.leaves, [&](const KnownTrace::Leaf& leaf) {
        const Node& other = with_op.trace.nodes[leaf.node];
        return other.made_by == node.made_by && same_place(other.location, node.location);
      });
    };
    for (const KnownTrace::Leaf& leaf : with_leaf.trace.leaves) {
      const Node& node = with_leaf.trace.nodes[leaf.node];
      if (node.made_by == OpId::leaf || !node.location.line) continue;
      uint32_t hash = line_hash(node.made_by, node.location);
      if (count(with_op, hash) > count(with_leaf, hash) && !is_leaf_there(node)) return &node;
    }
    return nullptr;
  }

  Found stored_between() const {
    if (const Node* leaf = find_stored(now_, then_))
      return Miss{
          MissReason::stored_input,
          fmt::format("the {} made here comes in as a stored value, and was computed within "
                      "the trace",
                      name_of(leaf->made_by)),
          leaf->location, leaf->location};
    if (const Node* leaf = find_stored(then_, now_))
      return Miss{MissReason::computed_input,
                  fmt::format("the {} made here is computed within the trace, and came in as a "
                              "stored value",
                              name_of(leaf->made_by)),
                  leaf->location, leaf->location};
    return {};
  }

  /// All nodes are the same: the first that one side stores and the other does not.
  Found outputs() {
    const auto &mine = now_.trace.outputs, &known = then_.trace.outputs;
    for (size_t i = 0; i < std::min(mine.size(), known.size()); ++i) {
      uint32_t a = mine[i].node, b = known[i].node;  // of sources, those that nothing reads
      if (now_.partner[a] != none || then_.partner[b] != none) continue;
      pair(a, b);
      const Node &node = now_.trace.nodes[a], &known_node = then_.trace.nodes[b];
      if (Found miss = source(node, known_node, node, known_node)) return miss;
    }
    for (const KnownTrace::Output& output : mine) {
      uint32_t partner = now_.partner[output.node];
      if (!contains(known, partner)) return stored(output, now_.trace, partner, then_.trace, true);
    }
    for (const KnownTrace::Output& output : known) {
      uint32_t partner = then_.partner[output.node];
      if (!contains(mine, partner)) return stored(output, then_.trace, partner, now_.trace, false);
    }
    return {};
  }

  static bool contains(const std::vector<KnownTrace::Output>& outputs, uint32_t node) {
    return std::any_of(outputs.begin(), outputs.end(),
                       [&](const KnownTrace::Output& output) { return output.node == node; });
  }

  Found stored(const KnownTrace::Output& output, const KnownTrace& of, uint32_t partner,
               const KnownTrace& other, bool is_now) const {
    const Node& node = of.nodes[output.node];
    constexpr std::string_view why[] = {"a handle holds it", "a gradient will read it",
                                        "something outside the trace reads it"};
    MissReason reason = now_.trace.kind != then_.trace.kind        ? MissReason::sync_kind
                        : output.stored_for == StoredFor::gradient ? MissReason::saved_set
                                                                   : MissReason::output_set;
    Location there = partner == none ? Location() : other.nodes[partner].location;
    return Miss{reason,
                fmt::format("the {} made by {} is {} ({})", type_of(of, node), op_of(node),
                            is_now ? "stored now, and was not" : "not stored now, and was",
                            why[int(output.stored_for)]),
                is_now ? node.location : there, is_now ? there : node.location};
  }

  Found donation() const {
    const auto &mine = now_.trace.leaves, &known = then_.trace.leaves;
    for (size_t slot = 0; slot < std::min(mine.size(), known.size()); ++slot) {
      bool donated = mine[slot].kept == Kept::donated;
      if (donated == (known[slot].kept == Kept::donated)) continue;
      const Node& leaf = now_.trace.nodes[mine[slot].node];
      MissReason reason = now_.trace.kind != then_.trace.kind ? MissReason::sync_kind
                          : now_.trace.flags.check_numerics != then_.trace.flags.check_numerics
                              ? MissReason::check_numerics
                              : MissReason::donation;
      Kept kept = donated ? known[slot].kept : mine[slot].kept;
      return Miss{reason,
                  fmt::format("a stored value {} {}: {}", type_of(now_.trace, leaf),
                              donated ? "may be overwritten now, and could not be"
                                      : "may not be overwritten now, and could be",
                              name_of(kept)),
                  place_of_leaf(now_, mine[slot].node), place_of_leaf(then_, known[slot].node)};
    }
    return {};
  }

  /// Where a leaf was made, else where it is first read.
  static Location place_of_leaf(const Side& side, uint32_t leaf) {
    Location where = side.trace.nodes[leaf].location;
    for (size_t i = 0; !where.line && i < side.ops.size(); ++i)
      for (int64_t input : side.trace.inputs(side.op(i)))
        if (input == leaf) where = side.op(i).location;
    return where;
  }

  Side now_, then_;
};

}  // namespace

Miss explain_difference(const KnownTrace& now, const KnownTrace& then) {
  return Comparison(now, then).run();
}

}  // namespace encore::trace
