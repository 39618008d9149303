/* SPDX-License-Identifier: Apache-2.0
 *
 * Values by themselves: made, and asked what they are.
 */
#include "text/jinja_value.h"
#include <string.h>

/* ---- making ------------------------------------------------------------------------------------------------------ */

struct jinja_value jinja_none(void) {
    return (struct jinja_value){.type = JINJA_NONE};
}

struct jinja_value jinja_bool(bool truth) {
    return (struct jinja_value){.type = JINJA_BOOL, .truth = truth};
}

struct jinja_value jinja_int(int64_t integer) {
    return (struct jinja_value){.type = JINJA_INT, .integer = integer};
}

struct jinja_value jinja_float(double real) {
    return (struct jinja_value){.type = JINJA_FLOAT, .real = real};
}

struct jinja_value jinja_trusted(const char *text) {
    return (struct jinja_value){.type = JINJA_STRING, .text = text, .length = (uint32_t)strlen(text)};
}

struct jinja_value jinja_undefined(const char *name, uint32_t length, const char *owner) {
    return (struct jinja_value){.type = JINJA_UNDEFINED, .text = name, .length = length, .owner = owner};
}

struct jinja_value jinja_sequence(enum jinja_type type, const struct jinja_value *items, size_t count) {
    return (struct jinja_value){.type = type, .items = items, .length = items ? (uint32_t)count : 0};
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

const char *jinja_type_name(struct jinja_value value) {
    switch (value.type) {
    case JINJA_NONE:
        return "NoneType";
    case JINJA_BOOL:
        return "bool";
    case JINJA_INT:
        return "int";
    case JINJA_FLOAT:
        return "float";
    case JINJA_STRING:
        return "str";
    case JINJA_LIST:
        return "list";
    case JINJA_TUPLE:
        return "tuple";
    case JINJA_VIEW:
        return value.view;
    case JINJA_GENERATOR:
        return "generator";
    case JINJA_DICT:
        return "dict";
    case JINJA_NAMESPACE:
        return "Namespace";
    case JINJA_LOOP:
        return "LoopContext";
    case JINJA_FUNCTION:
        return "function";
    case JINJA_MISSING:
    case JINJA_UNDEFINED:
        break;
    }
    return "Undefined";
}

bool jinja_is_listed(struct jinja_value value) {
    return value.type == JINJA_LIST || value.type == JINJA_TUPLE || value.type == JINJA_VIEW;
}

bool jinja_is_number(struct jinja_value value) {
    return value.type == JINJA_BOOL || value.type == JINJA_INT || value.type == JINJA_FLOAT;
}

double jinja_as_double(struct jinja_value value) {
    return value.type == JINJA_FLOAT ? value.real : value.type == JINJA_INT ? (double)value.integer : value.truth;
}

bool jinja_is_text(struct jinja_value value, const char *text) {
    return value.type == JINJA_STRING && value.length == strlen(text) && memcmp(value.text, text, value.length) == 0;
}

bool jinja_truth(struct jinja_value value) {
    switch (value.type) {
    case JINJA_MISSING:
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return value.truth;
    case JINJA_INT:
        return value.integer != 0;
    case JINJA_FLOAT:
        return value.real != 0;
    case JINJA_STRING:
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_VIEW:
        return value.length > 0;
    case JINJA_DICT:
        return value.dict->count > 0;
    case JINJA_GENERATOR:
    case JINJA_NAMESPACE:
    case JINJA_LOOP:
    case JINJA_FUNCTION:
        break;
    }
    return true;
}

bool jinja_given(struct jinja_value value) {
    return value.type != JINJA_MISSING && value.type != JINJA_NONE;
}
