import pytest
from transformers import PreTrainedTokenizerFast

from pipeline.data import chat, tokenizer, turns
from pipeline.errors import UserError
from pipeline.params import Tokenizer

TEXTS = ["hello there, how are you?", "fine, thanks: and you?", "very well", "be brief"]
SAID = ("fine, thanks", "very well")
CONVERSATION = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "how are you?"},
    {"role": "assistant", "content": SAID[0]},
    {"role": "user", "content": "and there?"},
    {"role": "assistant", "content": SAID[1]},
]
UNMARKED = chat.TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")
# As some templates do, thoughts are shown in the last turn alone.
THINKING = UNMARKED.replace(
    "{{ message['content'] | trim + ", "{{ ('<think></think>' if loop.last else '') + message['content'] + ", 1
)


@pytest.fixture(scope="module")
def encoder() -> PreTrainedTokenizerFast:
    settings = Tokenizer(vocab_size=320, do_lower_case=False)
    return tokenizer.train(TEXTS * 20, settings, tokenizer.DECODER, chat=True)


def said(encoder: PreTrainedTokenizerFast, template: str) -> list[str]:
    """What the assistant says, as the tokens that are found have it, a text a turn."""
    encoder.chat_template = template
    (ids,), (mask,) = turns.tokens([CONVERSATION], ["x.json:1"], encoder)
    assert len(ids) == len(mask)
    found: list[list[int]] = []
    before = False
    for token, is_said in zip(ids.tolist(), mask.tolist(), strict=True):
        if is_said and not before:
            found.append([])
        if is_said:
            found[-1].append(token)
        before = is_said
    return [str(encoder.decode(tokens)) for tokens in found]


@pytest.mark.parametrize("template", [chat.TEMPLATE, UNMARKED], ids=["marked", "searched"])
def test_what_the_assistant_says_is_found_with_the_end_of_each_turn(
    encoder: PreTrainedTokenizerFast, template: str
) -> None:
    assert said(encoder, template) == [f"{text}{chat.TURN_END}" for text in SAID]


@pytest.mark.parametrize("reply", [SAID[1], ">", "end|>", "i", ""])
def test_both_ways_give_the_same_tokens(encoder: PreTrainedTokenizerFast, reply: str) -> None:
    found = []
    conversation = [*CONVERSATION[:-1], {"role": "assistant", "content": reply}] * 2
    for template in (chat.TEMPLATE, UNMARKED):
        encoder.chat_template = template
        (ids,), (mask,) = turns.tokens([conversation], ["x.json:1"], encoder)
        found.append((ids.tolist(), mask.tolist()))
    assert found[0] == found[1]
    assert sum(found[0][1]) > 4


def test_a_turn_that_others_change_is_found_all_the_same(encoder: PreTrainedTokenizerFast) -> None:
    first, last = said(encoder, THINKING)
    assert first == f"{SAID[0]}{chat.TURN_END}"
    assert last == f"<think></think>{SAID[1]}{chat.TURN_END}"


@pytest.mark.parametrize("trim", ["", " | trim"])
def test_blanks_around_a_turn_may_stay_or_be_cut_off(encoder: PreTrainedTokenizerFast, trim: str) -> None:
    conversation = [*CONVERSATION[:-1], {"role": "assistant", "content": " very well \n"}]
    encoder.chat_template = UNMARKED.replace(" | trim", trim)
    (ids,), (mask,) = turns.tokens([conversation], ["x.json:1"], encoder)
    ended = encoder.convert_tokens_to_ids(chat.TURN_END)
    assert ids[mask].tolist().count(ended) == 2
    last = str(encoder.decode(ids[mask])).split(chat.TURN_END)[1]
    assert last.strip() == "very well"
    assert (last == last.strip()) == bool(trim)


def test_a_template_that_hides_a_turn_is_refused(encoder: PreTrainedTokenizerFast) -> None:
    hiding = UNMARKED.replace("{% for message in messages %}", "{% for message in messages[-1:] %}")
    with pytest.raises(UserError, match=r"x\.json:1: the tokenizer's chat template does not show where"):
        said(encoder, hiding)


@pytest.mark.parametrize("template", ["{{ raise_exception('no system') }}", "{% generation %}{{ 1 + 'a' }}"])
def test_a_template_that_refuses_a_conversation_is_named(encoder: PreTrainedTokenizerFast, template: str) -> None:
    with pytest.raises(UserError, match=r"x\.json:1: the tokenizer's chat template refuses the conversation: "):
        said(encoder, template)


@pytest.mark.parametrize("date", ["{{ date_string }}", "{{ strftime_now('%d %b %Y') }}"])
def test_the_date_of_a_template_is_always_the_same(encoder: PreTrainedTokenizerFast, date: str) -> None:
    encoder.chat_template = date + chat.TEMPLATE
    (ids,), _ = turns.tokens([CONVERSATION], ["x.json:1"], encoder)
    encoder.chat_template = "26 Jul 2024" + chat.TEMPLATE
    (fixed,), _ = turns.tokens([CONVERSATION], ["x.json:1"], encoder)
    assert ids.tolist() == fixed.tolist()


def test_a_prompt_ends_where_the_assistant_begins(encoder: PreTrainedTokenizerFast) -> None:
    encoder.chat_template = chat.TEMPLATE
    (ids,), (mask,) = turns.tokens([CONVERSATION], ["x.json:1"], encoder)
    prompt = turns.prompt(CONVERSATION[:-1], encoder)
    assert ids[: len(prompt)].tolist() == prompt
    assert mask[len(prompt)]
    assert not mask[len(prompt) - 1]
