"""Train a Hugging Face causal language model on a nextlong dataset in the format parquet. Needs transformers, accelerate.

    python hf_trainer.py DATASET --model FOLDER_OR_NAME --output_dir trained --max_steps 1000 …

Every option of ``TrainingArguments`` is one of the command line. Three things let transformers find the borders of packed
rows: batches of one row (for flash attention), no cache, and the plain collator, which adds no attention mask.
"""

from __future__ import annotations

import torch
from parquet_rows import ParquetRows
from transformers import AutoModelForCausalLM, HfArgumentParser, Trainer, TrainingArguments, default_data_collator

if __name__ == "__main__":
    parser = HfArgumentParser(TrainingArguments)
    parser.add_argument("dataset")
    parser.add_argument("--model", required=True)
    parser.add_argument("--attention", default="sdpa")
    parser.set_defaults(per_device_train_batch_size=1, gradient_accumulation_steps=32, dataloader_num_workers=2)
    parser.set_defaults(use_cache=False, gradient_checkpointing=True, bf16=torch.cuda.is_available())
    parser.set_defaults(learning_rate=4e-5, weight_decay=0.1, adam_beta2=0.95, lr_scheduler_type="cosine")
    parser.set_defaults(num_train_epochs=1, logging_steps=1)
    arguments, options = parser.parse_args_into_dataclasses()

    model = AutoModelForCausalLM.from_pretrained(options.model, attn_implementation=options.attention, dtype="auto")
    rows = ParquetRows(options.dataset)
    trainer = Trainer(model, arguments, train_dataset=rows, data_collator=default_data_collator)
    trainer.train()
    trainer.save_model()
