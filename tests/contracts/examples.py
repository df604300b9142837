"""Examples of every message, drawn from its own JSON Schema."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from contracts.instruments import INSTRUMENTS

RULES: dict[str, dict[str, SearchStrategy[Any]]] = {
    "new_order": {
        "instrument": st.sampled_from(sorted(INSTRUMENTS)),
        "limit_price": st.decimals("0.01", "99999", places=2).map(lambda price: format(price, "f")),
    },
    "bar": {
        "low_ticks": st.integers(1, 10),
        "open_ticks": st.integers(10, 20),
        "close_ticks": st.integers(10, 20),
        "high_ticks": st.integers(20, 30),
    },
}
RULES["amend_order"] = RULES["amend_intent"] = RULES["new_order"]
RULES["intent"] = {
    "instrument": st.sampled_from(sorted(INSTRUMENTS)),
    "order_type": st.just("MARKETABLE_LIMIT"),
    "limit_price": st.none(),
    "time_in_force": st.just("IOC"),
}
RULES["position"] = {"instrument": st.sampled_from(sorted(INSTRUMENTS))}
RULES["broker_execution"] = RULES["broker_position"] = RULES["position_break"] = RULES["position"]
RULES["exec_report"] = {"kind": st.just("STATE"), **RULES["position"]}
RULES["covariance"] = {
    "covariance": st.none() | st.sampled_from((1, 3, 6)).map(lambda n: base64.b64encode(bytes(8 * n)).decode())
}
"""What a schema cannot say: prices on the tick of the instrument, open and close between low and high, what a report of
a kind must name, and how many numbers a triangle has."""


def documents(schema: dict[str, Any]) -> SearchStrategy[dict[str, Any]]:
    """JSON objects that the schema allows, and the rules between fields too."""
    kind = schema["properties"]["type"]["const"]
    return _object(schema, schema.get("$defs", {}), RULES.get(kind, {}))


def _object(
    schema: dict[str, Any], defs: dict[str, Any], rules: dict[str, SearchStrategy[Any]]
) -> SearchStrategy[dict[str, Any]]:
    fields = {
        name: rules[name] if name in rules else _value(field, defs) for name, field in schema["properties"].items()
    }
    required = {name: fields[name] for name in schema.get("required", ())}
    optional = {name: value for name, value in fields.items() if name not in required}
    return st.fixed_dictionaries(required, optional=optional)


def _value(schema: dict[str, Any], defs: dict[str, Any]) -> SearchStrategy[Any]:
    if "$ref" in schema:
        return _value(defs[schema["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in schema:
        return st.one_of(*(_value(choice, defs) for choice in schema["anyOf"]))
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "object" if "properties" in schema:
            return _object(schema, defs, RULES.get(schema["properties"].get("type", {}).get("const", ""), {}))
        case "object":
            return _mapping(schema, defs)
        case "array":
            return _array(schema, defs)
        case "string":
            return _string(schema)
        case "integer":
            low, high = (
                schema.get("minimum", -(2**53)),
                schema.get("maximum", schema.get("exclusiveMaximum", 2**53) - 1),
            )
            return st.integers(max(low, schema.get("exclusiveMinimum", low - 1) + 1), high)
        case "number":
            return _number(schema)
        case "boolean":
            return st.booleans()
    return st.none()


def _mapping(schema: dict[str, Any], defs: dict[str, Any]) -> SearchStrategy[Any]:
    if "patternProperties" in schema:
        ((pattern, values),) = schema["patternProperties"].items()
        keys = _string({"pattern": pattern, **schema.get("propertyNames", {})})
    else:
        keys, values = _string(schema.get("propertyNames", {})), schema["additionalProperties"]
    return st.dictionaries(keys, _value(values, defs), max_size=3)


def _array(schema: dict[str, Any], defs: dict[str, Any]) -> SearchStrategy[Any]:
    if "prefixItems" in schema:
        return st.tuples(*(_value(item, defs) for item in schema["prefixItems"])).map(list)
    return st.lists(_value(schema["items"], defs), min_size=schema.get("minItems", 0), max_size=4)


def _string(schema: dict[str, Any]) -> SearchStrategy[str]:
    if "pattern" in schema:
        texts = st.from_regex(schema["pattern"].removesuffix("$") + r"\Z", fullmatch=True)
        return texts.filter(lambda text: len(text) <= schema.get("maxLength", 1_000) and _positive(text, schema))
    return st.text(
        st.characters(codec="utf-8"), min_size=schema.get("minLength", 0), max_size=min(schema.get("maxLength", 20), 20)
    )


def _positive(text: str, schema: dict[str, Any]) -> bool:
    """A price is over zero and a decimal has at most its digits, which its pattern does not say."""
    if not schema["pattern"].endswith(r"(\.[0-9]{1,8})?$") and not schema["pattern"].endswith(r"(\.[0-9]{1,13})?$"):
        return True
    digits = text.replace(".", "").replace("-", "").lstrip("0")
    money = schema["pattern"].startswith("^-")
    return len(digits) <= (15 if money else 12) and (money or digits != "")


def _number(schema: dict[str, Any]) -> SearchStrategy[float]:
    return st.floats(schema.get("minimum", -1e12), schema.get("maximum", 1e12), allow_nan=False, allow_infinity=False)
