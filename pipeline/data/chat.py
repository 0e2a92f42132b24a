"""How a chat becomes one text, for tokenizers that have no way of their own: ChatML."""

TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"

# What the assistant says lies between the generation marks, the end of its turn included: what a model shall learn.
# Blanks around it are cut off: transformers finds no turn whose first character is in no token.
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '" + TURN_START + "' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] | trim + '" + TURN_END + "' }}{% endgeneration %}"
    "{% else %}{{ message['content'] | trim + '" + TURN_END + "' }}{% endif %}"
    "{{ '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + TURN_START + "assistant\n' }}{% endif %}"
)
