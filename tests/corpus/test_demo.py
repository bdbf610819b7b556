"""The demo corpus: enough documents of useful sizes, none twice, always the same."""

import hashlib
import os
import re
import subprocess
import sys

import pytest

from nextlong.config import CorpusConfig
from nextlong.corpus import demo_documents, find_sources, read_source
from nextlong.corpus.demo import COPY_CHARACTERS


@pytest.fixture(scope="module")
def documents():
    return list(demo_documents())


def test_there_are_hundreds_of_documents_of_two_chunks_and_more(documents):
    sizes = [len(document.text) for document in documents]
    assert sum(sizes) > 2_000_000
    assert sum(size > 2500 for size in sizes) >= 200
    assert max(sizes) < 45_000  # some 11,000 tokens


def test_ids_are_unique_and_say_what_a_document_is(documents):
    ids = [document.id for document in documents]
    assert len(set(ids)) == len(ids)
    assert {"topic:assignment", "module:argparse", "class:turtle.TNavigator", "module:json.decoder"} <= set(ids)
    assert all(re.fullmatch(r"(topic|module|class):[\w.\-]+(#\d+)?", id) for id in ids)
    assert [document.row for document in documents] == list(range(1, len(ids) + 1))


def test_documents_hold_docstrings_signatures_and_comments_of_their_own(documents):
    text = {document.id: document.text for document in documents}
    assert text["module:textwrap"].startswith("module textwrap\n\nText wrapping and filling.")
    assert "textwrap.dedent(text)\n\nRemove any common leading whitespace" in text["module:textwrap"]
    assert "import re" not in text["module:textwrap"]
    assert "Heap queue algorithm" in text["module:heapq"]
    assert 'The "assert" statement' in text["topic:assert"]


def test_no_longer_paragraph_is_in_two_documents(documents):
    seen = set()
    for document in documents:
        for paragraph in re.split(r"\n[ \t]*\n", document.text):
            if len(paragraph) >= COPY_CHARACTERS:
                key = " ".join(paragraph.split())
                assert key not in seen, (document.id, paragraph)
                seen.add(key)


def test_another_process_with_another_hash_seed_reads_the_same(documents):
    program = (
        "import hashlib; from nextlong.corpus import demo_documents;"
        "print(hashlib.sha256(repr(list(demo_documents())).encode()).hexdigest())"
    )
    here = hashlib.sha256(repr(documents).encode()).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert there.stdout.strip() == here


def test_the_source_called_demo(documents):
    config = CorpusConfig(inputs=("demo",))
    (source,) = find_sources(config)
    assert (source.name, source.kind) == ("demo", "demo")
    assert ".".join(map(str, sys.version_info[:3])) in source.fingerprint
    assert next(iter(read_source(source, config))) == documents[0]


def test_nothing_of_the_library_is_imported():
    program = (
        "import sys; from nextlong.corpus import demo_documents; list(demo_documents()); print('turtle' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
