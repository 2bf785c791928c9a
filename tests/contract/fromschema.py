"""Documents made from a JSON Schema of 2020-12, as far as the contract uses it; recursion included."""

import base64
import json

from hypothesis import strategies as st

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
_TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")


def merged(schema, other):
    """Return a schema with the demands of both, which concern different members or sub-schemas."""
    both = dict(schema)
    for keyword, value in other.items():
        known = both.get(keyword)
        if keyword == "required" and known:
            both[keyword] = sorted({*known, *value})
        elif isinstance(known, dict) and isinstance(value, dict):
            both[keyword] = merged(known, value)
        else:
            both[keyword] = value
    return both


def without(schema, *keywords):
    return {keyword: value for keyword, value in schema.items() if keyword not in keywords}


@st.composite
def _defined(draw, maker, name):
    """Looked up when it is drawn from, so that definitions may refer to themselves, and print as a name."""
    return draw(maker.defined(name))


class Maker:
    """Makes documents for the schemas under one root; `validator` decides about those with conditions."""

    def __init__(self, validator):
        self._validator = validator
        self._definitions = validator.schema["$defs"]
        self._made = {}

    def documents(self):
        """Documents that the whole schema takes."""
        return self.of(without(self._validator.schema, "$defs", "examples")).filter(self._validator.is_valid)

    def of(self, schema):
        """Documents that `schema` takes."""
        if "$ref" in schema:
            return _defined(self, schema["$ref"].removeprefix("#/$defs/"))
        if "if" in schema:
            plain = without(schema, "if", "then", "else")
            return self._sure(schema, [merged(plain, schema.get(branch, {})) for branch in ("then", "else")])
        if "allOf" in schema:
            plain = without(schema, "allOf")
            conditional = [
                merged(merged(plain, part.get("if", {})), part.get("then", part)) for part in schema["allOf"]
            ]
            return self._sure(schema, conditional)
        if "not" in schema:
            return self._sure(schema, [without(schema, "not")])
        if "anyOf" in schema:
            return st.one_of([self.of(merged(without(schema, "anyOf"), part)) for part in schema["anyOf"]])
        if "const" in schema:
            return st.just(schema["const"])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        return self._typed(schema)

    def defined(self, name):
        """Documents that the definition `name` takes."""
        if name not in self._made:
            self._made[name] = self.of(self._definitions[name])
        return self._made[name]

    def _sure(self, schema, parts):
        judge = self._validator.evolve(schema=schema)
        return st.one_of([self.of(part) for part in parts]).filter(judge.is_valid)

    def _typed(self, schema):
        types = schema.get("type", _TYPES if schema else ())
        if not types:
            return JSON
        kinds = [types] if isinstance(types, str) else types
        return st.one_of([getattr(self, f"_{kind}")(schema) for kind in kinds])

    def _null(self, _schema):
        return st.none()

    def _boolean(self, _schema):
        return st.booleans()

    def _integer(self, schema):
        whole = st.integers(schema.get("minimum", -(10**6)), schema.get("maximum", 10**6))
        return whole | whole.map(float)

    def _number(self, schema):
        positive = "exclusiveMinimum" in schema
        least = 0 if positive else schema.get("minimum")
        return st.integers(1 if positive else -100 if least is None else least) | st.floats(
            least, exclude_min=positive, allow_nan=False, allow_infinity=False
        )

    def _string(self, schema):
        content = schema.get("contentSchema")
        if content:
            texts = self.of(content).map(json.dumps)
            encoded = "contentEncoding" in schema
            return texts.map(lambda text: base64.b64encode(text.encode()).decode()) if encoded else texts
        made = st.from_regex(schema["pattern"]) if "pattern" in schema else st.text(max_size=8)
        return made.filter(lambda text: len(text) <= schema.get("maxLength", 300))

    def _array(self, schema):
        if "prefixItems" in schema and "items" not in schema:
            return st.tuples(*(self.of(item) for item in schema["prefixItems"])).map(list)
        return st.lists(self.of(schema.get("items", {})), max_size=3)

    def _object(self, schema):
        properties = {name: self.of(member) for name, member in schema.get("properties", {}).items()}
        required = {name: properties.pop(name, JSON) for name in schema.get("required", ())}
        more = schema.get("additionalProperties", {})
        known = st.fixed_dictionaries(required, optional=properties)
        if more is False:
            return known
        names = st.text(max_size=5).filter(lambda name: name not in required and name not in properties)
        extra = st.dictionaries(names, self.of(more), max_size=1 if required else 3)
        return st.builds(lambda one, two: {**one, **two}, known, extra)
