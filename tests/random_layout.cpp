#include "random_layout.h"

#include <algorithm>

namespace encore::jit {

SizeId RandomLayout::free_size(int64_t value) {
  bool fixed = value < 2 || random_.chance(50);
  kernel_.sizes.push_back({value, fixed});
  rules_.push_back(nullptr);
  return SizeId(kernel_.sizes.size() - 1);
}

SizeId RandomLayout::derived_size(const std::vector<Dimension>& dimensions, Rule rule) {
  int64_t value = rule(values());
  bool free = std::any_of(dimensions.begin(), dimensions.end(), [&](const Dimension& dimension) {
    return dimension.axis != none && !kernel_.sizes[kernel_.axes[dimension.axis].extent].fixed;
  });
  bool fixed = value == 0 || value == 1 || (!free && random_.chance(60));
  kernel_.sizes.push_back({value, fixed});
  rules_.push_back(std::move(rule));
  return SizeId(kernel_.sizes.size() - 1);
}

RandomLayout::Sizes RandomLayout::values() const {
  Sizes values;
  for (const Size& size : kernel_.sizes) values.push_back(size.value);
  return values;
}

RandomLayout::Sizes RandomLayout::other_values() {
  Sizes sizes = values();
  for (size_t id = 0; id < sizes.size(); ++id) {
    if (rules_[id])
      sizes[id] = rules_[id](sizes);
    else if (!kernel_.sizes[id].fixed)
      sizes[id] = 2 + int64_t(random_.below(uint64_t(sizes[id])));
  }
  return sizes;
}

int64_t RandomLayout::extent_in(const Dimension& dimension, const Sizes& sizes) const {
  int64_t extent =
      dimension.axis == none ? dimension.extent : sizes[kernel_.axes[dimension.axis].extent];
  return std::max<int64_t>(extent, 1) * dimension.step;
}

/// Elements from one index of dimensions[at] to the next, unsigned.
int64_t RandomLayout::stride_in(const std::vector<Dimension>& dimensions, size_t at,
                                const Sizes& sizes) const {
  int64_t stride = dimensions[at].step;
  for (size_t i = at + 1; i < dimensions.size(); ++i) stride *= extent_in(dimensions[i], sizes);
  return stride;
}

int64_t RandomLayout::total_in(const std::vector<Dimension>& dimensions, const Sizes& sizes) const {
  int64_t total = 1;
  for (const Dimension& dimension : dimensions) total *= extent_in(dimension, sizes);
  return total;
}

uint32_t RandomLayout::add_argument(DType dtype, Use use, Rule elements) {
  uint32_t argument = uint32_t(kernel_.arguments.size());
  kernel_.arguments.push_back({dtype, use});
  elements_.push_back(std::move(elements));
  owners_.push_back(argument);
  return argument;
}

uint32_t RandomLayout::make_access(DType dtype, Use use, const std::vector<Dimension>& dimensions,
                                   int64_t skipped) {
  bool reversed = std::any_of(dimensions.begin(), dimensions.end(),
                              [](const Dimension& dimension) { return dimension.reversed; });
  // A base that depends on extents must never become 0 or 1.
  int64_t pad = int64_t(random_.below(4));
  if (reversed) pad += 2;
  if (skipped) pad = 0;
  Access access;
  access.argument = add_argument(
      dtype, use, [=, this](const Sizes& sizes) { return pad + total_in(dimensions, sizes); });
  access.strides.assign(kernel_.axes.size(), none);
  for (size_t i = 0; i < dimensions.size(); ++i) {
    if (dimensions[i].axis == none) continue;
    int sign = dimensions[i].reversed ? -1 : 1;
    std::vector<Dimension> later(dimensions.begin() + long(i) + 1, dimensions.end());
    access.strides[dimensions[i].axis] = derived_size(
        later, [=, this](const Sizes& sizes) { return sign * stride_in(dimensions, i, sizes); });
  }
  access.base =
      make_base(skipped || reversed ? dimensions : std::vector<Dimension>{}, pad, skipped);
  kernel_.accesses.push_back(access);
  return uint32_t(kernel_.accesses.size() - 1);
}

/// Where index 0 of all dimensions is: behind what reversed ones reach back to.
SizeId RandomLayout::make_base(const std::vector<Dimension>& dimensions, int64_t pad,
                               int64_t skipped) {
  if (dimensions.empty() && pad == 0) return none;
  return derived_size(dimensions, [=, this](const Sizes& sizes) {
    int64_t base = pad;
    if (skipped) base -= skipped * stride_in(dimensions, 0, sizes);
    for (size_t i = 0; i < dimensions.size(); ++i) {
      int64_t last = extent_in(dimensions[i], sizes) / dimensions[i].step - 1;
      if (dimensions[i].reversed) base += stride_in(dimensions, i, sizes) * last;
    }
    return base;
  });
}

uint32_t RandomLayout::make_alias(uint32_t access, DType dtype, Use use) {
  Access alias = kernel_.accesses[access];
  uint32_t owner = alias.argument;
  alias.argument = add_argument(dtype, use, [](const Sizes&) { return 0; });
  owners_[alias.argument] = owner;
  kernel_.accesses.push_back(alias);
  return uint32_t(kernel_.accesses.size() - 1);
}

uint32_t RandomLayout::make_chunked_access(DType dtype, const std::vector<Dimension>& dimensions) {
  uint32_t access = make_access(dtype, Use::write, dimensions);
  kernel_.accesses[access].chunk_stride = derived_size(
      dimensions, [=, this](const Sizes& sizes) { return total_in(dimensions, sizes); });
  Rule of_one_chunk = std::move(elements_.back());
  elements_.back() = [=, this](const Sizes& sizes) {
    return of_one_chunk(sizes) * chunk_count(kernel_, sizes.data());
  };
  return access;
}

SizeId RandomLayout::stride_size(const std::vector<Dimension>& dimensions) {
  return derived_size(dimensions,
                      [=, this](const Sizes& sizes) { return stride_in(dimensions, 0, sizes); });
}

}  // namespace encore::jit
