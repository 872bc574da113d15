#include <encore/lazy/create.h>
#include <encore/lazy/elementwise.h>
#include <encore/lazy/evaluator.h>
#include <encore/lazy/movement.h>
#include <encore/lazy/random.h>
#include <encore/lazy/refuse.h>

#include <mutex>
#include <numbers>
#include <numeric>
#include <random>

namespace encore {
namespace {

using At = Tensor::At;

struct Draw {
  int64_t seed = 0;
  int64_t index = 0;
};

/// One for the process; leaked, so that threads may draw while it exits.
struct Generator {
  std::mutex mutex;
  Draw next;

  static Generator& instance() {
    static auto& generator = *new Generator;
    return generator;
  }
  Draw draw() {
    std::lock_guard lock(mutex);
    return {next.seed, next.index++};
  }
};

void check(const Shape& shape, Device device, const char* what, At at) {
  for (int64_t extent : shape)
    if (extent < 0)
      refuse(at, "extents count elements: they are zero or more",
             "{}: shape {} has a negative extent", what, shape.text());
  evaluator().check_device(device, current_location(at));
}

void check_floating(DType dtype, const char* what, At at) {
  if (!is_floating(dtype))
    refuse(at, "use randint or bernoulli, or a floating dtype", "{}: dtype {}", what,
           name_of(dtype));
}

/// A dtype that is too narrow would give other numbers than those asked for.
void check_range(int64_t first, int64_t last, DType dtype, At at) {
  int bits = 8 * int(size_of(dtype)) - (kind_of(dtype) == Kind::signed_integer ? 1 : 0);
  int64_t most = dtype == DType::boolean ? 1 : bits >= 63 ? INT64_MAX : (int64_t(1) << bits) - 1;
  int64_t least = kind_of(dtype) == Kind::signed_integer ? -most - 1 : 0;
  if (is_floating(dtype) || (first >= least && last <= most)) return;
  refuse(at, "give another dtype or a smaller range", "randint: {} to {} do not fit into {}", first,
         last, name_of(dtype));
}

/// The four words that one draw gives each element; a word is recorded when it is asked for.
class Words {
 public:
  Words(const Shape& shape, Device device, At at) : shape_(shape), device_(device), at_(at) {
    Draw draw = Generator::instance().draw();
    seed_ = scalar_node(draw.seed, DType::i64, device);
    index_ = scalar_node(draw.index, DType::i64, device);
  }
  Tensor word(int64_t number) const {
    return record({OpId::random_bits, DType::u32, device_, shape_, {number}},
                  {seed_.node(), index_.node()}, at_);
  }
  /// `bits` leading bits of a word as a number in [0, 1): exact in f32 up to 24 bits.
  Tensor fraction(int64_t number, int bits) const {
    return (word(number) >> lit(32 - bits)).to(DType::f32, at_) * lit(std::ldexp(1.0, -bits));
  }
  /// 53 bits of two words as an f64 in [0, 1).
  Tensor wide_fraction(int64_t first) const {
    Tensor high = (word(first) >> lit(5)).to(DType::f64, at_),
           low = (word(first + 1) >> lit(6)).to(DType::f64, at_);
    return (high * lit(0x1p26) + low) * lit(0x1p-53);
  }

 private:
  Shape shape_;
  Device device_;
  At at_;
  Tensor seed_, index_;
};

/// How many bits a dtype below f64 holds, so that rounding never reaches 1.
int fraction_bits(DType dtype) { return dtype == DType::f16 ? 11 : dtype == DType::bf16 ? 8 : 24; }

}  // namespace

void manual_seed(int64_t seed) {
  Generator& generator = Generator::instance();
  std::lock_guard lock(generator.mutex);
  generator.next = {seed, 0};
}

Tensor rand(Shape shape, Options options, At at) {
  check(shape, options.device, "rand", at);
  check_floating(options.dtype, "rand", at);
  Scope scope("rand", at);
  Words words(shape, options.device, at);
  if (options.dtype == DType::f64) return words.wide_fraction(0);
  return words.fraction(0, fraction_bits(options.dtype)).to(options.dtype, at);
}

Tensor randn(Shape shape, Options options, At at) {
  check(shape, options.device, "randn", at);
  check_floating(options.dtype, "randn", at);
  Scope scope("randn", at);
  Words words(shape, options.device, at);
  bool wide = options.dtype == DType::f64;
  Tensor first = wide ? words.wide_fraction(0) : words.fraction(0, 24);
  Tensor second = wide ? words.wide_fraction(2) : words.fraction(1, 24);
  // 1 - u lies in (0, 1]: its logarithm is finite.
  Tensor radius = sqrt(log(lit(1.0) - first) * lit(-2.0));
  return (radius * cos(second * lit(2.0 * std::numbers::pi))).to(options.dtype, at);
}

Tensor randint(int64_t low, int64_t high, Shape shape, Options options, At at) {
  check(shape, options.device, "randint", at);
  if (low >= high)
    refuse(at, "low is below high", "randint: the range [{}, {}) is empty", low, high);
  check_range(low, high - 1, options.dtype, at);
  Scope scope("randint", at);
  Words words(shape, options.device, at);
  uint64_t range = uint64_t(high) - uint64_t(low);
  Tensor count = scalar_node(int64_t(range), DType::u64, options.device);
  Tensor word = words.word(0).to(DType::u64, at), offset;
  if (range <= uint64_t(1) << 32) {
    offset = word * count >> lit(32);
  } else {
    offset = ((word << lit(32)) | words.word(1).to(DType::u64, at)) % count;
  }
  Tensor first = scalar_node(low, DType::i64, options.device);
  return (offset.to(DType::i64, at) + first).to(options.dtype, at);
}

Tensor bernoulli(const Arg& p, Shape shape, Options options, At at) {
  check(shape, options.device, "bernoulli", at);
  if (!p.is_number() && !broadcasts_to(p.node()->shape, shape))
    refuse(at, "the probabilities must broadcast to the shape", "bernoulli: p {} does not fit {}",
           p.node()->shape.text(), shape.text());
  if (p.is_number() && !(p.number().as_double() >= 0 && p.number().as_double() <= 1))
    refuse(at, "a probability lies in [0, 1]", "bernoulli: p = {}", p.number().as_double());
  Scope scope("bernoulli", at);
  Words words(shape, options.device, at);
  NoGrad constant;
  return (words.fraction(0, 24) < p).to(options.dtype, at);
}

Tensor randperm(int64_t count, Options options, At at) {
  if (count < 0) refuse(at, "give zero or more", "randperm: {} numbers", count);
  Draw draw = Generator::instance().draw();
  std::seed_seq seeds{uint32_t(draw.seed), uint32_t(draw.seed >> 32), uint32_t(draw.index),
                      uint32_t(draw.index >> 32)};
  std::mt19937_64 engine(seeds);
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = count - 1; i > 0; --i) std::swap(order[i], order[engine() % uint64_t(i + 1)]);
  return from_vector(order, {count}, options.device, at).to(options.dtype, at);
}

int64_t next_draw_index() { return Generator::instance().draw().index; }

}  // namespace encore
