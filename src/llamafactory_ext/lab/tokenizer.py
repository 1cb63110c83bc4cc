"""The tokenizer of the tiny model: byte-level BPE with Llama 3's special tokens and chat format.

Three rules keep copying easy for a small model: digits are single tokens, a capitalised word never takes in the space
before it, and punctuation takes in the space after it. So a value reads the same in a sentence, in JSON and in a call.
"""

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

BOS, END_OF_TEXT, EOT = "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"
HEADER_START, HEADER_END, PAD = "<|start_header_id|>", "<|end_header_id|>", "<|finetune_right_pad_id|>"
SPECIAL_TOKENS = (BOS, END_OF_TEXT, HEADER_START, HEADER_END, EOT, "<|eom_id|>", "<|python_tag|>", PAD)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
_PIECES = (
    r"[0-9]| ?[a-z]+|[A-Z][a-z]*"
    r"| ?[^\sA-Za-z0-9]+(?: [^\sA-Za-z0-9]+)* ?"
    r"|\n+| +|\s+"
)


def train_tokenizer(texts: Iterable[str], vocabulary: int = 1024) -> PreTrainedTokenizerFast:
    """Learn the merges from texts of the world and wrap them with Llama 3's special tokens and chat template.

    Args:
        texts: plain texts, without special tokens.
        vocabulary: number of tokens, special ones included. Any other text falls back to bytes.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_PIECES), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
    )
    core.train_from_iterator(texts, trainer)
    bos = core.token_to_id(BOS)
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS}:1 $B:1", special_tokens=[(BOS, bos)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOT,
        pad_token=PAD,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def encode_turn(tokenizer: PreTrainedTokenizerFast, prompt: str, answer: str | None = None) -> tuple[list[int], int]:
    """Encode one question (and its answer) exactly as LLaMA-Factory's ``template: llama3`` does.

    Returns:
        The token ids, and how many of them belong to the question.
    """
    asked = f"{HEADER_START}user{HEADER_END}\n\n{prompt}{EOT}{HEADER_START}assistant{HEADER_END}\n\n"
    ids = [tokenizer.bos_token_id, *tokenizer.encode(asked, add_special_tokens=False)]
    told = [] if answer is None else tokenizer.encode(answer + EOT, add_special_tokens=False)
    return ids + told, len(ids)


def encode_output(tokenizer: PreTrainedTokenizerFast, output: str) -> list[int]:
    """Encode a tool's output and the head of the reply to it, exactly as ``template: llama3`` does."""
    text = f"{HEADER_START}ipython{HEADER_END}\n\n{output}{EOT}{HEADER_START}assistant{HEADER_END}\n\n"
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids
