"""What one would write by hand: GPT-2 through torch's dynamo exporter, no cache, no check, no simplification."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel


class Plain(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = GPT2LMHeadModel(GPT2Config()).eval()

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=input_ids, use_cache=False).logits


torch.manual_seed(0)
program = torch.onnx.export(
    Plain(),
    (torch.randint(0, 50257, (2, 8)),),
    dynamo=True,
    opset_version=24,
    dynamic_shapes={"input_ids": {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}},
)
program.save("plain.onnx", external_data=True)
