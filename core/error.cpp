#include <encore/core/error.h>
#include <fmt/format.h>

namespace encore {
namespace {

std::string compose(const std::string& what, Location where, const std::string& advice) {
  std::string text = what;
  if (where.line != 0) text = fmt::format("{}:{}: {}", where.file, where.line, what);
  if (!advice.empty()) text += "\n  " + advice;
  return text;
}

}  // namespace

Error::Error(std::string what, Location where, std::string advice)
    : std::runtime_error(what),
      message_(std::move(what)),
      where_(where),
      advice_(std::move(advice)),
      text_(compose(message_, where_, advice_)) {}

void Error::place(Location where) {
  if (where_.line != 0) return;
  where_ = where;
  text_ = compose(message_, where_, advice_);
}

void Error::append(const std::string& more) {
  message_ += more;
  text_ = compose(message_, where_, advice_);
}

OutOfMemory::OutOfMemory(size_t requested, size_t held, Location where, const std::string& more)
    : Error(requested == 0
                ? "out of memory: " + more
                : fmt::format("out of memory: {} bytes were asked for while {} are held{}{}",
                              requested, held, more.empty() ? "" : "; ", more),
            where, "free tensors that are no longer needed, or make the batch smaller"),
      requested_(requested) {}

CompileForbidden::CompileForbidden(const std::string& kernel, size_t missing,
                                   const std::string& why)
    : Error(
          fmt::format(
              "kernel '{}'{} would have to be compiled, which ENCORE_COMPILE=forbid forbids ({})",
              kernel, missing > 1 ? fmt::format(" and {} more", missing - 1) : "", why),
          {},
          "run the program once with ENCORE_COMPILE=allow, or with a pack (ENCORE_CACHE_PACK) that "
          "was exported on a machine like this one"),
      kernel_(kernel) {}

void CompileForbidden::needed_by(const std::string& trace, Location where) {
  append("; it is needed by " + trace);
  place(where);
}

void internal_error(const char* condition, std::source_location at) {
  throw Error(
      fmt::format("internal error: {} does not hold", condition), Location(at),
      "this is a bug of Encore; please report it with the dump of the trace (ENCORE_DUMP=DIR)");
}

}  // namespace encore
