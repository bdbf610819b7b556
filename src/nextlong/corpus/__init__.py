"""Corpus readers: what people name becomes sources, and a source becomes documents and rejects."""

from nextlong.corpus.demo import demo_documents
from nextlong.corpus.find import find_sources
from nextlong.corpus.read import read_source
from nextlong.corpus.source import Source

__all__ = ["Source", "demo_documents", "find_sources", "read_source"]
