"""A tokenizer trained on the project's own texts.

Byte-level BPE (Sennrich et al., 2016, https://arxiv.org/abs/1508.07909; bytes as in GPT-2): no text has an unknown
token, and its training gives the same file every time, which WordPiece's and Unigram's do not.
"""

from collections.abc import Iterable

from tokenizers import Tokenizer as Bpe
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from pipeline.params import Tokenizer

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def train(texts: Iterable[str], tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on texts; pairs are joined as ``[CLS] a [SEP] b [SEP]``."""
    bpe = Bpe(models.BPE(unk_token=SPECIAL_TOKENS["unk_token"]))
    folding = [normalizers.Lowercase()] if tokenizer.do_lower_case else []
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), *folding])
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=tokenizer.vocab_size,
        special_tokens=list(SPECIAL_TOKENS.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    first, last = SPECIAL_TOKENS["cls_token"], SPECIAL_TOKENS["sep_token"]
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B:1 {last}:1",
        special_tokens=[(token, bpe.token_to_id(token)) for token in (first, last)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        model_max_length=tokenizer.max_seq_length,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **SPECIAL_TOKENS,
    )
