import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpoq.contract.jsontext import JsonError, loads

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


def rule_of(data):
    with pytest.raises(JsonError) as caught:
        loads(data)
    return caught.value.rule


@given(JSON, st.booleans())
def test_reads_what_json_writes(value, ascii_only):
    """Every JSON value is read back as it was written, with or without escapes."""
    assert loads(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"\xff", "json.encoding"),
        (b"\xed\xa0\x80", "json.encoding"),
        (b"", "json.syntax"),
        (b"{'a': 1}", "json.syntax"),
        (b"[1,]", "json.syntax"),
        (b"[1] [2]", "json.syntax"),
        (b'{"a": 1, "\\u0061": 2}', "json.duplicate-key"),
        (b"NaN", "json.non-finite"),
        (b"[-Infinity]", "json.non-finite"),
        (b"1e400", "json.non-finite"),
        (b"[-1e999]", "json.non-finite"),
        (b"9" * 401, "json.number"),
        (b"0." + b"1" * 500, "json.number"),
        (b"[" * 65 + b"]" * 65, "json.depth"),
        (b"[" * 100_000, "json.depth"),
        (b'"\\udfff"', "json.surrogate"),
        (b'{"\\ud800": 1}', "json.surrogate"),
    ],
)
def test_each_way_to_be_ambiguous_has_its_rule(data, rule):
    """A text that parsers read differently, or not at all, breaks a named rule."""
    assert rule_of(data) == rule


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf[]",
        b"[" * 64 + b"]" * 64,
        b'"[[[[' + b"[" * 100 + b'"',
        b'"\\ud83d\\ude00"',
        b"9" * 400,
        b'"\\\\"',
        b'["\\"[", "\\\\"]',
    ],
)
def test_near_misses_are_read(data):
    """A byte order mark, 64 levels, brackets in a string, paired surrogates and long numbers are valid."""
    loads(data)


@given(st.binary(max_size=100))
@example(b"0\x0b")
@example(b"{} \xc2\xa0")
def test_nothing_else_is_raised(data):
    """Any bytes either have a value or raise a JsonError."""
    try:
        loads(data)
    except JsonError as exc:
        assert exc.rule.startswith("json.")


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ('{"a": 1, "a": 2}', "/a"),
        ('[0, {"x": {"a~/b": 1, "c": 2, "a~/b": 3}}]', "/1/x/a~0~1b"),
        ('{"a": {"x": 1, "x": 2}, "a": {}}', "/a"),
        ('{"": 1, "": 2}', "/"),
    ],
)
def test_a_duplicate_is_placed(text, pointer):
    """The error for a repeated member has its name and JSON pointer, also inside a value that is itself repeated."""
    with pytest.raises(JsonError) as caught:
        loads(text)
    assert caught.value.pointer == pointer
    assert "/" + caught.value.name.replace("~", "~0").replace("/", "~1") == "/" + pointer.rpartition("/")[2]


def test_all_repeated_members_are_found_together():
    """In the order of the document, also several of one object; at most a hundred, for a text may have very many."""
    with pytest.raises(JsonError) as caught:
        loads('{"a": 1, "b": [{"c": 1, "d": 2, "d": 3, "c": 4}], "a": 2, "e": {"f": 1, "f": 1}}')
    found = [caught.value, *caught.value.others]
    assert [error.pointer for error in found] == ["/a", "/b/0/c", "/b/0/d", "/e/f"]
    with pytest.raises(JsonError) as caught:
        loads("[" + '{"a": 1, "a": 1}, ' * 1000 + "1]")
    assert len(caught.value.others) == 99


SYNTAX_ERRORS = [
    (b"", "not JSON: the text is empty"),
    (b" \n", "not JSON: the text is empty"),
    (b'["a', "not JSON at line 1, column 2: the string that begins here is not closed"),
    (b"[\n1 2]", "not JSON at line 2, column 3: a comma is missing before this"),
    (b'{"a": 1', "not JSON at line 1, column 8: the text ends here, before the last } or ]"),
    (b'{"a": 1}}', "not JSON at line 1, column 9: one } too many"),
    (b'{"a": [1, 2}', "not JSON at line 1, column 12: a ] is missing before this"),
    (b'{"a": 1]', "not JSON at line 1, column 8: a } is missing before this"),
    *(
        (data, f"not JSON at line 1, column {column}: a colon may only follow the name of a member")
        for data, column in ((b'["a": 1]', 5), (b'{"a": "b": 1}', 10))
    ),
    (b'"a": 1}', "not JSON at line 1, column 4: an object begins with {"),
    (b'{"a": 1}: 2', "not JSON at line 1, column 9: the document has ended before this; remove the rest"),
    (
        b'{"a": [1, 2)}',
        "not JSON at line 1, column 12: a parenthesis; JSON has [ for a list and { for an object",
    ),
    (
        b'{"a": 1}\n{}',
        "not JSON at line 2, column 1: a second document begins here; send each as a message of its own",
    ),
    (b'{"a": 1} b', "not JSON at line 1, column 10: the document has ended before this; remove the rest"),
    (b'{"a": 1} // b', "not JSON at line 1, column 10: JSON has no comments; remove this one"),
    (b'{"a" = 1}', "not JSON at line 1, column 6: an equals sign; JSON needs a colon"),
    (b'{"a" 1}', "not JSON at line 1, column 6: a colon is missing before this"),
    (b'{"a": 1; "b": 2}', "not JSON at line 1, column 8: a semicolon; JSON needs a comma"),
    (b"{a: 1}", "not JSON at line 1, column 2: a name must be in double quotes"),
    (b'{"a": b}', "not JSON at line 1, column 7: a text must be in double quotes"),
    (b"{`a`: 1}", "not JSON at line 1, column 2: a single quote; JSON needs double quotes"),
    (b'{"a": TRUE}', "not JSON at line 1, column 7: JSON has true, false and null in lower case only"),
    (b'{"a": .5}', "not JSON at line 1, column 7: a number must begin with a digit, as in 0.5"),
    (b'{"a": +1}', "not JSON at line 1, column 7: a number must not begin with a plus sign"),
    (b'{"a": 01}', "not JSON at line 1, column 8: a number must not begin with 0"),
    (b'{"a": 5.}', "not JSON at line 1, column 8: a number must have a digit after its decimal point"),
    (b'{"a": 1_0}', "not JSON at line 1, column 8: a number must not contain an underscore"),
    (b'{"a": 0x1}', "not JSON at line 1, column 8: a number must be decimal"),
    (b'{"a": 12h}', "not JSON at line 1, column 9: a unit after a number; write the number alone"),
    (b"{,}", "not JSON at line 1, column 2: a comma without an item"),
    (b'{"a": ,}', "not JSON at line 1, column 7: a value is missing here"),
    (
        b'{"a\nb": 1}',
        "not JSON at line 1, column 4: a string must end on its line; close it, or write \\n",
    ),
    (
        b'{"a\x01b": 1}',
        "not JSON at line 1, column 4: a control character in a string; close the string, or write an escape",
    ),
    (
        b'{"a\\d": 1}',
        "not JSON at line 1, column 4: not an escape of JSON; write two backslashes for one",
    ),
    (
        b'{"\\u12": 1}',
        (
            "not JSON at line 1, column 4: \\u needs four hexadecimal digits after it; "
            "write two backslashes for a backslash"
        ),
    ),
    (b'{"a\\\'b": 1}', "not JSON at line 1, column 4: not an escape of JSON; write '"),
    (
        b'{"a\\x1b": 1}',
        "not JSON at line 1, column 4: not an escape of JSON; write \\u00 instead of \\x",
    ),
    (
        b'{"a\\xyz": 1}',
        "not JSON at line 1, column 4: not an escape of JSON; write two backslashes for one",
    ),
    (
        b'{"a\\\nb": 1}',
        "not JSON at line 1, column 4: a string must end on its line; close it, or write \\n",
    ),
    (b'{"a": 1e}', "not JSON at line 1, column 8: an exponent must have a digit"),
    (b'{"a": 1e-}', "not JSON at line 1, column 8: an exponent must have a digit"),
    *(
        (
            data,
            (
                f"not JSON at line 1, column {column}: a comma in a number; "
                "write a decimal point, or nothing between thousands"
            ),
        )
        for data, column in [
            (b'{"a": [0,05]}', 9),
            (b'{"a": 0,5}', 8),
            (b'{"a": 1,05, "b": 2}', 8),
            (b'{"a": 10,000}', 9),
        ]
    ),
    (b'{"a": 1, 5}', "not JSON at line 1, column 10: a name in double quotes is missing here"),
    (b'{"a": [0, 05]}', "not JSON at line 1, column 12: a number must not begin with 0"),
    (
        b"experiment:\n",
        "not JSON at line 1, column 1: an object begins with {; send JSON (a file with YAML must be named .yaml)",
    ),
    (b"<a/>", "not JSON at line 1, column 1: this looks like XML or HTML; send JSON"),
    (
        b'{"a": <%= a %>}',
        "not JSON at line 1, column 7: a template that was not filled in; fill it in first",
    ),
    *(
        (
            b'{"a": %s}' % word,
            "not JSON at line 1, column 7: no value; write null, or leave the member out",
        )
        for word in (b"undefined", b"nil")
    ),
    (
        b"[object Object]",
        "not JSON at line 1, column 2: what JavaScript writes for an object; write what JSON.stringify returns",
    ),
    *(
        (
            b'{"a": %s}' % text,
            f"not JSON at line 1, column {7 + at}: a date or a time must be in double quotes",
        )
        for text, at in ((b"2026-11-30", 4), (b"12:30", 2), (b"1/2", 1))
    ),
    *(
        (
            text,
            f"not JSON at line 1, column 1: text in front of the document, which begins at {place}; {alone}",
        )
        for alone in ["send the JSON alone"]
        for text, place in [
            (b'POST /a HTTP/1.1\r\nHost: b\r\n\r\n{"a": 1}', "line 4, column 1"),
            (b'--xyz\r\nContent-Type: a\r\n\r\n{"a": 1}\r\n--xyz--', "line 4, column 1"),
            (b'callback({"a": 1});', "line 1, column 10"),
            (b'$ {"a": 1}', "line 1, column 3"),
            (b'<<EOT\n{"a": 1}\nEOT\n', "line 2, column 1"),
            (b'const request = {"a": 1};', "line 1, column 17"),
            (b')]}\',\n{"a": 1}', "line 2, column 1"),
            (b'2026-11-30 INFO sent {"a": 1}', "line 1, column 22"),
        ]
    ),
    *(
        (
            text,
            (
                "not JSON at line 1, column 1: an object begins with {; "
                "send JSON (a file with YAML must be named .yaml)"
            ),
        )
        for text in (b'a: {"b": 1}', b'- {"b": 1}', b'---\na: {"b": 1}')
    ),
    (
        b'data: {"a": 1}\n',
        "not JSON at line 1, column 1: an event of a stream (SSE); send what follows data:",
    ),
    *(
        (text, "not JSON: the text is in hexadecimal; send the text itself")
        for text in (b"7b2261223a20317d", b"0x7B0A2261223A317D", b"\\x7b2261223a317d")
    ),
    *(
        (text, "not JSON: a cell of CSV; send its value, without the quoting")
        for text in (b'"{""a"": 1}"', b'="{""a"": 1}"', b'1,"{""a"": 1}",x')
    ),
    *(
        (
            text,
            (
                f"not JSON at line 1, column {at}: a typographic quote closes the string here; "
                'write a straight one (")'
            ),
        )
        for text, at in [('{"a": "x\u201d}', 9), ('{"a": "x\u201d,\n"b": 1}', 9), ('{"a\u201d: 1}', 4)]
    ),
    (
        b'{"a: "b"}',
        "not JSON at line 1, column 7: the name before this is not closed; a quote is missing before its colon",
    ),
    *(
        (f'{{"a": {text}}}', f"not JSON at line 1, column 7: {what}")
        for text, what in [
            *(
                (one, "a template that was not filled in; fill it in first")
                for one in ("%MAX%", "<max>", "{max}")
            ),
            ("\u0661\u0662", "a digit of another script; write 0 to 9"),
            ("\u22125", "a typographic dash or minus; write the ordinary one (-)"),
            ("\u221e", "JSON has neither NaN nor infinity; write a finite number"),
            ("\u805a\u7c7b", "a text must be in double quotes"),
            ('"""x"""', "three quotes in a row; JSON has one on each side of a string"),
            ("--5", "not a value of JSON; a text must be in double quotes"),
            *((f'{one}"x"', "a letter in front of the quotes; remove it") for one in "rfuU"),
        ]
    ),
    (
        b"data:application/json;base64,eyJhIjoxfQ==",
        "not JSON at line 1, column 1: a data URL; send what follows its comma",
    ),
    *(
        (text, f"not JSON at line 1, column {column}: quotes around the document; remove them")
        for text, column in ((b"'{\"a\": 1}'", 1), (b'"{"a": 1}"', 4))
    ),
    *(
        (text, "not JSON at line 1, column 2: an escape of HTML or XML; undo the escapes first")
        for text in (b"{&quot;a&quot;: 1}", b"{&#34;a&#34;: 1}", b"{&#x22;a&#x22;: 1}", b"{&amp;quot;a")
    ),
    *(
        (
            text,
            "not JSON at line 1, column 2: a backslash outside of a string; the text was escaped once too often",
        )
        for text in (b'{\\"a\\": 1}', b'{\\n  \\"a\\": 1}')
    ),
    *(
        (
            text,
            (
                "not JSON at line 1, column 1: base64 that is incomplete, or in which characters were "
                "changed, such as + to a space"
            ),
        )
        for text in (b"eyJleHBlcmltZW50IjogeyJ", b"eyJhIjogI j4 IiwgImIiOi", b"eyAiZXhwZXJpbWVudCI6I")
    ),
    *(
        (text, "not JSON at line 1, column 1: the name of a file; send its content as JSON")
        for text in (b"@request.json", b"./requests/a-1.json\n", rb"C:\a\request.yaml")
    ),
    (b"%7B%22a%22%3A1%7D", "not JSON at line 1, column 1: the text is percent-encoded; decode it first"),
    *(
        (form, "not JSON at line 1, column 1: the fields of a form; send the JSON alone")
        for form in (
            b"message=%7B%22a%22",
            b"a=b&message={",
            b"Action=SendMessage&MessageBody=eyJhIjoxfQ==",
        )
    ),
    *(
        (
            b'{"a": 1}' + mark,
            "not JSON at line 1, column 9: a control character, such as a NUL, after the document; remove it",
        )
        for mark in (b"\0", b"\x1a\n")
    ),
    *(
        (
            frame + b'{"a": 1}',
            "not JSON: bytes in front of the text, such as a length or a schema's id; send the JSON alone",
        )
        for frame in (
            *(b"\0\0\0\0\x05", b"\0\0\x01\x87\x1b", b"\0\0\0\x08"),
            *(b"\0\x08", b"\x01\x2c", b"\x08\0\0\0", b"\xc8\x01"),  # as written by Java, C and .NET
            *(b"\xac\xed\0\x05t\0\x08", b"\x80\x04\x95\x14\0\0\0\0\0\0\0\x8c\x10", b"\x1e"),
        )
    ),
    (
        b'{"\x01": ["a"]}',
        "not JSON at line 1, column 3: a control character in a string; close the string, or write an escape",
    ),
    *(
        (
            data,
            "not JSON at line 1, column 1: a special space or an invisible character; write an ordinary space",
        )
        for data in ('\u200b{"a": 1}'.encode(), b'\x0c{"a": 1}', b'\x1b[1m{"a": 1}', b"\0\x05binary")
    ),
    (b"\0\xff\xfeA\0binary", "not UTF-8 at line 1 (byte 1); save it as UTF-8"),
    (b"\0\0\0\0\x01\x1f\x8b\x08", "not UTF-8 at line 1 (byte 6); save it as UTF-8"),
    (b'{"a": 1,, "b": 2}', "not JSON at line 1, column 9: one comma too many"),
    (
        '{"a": 1,\n\u00a0"b": 2}'.encode(),
        "not JSON at line 2, column 1: a special space or an invisible character; write an ordinary space",
    ),
    (
        b'{"a": {{ a }}}',
        "not JSON at line 1, column 7: a template that was not filled in; fill it in first",
    ),
]


def test_a_syntax_error_has_its_place():
    """The message of a syntax error contains what was expected, and its place."""
    for data, message in SYNTAX_ERRORS:
        with pytest.raises(JsonError) as caught:
            loads(data)
        assert str(caught.value) == message, data


@pytest.mark.parametrize(
    ("data", "rule", "offset"),
    [
        (b'["1e999", NaN]', "json.non-finite", 10),
        (b'["1e999", 1e999]', "json.non-finite", 10),
        (b'[1, "a 1e999 ", -1e999]', "json.non-finite", 16),
        (b"[1, " + b"7" * 500 + b"]", "json.number", 4),
        (b"[1e999-5]", "json.non-finite", None),
    ],
)
def test_a_refused_number_has_its_place(data, rule, offset):
    """The number is found in the text, and not one like it in a string."""
    with pytest.raises(JsonError) as caught:
        loads(data)
    assert (caught.value.rule, caught.value.offset) == (rule, offset)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the text is empty"),
        (b" \n", "the text is empty"),
        (b'\0\0\0\2{"a": 1}', "bytes in front of the text"),
        (b'\0\0\xff\2{"a": 1}', "bytes in front of the text"),
        (b"7b2261223a317d", "the text is in hexadecimal"),
        (b'"{""a"": 1}"', "a cell of CSV"),
    ],
)
def test_another_encoding_of_the_whole_text_is_at_its_start(data, words):
    with pytest.raises(JsonError) as caught:
        loads(data)
    assert (caught.value.rule, caught.value.offset) == ("json.syntax", 0)
    assert caught.value.message.startswith(f"not JSON: {words}")


@pytest.mark.parametrize(
    ("data", "rule", "words"),
    [
        (b"\n\xff", "json.encoding", "not UTF-8 at line 2 (byte 1)"),
        (b"\n[x]", "json.syntax", "not JSON at line 2, column 2"),
        (b"[,]", "json.syntax", "not JSON at line 1, column 2: a comma without an item"),
        (b"[1,,]", "json.syntax", "not JSON at line 1, column 4: one comma too many"),
        (b'["\\udfff"]', "json.surrogate", "an unpaired surrogate at line 1, column 3"),
        (
            b'["[", ' + b"[" * 64 + b"]" * 65,
            "json.depth",
            "nested deeper than 64 levels, at line 1, column 70",
        ),
        (b"[" + b"[], " * 40 + b"[" * 64 + b"]" * 65, "json.depth", "nested deeper than 64 levels"),
    ],
)
def test_where_a_text_is_wrong(data, rule, words):
    """Lines and levels are counted from the first character to the last, outside of strings."""
    with pytest.raises(JsonError) as caught:
        loads(data)
    assert (caught.value.rule, caught.value.message.startswith(words)) == (rule, True), caught.value.message
    assert loads("1." + "0" * 398) == 1


def test_all_refused_numbers_are_found():
    """A hundred of them, each with its place. Of two values of one member, the first has no pointer."""
    with pytest.raises(JsonError) as caught:
        loads(
            '{"a": [NaN, 1, "NaN", {"b": -1e999}],\n "c": %s, "d": NaN, "d": 1, "e": 1, "e": 2}' % ("7" * 500)
        )
    assert [(one.rule, one.pointer, one.offset) for one in (caught.value, *caught.value.others)] == [
        ("json.non-finite", "/a/0", 7),
        ("json.non-finite", "/a/3/b", 28),
        ("json.number", "/c", 44),
        ("json.non-finite", "", 551),
        ("json.duplicate-key", "/d", None),
        ("json.duplicate-key", "/e", None),
    ]
    assert caught.value.others[1].message.endswith("at line 2, column 7")
    for count in (99, 100, 101):
        with pytest.raises(JsonError) as caught:
            loads(f"[{'NaN, ' * count}1]")
        assert len(caught.value.others) == min(count, 100) - 1


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ('{"a": [1, {"b/c": NaN}]}', "/a/1/b~1c"),
        ('{"a": [], "b": [[1e999, NaN]]}', "/b/0/0"),
        ('{"a": %s}' % ("7" * 500), "/a"),
        ("NaN", ""),
        ('{"a": NaN, b}', ""),
        ('{"a": ["x", "\\ud83d\\ude00", "\\ud83d"]}', "/a/2"),
        ('{"a": {"\\udc00": 1}}', "/a"),
    ],
)
def test_a_refused_value_has_its_pointer(text, pointer):
    """The pointer leads to a number or half a character that is refused, if the rest of the text can be read."""
    with pytest.raises(JsonError) as caught:
        loads(text)
    assert caught.value.pointer == pointer


def test_the_line_of_a_wrong_encoding_is_named():
    """A person finds the line sooner than the byte."""
    with pytest.raises(JsonError) as caught:
        loads(b'{\n"a": "\xe9"}')
    assert str(caught.value) == "not UTF-8 at line 2 (byte 8); save it as UTF-8"


def test_a_duplicate_is_placed_in_any_depth():
    """A repeated member raises a JsonError at any depth."""
    for depth in (1, 63):
        with pytest.raises(JsonError) as caught:
            loads("[" * depth + '{"a": 1, "a": 2}' + "]" * depth)
        assert (caught.value.rule, caught.value.pointer) == ("json.duplicate-key", "/0" * depth + "/a")


def test_content_is_not_quoted():
    """A message quotes only the repeated name, and at most 60 characters of it."""
    for data in (b'{"canary": "canary}', b'["canary", canary]', b'"canary \\ud800"'):
        with pytest.raises(JsonError) as caught:
            loads(data)
        assert "canary" not in str(caught.value)
    with pytest.raises(JsonError, match=r"a{60}") as caught:
        loads(b'{"%s": 1, "%s": 2}' % (b"a" * 500, b"a" * 500))
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    ("text", "what", "offset"),
    [
        ('{"a": 1,}', "a comma after the last item", 7),
        ("[1 ,\n ]", "a comma after the last item", 3),
        ('{"a": 1 // one\n}', "no comments", 8),
        ('{ /* one */ "a": 1}', "no comments", 2),
        ('# one\n{"a": 1}', "no comments", 0),
        ("{'a': 1}", "a single quote", 1),
        ('{"a": \u201cb\u201d}', "a typographic quote", 6),
        *((f'{{"a": {quote}b"}}', "a typographic quote", 6) for quote in "\uff02\u300c\u2033"),
        ('```json\n{"a": 1}\n```', "a fence of Markdown", 0),
        ('{"a": 1}\n```', "a fence of Markdown", 9),
        *((f'{{"a"{mark} 1}}', "a full-width character", 4) for mark in "\uff1a\uff0c\uff11\u3001"),
        *(
            (f'{{"a": {word}}}', "neither NaN nor infinity", 6)
            for word in ("nan", "inf", "+Infinity", "-INF")
        ),
        *((f'{{"a": {word}}}', "a call", 6) for word in ("Decimal('1')", "np.float64(1)")),
        ('{"a": (1, 2)}', "a parenthesis", 6),
        *((f'{{"a": {word}}}', "a template", 6) for word in ("${LR}", "$(date)", "$LR", "%s", "%(lr)s")),
        *(
            (f"{{{name}: 1}}", "a name must be in double quotes", 1)
            for name in ("$schema", "nan", "inf", "None", "True", "NULL", "undefined")
        ),
        *((f'{{"a": [1, {word}]}}', "an ellipsis", 10) for word in ("...", "\u2026")),
        *((f'{{"a": 1,{mark}"b": 2}}', "an invisible character", 8) for mark in "\0\x7f\u00ad\u200f\u202e"),
        ('{"a": None}', "JSON has null", 6),
        ('{"a": True}', "JSON has true", 6),
        ('{"a": False}', "JSON has false", 6),
        ('{"NaN": [0, NaN]}', "NaN is not a JSON number", 12),
        ('{"a": -Infinity}', "-Infinity is not a JSON number", 6),
    ],
)
def test_a_slip_into_another_notation_is_named(text, what, offset):
    """What comes from Python, JavaScript or a word processor is named as such, at its place."""
    with pytest.raises(JsonError) as caught:
        loads(text)
    assert what in caught.value.message
    assert caught.value.offset == offset


@pytest.mark.parametrize("text", ['{"a": 1}', '\n{"a": "\u6a21"}'])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_utf_16_is_recognized(encoding, text):
    """Text as some editors and shells on Windows save it is named, with what to do."""
    with pytest.raises(JsonError, match=f"the text is {encoding[:6].upper()}; save it as UTF-8") as caught:
        loads(text.encode(encoding))
    assert caught.value.rule == "json.encoding"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b'{"a":\n [1, NaN]}', "line 2, column 6"),
        (b'{"a": 1e999}', "line 1, column 7"),
        (b"[" + b"9" * 401 + b"]", "line 1, column 2"),
        (b"[" * 65 + b"]" * 65, "line 1, column 65"),
        (b'["\\ud83d\\ude00 \\\\ud83d",\n "\\ud83d"]', "line 2, column 3"),
    ],
)
def test_every_error_names_its_place(text, place):
    """A producer of a long text must not search for a number or half a character."""
    with pytest.raises(JsonError, match=place):
        loads(text)


def test_the_notation_of_pythons_bytes_is_recognized():
    """Producers that format bytes as text send it; FC's published sample of a Kafka event has it."""
    with pytest.raises(JsonError, match="notation of Python's bytes"):
        loads("b'{}'")
