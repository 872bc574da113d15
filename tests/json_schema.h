// Does a document fit a JSON Schema? As much of draft 7 as docs/dump.schema.json uses.
#pragma once
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <stdexcept>
#include <string>

namespace encore::testing {

class JsonSchema {
 public:
  using Json = nlohmann::json;
  explicit JsonSchema(Json root) : root_(std::move(root)) {}

  /// The first place that does not fit, and why; empty: all fits.
  std::string misfit(const Json& document) const { return check(root_, document, ""); }

 private:
  static bool has_type(const std::string& type, const Json& value) {
    if (type == "object") return value.is_object();
    if (type == "array") return value.is_array();
    if (type == "string") return value.is_string();
    if (type == "integer") return value.is_number_integer();
    if (type == "number") return value.is_number();
    throw std::runtime_error("the schema checker does not know the type " + type);
  }

  std::string check(const Json& schema, const Json& value, const std::string& at) const {
    if (schema.contains("$ref")) {
      const std::string target = schema["$ref"];
      return check(root_.at(Json::json_pointer(target.substr(1))), value, at);
    }
    if (schema.contains("const") && schema["const"] != value) return at + " has another value";
    if (schema.contains("type") && !has_type(schema["type"], value))
      return fmt::format("{} is no {}", at, schema["type"].get<std::string>());
    if (schema.contains("enum")) {
      const Json& all = schema["enum"];
      if (std::find(all.begin(), all.end(), value) == all.end()) return at + " is not listed";
    }
    if (schema.contains("minimum") && value < schema["minimum"]) return at + " is too small";
    if (schema.contains("pattern") &&
        !std::regex_search(value.get<std::string>(),
                           std::regex(schema["pattern"].get<std::string>())))
      return at + " does not match";
    if (value.is_array() && schema.contains("items")) return check_items(schema, value, at);
    return value.is_object() ? check_members(schema, value, at) : "";
  }

  std::string check_items(const Json& schema, const Json& value, const std::string& at) const {
    for (size_t i = 0; i < value.size(); ++i)
      if (auto found = check(schema["items"], value[i], fmt::format("{}/{}", at, i));
          !found.empty())
        return found;
    return "";
  }

  std::string check_members(const Json& schema, const Json& value, const std::string& at) const {
    for (const Json& name : schema.value("required", Json::array()))
      if (!value.contains(name)) return fmt::format("{} lacks {}", at, name.get<std::string>());
    const Json properties = schema.value("properties", Json::object());
    const Json others = schema.value("additionalProperties", Json(true));
    for (const auto& [name, member] : value.items()) {
      const std::string place = at + "/" + name;
      if (others == false && !properties.contains(name)) return place + " is not known";
      const Json* rule = properties.contains(name) ? &properties[name]
                         : others.is_object()      ? &others
                                                   : nullptr;
      if (!rule) continue;
      if (auto found = check(*rule, member, place); !found.empty()) return found;
    }
    return "";
  }

  Json root_;
};

}  // namespace encore::testing
