"""Train a Hugging Face causal language model on a nextlong dataset in the format parquet. Needs transformers, accelerate.

python hf_trainer.py DATASET --model FOLDER_OR_NAME --out trained
"""

from __future__ import annotations

import argparse

import torch
from parquet_rows import ParquetRows
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments, default_data_collator


def main() -> None:
    """Train, and save the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="the dataset's folder")
    parser.add_argument("--model", required=True, help="the model to go on from")
    parser.add_argument("--out", default="trained", help="where the trained model goes")
    parser.add_argument("--steps", type=int, default=1000, help="optimizer steps")
    parser.add_argument("--rows-per-step", type=int, default=32, help="rows per optimizer step and process")
    parser.add_argument("--attention", default="sdpa", help="flash_attention_2 for packed rows of a real length")
    options = parser.parse_args()

    rows = ParquetRows(options.dataset)
    model = AutoModelForCausalLM.from_pretrained(options.model, attn_implementation=options.attention, dtype="auto")
    arguments = TrainingArguments(
        output_dir=options.out,
        max_steps=options.steps,
        per_device_train_batch_size=1,  # flash attention sees the borders of packed rows only in batches of one row
        gradient_accumulation_steps=options.rows_per_step,
        dataloader_num_workers=2,
        gradient_checkpointing=True,
        bf16=torch.cuda.is_available(),
        use_cache=False,  # with a cache, transformers does not look for the borders
        learning_rate=4e-5,
        weight_decay=0.1,
        adam_beta2=0.95,
        lr_scheduler_type="cosine",
        logging_steps=1,
        report_to="none",
    )
    # The plain collator adds no attention mask; with one, even of ones, transformers does not look for the borders.
    trainer = Trainer(model, arguments, train_dataset=rows, data_collator=default_data_collator)
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main()
