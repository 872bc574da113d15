#include <encore/core/error.h>
#include <encore/trace/cluster_order.h>

#include <algorithm>
#include <queue>
#include <utility>

namespace encore::trace {

uint32_t ClusterOrder::add() {
  uint32_t number = uint32_t(entries_.size());
  entries_.push_back({.forward = number, .place = number});
  return number;
}

uint32_t ClusterOrder::find(uint32_t cluster) const {
  uint32_t last = cluster;
  while (entries_[last].forward != last) last = entries_[last].forward;
  while (entries_[cluster].forward != last)
    cluster = std::exchange(entries_[cluster].forward, last);
  return last;
}

bool ClusterOrder::reaches(uint32_t earlier, uint32_t later) const {
  earlier = find(earlier), later = find(later);
  if (entries_[earlier].place >= entries_[later].place) return false;
  ++search_;
  uint32_t visits = 0;
  std::vector<uint32_t> stack{later};
  while (!stack.empty()) {
    uint32_t next = stack.back();
    stack.pop_back();
    for (uint32_t need : entries_[next].needs) {
      uint32_t other = find(need);
      if (other == earlier) return true;
      if (entries_[other].mark == search_ || entries_[other].place < entries_[earlier].place)
        continue;
      if (++visits == most_visits) return true;
      entries_[other].mark = search_;
      stack.push_back(other);
    }
  }
  return false;
}

/// `from` and what it leads to over places in [low, high], by place.
std::vector<uint32_t> ClusterOrder::closure(uint32_t from, Edges edges, uint32_t low,
                                            uint32_t high) const {
  ++search_;
  std::vector<uint32_t> all{from};
  entries_[from].mark = search_;
  for (size_t i = 0; i < all.size(); ++i)
    for (uint32_t edge : entries_[all[i]].*edges) {
      uint32_t other = find(edge);
      const Entry& entry = entries_[other];
      if (entry.mark == search_ || entry.place < low || entry.place > high) continue;
      entry.mark = search_;
      all.push_back(other);
    }
  std::sort(all.begin(), all.end(),
            [&](uint32_t a, uint32_t b) { return entries_[a].place < entries_[b].place; });
  return all;
}

/// `later` does not lead to `earlier`.
void ClusterOrder::put_before(uint32_t earlier, uint32_t later) {
  uint32_t low = entries_[later].place, high = entries_[earlier].place;
  if (high < low) return;
  std::vector<uint32_t> moved = closure(earlier, &Entry::needs, low, high);
  std::vector<uint32_t> behind = closure(later, &Entry::users, low, high);
  moved.insert(moved.end(), behind.begin(), behind.end());
  std::vector<uint32_t> places;
  for (uint32_t cluster : moved) places.push_back(entries_[cluster].place);
  std::sort(places.begin(), places.end());
  ENCORE_ASSERT(std::adjacent_find(places.begin(), places.end()) == places.end());  // no cycle
  for (size_t i = 0; i < moved.size(); ++i) entries_[moved[i]].place = places[i];
}

void ClusterOrder::add_dependencies(uint32_t cluster, const std::vector<uint32_t>& needs) {
  cluster = find(cluster);
  for (uint32_t need : needs) {
    uint32_t other = find(need);
    std::vector<uint32_t>& direct = entries_[cluster].needs;
    if (other == cluster || std::find(direct.begin(), direct.end(), other) != direct.end())
      continue;
    put_before(other, cluster);
    direct.push_back(other);
    entries_[other].users.push_back(cluster);
  }
}

bool ClusterOrder::can_merge(uint32_t a, uint32_t b) const {
  return !reaches(a, b) && !reaches(b, a);
}

void ClusterOrder::merge(uint32_t a, uint32_t b) {
  a = find(a), b = find(b);
  // First b before a; then what uses b behind a: a stands where both could.
  add_dependencies(a, {b});
  for (uint32_t user : entries_[b].users)
    if (find(user) != a) put_before(a, find(user));
  auto take = [&](Edges edges) {
    for (uint32_t edge : entries_[b].*edges)
      if (find(edge) != a) (entries_[a].*edges).push_back(find(edge));
    (entries_[b].*edges) = {};
  };
  take(&Entry::needs);
  take(&Entry::users);
  entries_[b].forward = a;
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
