// Where tensors are made when no device is named.
//
// Threads: any thread may read it; set it before others make tensors.
#pragma once
#include <encore/core/error.h>
#include <encore/lazy/buffer.h>

#include <source_location>
#include <string_view>

namespace encore {

/// The CPU, unless ENCORE_DEVICE or `set_default_device` says otherwise.
Device default_device();
/// Factories and layers use `device` from now on; throws at `at` when it does not exist here.
void set_default_device(Device device, std::source_location at = std::source_location::current());

/// "cpu", "cuda" or "cuda:1"; anything else throws at `at`.
Device parse_device(std::string_view text,
                    std::source_location at = std::source_location::current());

}  // namespace encore
