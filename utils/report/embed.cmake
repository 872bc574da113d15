# cmake -DFOLDER=… -DOUT=… -P embed.cmake: the report's page, style and scripts as C++ strings.
file(READ ${FOLDER}/report.html page)
file(READ ${FOLDER}/report.css style)
set(script "")
foreach(name model widgets pipeline memory tables report)  # each uses what stands before it
  file(READ ${FOLDER}/${name}.js part)
  string(APPEND script "${part}")
endforeach()
file(WRITE ${OUT} "#include <encore/utils/dump_report.h>
namespace encore::report_parts {
const std::string_view page = R\"ENCORE(${page})ENCORE\";
const std::string_view style = R\"ENCORE(${style})ENCORE\";
const std::string_view script = R\"ENCORE(${script})ENCORE\";
}
")
