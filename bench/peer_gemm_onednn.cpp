// oneDNN on the shapes of gemm_bench: `peer_gemm_onednn INDEX` prints the seconds of one product,
// the better of dnnl_sgemm and the matmul primitive; threads by OMP_NUM_THREADS.
#include <fmt/format.h>

#include <cstdlib>
#include <dnnl.hpp>

#include "gemm_shapes.h"

namespace encore::bench {
namespace {

using dnnl::memory;

class Rival {
 public:
  explicit Rival(const Gemm& gemm)
      : gemm_(gemm),
        a_(filled(gemm.m * gemm.k)),
        b_(filled(gemm.k * gemm.n)),
        bias_(filled(gemm.n)),
        c_(filled(gemm.m * gemm.n)) {}

  double best_seconds() {
    const double primitive = matmul_seconds();
    return gemm_.gelu ? primitive : std::min(primitive, sgemm_seconds());
  }

 private:
  static std::vector<float> filled(int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    for (size_t i = 0; i < values.size(); ++i) values[i] = float(int(i * 7 % 13) - 6) * 0.1f;
    return values;
  }

  double sgemm_seconds() {
    const auto [name, m, k, n, ta, tb, gelu] = gemm_;
    return median_seconds([&] {
      dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, 1, a_.data(), ta ? m : k, b_.data(),
                 tb ? k : n, 0, c_.data(), n);
    });
  }

  double matmul_seconds() {
    using Tag = memory::format_tag;
    const auto f32 = memory::data_type::f32;
    const auto [name, m, k, n, ta, tb, gelu] = gemm_;
    const memory::desc a({m, k}, f32, ta ? Tag::ba : Tag::ab),
        b({k, n}, f32, tb ? Tag::ba : Tag::ab), bias({1, n}, f32, Tag::ab), c({m, n}, f32, Tag::ab);
    dnnl::primitive_attr attributes;
    if (gelu) {
      dnnl::post_ops after;
      after.append_eltwise(1, dnnl::algorithm::eltwise_gelu_tanh, 0, 0);
      attributes.set_post_ops(after);
    }
    const auto description = gelu ? dnnl::matmul::desc(a, b, bias, c) : dnnl::matmul::desc(a, b, c);
    const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    const dnnl::matmul matmul({description, attributes, engine});
    dnnl::stream stream(engine);
    std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, {a, engine, a_.data()}},
                                              {DNNL_ARG_WEIGHTS, {b, engine, b_.data()}},
                                              {DNNL_ARG_DST, {c, engine, c_.data()}}};
    if (gelu) arguments.insert({DNNL_ARG_BIAS, {bias, engine, bias_.data()}});
    return median_seconds([&] {
      matmul.execute(stream, arguments);
      stream.wait();
    });
  }

  Gemm gemm_;
  std::vector<float> a_, b_, bias_, c_;
};

}  // namespace
}  // namespace encore::bench

int main(int argc, char** argv) {
  using encore::bench::gemms;
  const size_t begin = argc > 1 ? size_t(std::atoi(argv[1])) : 0;
  const size_t end = argc > 1 ? begin + 1 : std::size(gemms);
  for (size_t i = begin; i < end && i < std::size(gemms); ++i)
    fmt::print("{}\n", encore::bench::Rival(gemms[i]).best_seconds());
}
