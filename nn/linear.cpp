#include <encore/nn/init.h>
#include <encore/nn/linear.h>

#include <cmath>

namespace encore {

Linear::Linear(int64_t in, int64_t out, LinearOptions options, std::source_location at) {
  Options placed{options.dtype, options.device};
  double bound = in > 0 ? 1 / std::sqrt(double(in)) : 0;
  weight = init::uniform({out, in}, -bound, bound, placed, at);
  if (options.bias) bias = init::uniform({out}, -bound, bound, placed, at);
}

}  // namespace encore
