"""``nextlong``: negative document extension (paper §3): a document's chunks, hard negatives of each between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any

import numpy as np

from nextlong.composition.method import Draft, Method, Searched, Unit
from nextlong.composition.negatives import OutOfCandidates, add_to_last, arranged, choose_k, choose_to_fill
from nextlong.composition.nextlong_promises import broken_promises
from nextlong.composition.roots import RootDraw, negatives_in_paper_mode
from nextlong.config import CompositionConfig, MiningConfig
from nextlong.errors import NextlongError, UsageError
from nextlong.index import fusion
from nextlong.index.protocol import Index
from nextlong.index.vectors import VectorShards
from nextlong.mining.candidates import OPTIONAL_REASONS, REASONS, Looked, look_up
from nextlong.mining.filters import Negatives, SequenceFilter
from nextlong.mining.fingerprints import Fingerprints, Rows
from nextlong.mining.nearest import Ask, rounded_depth
from nextlong.mining.neighbours import Neighbours, find_neighbours, first_ask, may_hold_more
from nextlong.mining.retrieval import open_scorer, words_index
from nextlong.mining.together import Question, Work, alone, together
from nextlong.pool.derived import Derived
from nextlong.pool.pool import Ordinals, Pool
from nextlong.records import Ends, Order
from nextlong.sizes import format_count, format_length

# Search this much deeper than the negatives that a sequence needs: some candidates are copies, or the root's own chunks.
_SURPLUS = 1.5
_SURPLUS_CHUNKS = 32
# Where the candidates do not suffice even so, search again this much deeper, until the whole pool has been seen.
_DEEPER = 4

# Candidates of a meta-chunk that are looked up together with those of a batch, for each negative that it is likely to need:
# more than half of those looked at are passed over.
_LOOKED_UP = 3.0
_LOOKED_UP_CHUNKS = 128

# Candidates held at once, of some 24 bytes.
_MOST_CANDIDATES = 1 << 22


class Nextlong(Method):
    """Each sequence is one root document, cut into meta-chunks, with hard negatives of each meta-chunk."""

    NAME = "nextlong"
    SUMMARY = "one short document, cut into meta-chunks, with hard negatives (similar chunks of other documents) of each"
    READS = frozenset(
        [f"mining.{key}" for key in MiningConfig.model_fields]
        + [f"composition.{key}" for key in CompositionConfig.model_fields]
    )
    USES_ONCE = "root"
    SEARCHES = True

    # Of the candidates at hand what was looked up, and of those of :meth:`prepare` the sequences, by root.
    _looked: Mapping[int, tuple[Neighbours, Looked]] = MappingProxyType({})
    _drafts: Mapping[int, tuple[Neighbours, Draft]] = MappingProxyType({})
    # The fingerprints that were looked up for :meth:`prepare`, and the lengths in tokens of their chunks.
    _held: tuple[Fingerprints, Ordinals] | None = None

    @property
    def in_order(self) -> bool:
        """With ``max_reuse`` a batch depends on all before it."""
        return self.session.config.mining.max_reuse is not None

    def inputs(self) -> tuple[str, ...]:
        """The language model, where one scores candidates, and the version of the fusion, where there is one."""
        mining = self.session.config.mining
        scorer = () if mining.scorer is None else (open_scorer(mining.scorer).fingerprint,)
        return scorer + ((f"fusion {fusion.VERSION}",) if mining.retrieval == "hybrid" else ())

    def derived(self) -> Sequence[Derived]:
        """See :class:`~nextlong.composition.method.Method`."""
        mining = self.session.config.mining
        return (words_index(),) if mining.negatives == "top" and mining.retrieval != "dense" else ()

    def check(self, wanted: int) -> None:
        """See :class:`~nextlong.composition.method.Method`."""
        mining = self.session.config.mining
        defaults = MiningConfig()
        if mining.scorer is None and (mining.scorer_depth, mining.scorer_keep) != (
            defaults.scorer_depth,
            defaults.scorer_keep,
        ):
            raise UsageError("Without a scorer, scorer_depth and scorer_keep do nothing.", "Name one, or leave them away.")
        if mining.negatives != "top" and (mining.retrieval != "dense" or mining.scorer is not None):
            raise UsageError(
                f"With negatives={mining.negatives} nothing is retrieved, so retrieval and scorer would do nothing.",
                "Leave them away, or take negatives=top.",
            )
        pool, length = self.session.pool(), self.session.config.length
        fewest = self.session.config.composition.min_meta_chunks
        eligible = pool.documents_with(fewest)
        if eligible < wanted:
            raise NextlongError(
                f"{wanted:,} sequences need as many root documents; of {pool.documents:,} documents only {eligible:,} have "
                f"{fewest} chunks or more.",
                (f"Ask for at most {eligible * length:,} tokens at this length, add" if eligible else "Add")
                + " documents, or take a smaller --granularity.",
            )

    def units(self, wanted: int) -> Iterator[Unit]:
        """See :class:`~nextlong.composition.method.Method`."""
        draw = RootDraw(self.session, self.tokens)
        self.documents_passed_over = draw.passed_over
        while roots := draw.take(wanted):
            yield from (Unit(np.array([root], dtype=np.int64)) for root in roots)

    def search(self, units: Sequence[Unit]) -> Iterator[Searched]:
        """Enough candidates for each root, as far as lengths guessed from bytes can tell.

        The forecast runs the selection with these lengths, so that nearly all chunks of the sequences, and hardly any
        others, are tokenised in one go.
        """
        by_depth = self._by_depth(units)
        found = {depth: self._searched(roots, depth) for depth, roots in by_depth.items()}
        depth_of = {root: depth for depth, roots in by_depth.items() for root in roots}
        for unit in units:
            yield next(found[depth_of[int(unit.documents[0])]])

    def asks(self, units: Sequence[Unit]) -> Iterator[Ask]:
        """See :class:`~nextlong.composition.method.Method`."""
        for depth, roots in self._by_depth(units).items():
            for some in self._batches(roots, depth):
                ask = first_ask(self.session.pool(), some, depth, self.session.config.mining)
                if ask is not None:
                    yield ask

    def searched(self) -> tuple[VectorShards, Index]:
        """See :class:`~nextlong.composition.method.Method`."""
        return self.session.pool().vectors, self.session.pool().index

    def prepare(self, units: Sequence[Unit], found: Sequence[Neighbours | None]) -> None:
        """See :class:`~nextlong.composition.method.Method`."""
        present = [each for each in found if each is not None]
        self._look_up(present)
        for _, looked in islice(self._looked.values(), 1):  # all have the same fingerprints
            self.tokens.hold(looked.fingerprints.chunks)
            self._held = looked.fingerprints, self.tokens.stored_lengths(looked.fingerprints.chunks)
        if not self.in_order:
            drafts = together([self._draft(each) for each in present])
            self._drafts = {each.root: (each, draft) for each, draft in zip(present, drafts, strict=True)}

    def compose(self, unit: Unit, found: Neighbours | None) -> Iterator[Draft]:
        """See :class:`~nextlong.composition.method.Method`."""
        assert found is not None
        of, draft = self._drafts.get(found.root, (None, None))
        yield draft if draft is not None and of is found else alone(self._draft(found))

    def _draft(self, found: Neighbours) -> Work[Draft]:
        """The sequence of a root document."""
        pool, mining = self.session.pool(), self.session.config.mining
        compose = self._paper if self._in_paper_mode else self._token_exact
        searches = 0
        while True:
            candidates = self._filter(pool, found)
            all_seen = not may_hold_more(pool, found, mining)
            try:
                order, ends = yield from compose(found, candidates, all_seen)
                break
            except OutOfCandidates as error:
                if all_seen:
                    raise self._pool_exhausted(found, candidates, error.tokens) from error
                (found,) = self._find([found.root], found.depth * _DEEPER)
                searches += 1
        passed_over, measured = candidates.passed_over, candidates.refused
        return Draft(order, ends, found.root, passed_over=passed_over, searched_deeper=searches > 0, measured=measured)

    def failures(self, sequence: dict[str, Any]) -> Iterator[str]:
        """See :class:`~nextlong.composition.method.Method`."""
        yield from broken_promises(self.session, sequence)

    def promises(self) -> dict[str, str]:
        """See :class:`~nextlong.composition.method.Method`."""
        proven = {"negatives whose score is their vectors'": "negatives"}
        if not self._in_paper_mode:
            proven["rows with every meta-chunk whole, in order and in place, budgets even"] = "rows"
        if self.session.config.mining.negatives != "self-repeat":
            proven["negatives, none twice in a row, none of the root document, none a copy"] = "negatives"
        return proven

    def shortage(self, wanted: int, made: int, discarded: int) -> NextlongError:
        """See :class:`~nextlong.composition.method.Method`."""
        length = self.session.config.length
        amounts = self.documents_passed_over.copy()
        amounts.update({"fell short of the length in paper mode": discarded} if discarded else {})
        reasons = ", ".join(f"{reason}: {amount:,}" for reason, amount in sorted(amounts.items()))
        return NextlongError(
            f"{wanted:,} sequences of {format_length(length)} tokens need as many root documents, and only {made:,} of "
            f"{self.session.pool().documents:,} documents can be one ({reasons}).",
            (f"Ask for at most {made * length:,} tokens, add" if made else "Add")
            + " documents, or change the length, the granularity, or max_root_fraction.",
        )

    @property
    def _in_paper_mode(self) -> bool:
        return self.session.config.composition.mode == "paper"

    def _find(self, roots: Sequence[int], depth: int) -> list[Neighbours]:
        config = self.session.config
        return find_neighbours(self.session.pool(), roots, depth, config.mining, config.seed, self.nearest)

    def _by_depth(self, units: Sequence[Unit]) -> dict[int, list[int]]:
        """Roots that are searched for together, by how deep: what is found for one does not depend on the others.

        An exact index finds the same first however deep it goes, and reads all vectors in each call: one call is best.
        """
        depths = {root: rounded_depth(self._depth(root)) for root in (int(unit.documents[0]) for unit in units)}
        if depths and self.session.pool().index.exact:
            return {max(depths.values()): list(depths)}
        roots: dict[int, list[int]] = {}
        for root, depth in depths.items():
            roots.setdefault(depth, []).append(root)
        return roots

    def _searched(self, roots: list[int], depth: int) -> Iterator[Searched]:
        """What is found for each root, in order; at each depth no more than ``_MOST_CANDIDATES`` are held."""
        for some in self._batches(roots, depth):
            everything = self._find(some, depth)
            self._look_up(everything)
            results = together([self._sufficient(found) for found in everything])
            short = [root for root, result in zip(some, results, strict=True) if result is None]
            deeper = self._searched(short, depth * _DEEPER)
            for result in results:
                yield result if result is not None else next(deeper)

    def _look_up(self, found: Sequence[Neighbours]) -> None:
        """Look up the candidates that are likely to be looked at."""
        most = [int(self._likely(each) * _LOOKED_UP) + _LOOKED_UP_CHUNKS for each in found]
        looked = look_up(self.session.pool(), found, most, self.session.config.mining)
        self._looked = {each.root: (each, own) for each, own in zip(found, looked, strict=True)}

    def _likely(self, found: Neighbours) -> float:
        """How many negatives each meta-chunk is likely to get."""
        return found.depth / _SURPLUS / len(found.meta_chunks)

    def _filter(self, pool: Pool, found: Neighbours) -> SequenceFilter:
        mining = self.session.config.mining
        of, looked = self._looked.get(found.root, (None, None))
        # A deeper search found other candidates than those that were looked up.
        return SequenceFilter(pool, found, mining, self.usage, looked if of is found else None, int(self._likely(found)))

    def _sufficient(self, found: Neighbours) -> Work[Searched | None]:
        """The candidates with a forecast; None if they do not suffice, and there are more."""
        forecast = yield from self._forecast(found)
        if forecast is None and may_hold_more(self.session.pool(), found, self.session.config.mining):
            return None
        return Searched(found, np.empty(0, dtype=np.int64) if forecast is None else forecast)

    def _batches(self, roots: list[int], depth: int) -> Iterator[list[int]]:
        """Roots whose candidates together are no more than memory should hold."""
        pool = self.session.pool()
        batch: list[int] = []
        held = 0
        for root in roots:
            candidates = len(pool.chunks_of(root)) * min(depth, pool.chunks)
            if batch and held + candidates > _MOST_CANDIDATES:
                yield batch
                batch, held = [], 0
            batch.append(root)
            held += candidates
        if batch:
            yield batch

    def _depth(self, root: int) -> int:
        """How deep to search for each meta-chunk of a root: all groups may want the same neighbours."""
        pool, config = self.session.pool(), self.session.config
        metas = pool.chunks_of(root)
        if self._in_paper_mode:
            needed = negatives_in_paper_mode(pool, root, config) * len(metas)
        else:
            bytes_per_token = pool.bytes_of(metas).sum() / max(1, self.tokens.lengths(metas).sum())
            chunk_tokens = pool.characters / pool.chunks / bytes_per_token
            needed = math.ceil(config.length / max(1.0, chunk_tokens))
        return math.ceil(needed * _SURPLUS) + _SURPLUS_CHUNKS + len(metas) + config.mining.range_min

    def _forecast(self, found: Neighbours) -> Work[Ordinals | None]:
        """The chunks that the sequence will use, nearly; None if the candidates do not suffice."""
        pool, config = self.session.pool(), self.session.config
        candidates = self._filter(pool, found)
        meta_lengths = self.tokens.lengths(found.meta_chunks)
        bytes_per_token = pool.bytes_of(found.meta_chunks).sum() / max(1, int(meta_lengths.sum()))

        def guessed(known: Fingerprints, rows: Rows, room: int) -> Ordinals:
            tokens: Ordinals = np.maximum(1, pool.bytes_of(known.chunks[rows]) / bytes_per_token).astype(np.int64)
            return tokens

        try:
            if self._in_paper_mode:
                k = negatives_in_paper_mode(pool, found.root, config)
                chosen = yield from choose_k(candidates, len(found.meta_chunks), k)
            else:
                chosen = yield from choose_to_fill(candidates, meta_lengths.tolist(), guessed, self.session.content)
        except OutOfCandidates:
            return None
        # What was refused here may be what is refused when the lengths are known, and so it must be tokenised.
        refused = np.array(candidates.refused, dtype=np.int64)
        return np.unique(np.concatenate([found.meta_chunks, refused, *(negatives.chunks for negatives in chosen)]))

    def _lengths(self, known: Fingerprints, rows: Rows, room: int) -> Ordinals:
        """The lengths of chunks, so many that they fill the room; of those only, the ones that lack are tokenised."""
        if self._held is not None and self._held[0] is known:
            lengths = self._held[1].take(rows)
        else:
            lengths = self.tokens.stored_lengths(known.chunks[rows])
        if lengths.min(initial=0) < 0:
            enough = int(np.searchsorted(np.cumsum(lengths.clip(min=0)), room)) + 1  # even if what lacks were nothing
            lengths = lengths[:enough]
            lacking = (lengths < 0).nonzero()[0]
            if len(lacking):
                lengths[lacking] = self.tokens.lengths(known.chunks[rows[lacking]])
        return lengths

    def _token_exact(self, found: Neighbours, candidates: SequenceFilter, all_seen: bool) -> Work[tuple[Order, Ends]]:
        content, meta_lengths = self.session.content, self.tokens.lengths(found.meta_chunks).tolist()
        chosen = yield from choose_to_fill(candidates, meta_lengths, self._lengths, content)
        while True:
            order = self._arranged(found, chosen, cut_last=True)
            ends = yield Question(self.tokens.ends_of_each, order.chunks)
            if ends[-2] >= content:  # joining added tokens that the lengths had not counted
                chosen[-1] = chosen[-1].without_last()
                if not len(chosen[-1]):
                    root = self.session.pool().document_ids(np.array([found.root]))[0]
                    raise NextlongError(f"Root document {root!r} leaves no room for a negative.", "Lower max_root_fraction.")
            elif ends[-1] >= content:
                return order, ends
            else:
                yield from add_to_last(candidates, chosen, content - int(ends[-1]))

    def _paper(self, found: Neighbours, candidates: SequenceFilter, all_seen: bool) -> Work[tuple[Order, Ends]]:
        metas, k = len(found.meta_chunks), negatives_in_paper_mode(self.session.pool(), found.root, self.session.config)
        chosen = yield from choose_k(candidates, metas, k, fewer=all_seen)
        order = self._arranged(found, chosen, cut_last=False)
        ends = yield Question(self.tokens.ends_of_each, order.chunks)
        return order, ends

    def _arranged(self, found: Neighbours, chosen: Sequence[Negatives], cut_last: bool) -> Order:
        config = self.session.config
        key = (config.seed, int(self.session.pool().keys[found.root]))
        return arranged(found.meta_chunks, chosen, config.composition.position, key, cut_last)

    def _pool_exhausted(self, found: Neighbours, candidates: SequenceFilter, tokens: int) -> NextlongError:
        pool, length = self.session.pool(), self.session.config.length
        root = pool.document_ids(np.array([found.root]))[0]
        lengths: Ordinals = self.tokens.lengths(found.meta_chunks)
        characters = tokens * pool.characters_of(found.root) / max(1, int(lengths.sum()))
        passed_over = [(name, amount) for name, amount in candidates.passed_over.most_common() if amount]
        why = ", ".join(f"{amount:,} {REASONS[name]}" for name, amount in passed_over)
        loosen = [name for name, _ in passed_over if name in OPTIONAL_REASONS]
        return NextlongError(
            f"The pool has run out: the sequence of root document {root!r} lacks {tokens:,} of {length:,} "
            f"tokens, about {format_count(characters)} characters of text (passed over: {why or 'nothing'}).",
            (f"Loosen {' and '.join(loosen)}, or add" if loosen else "Add")
            + " that much text to the corpus, or ask for a shorter length.",
        )
