#include <encore/core/error.h>
#include <encore/nn/sequential.h>
#include <fmt/format.h>

namespace encore {

Module& Sequential::operator[](Number number) {
  if (number.value >= modules_.size())
    throw Error(fmt::format("Sequential: there is no module {} of {}", number.value, size()),
                number.at, "they count from 0");
  return *modules_[number.value];
}

}  // namespace encore
