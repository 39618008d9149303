#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Renders snippets with jinja2 in the sandbox of transformers: make_jinja.py > tests/golden/jinja.json.

The result is a list of {"template": .., "expected": .. | null}; null where jinja2 raises. Needs transformers and jinja2.
"""
import datetime
import json
import sys

from transformers.utils.chat_template_utils import _compile_jinja_template

DATA = {
    "name": "Ada", "empty": "", "n": 7, "x": 2.5, "yes": True, "no": False, "nothing": None,
    "uni": "Grüße, 世界 😀!", "padded": " \n pad\tded \u00a0\u3000", "lines": "one\ntwo\r\n\nfour",
    "list": [3, 1, 2], "words": ["b", "A", "c", "a"], "nested": [[1, 2], [3]], "nobody": [],
    "map": {"b": 1, "a": {"c": [1, "2", None, True, 2.5]}, "items": "shadow"}, "plain": {"one": 1, "two": 2, "Three": 3},
    "people": [{"name": "Bob", "age": 30}, {"name": "eve", "age": 25, "tags": ["x"]}, {"name": "Cid", "age": 30}],
    "tricky": "<a href=\"x\">it's & 'b'</a>\\ \u0007 \u2028 {{ not }}",
}
NOW = datetime.datetime(2024, 7, 6, 15, 4, 9)

EXPRESSIONS = """
1 | 1.0 | 1.5e3 | 1e16 | 1e15 | 1e-5 | 0.0001 | 123456789.123 | 1e100 | 0.1 + 0.2 | 100.0 | 1_000 | 2.50 | -3 | +3 | - -3
true | True | false | none | None | nothing | name | missing | missing2 is defined | 'a' "b" 'c' | "it's" | 'a\\nb' | 'a\\tb\\\\' | '\\x41\\u00e9\\U0001F600' | '\\q' | '\\101'
1 + 2 * 3 | (1 + 2) * 3 | 7 / 2 | 6 / 2 | 7 // 2 | -7 // 2 | 7 % 3 | -7 % 3 | 7 % -3 | 2 ** 10 | 2 ** -1 | 2 ** 0.5 | 7.5 // 2 | -7.5 % 2 | 1 / 0 | 1 // 0 | 1.0 % 0 | 2 ** 3 ** 2 | -2 ** 2
'a' + 'b' | 'a' * 3 | 3 * 'a' | 'a' * 0 | 'a' * -1 | [1] + [2] | [1, 2] * 2 | (1,) + (2,) | 'a' + 1 | 1 + 'a' | [1] + (2,) | none + 1 | true + 1 | 'a' - 'b' | 'a' ~ 1 ~ none ~ true ~ 1.5 | 'a' ~ missing ~ 'b' | 1 ~ 2
1 < 2 | 1 < 2 < 3 | 1 < 3 < 2 | 3 > 2 >= 2 | 1 == 1.0 | 1 == true | 'a' < 'b' | 'a' == 'a' | [1, 2] < [1, 3] | (1,) == [1] | 'a' < 1 | none < 1 | none == none | missing == none | missing == missing | missing != 1 | {'a': 1} == {'a': 1.0} | {} == [] | [] == [] | 'a' != 'b' != 'a'
1 in [1, 2] | 'a' in 'abc' | 'd' not in 'abc' | 1 in 'abc' | 'one' in plain | 1 in plain | none in [none] | 'x' in missing | 'x' in none | '' in 'abc' | missing in 'a' | [1] in [[1]] | 'b' in ('a', 'b') | not 1 in [2] | 1 in [2] == false
not true | not '' | not [] | not missing | not 0 | not 0.0 | true and false | 1 and 2 | 0 and 2 | 1 or 2 | 0 or '' | '' or none | missing or 'x' | none and missing.x | not not 1 | true and not false or false
1 if true else 2 | 1 if false else 2 | 1 if false | 'a' if missing else 'b' | 1 if 0 else 2 if 0 else 3 | (1 if true) ~ 'x' | ('y' if no) ~ 'x'
name.upper() | name.upper | name[0] | name[-1] | name[5] | name[1:] | name[:-1] | name[::-1] | name[::2] | name[5:2] | name[-2:] | name[:100] | name[1:2:3] | name['x'] | name.x | name[none:1] | name['upper']() | uni[0:6] | uni[::-1] | uni[-2] | uni|length | uni[7:9] | uni.upper() | uni.lower() | name[1.5] | name[true]
list[0] | list[-1] | list[3] is defined | list[1:] | list[::-1] | list[-5:2] | list[10:] | list[::0] | list[2:0:-1] | list[:1] ~ 'x' | nested[0][1] | nested[1].0 | list.0 | list[name] is defined | list['count'](3) | list.index(2) | list.count(1) | list.append(4) | list.append is defined | list.sort() | words.copy()
map.b | map['b'] | map.a.c[1] | map.items | map['items'] | map.zzz is defined | map.zzz.y | map['zzz'] | map.get('b') | map.get('q') | map.get('q', 3) | map.get('q') is none | map.keys()|list | plain.values()|list | plain.items()|list | plain.keys() | plain.values() | plain.items() | plain|length | plain.pop('one') | plain.update({}) | map.a['c'][-1] | plain.copy() | map.__class__ | map.a.get | plain[['a']] | plain.get(default=1)
missing.x | missing['x'] | missing() | missing + 1 | -missing | missing|length | missing|upper | missing|list | missing|join(',') | missing|default('d') | missing|d('e') | missing < 1 | missing[1:] | missing|first | missing|int | missing|tojson | missing|string ~ '.' | missing|trim ~ '.' | nothing.x is defined | nothing.x | nothing['x'] | nothing() | 1() | 'a'() | n.real is string
[1, 'a', none, true, 1.5, [2], (3,), {'k': 'v'}] | (1,) | () | (1, 2) | 1, 2 | {} | {'a': 1, 'b': [1, 2]} | {1: 2, none: 3, true: 4} | ['it\\'s', "say \\"x\\"", 'both \\' "', 'nl\\n', 'tab\\t', 'back\\\\', 'é', '\\x00', '\\xa0', '\\u200b', '😀'] | [missing] | {'a': missing} | {[1]: 2} | {'a': 1, 'a': 2} | [1, 2,] | {'a': 1,} | [[], {}, ()] | [tricky] | [uni]
list|sort | list|sort(reverse=true) | words|sort | words|sort(case_sensitive=true) | people|sort(attribute='age')|map(attribute='name')|list | people|sort(attribute='name')|map(attribute='name')|join(',') | [1, 'a']|sort | words|unique|list | words|unique(case_sensitive=true)|list | [1, 1.0, true, 2]|unique|list | list|min | list|max | words|min | nobody|min | nobody|max is defined | people|max(attribute='age') | list|sum | people|sum(attribute='age') | nested|sum(start=[]) | ['a']|sum | list|reverse|list | name|reverse | nobody|first | list|first | list|last | nobody|last is defined | words|first | plain|first | name|first | plain|last
list|join | list|join(', ') | [1, none, true]|join('-') | people|join(',', attribute='name') | name|join('.') | plain|join | ','.join(words) | ','.join(list) | ''.join([]) | '-'.join('abc') | nested|join(',')
list|length | name|count | none|length | 1|length | plain|list | name|list | 1|list | list|map('string')|list | words|map('upper')|join | people|map(attribute='tags')|list | people|map(attribute='tags', default='-')|list | people|map(attribute='tags.0', default='-')|list | words|map('replace', 'a', 'z')|list | list|map | list|map('nofilter')|list | people|map(attribute='age')|sum
list|select('odd')|list | list|reject('odd')|list | list|select('>', 1)|list | list|select('in', [1, 2])|list | [0, 1, '', 'a', none]|select|list | [0, 1, '', 'a', none]|reject|list | people|selectattr('age', 'equalto', 30)|map(attribute='name')|list | people|selectattr('tags')|list|length | people|selectattr('tags', 'defined')|list|length | people|rejectattr('age', 'gt', 26)|map(attribute='name')|list | people|rejectattr('tags')|list|length | missing|select|list | list|select('even')|first | list|select('odd')|length | 'yes' if list|select('>', 100) else 'no' | list|selectattr('x')|list | (list|select('odd')|list)[0] | people|selectattr|list | list|select('nosuch')|list
' a '|trim | '--a--'|trim('-') | padded|trim | 'xay'|trim('yx') | 1|trim | none|trim | name|upper | name|lower | 'aB cD'|title | "it's a-b (c) [d] {e} <f>g"|title | 'hELLO wORLD'|capitalize | ''|capitalize | 'straße ǆ ŉ'|upper | 'ǆabc'|capitalize | 'ΑΣ ΑΣΑ'|lower | 'İ'|lower|length | 'éa'|title | "they're bill's".title() | 'ab1cd éf'.title() | 1|upper | 'ﬁn'|capitalize | 'ﬁn'|upper
'aXbXc'|replace('X', '-') | 'aXbXc'|replace('X', '-', 1) | 'abc'|replace('', '-') | 'abc'.replace('', '-', 2) | 'a1'|replace(1, 2) | 'abc'.replace('b', '') | 'aaa'.replace('aa', 'b') | 'abc'.replace('z', 'y') | ''.replace('', 'x') | 'abc'.replace(1, 2) | 'abc'|replace('a') | 'é😀é'.replace('é', 'e') | 'éa'.replace('', '.')
' a  b c '.split() | 'a,b,,c'.split(',') | 'a,b,c'.split(',', 1) | 'a b c'.split(none, 1) | ' a b  c '.split(none, 1) | ' a b  c '.rsplit(none, 1) | ' a b '.split(none, 0) | ' a b '.rsplit(none, 0) | 'a,b,c'.rsplit(',', 1) | ''.split() | ''.split(',') | 'abc'.split('') | 'a--b--c'.split('--')[-1] | 'a'.split(',')[1] is defined | padded.split() | 'aaa'.split('aa') | 'aaa'.rsplit('aa') | 'a,b'.split(sep=',') | 'a,b'.split(',', maxsplit=0) | '   '.split() | 'a b'.split(' ', -1) | '\\u00a0a\\u2003b\\x1cc\\x85'.split()
lines.splitlines() | lines.splitlines(true) | ''.splitlines() | '\\n'.splitlines() | 'a\\x0bb\\x0cc\\x1cd\\x85e\\u2028f'.splitlines() | 'a\\n'.splitlines() | 'a\\r'.splitlines()
name.startswith('A') | name.startswith(('x', 'A')) | name.endswith('da') | name.endswith('') | name.startswith('d', 1) | name.startswith('Ada!') | name.startswith(1) | name.endswith('d', 0, 2) | name.startswith('', 9) | name.startswith('', 3)
name.find('d') | name.find('z') | uni.find('世') | 'abcabc'.rfind('b') | name.index('z') | 'abcabc'.count('b') | 'aaa'.count('aa') | 'abc'.count('') | 'abcabc'.find('b', 2) | 'abc'.find('', 3) | 'abc'.find('', 4) | 'abcabc'.find('c', -2) | 'abcabc'.rfind('b', 0, 3) | 'abc'.rindex('a') | 'éé'.count('é', 1)
' a '.strip() | ' a '.lstrip() ~ '|' | ' a '.rstrip() ~ '|' | 'xxaxx'.strip('x') | 'xyaxy'.lstrip('yx') | 'aé'.rstrip('é') | padded.strip() | 'abc'.strip('') | ' a '.strip(none) | ' a '.strip(1) | '\\x1c a \\x1f'.strip() | '\\n\\na\\n'.lstrip('\\n') | '\\u200ba'.strip()|length
'a-b-c'.partition('-') | 'a-b-c'.rpartition('-') | 'abc'.partition('-') | 'abc'.rpartition('-') | 'abc'.removeprefix('a') | 'abc'.removesuffix('c') | 'abc'.removeprefix('x') | '5'.zfill(3) | '-5'.zfill(4) | 'abc'.ljust(5, '.') | 'abc'.rjust(5) ~ '|' | 'é'.ljust(3, '*') | 'abc'.center is defined | 'a'|center(4) ~ '|' | 'ab'|center(5) ~ '|' | '123'.isdigit() | '12a'.isdigit() | 'abc'.isalpha() | 'ab1'.isalnum() | ' '.isspace() | ''.isdigit() | 'abc'.islower() | 'ABC'.isupper() | 'a1'.isupper() | 'Ab'.islower()
'{} {}'.format(1, 'a') | '{0}{1}{0}'.format('a', 'b') | '{x}'.format(x=3) | '{{}}'.format() | '{}'.format() | '{'.format(1) | '}'.format(1) | '{}'.format(none) | '%s %d' % ('a', 3) | '%s' % 'x' | '%5.2f|' % 3.14159 | '%05d' % 42 | '%-5s|' % 'ab' | '%%' % () | '%d' % 3.9 | '%s' % [1] | '%s %s' % 'a' | '%s' % (1, 2) | '%(a)s' % {'a': 1} | '%x' % 255 | '%+d' % 5 | '%r' % 'a' | '%.2s' % 'abc' | '%d' % 'a' | 'x'|format(1) | '%s-%s'|format('a', 'b') | '%(k)s'|format(k=1) | '%e' % 12345.678 | '%g' % 0.0001 | '%q' % 1 | '%.1e' % 3.3e26 | '%f' % 1e20 | '%x' % (-9223372036854775807 - 1) | '%x' % -255 | '%d' % (-9223372036854775807 - 1)
map|tojson | map|tojson(indent=2) | plain|tojson(indent=4) | tricky|tojson | uni|tojson | uni|tojson(ensure_ascii=true) | [1, 1.0, none, true, 'a']|tojson | {}|tojson | []|tojson(indent=2) | {'a': []}|tojson(indent=2) | plain|tojson(sort_keys=true) | plain|tojson(separators=(',', ':')) | plain|tojson(indent=2, separators=(', ', ' = ')) | {1: 'a', none: 2, true: 3, 1.5: 4}|tojson | (1, 2)|tojson | [1e16, 1e-7, 100.0]|tojson | map.items|tojson | [plain.items]|tojson | '\\x7f\\x00\\x1f'|tojson | plain|tojson(indent='\\t') | {(1,): 2}|tojson | [1, [2, {'a': [3]}]]|tojson(indent=1) | none|tojson | '</script>'|tojson | plain.keys()|tojson | plain|tojson(true) | plain|tojson(indent=0) | plain.items()|list|tojson
'a\\nb\\n\\nc'|indent | 'a\\nb'|indent(2) | 'a\\nb'|indent(2, true) | 'a\\n\\nb'|indent(2, false, true) | 'a\\nb'|indent('> ') | ''|indent(2, true) | 'a\\n'|indent ~ '|' | 1|indent | lines|indent(2, first=true) | 'a\\nb'|indent(width=1, blank=true)
'42'|int | '4.7'|int | 'x'|int | 'x'|int(5) | 3.9|int | -3.9|int | none|int | true|int | '0x1A'|int(base=16) | '1A'|int(base=16) | '101'|int(0, 2) | ' 12 '|int | '1_000'|int | '-5'|int | '+5'|int | '1e3'|int | [1]|int | ''|int | '--5'|int | '3.5'|float | 'x'|float | 'x'|float(1.5) | 3|float | none|float | 'inf'|float | ' 2.5 '|float | '1e3'|float | 'nan'|float | '0x10'|float
3.14159|round(2) | 2.5|round | 3.5|round | 7|round | 2.675|round(2) | 3.2|round(0, 'ceil') | 3.7|round(method='floor') | 42.55|round(1, 'floor') | -3|abs | -2.5|abs | 'a'|abs | 1234|round(-2) | 2.5|round|int
missing|default | missing|default('x') | ''|default('x') | ''|default('x', true) | none|default('x') | none|default('x', boolean=true) | 0|default(1, true) | false|default('f') | missing|default(default_value='q') | missing.x|default('x') | map.zzz|default('z') | missing|default(none) is none | [missing|default([])]
plain|dictsort | plain|dictsort(true) | plain|dictsort(by='value') | plain|dictsort(reverse=true) | plain|items|list | missing|items|list | list|items | {'b': 1, 'A': 2}|dictsort | [1]|dictsort | plain|dictsort(false, 'nonsense') | list|batch(2)|list | list|batch(2, 0)|list | 'abcde'|batch(2)|map('join')|list | tricky|escape | tricky|e | '<b>'|safe | 'a b  c'|wordcount | map|attr('b') is defined | name|attr('upper') is callable
1 is number | 1.5 is number | true is number | '1' is number | 1 is integer | true is integer | 1.0 is float | 1 is float | true is boolean | 1 is boolean | name is string | 1 is string | none is none | missing is none | map is mapping | list is mapping | list is sequence | name is sequence | map is sequence | plain.items() is sequence | list is iterable | 1 is iterable | name is iterable | missing is iterable | missing is sequence | missing is mapping | missing is defined | missing is undefined | name is defined | name is not defined | true is true | 1 is true | false is false | 0 is false
3 is odd | 3 is even | 4 is divisibleby 2 | 4 is divisibleby(3) | 1 is eq 1 | 1 is equalto(1) | 1 is ne 2 | 2 is gt 1 | 2 is greaterthan 1 | 2 is ge 2 | 1 is lt 2 | 1 is lessthan 2 | 1 is le 1 | 1 is in [1] | 1 is in(list) | 'a' is lower | 'A' is upper | 'aB' is lower | 1 is sameas 1 | true is sameas true | 1 is sameas true | 'upper' is filter | 'nope' is filter | 'odd' is test | name is callable | range is callable | missing is callable | not 1 is odd | 1 is odd and 2 is even | 1 is odd == true | 'a' is odd | name is string and name is not none | 1 is not odd | [] is sequence is true | n is in [7] or no
range(3)|list | range(1, 4)|list | range(5, 0, -2)|list | range(0)|list | range(3)[1] | range(3)|length | range(1, 2, 0) | range('a') | range(200000) | 2 in range(3) | range(10)[2:5]|list | range(3)[-1] | range(1, 10, 4)|list | range(5, 1)|list | dict(a=1, b=2) | dict({'a': 1}, b=2) | dict([('a', 1)]) | dict(1) | namespace(a=1).a | namespace(a=1).b is defined | namespace({'a': 1}).a | namespace(_a=1) | namespace().a | namespace(items=3).items | dict() | namespace(1)
strftime_now('%Y-%m-%d') | strftime_now('%d %b %Y') | strftime_now('%B %d, %Y') | strftime_now('%A %a %H:%M:%S %p %I %j %y %%') | strftime_now('%-d/%-m %e') | strftime_now('no directive') | strftime_now('') | strftime_now('%F %T %R %D %u %w %h') | strftime_now(1)
raise_exception('stop') | raise_exception('a ' ~ 1) | raise_exception() | nosuch() | name.nosuch() | name|nosuch | name is nosuch | nosuch.a.b | raise_exception
-1|abs | -(1|abs) | 1 + 2|string|length | 'a' ~ 'b'|upper | ('a' ~ 'b')|upper | 'ab'[0]|upper | [1, 2][0] + 1 | {'a': 1}.a + 1 | {'a': {'b': 2}}.a.b | 'x'.upper().lower() | 'a,b'.split(',')[1].upper() | (1, 2)[0] | 1 if 'a' in 'abc' and 1 < 2 else 0 | 1 + 1 == 2 and 2 > 1 | 'a' 'b' ~ 'c' | 1 - - 1 | 1 -1 | 1-1 | not (1 == 1) | 1 == 1 == true | 5 % 3 == 2 | '%s' % 'a' ~ 'b' | 'a' * 2 + 'b' | 3 - 2 - 1 | 8 / 2 / 2 | 2 * 3 % 4 | true if 1 else 2 | [1 if yes else 2, 3] | {'a': 1 if no else 2}
"""

STATEMENTS = r"""
{% if yes %}a{% elif no %}b{% else %}c{% endif %}
{% if no %}a{% elif no %}b{% else %}c{% endif %}
{% if no %}a{% elif n %}b{% endif %}
{% if missing %}a{% endif %}{% if not nobody %}b{% endif %}
{% for i in list %}{{ i }}{% if not loop.last %},{% endif %}{% endfor %}
{% for i in nobody %}x{% else %}none{% endfor %}
{% for i in missing %}x{% else %}none{% endfor %}
{% for i in none %}x{% endfor %}
{% for i in 5 %}x{% endfor %}
{% for c in 'aé😀' %}[{{ c }}]{% endfor %}
{% for k in plain %}{{ k }};{% endfor %}
{% for k, v in plain.items() %}{{ k }}={{ v }};{% endfor %}
{% for k, v in plain|dictsort %}{{ k }}={{ v }};{% endfor %}
{% for a, b in [[1, 2], (3, 4)] %}{{ a }}{{ b }}{% endfor %}
{% for a, b in [[1, 2, 3]] %}{{ a }}{% endfor %}
{% for (a, b) in [[1, 2]] %}{{ a }}{% endfor %}
{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for i in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}
{% for i in list %}{{ loop.previtem }}-{{ loop.nextitem }} {% endfor %}
{% for i in list %}{{ loop.previtem is defined }}{{ loop.nextitem is undefined }} {% endfor %}
{% for i in list %}{{ loop.cycle('a', 'b') }}{% endfor %}
{% for i in [1, 1, 2] %}{{ loop.changed(i) }}{% endfor %}
{% for i in [1, 2] %}{% for j in [1, 2] %}{{ loop.depth }}{{ loop.depth0 }}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}
{% for i in list if i > 1 %}{{ i }}{{ loop.index }}/{{ loop.length }} {% endfor %}
{% for i in list if i > 9 %}{{ i }}{% else %}none{% endfor %}
{% for i in range(6) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for i in range(3) %}{% for j in range(3) %}{% if j == 1 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{% endfor %}
{% for i in [1] %}{% break %}{% else %}none{% endfor %}
{% break %}
{% for i in list %}{% set x = i %}{% endfor %}{{ x is defined }}
{% set x = 0 %}{% for i in list %}{{ x }}{% set x = i %}{{ x }}{% endfor %}{{ x }}
{% set ns = namespace(x=0) %}{% for i in list %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}
{% set ns = namespace() %}{% set ns.a = [] %}{% for i in list %}{% set ns.a = ns.a + [i] %}{% endfor %}{{ ns.a }}
{% set ns = namespace(a=1) %}{% set ns._b = 2 %}{{ ns.a }}
{% set d = {} %}{% set d.a = 1 %}
{% set ns = namespace(a=1) %}{{ ns.b }}|{{ ns['a'] }}
{% if yes %}{% set x = 1 %}{% endif %}{{ x }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}
{% set a, b = [1, 2, 3] %}
{% set a = 1, 2 %}{{ a }}
{% set x %}a{{ n }}b{% endset %}[{{ x }}]
{% set x | upper %}a{{ n }}b{% endset %}[{{ x }}]
{% set x | trim | replace('a', 'z') %} a {% endset %}[{{ x }}]
{% set x %}{% set y = 1 %}{% endset %}{{ y is defined }}
{% macro m(a, b=2) %}{{ a }}{{ b }};{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(b=5, a=4) }}{{ m() }}
{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(c=2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}
{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}
{% macro m(a) %}{{ a is defined }}{% endmacro %}{{ m() }}
{% macro m() %}{{ caller() }}!{% endmacro %}{% call m() %}hi{% endcall %}
{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) m() %}{{ a }}{{ b }}{% endcall %}
{% macro m() %}x{% endmacro %}{% call m() %}hi{% endcall %}
{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}
{% macro fact(k) %}{% if k < 2 %}1{% else %}{{ k * fact(k - 1)|int }}{% endif %}{% endmacro %}{{ fact(5) }}
{% macro m() %}{{ z }}{% endmacro %}{% set z = 3 %}{{ m() }}
{% macro m() %}{% set z = 4 %}{% endmacro %}{{ m() }}{{ z is defined }}
{% set z = 1 %}{% macro m() %}{{ z }}{% set z = 2 %}{{ z }}{% endmacro %}{{ m() }}{{ z }}
{% macro outer() %}{% macro inner() %}in{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}
{% macro loop_it(l) %}{% for i in l %}{% if i is iterable %}[{{ loop_it(i) }}]{% else %}{{ i }}{% endif %}{% endfor %}{% endmacro %}{{ loop_it([1, [2, [3]], 4]) }}
{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1)|length }}{{ m(1) is string }}{{ m is callable }}
{% macro m() -%} x {%- endmacro %}[{{ m() }}]
{% filter upper %}a{{ name }}{% endfilter %}
{% filter replace('a', 'b')|upper %}aXa{% endfilter %}
{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}
{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q is defined }}
{% set a = 5 %}{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}
{% generation %}gen {{ n }}{% endgeneration %}!
{% generation %}{% set y = 1 %}{% endgeneration %}{{ y is defined }}
{% raw %}{{ x }} {% if %}{% endraw %}|
{%- raw -%} a {%- endraw -%} b
{# comment #}a{#- another -#} b
a{# c #}
a {#- c -#} b
{{ 'a' }}{# {{ b }} #}{{ "}}" }}
{{ {'a': {'b': 1}} }}
{{ {'a': {'b': 1}}['a']['b'] }}
{{ "{% if %}" }}
{%if yes%}x{%endif%}
{{name}}{{-name-}} {{- name }}
a {{- ' b ' -}} c
 {%- if yes -%} x {%- endif -%} y
a{%+ if yes %} b {% endif +%} c
{% print name, 1 %}
{{ (name) }}{{ name , }}
{{ }}
{% %}
{% if %}x{% endif %}
{% if yes %}x
{% endif %}
{% for x %}{% endfor %}
{% for loop in list %}{{ loop }}{% endfor %}
{% nosuch %}
{% include 'x' %}
{% set 1 = 2 %}
{% set true = 2 %}
{% set x.y.z = 2 %}
{{ 1 2 }}
{{ 'a }}
{{ a b }}
{{ (1 }}
{{ 1) }}
{{ [1, }}
{{ a. }}
{{ a[ }}
{{ name
{% if yes
{# never closed
{% raw %} never closed
{{ name|upper|lower|title }}{{ name | replace ( 'A' , 'B' ) }}
{{ name is string is true }}
{{ x is }}
{{ *a }}
{{ 0777 }}
{{ 1abc }}
{{ a ; b }}
{{ a ! b }}
{{ loop is defined }}
{% if 1 is odd and name %}ok{% endif %}{% if name in ['Ada'] %}in{% endif %}
{% set messages = [{'role': 'a', 'content': none}] %}{% for m in messages %}{{ m.content is none }}{{ m['content'] }}{{ m.role }}{{ m.zz is defined }}{% endfor %}
{% set x = namespace(v=false) %}{% for i in [1, 2] if not x.v %}{{ i }}{% endfor %}
{% for p in people|selectattr('age', 'equalto', 30) %}{{ loop.index }}{{ p.name }}{{ loop.last }}{% endfor %}
{% set g = list|select('odd') %}{{ g|list }}{{ g|list }}
{% for i in list|reverse %}{{ i }}{% endfor %}
{{ list|map('string')|join('+') }}{% set q = people|map(attribute='name') | list %}{{ q }}
{% set loop_messages = people[1:] %}{{ loop_messages|length }}{{ people[1:][0].name }}
{% if people[0].name == 'Bob' and people[0]['age'] > 18 %}adult{% endif %}
{{ raise_exception('no') if no else 'fine' }}
{% if no %}{{ x|nosuch }}{{ x is nosuch }}{% endif %}fine
{% if yes %}{{ x|nosuch }}{% endif %}fine
{% if no and name|nosuch %}{% endif %}fine
{% for i in none|selectattr('a') %}{% endfor %}{% for i in none|map('upper') %}{% endfor %}{{ none|select('odd')|list }}
{{ '<'|safe + '<' }}{{ '<' + '<'|safe }}{{ '<'|safe ~ '<' }}{{ '<'|e + '<' }}{{ '<'|e|e }}{{ '<'|safe|e }}{{ ('<'|safe)[0] + '<' }}
{{ [('<'|safe)] }}{{ '<'|safe is escaped }}{{ '<' is escaped }}{{ ('<'|safe * 2) + '>' }}{{ (' < '|safe|trim) + '>' }}{{ ('a<'|safe|upper) + '>' }}
{{ ('<a'|safe).upper() + '>' }}{{ '<'|safe == '<' }}{{ ('<,a'|safe).split(',')[0] + '>' }}{{ '<'|safe|tojson }}{{ '<'|safe|string + '<' }}{{ '<'|safe|replace('<', '>') + '<' }}
{% if people is not string and people is iterable and people is not mapping %}list{% endif %}
"""

WHITESPACE = [
    "a\n{% if yes %}\nb\n{% endif %}\nc\n", "a\n  {% if yes %}\n  b\n  {% endif %}\nc", "  {{ name }}\n  {{ name }}\n",
    "a\n\n{%- if yes -%}\n\n b \n\n{%- endif -%}\n\nc", "a  {% if yes %}  b  {% endif %}  c", "\n{% if yes %}\nx{% endif %}",
    "{% if yes %}\n\n\nx\n\n\n{% endif %}", "a {# c #}\n b", "a\n  {# c #}\nb", "a\n  {#- c -#}  \nb", "x\r\ny\rz\n", "x\n\n", "\n",
    "", " ", "{% for i in list %}\n  {{ i }}\n{% endfor %}\n", "{% for i in list -%}\n  {{ i }}\n{%- endfor %}\n",
    "{%+ if yes %}\na\n{%+ endif %}\n", "  {%+ if yes %}a{% endif %}", "a\n  {%+ if yes %}a{% endif +%}\nb",
    "{{ name -}}\n  x\n  {{- name }}", "{% set x = 1 %}\n{% set y = 2 %}\n{{ x }}{{ y }}", "  {% set x = 1 %}  \n{{ x }}",
    "{% raw %}\n a {% endraw %}\n b", "a\n  {% raw -%}\n x \n{%- endraw %}\n b", "a\u00a0\n\u00a0{% if yes %}b{% endif %}",
    "a\u3000{%- if yes %}b{% endif %}", "a\n\t{% if yes %}\n\tb\n\t{% endif %}\n", "{% if yes %}a{% endif %}\n\nb",
    "a{{ '\n' }}b", "a{{ 'x\r\ny' }}b", "{{ name }}\n", "{{ name }}\n\n", "{% if yes %}x{% endif %}   \ny", "  {{- name }}  {{ name -}}  z",
    "a\n   \n  {%- if yes %}b{% endif %}", "{{ name }}\n  {% if yes %}b{% endif %}", "{{ name -}}\n  {% if yes %}b{% endif %}",
    "{# a #}  {% if yes %}b{% endif %}", "{% if yes %}\n  {% if yes %}b{% endif %}{% endif %}", "a\n{% if yes %}{% if yes %}b{% endif %}{% endif %}\nc",
    "{{ 'a'\n  ~ 'b' }}", "{%\nif yes\n%}x{%\nendif\n%}", "{%-\tif yes\t-%} x {%\u00a0endif %}", "{{-1}}", "{{ -1 -}} x", "a {{+1}}",
]


class Fixed(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def render(template: str) -> str | None:
    try:
        return _compile_jinja_template(template).render(**DATA)
    except Exception:  # whatever jinja2 or Python raises
        return None


def split_row(row: str) -> list[str]:
    """At ' | ' with a blank on either side: filters are written without."""
    return [e for e in row.split(" | ") if e]


def main() -> None:
    sys.modules["transformers.utils.chat_template_utils"].datetime = Fixed
    templates = [f"{{{{ {e} }}}}" for row in EXPRESSIONS.strip().split("\n") for e in split_row(row)]
    # an undefined value prints as nothing: what each value is counts, too
    templates += [t for t in STATEMENTS.strip().split("\n")] + WHITESPACE
    cases = [{"template": t, "expected": render(t)} for t in dict.fromkeys(templates)]
    # Python writes addresses of what it has no text for
    cases = [c for c in cases if not (c["expected"] and " at 0x" in c["expected"])]
    out = {"now": int(NOW.replace(tzinfo=datetime.timezone.utc).timestamp()), "data": DATA, "cases": cases}
    json.dump(out, sys.stdout, indent=1, ensure_ascii=True)
    print()


if __name__ == "__main__":
    main()
