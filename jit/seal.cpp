#include <encore/core/error.h>
#include <encore/jit/seal.h>

#include <cstring>

namespace encore::jit {
namespace {

struct Head {
  Hash128 of;    // kernel and fingerprint
  Hash128 code;  // what follows
};

Head head_of(const Kernel& kernel, std::string_view fingerprint, std::span<const std::byte> code) {
  std::string of(fingerprint);
  return {hash_text(of.append("\n") += to_text(kernel)), hash_bytes(code.data(), code.size())};
}

}  // namespace

Binary seal(const Kernel& kernel, std::string_view fingerprint, std::span<const std::byte> code) {
  const Head head = head_of(kernel, fingerprint, code);
  Binary binary{std::vector<std::byte>(sizeof head + code.size())};
  std::memcpy(binary.bytes.data(), &head, sizeof head);
  if (!code.empty()) std::memcpy(binary.bytes.data() + sizeof head, code.data(), code.size());
  return binary;
}

Binary seal_shared(const Kernel& kernel, std::string_view fingerprint,
                   std::shared_ptr<const std::vector<std::byte>> code) {
  const Head head = head_of(kernel, fingerprint, *code);
  const auto bytes = std::as_bytes(std::span(&head, 1));
  return {{bytes.begin(), bytes.end()}, std::move(code)};
}

std::span<const std::byte> unseal(const Kernel& kernel, std::string_view fingerprint,
                                  const Binary& binary) {
  std::span<const std::byte> code(binary.bytes);
  Head head;
  if (code.size() >= sizeof head) {
    std::memcpy(&head, code.data(), sizeof head);
    code = binary.shared ? std::span(*binary.shared) : code.subspan(sizeof head);
    const Head wanted = head_of(kernel, fingerprint, code);
    if (head.of == wanted.of && head.code == wanted.code) return code;
  }
  throw Error("a stored binary of kernel '" + kernel.name + "' is damaged or of another kernel",
              {});
}

}  // namespace encore::jit
