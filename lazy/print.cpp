#include <encore/lazy/evaluator.h>
#include <encore/lazy/print.h>
#include <encore/lazy/print_number.h>
#include <encore/lazy/tensor.h>

#include <memory>
#include <ostream>

namespace encore {
namespace {

constexpr int64_t summary_threshold = 1000;  // larger arrays show their edges only
constexpr int64_t edge_items = 3;
constexpr size_t line_width = 75;

/// The positions of an axis that are shown: a leading and a trailing run, dots between them.
struct Shown {
  int64_t leading, trailing;
  bool dots;
};

class Layout {
 public:
  Layout(const Shape& shape, bool summarize) : shape_(shape), summarize_(summarize) {}

  Shown shown(int axis) const {
    bool dots = summarize_ && shape_[axis] > 2 * edge_items;
    return dots ? Shown{edge_items, edge_items, true} : Shown{0, shape_[axis], false};
  }

  /// Calls `run(first, count)` for every contiguous run of shown elements, in order.
  template <class Run>
  void runs(const Run& run, int axis = 0, int64_t offset = 0) const {
    Shown part = shown(axis);
    int64_t stride = 1;
    for (int inner = axis + 1; inner < shape_.rank(); ++inner) stride *= shape_[inner];
    if (axis == shape_.rank() - 1) {
      if (part.leading) run(offset, part.leading);
      run(offset + shape_[axis] - part.trailing, part.trailing);
      return;
    }
    for (int64_t i = 0; i < shape_[axis]; ++i)
      if (i < part.leading || i >= shape_[axis] - part.trailing)
        runs(run, axis + 1, offset + i * stride);
  }

  /// The nested brackets around `texts`, which are consumed in order.
  std::string nest(const std::string*& text, int axis, size_t width) const {
    std::string indent(size_t(axis) + 1, ' ');
    return "[" +
           (axis == shape_.rank() - 1 ? row(text, indent, width - 1)
                                      : rows(text, axis, indent, width)) +
           "]";
  }

 private:
  /// The last axis: words, wrapped where the line is full.
  std::string row(const std::string*& text, const std::string& indent, size_t width) const {
    Shown part = shown(shape_.rank() - 1);
    std::string finished, line = indent;
    auto add = [&](const std::string& word) {
      if (line.size() + word.size() > width && line.size() > indent.size()) {
        line.resize(line.find_last_not_of(' ') + 1);
        finished += line + "\n";
        line = indent;
      }
      line += word;
    };
    for (int64_t i = 0; i < part.leading; ++i, line += ' ') add(*text++);
    if (part.dots) add("..."), line += ' ';
    for (int64_t i = 0; i < part.trailing; ++i) {
      add(*text++);
      if (i + 1 < part.trailing) line += ' ';
    }
    return (finished + line).substr(indent.size());
  }

  std::string rows(const std::string*& text, int axis, const std::string& indent,
                   size_t width) const {
    Shown part = shown(axis);
    std::string separator(size_t(shape_.rank() - 1 - axis), '\n');
    std::string result;
    auto add = [&](const std::string& item) {
      if (!result.empty()) result += separator + indent;
      result += item;
    };
    for (int64_t i = 0; i < part.leading; ++i) add(nest(text, axis + 1, width - 1));
    if (part.dots) add("...");
    for (int64_t i = 0; i < part.trailing; ++i) add(nest(text, axis + 1, width - 1));
    return result;
  }

  const Shape& shape_;
  bool summarize_;
};

template <class T>
std::string text_of(const Shape& shape, const ReadElements& read) {
  if (shape.numel() == 0) return "[]";
  Layout layout(shape, shape.numel() > summary_threshold);
  std::vector<T> values;
  auto take = [&](int64_t first, int64_t count) {
    auto buffer = std::make_unique<T[]>(size_t(count));  // std::vector<bool> has no addresses
    read(first, count, buffer.get());
    values.insert(values.end(), buffer.get(), buffer.get() + count);
  };
  if (shape.rank() == 0) {
    take(0, 1);
    return scalar_text<T>(values[0]);
  }
  layout.runs(take);
  std::vector<std::string> texts = column_texts(values);
  const std::string* next = texts.data();
  return layout.nest(next, 0, line_width);
}

}  // namespace

std::string array_text(DType dtype, const Shape& shape, const ReadElements& read) {
  switch (dtype) {
#define DTYPE(name, bytes, kind, type) \
  case DType::name:                    \
    return text_of<type>(shape, read);
    ENCORE_DTYPES(DTYPE)
#undef DTYPE
  }
  return {};
}

std::ostream& operator<<(std::ostream& to, const TensorAt& printed) {
  const auto& [tensor, at] = printed;
  size_t size = size_of(tensor.dtype(at));
  if (tensor.numel() > 0) {
    Node* node = tensor.node();
    evaluator().evaluate({&node, 1}, SyncKind::read, at);
  }
  auto read = [&, node = tensor.node(), where = at](int64_t first, int64_t count, void* memory) {
    evaluator().copy_to_host(memory, *node->buffer, size_t(first) * size, size_t(count) * size,
                             where);
  };
  return to << array_text(tensor.dtype(), tensor.shape(), read);
}

std::ostream& operator<<(std::ostream& to, const Shape& shape) { return to << shape.text(); }
std::ostream& operator<<(std::ostream& to, DType dtype) { return to << name_of(dtype); }
std::ostream& operator<<(std::ostream& to, Device device) { return to << name_of(device); }

}  // namespace encore
