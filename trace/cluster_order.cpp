#include <encore/trace/cluster_order.h>

#include <algorithm>
#include <queue>

namespace encore::trace {

uint32_t ClusterOrder::add() {
  uint32_t number = uint32_t(entries_.size());
  entries_.push_back({number, {}, {}});
  return number;
}

uint32_t ClusterOrder::find(uint32_t cluster) const {
  while (entries_[cluster].forward != cluster) cluster = entries_[cluster].forward;
  return cluster;
}

bool ClusterOrder::test(uint32_t cluster, uint32_t earlier) const {
  const auto& before = entries_[cluster].before;
  return earlier / 64 < before.size() && (before[earlier / 64] >> earlier % 64 & 1);
}

bool ClusterOrder::reaches(uint32_t earlier, uint32_t later) const {
  return test(find(later), find(earlier));
}

void ClusterOrder::close(uint32_t cluster, uint32_t earlier) {
  auto& mine = entries_[cluster].before;
  const auto& theirs = entries_[earlier].before;
  if (mine.size() < std::max<size_t>(theirs.size(), earlier / 64 + 1))
    mine.resize(std::max<size_t>(theirs.size(), earlier / 64 + 1));
  for (size_t word = 0; word < theirs.size(); ++word) mine[word] |= theirs[word];
  mine[earlier / 64] |= uint64_t(1) << earlier % 64;
}

void ClusterOrder::add_dependencies(uint32_t cluster, const std::vector<uint32_t>& needs) {
  cluster = find(cluster);
  std::vector<uint32_t>& direct = entries_[cluster].needs;
  std::vector<uint32_t> gained;
  for (uint32_t need : needs) {
    uint32_t other = find(need);
    if (other == cluster) continue;
    if (std::find(direct.begin(), direct.end(), other) == direct.end()) direct.push_back(other);
    if (!test(cluster, other)) gained.push_back(other);
  }
  if (gained.empty()) return;
  for (uint32_t other : gained) close(cluster, other);
  // Clusters that already wait for this one now also wait for what it gained.
  for (uint32_t later = 0; later < entries_.size(); ++later)
    if (entries_[later].forward == later && test(later, cluster)) close(later, cluster);
}

bool ClusterOrder::can_merge(uint32_t a, uint32_t b) const {
  return !reaches(a, b) && !reaches(b, a);
}

void ClusterOrder::merge(uint32_t a, uint32_t b) {
  a = find(a);
  b = find(b);
  entries_[b].forward = a;
  for (uint32_t need : entries_[b].needs) entries_[a].needs.push_back(need);
  close(a, b);
  auto clear = [&](uint32_t number) {
    if (number / 64 < entries_[a].before.size())
      entries_[a].before[number / 64] &= ~(uint64_t(1) << number % 64);
  };
  clear(a);
  clear(b);
  for (uint32_t later = 0; later < entries_.size(); ++later) {
    if (entries_[later].forward != later || later == a) continue;
    if (test(later, b) || test(later, a)) close(later, a);
  }
}

std::vector<uint32_t> ClusterOrder::sorted() const {
  std::vector<std::vector<uint32_t>> users(entries_.size());
  std::vector<uint32_t> waiting(entries_.size(), 0), result;
  for (uint32_t number = 0; number < entries_.size(); ++number) {
    if (entries_[number].forward != number) continue;
    std::vector<uint32_t> needs;
    for (uint32_t need : entries_[number].needs) needs.push_back(find(need));
    std::sort(needs.begin(), needs.end());
    needs.erase(std::unique(needs.begin(), needs.end()), needs.end());
    for (uint32_t need : needs)
      if (need != number) users[need].push_back(number), ++waiting[number];
  }
  std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> ready;
  for (uint32_t number = 0; number < entries_.size(); ++number)
    if (entries_[number].forward == number && waiting[number] == 0) ready.push(number);
  while (!ready.empty()) {
    uint32_t number = ready.top();
    ready.pop();
    result.push_back(number);
    for (uint32_t user : users[number])
      if (--waiting[user] == 0) ready.push(user);
  }
  return result;
}

}  // namespace encore::trace
