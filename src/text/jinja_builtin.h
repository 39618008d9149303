/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything that a template can call, as X(name in the template, name in C, parameters, how many are required).
 */
#ifndef OPSM_TEXT_JINJA_BUILTIN_H
#define OPSM_TEXT_JINJA_BUILTIN_H
#include "text/jinja_node.h"
#include "text/jinja_string.h"
#include "text/jinja_write.h"

#define JINJA_FILTERS(X)                                                                                               \
    X("abs", abs, "", 0)                                                                                               \
    X("attr", attr, "name", 1)                                                                                         \
    X("batch", batch, "linecount fill_with", 1)                                                                        \
    X("capitalize", capitalize, "", 0)                                                                                 \
    X("center", center, "width", 0)                                                                                    \
    X("count", length, "", 0)                                                                                          \
    X("d", default, "default_value boolean", 0)                                                                        \
    X("default", default, "default_value boolean", 0)                                                                  \
    X("dictsort", dictsort, "case_sensitive by reverse", 0)                                                            \
    X("e", escape, "", 0)                                                                                              \
    X("escape", escape, "", 0)                                                                                         \
    X("first", first, "", 0)                                                                                           \
    X("float", float, "default", 0)                                                                                    \
    X("forceescape", escape, "", 0)                                                                                    \
    X("format", format, NULL, 0)                                                                                       \
    X("indent", indent, "width first blank", 0)                                                                        \
    X("int", int, "default base", 0)                                                                                   \
    X("items", items, "", 0)                                                                                           \
    X("join", join, "d attribute", 0)                                                                                  \
    X("last", last, "", 0)                                                                                             \
    X("length", length, "", 0)                                                                                         \
    X("list", list, "", 0)                                                                                             \
    X("lower", lower, "", 0)                                                                                           \
    X("map", map, NULL, 0)                                                                                             \
    X("max", max, "case_sensitive attribute", 0)                                                                       \
    X("min", min, "case_sensitive attribute", 0)                                                                       \
    X("reject", reject, NULL, 0)                                                                                       \
    X("rejectattr", rejectattr, NULL, 0)                                                                               \
    X("replace", replace, "old new count", 2)                                                                          \
    X("reverse", reverse, "", 0)                                                                                       \
    X("round", round, "precision method", 0)                                                                           \
    X("safe", safe, "", 0)                                                                                             \
    X("select", select, NULL, 0)                                                                                       \
    X("selectattr", selectattr, NULL, 0)                                                                               \
    X("sort", sort, "reverse case_sensitive attribute", 0)                                                             \
    X("string", string, "", 0)                                                                                         \
    X("sum", sum, "attribute start", 0)                                                                                \
    X("title", title, "", 0)                                                                                           \
    X("tojson", tojson, "ensure_ascii indent separators sort_keys", 0)                                                 \
    X("trim", trim, "chars", 0)                                                                                        \
    X("unique", unique, "case_sensitive attribute", 0)                                                                 \
    X("upper", upper, "", 0)                                                                                           \
    X("wordcount", wordcount, "", 0)

#define JINJA_TESTS(X)                                                                                                 \
    X("!=", ne, "other", 1)                                                                                            \
    X("<", lt, "other", 1)                                                                                             \
    X("<=", le, "other", 1)                                                                                            \
    X("==", eq, "other", 1)                                                                                            \
    X(">", gt, "other", 1)                                                                                             \
    X(">=", ge, "other", 1)                                                                                            \
    X("boolean", boolean, "", 0)                                                                                       \
    X("callable", callable, "", 0)                                                                                     \
    X("defined", defined, "", 0)                                                                                       \
    X("divisibleby", divisibleby, "num", 1)                                                                            \
    X("eq", eq, "other", 1)                                                                                            \
    X("equalto", eq, "other", 1)                                                                                       \
    X("escaped", escaped, "", 0)                                                                                       \
    X("even", even, "", 0)                                                                                             \
    X("false", false, "", 0)                                                                                           \
    X("filter", filter, "", 0)                                                                                         \
    X("float", float, "", 0)                                                                                           \
    X("ge", ge, "other", 1)                                                                                            \
    X("greaterthan", gt, "other", 1)                                                                                   \
    X("gt", gt, "other", 1)                                                                                            \
    X("in", in, "seq", 1)                                                                                              \
    X("integer", integer, "", 0)                                                                                       \
    X("iterable", iterable, "", 0)                                                                                     \
    X("le", le, "other", 1)                                                                                            \
    X("lessthan", lt, "other", 1)                                                                                      \
    X("lower", lower, "", 0)                                                                                           \
    X("lt", lt, "other", 1)                                                                                            \
    X("mapping", mapping, "", 0)                                                                                       \
    X("ne", ne, "other", 1)                                                                                            \
    X("none", none, "", 0)                                                                                             \
    X("number", number, "", 0)                                                                                         \
    X("odd", odd, "", 0)                                                                                               \
    X("sameas", sameas, "other", 1)                                                                                    \
    X("sequence", sequence, "", 0)                                                                                     \
    X("string", string, "", 0)                                                                                         \
    X("test", test, "", 0)                                                                                             \
    X("true", true, "", 0)                                                                                             \
    X("undefined", undefined, "", 0)                                                                                   \
    X("upper", upper, "", 0)

#define JINJA_STRING_METHODS(X)                                                                                        \
    X("capitalize", capitalize, "", 0)                                                                                 \
    X("center", center, "width fillchar", 1)                                                                           \
    X("count", count, "sub start end", 1)                                                                              \
    X("endswith", endswith, "suffix start end", 1)                                                                     \
    X("find", find, "sub start end", 1)                                                                                \
    X("format", format, NULL, 0)                                                                                       \
    X("index", index, "sub start end", 1)                                                                              \
    X("isalnum", isalnum, "", 0)                                                                                       \
    X("isalpha", isalpha, "", 0)                                                                                       \
    X("isdigit", isdigit, "", 0)                                                                                       \
    X("islower", islower, "", 0)                                                                                       \
    X("isspace", isspace, "", 0)                                                                                       \
    X("isupper", isupper, "", 0)                                                                                       \
    X("join", join, "iterable", 1)                                                                                     \
    X("ljust", ljust, "width fillchar", 1)                                                                             \
    X("lower", lower, "", 0)                                                                                           \
    X("lstrip", lstrip, "chars", 0)                                                                                    \
    X("partition", partition, "sep", 1)                                                                                \
    X("removeprefix", removeprefix, "prefix", 1)                                                                       \
    X("removesuffix", removesuffix, "suffix", 1)                                                                       \
    X("replace", replace, "old new count", 2)                                                                          \
    X("rfind", rfind, "sub start end", 1)                                                                              \
    X("rindex", rindex, "sub start end", 1)                                                                            \
    X("rjust", rjust, "width fillchar", 1)                                                                             \
    X("rpartition", rpartition, "sep", 1)                                                                              \
    X("rsplit", rsplit, "sep maxsplit", 0)                                                                             \
    X("rstrip", rstrip, "chars", 0)                                                                                    \
    X("split", split, "sep maxsplit", 0)                                                                               \
    X("splitlines", splitlines, "keepends", 0)                                                                         \
    X("startswith", startswith, "prefix start end", 1)                                                                 \
    X("strip", strip, "chars", 0)                                                                                      \
    X("title", title, "", 0)                                                                                           \
    X("upper", upper, "", 0)                                                                                           \
    X("zfill", zfill, "width", 1)

#define JINJA_DICT_METHODS(X)                                                                                          \
    X("copy", copy, "", 0)                                                                                             \
    X("get", get, "key default", 1)                                                                                    \
    X("items", items, "", 0)                                                                                           \
    X("keys", keys, "", 0)                                                                                             \
    X("values", values, "", 0)

#define JINJA_LIST_METHODS(X)                                                                                          \
    X("copy", copy, "", 0)                                                                                             \
    X("count", list_count, "value", 1)                                                                                 \
    X("index", list_index, "value", 1)

#define JINJA_LOOP_METHODS(X)                                                                                          \
    X("changed", changed, NULL, 0)                                                                                     \
    X("cycle", cycle, NULL, 0)

#define JINJA_GLOBALS(X)                                                                                               \
    X("dict", dict, NULL, 0)                                                                                           \
    X("namespace", namespace, NULL, 0)                                                                                 \
    X("raise_exception", raise_exception, "message", 1)                                                                \
    X("range", range, "start stop step", 1)                                                                            \
    X("strftime_now", strftime_now, "format", 1)

#define X(name, function, parameters, required) jinja_call jinja_filter_##function;
JINJA_FILTERS(X)
#undef X
#define X(name, function, parameters, required) jinja_call jinja_test_##function;
JINJA_TESTS(X)
#undef X
#define X(name, function, parameters, required) jinja_call jinja_method_##function;
JINJA_STRING_METHODS(X)
JINJA_DICT_METHODS(X)
JINJA_LIST_METHODS(X)
JINJA_LOOP_METHODS(X)
#undef X
#define X(name, function, parameters, required) jinja_call jinja_global_##function;
JINJA_GLOBALS(X)
#undef X

/* value.attribute, "a.b.0" one after the other, `fallback` (unless it is none) in the place of what is undefined; the
 * value itself without an attribute. */
struct jinja_value jinja_pick(struct jinja_run *run, struct jinja_value value, struct jinja_value attribute,
                              struct jinja_value fallback);
/* What is compared: texts without case unless asked for. */
struct jinja_value jinja_folded(struct jinja_run *run, struct jinja_value value, bool case_sensitive);

#endif
