#include <encore/nn/embedding.h>
#include <encore/nn/init.h>

namespace encore {

Embedding::Embedding(int64_t count, int64_t size, Options options, std::source_location at)
    : weight(init::normal({count, size}, 0, 1, options, at)) {}

}  // namespace encore
