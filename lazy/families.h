// Gradient rules of the op families that are not tables; each is defined beside its op's shape
// rule.
#pragma once
#include <encore/lazy/record.h>

namespace encore {

// reduction.cpp
Tensor prod_gradient(const GradientOf& of, int input);
Tensor extreme_gradient(const GradientOf& of, int input);
// movement.cpp
Tensor reshape_gradient(const GradientOf& of, int input);
Tensor permute_gradient(const GradientOf& of, int input);
Tensor slice_gradient(const GradientOf& of, int input);
Tensor pad_gradient(const GradientOf& of, int input);
Tensor concat_gradient(const GradientOf& of, int input);
// indexing.cpp
Tensor take_gradient(const GradientOf& of, int input);
Tensor take_along_gradient(const GradientOf& of, int input);
Tensor index_add_gradient(const GradientOf& of, int input);
Tensor scatter_add_gradient(const GradientOf& of, int input);
// contraction.cpp
Tensor matmul_gradient(const GradientOf& of, int input);

}  // namespace encore
