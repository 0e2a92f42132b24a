"""Vocabularies learned from texts: the same texts give the same file, in every process.

Byte-level BPE (Sennrich et al., 2016, https://arxiv.org/abs/1508.07909; bytes as in GPT-2) does so by itself. The
other trainers of the tokenizers library walk through hash maps whose order is drawn anew in every process.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from pipeline.errors import UserError
from pipeline.params import Tokenizer as Settings

UNKNOWN = "[UNK]"

_WORDS_AT_ONCE = 1000
_CONTINUED = "##"
_MOST_CHARACTERS = 1000
_CHARACTERS_SHARE = 4  # no more than a quarter of the vocabulary: each takes two places, at the start and within a word
_DIGITS = 4  # of a piece's log-probability; they differ by 4e-11 between processes at most, as far as was seen
_STEP = 1e-4  # by which the trainer tells the log-probabilities of rare characters apart


def learn(texts: Iterable[str], settings: Settings, special_tokens: list[str]) -> Tokenizer:
    """A tokenizer that has learned its vocabulary from texts, without what frames a text.

    Args:
        special_tokens: the first ids; `UNKNOWN` is among them.

    Raises:
        UserError: a unigram vocabulary of this size has no room for all characters.
    """
    kinds = {"bpe": _bpe, "wordpiece": _wordpiece, "unigram": _unigram}
    return kinds[settings.tokenizer_type](texts, settings, special_tokens)


def _bpe(texts: Iterable[str], settings: Settings, special_tokens: list[str]) -> Tokenizer:
    """Byte-level BPE: every text has its bytes, and no token is unknown."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(_folding(settings))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size,
        special_tokens=special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _wordpiece(texts: Iterable[str], settings: Settings, special_tokens: list[str]) -> Tokenizer:
    """WordPiece as BERT has it (Devlin et al., 2019, https://arxiv.org/abs/1810.04805), accents kept."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [*_folding(settings), normalizers.BertNormalizer(lowercase=False, strip_accents=False)]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=_CONTINUED)
    counts: Counter[str] = Counter()
    for text in texts:
        normal = tokenizer.normalizer.normalize_str(text)
        counts.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal))
    alphabet = _alphabet(counts, min(_MOST_CHARACTERS, settings.vocab_size // _CHARACTERS_SHARE))
    # Special tokens have their ids before the trainer numbers what it finds, so that ties of pairs, which it breaks
    # by these numbers, end the same way.
    trainer = trainers.WordPieceTrainer(
        vocab_size=settings.vocab_size,
        special_tokens=[*special_tokens, *alphabet, *(_CONTINUED + character for character in alphabet)],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        continuing_subword_prefix=_CONTINUED,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_repeated(counts), trainer)
    vocab = tokenizer.get_vocab()
    learned = Tokenizer(models.WordPiece(vocab, unk_token=UNKNOWN, continuing_subword_prefix=_CONTINUED))
    return _with_special_tokens(learned, tokenizer, special_tokens)


def _alphabet(counts: Counter[str], most: int) -> list[str]:
    """The most frequent characters, in the order of their code points."""
    characters: Counter[str] = Counter()
    for word, count in counts.items():
        for character in word:
            characters[character] += count
    return sorted(sorted(characters, key=lambda character: (-characters[character], character))[:most])


def _repeated(counts: Counter[str]) -> Iterator[str]:
    """Every word as often as it was seen."""
    for word, count in counts.items():
        for start in range(0, count, _WORDS_AT_ONCE):
            yield " ".join([word] * min(_WORDS_AT_ONCE, count - start))


def _unigram(texts: Iterable[str], settings: Settings, special_tokens: list[str]) -> Tokenizer:
    """A unigram language model over pieces (Kudo, 2018, https://arxiv.org/abs/1804.10959); blanks are one blank."""
    tokenizer = Tokenizer(models.Unigram())
    blanks = [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    tokenizer.normalizer = normalizers.Sequence([*_folding(settings), *blanks])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=settings.vocab_size, special_tokens=special_tokens, unk_token=UNKNOWN, show_progress=False
    )
    try:
        tokenizer.train_from_iterator(texts, trainer)
    except Exception as error:  # the library has no class of its own for it
        raise UserError(f"params.yaml: tokenizer.vocab_size: {error}. Raise it, or take tokenizer_type bpe.") from error
    found = dict(json.loads(tokenizer.to_str())["model"]["vocab"])
    pieces = [(token, 0.0) for token in special_tokens]
    pieces += _ordered({piece: score for piece, score in found.items() if piece not in special_tokens})
    learned = Tokenizer(models.Unigram(pieces, unk_id=special_tokens.index(UNKNOWN)))
    return _with_special_tokens(learned, tokenizer, special_tokens)


def _ordered(scores: dict[str, float]) -> list[tuple[str, float]]:
    """Pieces and their log-probabilities, freed of what differs from process to process.

    The last digits depend on the order in which words are summed. Characters that are too rare for a probability of
    their own get the lowest one and a step more each, in the order of a hash map: here, all get the lowest.
    """
    scores = dict(scores)
    rare = sorted((score, piece) for piece, score in scores.items() if len(piece) == 1)
    lowest = last = min(scores.values())
    for score, piece in rare:
        if score - last > 1.01 * _STEP:
            break
        scores[piece], last = lowest, score
    rounded = [(piece, round(score, _DIGITS)) for piece, score in scores.items()]
    return sorted(rounded, key=lambda pair: (-pair[1], pair[0]))


def _folding(settings: Settings) -> list[normalizers.Normalizer]:
    return [normalizers.NFC(), *([normalizers.Lowercase()] if settings.do_lower_case else [])]


def _with_special_tokens(learned: Tokenizer, trained: Tokenizer, special_tokens: list[str]) -> Tokenizer:
    """The learned model in what surrounded it in training."""
    learned.normalizer, learned.pre_tokenizer = trained.normalizer, trained.pre_tokenizer
    learned.decoder = trained.decoder
    learned.add_special_tokens(special_tokens)
    return learned
