#include <encore/lazy/extents.h>
#include <encore/lazy/record.h>
#include <encore/lazy/shape.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace encore {

std::string Shape::text() const { return fmt::format("[{}]", fmt::join(begin(), end(), ", ")); }

void Shape::throw_rank(int rank, Location at) {
  throw Error(
      fmt::format("a tensor of {} axes was asked for; at most {} are supported", rank, max_rank),
      current_location(at), "merge axes with reshape");
}

int normalize_axis(int64_t axis, int rank, const char* what, Location where) {
  if (axis < -rank || axis >= rank)
    throw Error(
        fmt::format("{}: axis {} is out of range for a tensor of {} axes", what, axis, rank), where,
        rank == 0 ? "a scalar has no axes"
                  : fmt::format("use an axis in [{}, {}]", -rank, rank - 1));
  return int(axis < 0 ? axis + rank : axis);
}

void check_count(const Shape& shape, std::string_view what, Location where) {
  constexpr int64_t most = int64_t(1) << 58;
  int64_t count = 1;
  for (int64_t extent : shape)
    if (extent > 1) count = saturating_multiply(count, extent);
  if (count > most)
    throw Error(fmt::format("{}: a tensor of shape {} has too many elements", what, shape.text()),
                where, "2^58 are the most; is an extent wrong?");
}

Shape broadcast(const Shape& a, const Shape& b, const char* what, Location where) {
  if (a == b) return a;
  const Shape& longer = a.rank() >= b.rank() ? a : b;
  const Shape& shorter = a.rank() >= b.rank() ? b : a;
  Shape result = longer;
  int shift = longer.rank() - shorter.rank();
  for (int axis = 0; axis < shorter.rank(); ++axis) {
    int64_t mine = longer[axis + shift], theirs = shorter[axis];
    if (mine != theirs && mine != 1 && theirs != 1)
      throw Error(
          fmt::format("{}: shapes {} and {} do not broadcast (axis {} from the right: {} and {})",
                      what, a.text(), b.text(), shorter.rank() - axis,
                      a.rank() >= b.rank() ? mine : theirs, a.rank() >= b.rank() ? theirs : mine),
          where, "axes are aligned at the right; each pair must be equal, or one of them 1");
    result[axis + shift] = mine == 1 ? theirs : mine;
  }
  check_count(result, what, where);
  return result;
}

bool broadcasts_to(const Shape& from, const Shape& to) {
  if (from.rank() > to.rank()) return false;
  int shift = to.rank() - from.rank();
  for (int axis = 0; axis < from.rank(); ++axis)
    if (from[axis] != to[axis + shift] && from[axis] != 1) return false;
  return true;
}

}  // namespace encore
