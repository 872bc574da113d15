// What stands before the code in a stored binary: which kernel and which compiler it is of, and a
// checksum, so that bytes of anything else are an Error and never run.
#pragma once
#include <encore/jit/backend.h>

#include <span>
#include <string_view>

namespace encore::jit {

/// `fingerprint` is the backend's.
Binary seal(const Kernel& kernel, std::string_view fingerprint, std::span<const std::byte> code);

/// Likewise where several kernels share the code: it stands in `Binary::shared`.
Binary seal_shared(const Kernel& kernel, std::string_view fingerprint,
                   std::shared_ptr<const std::vector<std::byte>> code);

/// The code that was sealed for this kernel and fingerprint; throws Error for all other bytes.
std::span<const std::byte> unseal(const Kernel& kernel, std::string_view fingerprint,
                                  const Binary& binary);

/// Changes with every source file that generated code or the way it is called depends on.
std::string_view code_version();

}  // namespace encore::jit
