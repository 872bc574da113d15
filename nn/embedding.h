// Embedding: integer indices of any shape to rows of a table [count, size], whose initial values
// are normal. An index out of range gives zeros and receives no gradient.
#pragma once
#include <encore/lazy/indexing.h>
#include <encore/nn/module.h>

namespace encore {

class Embedding : public Module {
 public:
  Embedding(int64_t count, int64_t size, Options options = {},
            std::source_location at = std::source_location::current());

  Tensor forward(const Tensor& index) { return take(weight, index, 0); }

  Parameter weight;
  ENCORE_MEMBERS(weight)
};

}  // namespace encore
