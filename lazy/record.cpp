#include <encore/core/settings.h>
#include <encore/lazy/cut.h>
#include <encore/lazy/evaluator.h>
#include <encore/lazy/extents.h>
#include <encore/lazy/node_pool.h>
#include <encore/lazy/record.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <mutex>
#include <set>
#include <string>

namespace encore {
namespace {

/// What recording consults on this thread. Trivially destructible: it outlives static destructors.
struct Context {
  const char* scope = nullptr;
  Location location;
  bool scoped = false;  // `location` stands for everything recorded
  bool gradient = true;
  uint64_t latest = 0;  // sequence of the node recorded last
};
thread_local constinit Context context;

/// Joined scope names live for ever; there are as many as distinct nestings.
const char* intern_scopes(const char* outer, const char* inner) {
  static auto& mutex = *new std::mutex;
  static auto& names = *new std::set<std::string>;
  std::lock_guard lock(mutex);
  return names.insert(fmt::format("{}/{}", outer, inner)).first->c_str();
}

/// Scopes nest the same way step after step, so a thread remembers the pairs that it met.
const char* join_scopes(const char* outer, const char* inner) {
  if (!outer) return inner;
  struct Known {
    const char *outer, *inner, *joined;
  };
  thread_local constinit Known known[256] = {};
  uint64_t mixed = (uintptr_t(outer) ^ uintptr_t(inner) << 1) * 0x9e3779b97f4a7c15;
  Known& place = known[mixed >> 56];
  if (place.outer != outer || place.inner != inner)
    place = {outer, inner, intern_scopes(outer, inner)};
  return place.joined;
}

/// Numbers a node after its inputs, which may be another thread's, and after this thread's others.
inline void give_sequence(Node* node) {
  node->sequence = context.latest = std::max(context.latest, node->sequence) + 1;
}

void set_shape(Node* node, const Shape& shape) {
  node->shape = shape;
  node->bytes = shape.numel() * int64_t(size_of(node->dtype));
}

/// Cuts the trace where its budget is spent, and has the list make room. Lets go of the handle on a
/// throw.
[[gnu::noinline]] void attend_to(PendingList& list, Node* node) {
  Tensor handle = Tensor::adopt(node);
  if (over_budget(list)) cut_if_due(*node);
  list.attend(*node);
  retain(node, Node::one_handle);
}

/// Lists the node; before that, cuts the trace where its budget is spent.
inline Tensor publish_pending(Node* node) {
  PendingList& list = own_list ? *own_list : pending_list();
  if (list.wants_attention()) [[unlikely]]
    attend_to(list, node);
  list.add(node);
  return Tensor::adopt(node);
}

Tensor publish(Tensor handle) {
  Node* node = handle.node();
  give_sequence(node);
  if (node->is_source()) return handle;
  retain(node, Node::one_handle);
  return publish_pending(node);
}

inline Node* new_node(OpId op, DType dtype, Device device, Location where) {
  return encore::new_node(op, dtype, device, context.scoped ? context.location : where,
                          context.scope);
}

/// The caller has counted the user.
void adopt_input(Node* node, Node* input) {
  node->inputs[node->input_count++] = input;
  node->needs_gradient |= input->needs_gradient;
  node->sequence = std::max(node->sequence, input->sequence);
}

/// The Arg's handle, if it holds one, becomes the user; it is counted otherwise.
inline void count_user(Arg& arg) {
  if (arg.take_handle())
    handle_to_user(arg.node());
  else
    retain(arg.node(), Node::one_user);
}

void add_input(Node* node, Node* input) {
  retain(input, Node::one_user);
  adopt_input(node, input);
}

void add_operand(Node* node, const Arg& arg) { add_input(node, arg.node()); }
void add_operand(Node* node, Arg& arg) {
  count_user(arg);
  adopt_input(node, arg.node());
}

/// A tape node only where recording gradients is on and the op lets one through.
void settle_gradient(Node* node) {
  node->needs_gradient = node->needs_gradient && context.gradient && info(node->op).gradient &&
                         is_floating(node->dtype);
}

[[noreturn]] void refuse_dtype(const OpInfo& op, DType dtype, Location where) {
  throw Error(fmt::format("{}: {} operands are not allowed", op.name, name_of(dtype)),
              context.scoped ? context.location : where,
              op.types == Types::bits ? "use an integer or bool dtype: x.to(i32)"
                                      : "cast first: x.to(f32)");
}

/// Whether operands of one floating dtype give that dtype.
bool keeps_floating(Types types) {
  return types == Types::same || types == Types::floating || types == Types::number;
}

[[noreturn]] void refuse_devices(std::string_view op, Device one, Device other, Location where) {
  throw Error(fmt::format("{}: operands are on different devices, {} and {}", op, name_of(one),
                          name_of(other)),
              where, "move one with x.to(device)");
}

struct DTypes {
  DType operands;
  DType result;
};

/// docs/semantics.md, "Promotion": a number never widens a tensor's dtype within its kind.
DTypes promote_all(const OpInfo& op, std::span<const Arg* const> args, Location where) {
  bool any_tensor = false;
  DType common = DType::boolean;
  for (const Arg* arg : args) {
    if (arg->is_number()) continue;
    common = any_tensor ? promote(common, arg->node()->dtype) : arg->node()->dtype;
    any_tensor = true;
  }
  for (const Arg* arg : args) {
    if (!arg->is_number() || arg->is_boolean()) continue;
    Kind kind = arg->number().floating ? Kind::floating : Kind::signed_integer;
    if (kind == Kind::floating && !is_floating(common)) common = DType::f32;
    if (kind == Kind::signed_integer && common == DType::boolean) common = DType::i64;
  }
  switch (op.types) {
    case Types::same:
    case Types::where:
      return {common, common};
    case Types::number:
      if (common == DType::boolean) refuse_dtype(op, common, where);
      return {common, common};
    case Types::floating:
      if (!is_floating(common)) common = DType::f32;
      return {common, common};
    case Types::bits:
      if (is_floating(common)) refuse_dtype(op, common, where);
      return {common, common};
    case Types::compare:
    case Types::test:
      return {common, DType::boolean};
    case Types::logical:
      return {DType::boolean, DType::boolean};
  }
  internal_error("a Types row was forgotten", std::source_location::current());
}

Device common_device(const OpInfo& op, std::span<const Arg* const> args, Location where) {
  const Node* first = nullptr;
  for (const Arg* arg : args) {
    if (arg->is_number()) continue;
    if (!first) first = arg->node();
    if (arg->node()->device != first->device)
      refuse_devices(op.name, first->device, arg->node()->device,
                     context.scoped ? context.location : where);
  }
  return first ? first->device : cpu;
}

Tensor cast_to(Tensor x, DType dtype, Location where) {
  if (x.dtype() == dtype) return x;
  Node* node = new_node(OpId::cast, dtype, x.device(), where);
  set_shape(node, x.shape());
  add_input(node, x.node());
  settle_gradient(node);
  return publish(Tensor::adopt(node));
}

Node* new_constant(OpId op, Scalar value, DType dtype, Device device) {
  Node* node = new_node(op, dtype, device, {});
  set_shape(node, {});
  node->number_dtype = dtype;
  node->bits = value.bits_as(dtype);
  give_sequence(node);
  return node;
}

/// A node has room for one.
inline void add_number(Node* node, const Arg& arg, uint32_t place, DType dtype) {
  node->form = node->form.with(arg.is_literal() ? Number::literal : Number::scalar, place);
  node->number_dtype = dtype;
  // Field by field: a copy of the whole waits for stores of its parts.
  if (dtype == DType::f32 && arg.number().floating) [[likely]]
    node->bits = std::bit_cast<uint32_t>(float(arg.number().number));
  else
    node->bits = arg.number().bits_as(dtype);
}

/// Whether the op maps floating operands like `model` to a result like it.
inline bool maps_plainly(OpId op, const Node& model) {
  return is_floating(model.dtype) && keeps_floating(info(op).types);
}

inline bool are_alike(const Node& a, const Node& b) {
  return a.dtype == b.dtype && a.device == b.device && a.shape == b.shape;
}

/// The common case, in which nothing converts, broadcasts or throws: floating tensors of one dtype,
/// shape and device, those of `model`, and at most one number.
template <bool... is_tensor, class... SomeArg>
[[gnu::always_inline]] inline Tensor record_plain(OpId op, const Node& model, Location where,
                                                  SomeArg&... args) {
  if (context.scoped) where = context.location;
  Node* node = encore::new_node(op, Form::as_first(), model, where, context.scope);
  uint64_t latest = context.latest;
  uint32_t count = 0, place = 0;
  bool on_tape = false;
  auto add = [&]<bool tensor>(Arg& arg) __attribute__((always_inline)) {
    if constexpr (tensor) {
      Node* input = arg.node();
      count_user(arg);
      node->inline_inputs[count++] = input;
      on_tape |= input->needs_gradient;
      latest = std::max(latest, input->sequence);
    } else {
      add_number(node, arg, place, model.dtype);
    }
    ++place;
  };
  (add.template operator()<is_tensor>(args), ...);
  node->input_count = count;
  node->sequence = context.latest = latest + 1;
  if (on_tape) [[unlikely]]
    node->needs_gradient = context.gradient && info(op).gradient;
  return publish_pending(node);
}

}  // namespace

Scope::Scope(const char* name, Location where, Inside inside)
    : outer_name_(context.scope),
      outer_location_(context.location),
      outer_active_(context.scoped),
      span_("scope", name, context.scoped ? context.location : where) {
  context.scope = join_scopes(context.scope, name);
  if (!context.scoped) context.location = where;
  context.scoped = inside == Inside::library;
}
Scope::~Scope() {
  context.scope = outer_name_;
  context.location = outer_location_;
  context.scoped = outer_active_;
}

LocationOverride::LocationOverride(Location where, const char* scope)
    : outer_name_(context.scope), outer_location_(context.location), outer_active_(context.scoped) {
  context.scope = scope;
  context.location = where;
  context.scoped = true;
}
LocationOverride::~LocationOverride() {
  context.scope = outer_name_;
  context.location = outer_location_;
  context.scoped = outer_active_;
}

NoGrad::NoGrad() : outer_(std::exchange(context.gradient, false)) {}
NoGrad::~NoGrad() { context.gradient = outer_; }
WithGrad::WithGrad() : outer_(std::exchange(context.gradient, true)) {}
WithGrad::~WithGrad() { context.gradient = outer_; }
bool gradient_enabled() { return context.gradient; }
Location current_location(Location innermost) {
  return context.scoped ? context.location : innermost;
}

namespace {

template <class SomeArg>
Tensor record_general(OpId op, std::span<SomeArg* const> all) {
  const OpInfo& row = info(op);
  Location where = all[0]->location();
  // `where` promotes its last two; the condition becomes bool.
  bool conditional = row.types == Types::where;
  std::array<const Arg*, 3> args = {};
  std::copy(all.begin(), all.end(), args.begin());
  std::span<const Arg* const> given_args(args.data(), all.size());
  DTypes dtypes = promote_all(row, conditional ? given_args.subspan(1) : given_args, where);
  Node* node = new_node(op, dtypes.result, common_device(row, given_args, where), where);
  Tensor handle = Tensor::adopt(node);  // frees the node should anything below throw
  bool any_tensor = std::any_of(all.begin(), all.end(), [](const Arg* arg) { return arg->node(); });
  for (size_t i = 0; i < all.size(); ++i) {
    DType wanted = conditional && i == 0 ? DType::boolean : dtypes.operands;
    Node* given = all[i]->node();
    if (given && (given->dtype == wanted || row.types == Types::test)) {
      add_operand(node, *all[i]);
    } else if (!given && any_tensor && node->number() == Number::none) {
      add_number(node, *all[i], uint32_t(i), wanted);
    } else {
      Tensor input = as_tensor(*all[i], wanted, node->device);
      if (given) input = cast_to(std::move(input), wanted, where);
      add_input(node, input.node());
    }
  }
  Shape shape = node->inputs[0]->shape;
  for (uint32_t i = 1; i < node->input_count; ++i)
    shape = broadcast(shape, node->inputs[i]->shape, row.name.data(), node->location);
  set_shape(node, shape);
  if (shape == node->inputs[0]->shape) node->form.packed |= Form::as_first().packed;
  settle_gradient(node);
  return publish(std::move(handle));
}

}  // namespace

Tensor record_elementwise(OpId op, std::initializer_list<const Arg*> args) {
  return record_general(op, std::span<const Arg* const>(args.begin(), args.size()));
}
Tensor record_last(OpId op, Arg& a) {
  if (a.node() && maps_plainly(op, *a.node())) [[likely]]
    return record_plain<true>(op, *a.node(), a.location(), a);
  Arg* all[] = {&a};
  return record_general(op, std::span<Arg* const>(all));
}
Tensor record_last(OpId op, Arg& a, Arg& b) {
  Node *x = a.node(), *y = b.node();
  if (!y) {
    if (x && maps_plainly(op, *x)) [[likely]]
      return record_plain<true, false>(op, *x, a.location(), a, b);
  } else if (maps_plainly(op, *y)) {
    if (!x) return record_plain<false, true>(op, *y, a.location(), a, b);
    if (are_alike(*x, *y)) return record_plain<true, true>(op, *x, a.location(), a, b);
  }
  Arg* all[] = {&a, &b};
  return record_general(op, std::span<Arg* const>(all));
}
Tensor record_last(OpId op, Arg& a, Arg& b, Arg& c) {
  Arg* all[] = {&a, &b, &c};
  return record_general(op, std::span<Arg* const>(all));
}

Tensor record(NewNode fresh, std::span<Node* const> inputs, Location where) {
  Node* node = new_node(fresh.op, fresh.dtype, fresh.device, where);
  Tensor handle = Tensor::adopt(node);
  check_count(fresh.shape, name_of(fresh.op), node->location);
  set_shape(node, fresh.shape);
  node->attributes = std::move(fresh.attributes);
  if (inputs.size() > 3) node->inputs = new Node*[inputs.size()];
  for (Node* input : inputs) {
    if (input->device != fresh.device)
      refuse_devices(name_of(fresh.op), fresh.device, input->device, node->location);
    add_input(node, input);
  }
  settle_gradient(node);
  return publish(std::move(handle));
}

Tensor record(NewNode fresh, std::initializer_list<Node*> inputs, Location where) {
  return record(std::move(fresh), std::span<Node* const>(inputs.begin(), inputs.size()), where);
}

Tensor record_reduction(OpId op, const Tensor& x, uint32_t mask, Location where) {
  const OpInfo& row = info(op);
  DType dtype = x.dtype();
  if (row.types == Types::number && dtype == DType::boolean) refuse_dtype(row, dtype, where);
  Tensor input = x;
  if (row.types == Types::same && !is_floating(dtype)) dtype = DType::i64;
  if (row.types == Types::compare) dtype = DType::boolean;
  if (row.types == Types::test) dtype = DType::i64;
  if (row.types != Types::test) input = cast_to(x, dtype, where);
  Shape shape = x.shape();
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (mask >> axis & 1) shape[axis] = 1;
  return record({op, dtype, x.device(), shape, {int64_t(mask)}}, {input.node()}, where);
}

Tensor scalar_node(Scalar value, DType dtype, Device device) {
  return Tensor::adopt(new_constant(OpId::scalar, value, dtype, device));
}
Tensor literal_node(Scalar value, DType dtype, Device device) {
  return Tensor::adopt(new_constant(OpId::literal, value, dtype, device));
}

Tensor leaf_node(Ref<Buffer> buffer, DType dtype, Shape shape, Location where) {
  Node* node = new_node(OpId::leaf, dtype, buffer->device(), where);
  set_shape(node, shape);
  node->buffer = std::move(buffer);
  return publish(Tensor::adopt(node));
}

Tensor moved_node(const Tensor& source, Ref<Buffer> buffer, Location where) {
  if (!source.requires_grad() || !gradient_enabled())
    return leaf_node(std::move(buffer), source.dtype(), source.shape(), where);
  Node* node = new_node(OpId::to_device, source.dtype(), buffer->device(), where);
  Tensor handle = Tensor::adopt(node);
  set_shape(node, source.shape());
  node->buffer = std::move(buffer);
  add_input(node, source.node());
  settle_gradient(node);
  give_sequence(node);
  return handle;
}

Tensor variable_node(const Tensor& value, std::weak_ptr<void> cell, Location where) {
  Node* node = new_node(OpId::variable, value.dtype(), value.device(), where);
  set_shape(node, value.shape());
  node->cell = std::move(cell);
  add_input(node, value.node());
  node->needs_gradient = context.gradient && is_floating(node->dtype);
  return publish(Tensor::adopt(node));
}

Tensor as_tensor(const Arg& arg, DType dtype, Device device) {
  if (!arg.is_number()) return Tensor(arg.node());
  OpId op = arg.is_literal() ? OpId::literal : OpId::scalar;
  return Tensor::adopt(new_constant(op, arg.number(), dtype, device));
}

Tensor GradientOf::in(int i) const {
  if (Node* input = node.operand(uint32_t(i))) return Tensor(input);
  OpId op = node.number() == Number::literal ? OpId::literal : OpId::scalar;
  Node* number = new_constant(op, 0, node.number_dtype, node.device);
  number->bits = node.bits;
  return Tensor::adopt(number);
}

}  // namespace encore
