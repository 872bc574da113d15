#include <encore/core/hash.h>
#include <encore/lazy/instruction.h>
#include <encore/trace/simplify.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

namespace encore::trace {
namespace {

/// A full reduction over this many elements or more is cut into rows of `reduction_row`.
constexpr int64_t long_reduction = 1 << 15, reduction_row = 4096;
/// A last axis at least this long serves as the row of a full reduction.
constexpr int64_t natural_row = 256;

class Simplifier {
 public:
  explicit Simplifier(const Graph& from) : from_(from) {
    to_.leaf_count = from.leaf_count;
    to_.scalar_count = from.scalar_count;
    to_.donated = from.donated;
    to_.device = from.device;
  }

  Graph run(std::vector<NodeId>* became) {
    std::vector<NodeId> renamed;
    renamed.reserve(from_.nodes.size());
    std::vector<uint32_t> uses = count_uses();
    for (NodeId id = 0; id < from_.nodes.size(); ++id) {
      GraphNode copy = from_.nodes[id];
      for (NodeId& input : copy.inputs) input = renamed[input];
      renamed.push_back(add(std::move(copy)));
      uses_.resize(to_.nodes.size());
      uses_[renamed[id]] += uses[id];
    }
    for (NodeId output : from_.outputs) to_.outputs.push_back(without_reshape(renamed[output]));
    std::vector<NodeId> kept_as(to_.nodes.size(), ~0u);
    Graph result = drop_unused(kept_as);
    if (became) {
      for (NodeId& id : renamed) id = kept_as[id];
      *became = std::move(renamed);
    }
    return result;
  }

 private:
  const GraphNode& node(NodeId id) const { return to_.nodes[id]; }

  std::vector<uint32_t> count_uses() const {
    std::vector<uint32_t> uses(from_.nodes.size());
    for (const GraphNode& node : from_.nodes)
      for (NodeId input : node.inputs) ++uses[input];
    for (NodeId output : from_.outputs) ++uses[output];
    return uses;
  }

  /// What is stored is row-major either way, so an output's own reshape costs nothing.
  NodeId without_reshape(NodeId id) const {
    while (node(id).op == OpId::reshape &&
           (!node(node(id).inputs[0]).inputs.empty() || node(node(id).inputs[0]).op == OpId::leaf))
      id = node(id).inputs[0];
    return id;
  }

  NodeId add(GraphNode fresh) {
    if (auto same = rewrite(fresh)) return *same;
    std::vector<uint64_t> words{uint64_t(fresh.op) | uint64_t(fresh.dtype) << 8 |
                                    uint64_t(fresh.inputs.size()) << 16 |
                                    uint64_t(fresh.attributes.size()) << 48,
                                fresh.bits, fresh.slot};
    for (int64_t extent : fresh.shape) words.push_back(uint64_t(extent));
    for (NodeId input : fresh.inputs) words.push_back(input);
    for (int64_t value : fresh.attributes) words.push_back(uint64_t(value));
    auto [place, is_new] = known_.try_emplace(hash_words(words), NodeId(to_.nodes.size()));
    if (is_new) to_.nodes.push_back(std::move(fresh));
    return place->second;
  }

  /// The node that stands for `fresh`; nothing when it has to be made (perhaps changed in place).
  std::optional<NodeId> rewrite(GraphNode& fresh) {
    if (fresh.shape.numel() == 0 && !fresh.inputs.empty()) empty(fresh);
    switch (fresh.op) {
      case OpId::cast:
        if (node(fresh.inputs[0]).dtype == fresh.dtype) return fresh.inputs[0];
        break;
      case OpId::reshape:
        return reshape(fresh);
      case OpId::permute:
        return permute(fresh);
      case OpId::expand:
        if (node(fresh.inputs[0]).op == OpId::expand && aligned_expand(fresh))
          fresh.inputs[0] = node(fresh.inputs[0]).inputs[0];
        if (node(fresh.inputs[0]).shape == fresh.shape) return fresh.inputs[0];
        break;
      case OpId::slice:
        if (node(fresh.inputs[0]).shape == fresh.shape && takes_everything(fresh))
          return fresh.inputs[0];
        break;
      case OpId::mul:
        for (int side : {0, 1})
          if (is_literal(fresh.inputs[side], 1.0) && same_value_shape(fresh, 1 - side))
            return fresh.inputs[1 - side];
        break;
      default:
        if (fresh.family() == OpFamily::reduction) return reduction(fresh);
    }
    return {};
  }

  /// Nothing has to be computed for a result without elements; later passes divide by extents.
  void empty(GraphNode& fresh) {
    NodeId zero = add({.op = OpId::literal, .dtype = fresh.dtype, .location = fresh.location});
    fresh.op = OpId::expand;
    fresh.inputs = {zero};
    fresh.attributes.clear();
  }

  static bool takes_everything(const GraphNode& slice) {
    int rank = slice.shape.rank();
    for (int axis = 0; axis < rank; ++axis)
      if (slice.attributes[axis] != 0 || slice.attributes[rank + axis] != 1) return false;
    return true;
  }

  /// Expands compose when the inner one added no leading axes that the outer would misplace:
  /// always, under the right-aligned rule.
  bool aligned_expand(const GraphNode& outer) const {
    return broadcasts_to(node(node(outer.inputs[0]).inputs[0]).shape, outer.shape);
  }

  bool same_value_shape(const GraphNode& fresh, int side) const {
    return node(fresh.inputs[side]).shape == fresh.shape &&
           node(fresh.inputs[side]).dtype == fresh.dtype;
  }

  bool is_literal(NodeId id, double value) const {
    const GraphNode* source = &node(id);
    while (source->op == OpId::expand || source->op == OpId::reshape)
      source = &node(source->inputs[0]);
    return source->op == OpId::literal && source->bits == Scalar(value).bits_as(source->dtype);
  }

  std::optional<NodeId> reshape(GraphNode& fresh) {
    while (node(fresh.inputs[0]).op == OpId::reshape)
      fresh.inputs[0] = node(fresh.inputs[0]).inputs[0];
    if (node(fresh.inputs[0]).shape == fresh.shape) return fresh.inputs[0];
    return {};
  }

  std::optional<NodeId> permute(GraphNode& fresh) {
    if (node(fresh.inputs[0]).op == OpId::matmul && uses_[fresh.inputs[0]] == 1 &&
        swaps_last_two(fresh) && !turning_)
      return transposed_product(fresh);
    const GraphNode& input = node(fresh.inputs[0]);
    if (input.op == OpId::permute) {
      for (int64_t& axis : fresh.attributes) axis = input.attributes[axis];
      fresh.inputs[0] = input.inputs[0];
    }
    for (size_t axis = 0; axis < fresh.attributes.size(); ++axis)
      if (fresh.attributes[axis] != int64_t(axis)) return {};
    return fresh.inputs[0];
  }

  static bool swaps_last_two(const GraphNode& permute) {
    int64_t rank = permute.shape.rank();
    for (int64_t axis = 0; axis < rank - 2; ++axis)
      if (permute.attributes[axis] != axis) return false;
    return permute.attributes[rank - 2] == rank - 1 && permute.attributes[rank - 1] == rank - 2;
  }

  /// (a b)^T = b^T a^T: so what is stored, and added to, has the layout that is asked for.
  NodeId transposed_product(const GraphNode& permute) {
    turning_ = true;  // operands that are products stay: chains would recur
    GraphNode product = node(permute.inputs[0]);
    product.shape = permute.shape;
    std::swap(product.inputs[0], product.inputs[1]);
    for (NodeId& input : product.inputs) {
      Shape shape = node(input).shape;
      std::swap(shape[shape.rank() - 2], shape[shape.rank() - 1]);
      GraphNode turned = like(product, OpId::permute, shape, input);
      turned.attributes = permute.attributes;
      input = add(std::move(turned));
    }
    turning_ = false;
    return add(std::move(product));
  }

  GraphNode like(const GraphNode& model, OpId op, Shape shape, NodeId input) const {
    return {.op = op,
            .dtype = node(input).dtype,
            .shape = shape,
            .inputs = {input},
            .location = model.location,
            .scope = model.scope};
  }

  NodeId reduce(const GraphNode& model, NodeId input, uint32_t mask) {
    GraphNode part = like(model, model.op, node(input).shape, input);
    part.dtype = model.dtype;
    for (int axis = 0; axis < part.shape.rank(); ++axis)
      if (mask >> axis & 1) part.shape[axis] = 1;
    part.attributes = {int64_t(mask)};
    return add(std::move(part));
  }

  std::optional<NodeId> reduction(GraphNode& fresh) {
    const Shape shape = node(fresh.inputs[0]).shape;
    uint32_t mask = 0;  // without axes of extent 1
    int last = -1;      // innermost axis longer than 1
    for (int axis = 0; axis < shape.rank(); ++axis) {
      if (shape[axis] == 1) continue;
      last = axis;
      mask |= uint32_t(fresh.attributes[0]) & 1u << axis;
    }
    bool indexes = fresh.op == OpId::reduce_argmax || fresh.op == OpId::reduce_argmin;
    if (indexes || shape.numel() == 0) return {};
    if (mask == 0 && node(fresh.inputs[0]).dtype == fresh.dtype) return fresh.inputs[0];
    if (mask == 0) return {};
    fresh.attributes[0] = mask;
    if (!(mask >> last & 1)) return {};
    uint32_t row = trailing_run(mask, shape, last);
    bool full = shape.numel() == extent_of(shape, mask);
    if (full && shape.numel() >= long_reduction && shape[last] < natural_row)
      return cut_rows(fresh, shape);
    if (full && mask == (1u << last) && shape.numel() >= long_reduction)
      return cut_rows(fresh, shape);
    if (full) row = 1u << last;
    if (mask == row) return {};
    NodeId inner = reduce(fresh, fresh.inputs[0], row);
    return reduce(fresh, inner, mask & ~row);
  }

  static int64_t extent_of(const Shape& shape, uint32_t mask) {
    int64_t product = 1;
    for (int axis = 0; axis < shape.rank(); ++axis)
      if (mask >> axis & 1) product *= shape[axis];
    return product;
  }

  /// The reduced axes that end at `last` with no kept axis in between.
  static uint32_t trailing_run(uint32_t mask, const Shape& shape, int last) {
    uint32_t run = 0;
    for (int axis = last; axis >= 0; --axis) {
      if (mask >> axis & 1)
        run |= 1u << axis;
      else if (shape[axis] != 1)
        break;
    }
    return run;
  }

  /// A full reduction as rows of `reduction_row`, padded with the identity where it does not
  /// divide.
  std::optional<NodeId> cut_rows(const GraphNode& fresh, const Shape& shape) {
    int64_t count = shape.numel(), rows = (count + reduction_row - 1) / reduction_row;
    NodeId flat = add(like(fresh, OpId::reshape, Shape{count}, fresh.inputs[0]));
    if (rows * reduction_row != count) {
      auto fill = identity(fresh);
      if (!fill) return {};
      GraphNode padded = like(fresh, OpId::pad, Shape{rows * reduction_row}, flat);
      padded.inputs.push_back(*fill);
      padded.attributes = {0, rows * reduction_row - count};
      flat = add(std::move(padded));
    }
    NodeId table = add(like(fresh, OpId::reshape, Shape{rows, reduction_row}, flat));
    NodeId all = reduce(fresh, reduce(fresh, table, 2), 1);
    return add(like(fresh, OpId::reshape, fresh.shape, all));
  }

  std::optional<NodeId> identity(const GraphNode& fresh) {
    DType dtype = node(fresh.inputs[0]).dtype;
    GraphNode literal{.op = OpId::literal, .dtype = dtype, .shape = {}, .location = fresh.location};
    double infinity = __builtin_inf();
    switch (fresh.op) {
      case OpId::reduce_sum:
        literal.bits = Scalar(0).bits_as(dtype);
        break;
      case OpId::reduce_any:
        literal.bits = 0;
        break;
      case OpId::reduce_prod:
        literal.bits = Scalar(1).bits_as(dtype);
        break;
      case OpId::reduce_all:
        literal.bits = 1;
        break;
      // Saturates to the smallest and greatest integer.
      case OpId::reduce_max:
        literal.bits = Scalar(-infinity).bits_as(dtype);
        break;
      case OpId::reduce_min:
        literal.bits = Scalar(infinity).bits_as(dtype);
        break;
      default:
        return {};
    }
    return add(std::move(literal));
  }

  Graph drop_unused(std::vector<NodeId>& renamed) {
    std::vector<bool> used(to_.nodes.size());
    for (NodeId output : to_.outputs) used[output] = true;
    for (NodeId id = NodeId(to_.nodes.size()); id-- > 0;)
      if (used[id])
        for (NodeId input : to_.nodes[id].inputs) used[input] = true;
    NodeId kept = 0;
    for (NodeId id = 0; id < to_.nodes.size(); ++id) {
      if (!used[id]) continue;
      for (NodeId& input : to_.nodes[id].inputs) input = renamed[input];
      if (kept != id) to_.nodes[kept] = std::move(to_.nodes[id]);
      renamed[id] = kept++;
    }
    to_.nodes.resize(kept);
    for (NodeId& output : to_.outputs) output = renamed[output];
    return std::move(to_);
  }

  const Graph& from_;
  Graph to_;
  bool turning_ = false;
  std::vector<uint32_t> uses_;  // by node of `to_` made from `from_`: its users there
  std::unordered_map<Hash128, NodeId, HashOfHash128> known_;
};

}  // namespace

Graph simplify(const Graph& graph, std::vector<NodeId>* became) {
  return Simplifier(graph).run(became);
}

}  // namespace encore::trace
