from hypothesis import example, given
from hypothesis import strategies as st

from nextlong.chunking import make_chunker, paper_chunks
from nextlong.config import ChunkingConfig

TEXTS = st.lists(st.text(alphabet="ab \r\x00漢", max_size=9), max_size=12).map("\n".join)


def paper_by_the_letter(text, granularity):
    """The released chunker's rules, one paragraph at a time."""
    chunks, group, length = [], [], 0
    for paragraph in text.split("\n"):
        if length + len(paragraph) <= granularity:
            group.append(paragraph)
            length += len(paragraph)
            continue
        if length > 0:
            chunks.append("\n".join(group))
        group, length = [paragraph], len(paragraph)
    chunks.append("\n".join(group))
    return chunks


@given(TEXTS, st.integers(1, 12))
@example("", 5)
@example("\n\n", 5)
@example("\n\n" + "a" * 9 + "\nb", 5)
@example("a" * 9 + "\n\n" + "b" * 9, 5)
def test_same_chunks_as_the_rules_one_paragraph_at_a_time(text, granularity):
    assert paper_chunks(text, granularity) == paper_by_the_letter(text, granularity)


def test_newlines_are_not_counted_and_an_exact_fit_is_accepted():
    assert paper_chunks("aa\nbb\n\ncc", 6) == ["aa\nbb\n\ncc"]
    assert paper_chunks("aa\nbb\n\ncc", 5) == ["aa\nbb\n", "cc"]


def test_a_long_paragraph_stays_whole_and_alone():
    assert paper_chunks("a\n" + "b" * 50 + "\nc", 5) == ["a", "b" * 50, "c"]


def test_a_group_of_empty_paragraphs_is_dropped_when_the_next_does_not_fit():
    assert paper_chunks("\n\n" + "b" * 50, 5) == ["b" * 50]
    assert paper_chunks("a" * 50 + "\n\n" + "b" * 50, 5) == ["a" * 50, "b" * 50]


def test_the_last_group_is_kept_even_without_text():
    assert paper_chunks("", 5) == [""]
    assert paper_chunks("a" * 50 + "\n", 5) == ["a" * 50, ""]


@given(TEXTS, st.integers(1, 12))
def test_chunks_lie_where_they_say_with_newlines_between_them(text, granularity):
    chunks = make_chunker(ChunkingConfig(chunker="paper", granularity=granularity))(text)
    assert [chunk.text for chunk in chunks] == paper_chunks(text, granularity)
    assert all(text.startswith(chunk.text, chunk.start) for chunk in chunks)
    ends = [chunk.start + len(chunk.text) for chunk in chunks]
    assert all(text[end : chunk.start].strip("\n") == "" for end, chunk in zip(ends, chunks[1:], strict=False))
    assert ends[-1] == len(text)
    assert [chunk.glue for chunk in chunks] == ["\n"] * (len(chunks) - 1) + [""]
