// Sums over named axes as permutations, reshapes and one matrix product per pair of operands.
#include <encore/lazy/contraction.h>
#include <encore/lazy/movement.h>
#include <encore/lazy/reduction.h>
#include <encore/lazy/refuse.h>

#include <algorithm>
#include <array>
#include <string>

namespace encore {
namespace {

using At = Tensor::At;

bool contains(const std::string& letters, char letter) {
  return letters.find(letter) != std::string::npos;
}

/// A tensor whose axes have letters.
struct Named {
  Tensor tensor;
  std::string letters;

  int64_t extent(char letter) const { return tensor.shape()[int(letters.find(letter))]; }
};

struct Formula {
  std::vector<std::string> operands;
  std::string result;
};

Formula parse(std::string_view text, size_t count, At at) {
  const char* advice = "write it like \"bij,bjk->bik\": letters a-z, one group an operand";
  std::string compact;
  for (char c : text)
    if (c != ' ') compact.push_back(c);
  size_t arrow = compact.find("->");
  std::string left = compact.substr(0, arrow);
  Formula formula{{""}, ""};
  for (char c : left) {
    if (c == ',')
      formula.operands.emplace_back();
    else
      formula.operands.back().push_back(c);
  }
  if (formula.operands.size() != count)
    refuse(at, advice, "einsum: \"{}\" has {} operands, but {} are given", text,
           formula.operands.size(), count);
  std::array<int, 256> seen{};
  for (const std::string& operand : formula.operands)
    for (char c : operand) {
      if (c < 'a' || c > 'z') refuse(at, advice, "einsum: '{}' in \"{}\"", c, text);
      if (std::count(operand.begin(), operand.end(), c) > 1)
        refuse(at, "take the diagonal first", "einsum: '{}' occurs twice in \"{}\"", c, operand);
      ++seen[uint8_t(c)];
    }
  if (arrow != std::string::npos)
    formula.result = compact.substr(arrow + 2);
  else
    for (char c = 'a'; c <= 'z'; ++c)
      if (seen[uint8_t(c)] == 1) formula.result.push_back(c);
  for (char c : formula.result)
    if (!seen[uint8_t(c)] || std::count(formula.result.begin(), formula.result.end(), c) > 1)
      refuse(at, "each letter of the result occurs in an operand, and once in the result",
             "einsum: '{}' in the result of \"{}\"", c, text);
  return formula;
}

/// Sums over the axes whose letters nothing needs.
Named without_unneeded(const Named& x, const std::string& needed, At at) {
  Tensor::Axes axes;
  Named result;
  for (size_t i = 0; i < x.letters.size(); ++i) {
    if (contains(needed, x.letters[i]))
      result.letters.push_back(x.letters[i]);
    else
      axes.push_back(int64_t(i));
  }
  result.tensor = axes.empty() ? x.tensor : x.tensor.sum(axes, false, at);
  return result;
}

/// The tensor with its axes in the order of `letters`.
Tensor ordered(const Named& x, const std::string& letters, At at) {
  Tensor::Axes order;
  for (char letter : letters) order.push_back(int64_t(x.letters.find(letter)));
  return permute(x.tensor, order, at);
}

int64_t product_of(const Named& x, const std::string& letters) {
  int64_t product = 1;
  for (char letter : letters) product *= x.extent(letter);
  return product;
}

/// The sum over the letters that both have and nothing needs.
Named contracted(const Named& a, const Named& b, const std::string& needed, At at) {
  std::string batch, summed, left, right;
  for (char c : a.letters)
    (!contains(b.letters, c) ? left : contains(needed, c) ? batch : summed).push_back(c);
  for (char c : b.letters)
    if (!contains(a.letters, c)) right.push_back(c);
  int64_t inner = product_of(a, summed);
  Shape first, second, result;
  for (char c : batch) {
    first.push_back(a.extent(c));
    second.push_back(a.extent(c));
    result.push_back(a.extent(c));
  }
  for (int64_t extent : {product_of(a, left), inner}) first.push_back(extent);
  for (int64_t extent : {inner, product_of(b, right)}) second.push_back(extent);
  for (char c : left) result.push_back(a.extent(c));
  for (char c : right) result.push_back(b.extent(c));
  Tensor y = matmul(reshape(ordered(a, batch + left + summed, at), first, at),
                    reshape(ordered(b, batch + summed + right, at), second, at), at);
  return {reshape(y, result, at), batch + left + right};
}

}  // namespace

Tensor einsum(std::string_view text, const std::vector<Tensor>& operands, At at) {
  Formula formula = parse(text, operands.size(), at);
  std::array<int64_t, 256> extents;
  extents.fill(-1);
  for (size_t i = 0; i < operands.size(); ++i) {
    const std::string& letters = formula.operands[i];
    const Shape& shape = operands[i].shape(at);
    if (shape.rank() != int(letters.size()))
      refuse(at, "one letter an axis", "einsum: \"{}\" names {} axes of a tensor of shape {}",
             letters, letters.size(), shape.text());
    for (int axis = 0; axis < shape.rank(); ++axis) {
      int64_t& extent = extents[uint8_t(letters[axis])];
      if (extent >= 0 && extent != shape[axis])
        refuse(at, "equal letters have equal extents", "einsum: '{}' is {} and {} in \"{}\"",
               letters[axis], extent, shape[axis], text);
      extent = shape[axis];
    }
  }
  Scope scope("einsum", at);
  Named total;
  for (size_t i = 0; i < operands.size(); ++i) {
    std::string later = formula.result;
    for (size_t j = i + 1; j < operands.size(); ++j) later += formula.operands[j];
    Named next = without_unneeded({operands[i], formula.operands[i]}, later + total.letters, at);
    total = i == 0 ? next
                   : contracted(without_unneeded(total, later + next.letters, at), next, later, at);
  }
  return ordered(total, formula.result, at);
}

}  // namespace encore
