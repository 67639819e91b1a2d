"""What JSON can hold, for laws about codecs."""

from hypothesis import strategies as st

#: The largest whole number that every reader of JSON keeps as it is.
MAX = 2**53 - 1
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX, MAX) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)
