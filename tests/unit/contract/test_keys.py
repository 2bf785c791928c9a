from hypothesis import given
from hypothesis import strategies as st

from hpoq.contract.keys import canonical, derive_key, event_id

# A change of any of these values would make every message in flight a second time.
GOLDEN = {
    ("smq", "0FFF111D2A6B444B7FE46AE2xxxxxxxx"): "9619c93e-fafb-5042-80f4-bfc8c78519f2",
    ("smq", "5F290C926D472878-2-14D9529A8FA-200000001"): "dafd4266-6cb6-5bd0-8ad1-8f5f4683b5f3",
    ("producer", "order-42"): "dcad88ed-3366-500d-9109-58b7e489a60b",
    ("producer", "测试 é"): "88d8ec55-fea7-58b1-a848-0cabb975d4f3",
    ("kafka", "topic:3:17"): "a769f282-0c9c-5d9f-a724-c03765c060cd",
}
GOLDEN_EVENTS = {
    "created": "613d8fa6-6eb6-502f-a47e-6f265ce57491",
    "rejected": "efdedec7-5ee4-5d7d-bf66-902b86e923ee",
    "failed": "a54962de-0a20-560b-80e7-3358429f9983",
}


def test_golden_keys():
    """Key derivation never changes."""
    assert {pair: derive_key(*pair) for pair in GOLDEN} == GOLDEN


def test_golden_event_ids():
    """Event id derivation never changes."""
    key = derive_key("producer", "order-42")
    assert {type_class: event_id(key, type_class) for type_class in GOLDEN_EVENTS} == GOLDEN_EVENTS


@given(st.lists(st.tuples(st.text(), st.text()), unique=True, min_size=2, max_size=2))
def test_canonical_form_is_injective(pairs):
    """Different pairs of kind and id are never the same text, whatever stands in them."""
    assert canonical(*pairs[0]) != canonical(*pairs[1])
