"""A model of our own: BERT, whose classifier reads the mean of all tokens."""

import torch
from torch import nn
from transformers import BertModel, BertPreTrainedModel, PreTrainedConfig
from transformers.modeling_outputs import SequenceClassifierOutput


class MeanPooled(BertPreTrainedModel):
    """What sentence encoders such as all-MiniLM-L6-v2 were pretrained with."""

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        states = self.bert(input_ids, attention_mask, token_type_ids).last_hidden_state
        mask = attention_mask[..., None].to(states.dtype)
        pooled = (states * mask).sum(dim=1) / mask.sum(dim=1)
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(pooled)))
