// The shortest way from one sequence to another (Myers 1986): what stays, what goes, what comes.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace encore {

inline constexpr uint32_t no_place = ~0u;

/// One step of a way: both places where the elements are equal, else the one that goes or comes.
struct AlignStep {
  uint32_t a = no_place, b = no_place;
};

/// Sequences that differ in more than some thousand places are not aligned between their common
/// beginning and end: all of the middle goes, all of the other comes.
std::vector<AlignStep> align(const std::vector<std::string>& a, const std::vector<std::string>& b);

std::vector<std::string> split_lines(const std::string& text);

/// Lines that go as "-line", lines that come as "+line".
std::vector<std::string> line_changes(const std::string& a, const std::string& b);

}  // namespace encore
