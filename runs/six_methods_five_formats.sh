#!/usr/bin/env bash
# The full path on a real corpus: one pool, six methods, five formats, everything verified.
#
#   runs/six_methods_five_formats.sh CORPUS OUT [LENGTH] [TOKENS]
#
# CORPUS is anything that `nextlong index` reads. The tokenizer is a byte-level BPE trained on the corpus, unless the
# variable TOKENIZER names one. Run it again and it goes on where it stopped.
set -euo pipefail

corpus=$1 out=$2 length=${3:-32K} tokens=${4:-4M}
tokenizer=${TOKENIZER:-$out/tokenizer}

nextlong index "$corpus" --out "$out/pool"
if [[ ! -e $tokenizer ]]; then
    python - "$out/pool" "$tokenizer" <<'PYTHON'
import sys
from nextlong import Pool
from nextlong.tokenization.train import train_byte_level_bpe

pool = Pool(sys.argv[1])
train_byte_level_bpe(pool.texts(range(min(pool.chunks, 20_000))), 49_152, sys.argv[2])
PYTHON
fi

for method in standard knn iclm quest untie nextlong; do
    nextlong synthesize "$out/pool" --out "$out/$method" --method "$method" \
        --length "$length" --tokens "$tokens" --tokenizer "$tokenizer" --quiet
    nextlong verify "$out/$method"
    for format in jsonl mds megatron numpy; do  # the datasets themselves are parquet
        nextlong export "$out/$method" --out "$out/$method-$format" --format "$format" --quiet
        nextlong verify "$out/$method-$format"
    done
done
