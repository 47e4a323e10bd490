"""Image encoders, with the heads of classification, detection, segmentation and depth."""

from typing import Any

from .tiny_model import TinyModel

VIT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
CLASSES = {"num_labels": 5}
BEIT = {**VIT, "use_relative_position_bias": True, "use_absolute_position_embeddings": True}
DINOV2 = {**VIT, "mlp_ratio": 2}
SWIN = {
    "image_size": 32,
    "patch_size": 2,
    "embed_dim": 16,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": 4,
    "mlp_ratio": 2.0,
}
RESNET = {
    "model_type": "resnet",
    "embedding_size": 16,
    "hidden_sizes": [16, 32],
    "depths": [1, 1],
    "layer_type": "basic",
    "out_features": ["stage2"],
}
SEGFORMER = {
    "num_encoder_blocks": 2,
    "depths": [1, 1],
    "sr_ratios": [4, 2],
    "hidden_sizes": [16, 32],
    "patch_sizes": [7, 3],
    "strides": [4, 2],
    "num_attention_heads": [1, 2],
    "mlp_ratios": [2, 2],
    "decoder_hidden_size": 16,
}
MOBILEVIT = {
    "image_size": 32,
    "patch_size": 2,
    "hidden_sizes": [16, 16, 16],
    "neck_hidden_sizes": [8, 8, 8, 16, 16, 16, 24],
    "num_attention_heads": 2,
    "output_stride": 16,
    "initializer_range": 0.5,  # also of the weights of batch norms: with the usual 0.02 no signal gets through
}


def _image(name: str, class_name: str, config: dict[str, Any], **own: Any) -> TinyModel:
    return TinyModel(name, class_name, "image", {**config, **own})


IMAGES = (
    _image("vit", "ViTForImageClassification", VIT, **CLASSES),
    _image("deit", "DeiTForImageClassification", VIT, **CLASSES),
    _image("dinov2", "Dinov2Model", DINOV2),
    _image("dinov2 ImageClassification", "Dinov2ForImageClassification", DINOV2, **CLASSES),
    _image("dinov3_vit", "DINOv3ViTModel", VIT, num_register_tokens=2),
    _image("swin", "SwinForImageClassification", SWIN, **CLASSES),
    _image("beit", "BeitForImageClassification", BEIT, **CLASSES),
    _image(
        "convnext",
        "ConvNextForImageClassification",
        {"image_size": 32, "patch_size": 4, "hidden_sizes": [16, 32], "depths": [1, 2], "num_stages": 2},
        **CLASSES,
    ),
    _image("segformer", "SegformerForSemanticSegmentation", SEGFORMER, **CLASSES),
    _image("segformer ImageClassification", "SegformerForImageClassification", SEGFORMER, **CLASSES),
    _image(
        "detr",
        "DetrForObjectDetection",
        {"use_timm_backbone": False, "use_pretrained_backbone": False, "backbone": None, "backbone_config": RESNET},
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_queries=6,
        **CLASSES,
    ),
    _image("yolos", "YolosForObjectDetection", {**VIT, "image_size": [32, 48]}, num_detection_tokens=6, **CLASSES),
    _image(
        "sam_vision_model",
        "SamVisionModel",
        VIT,
        output_channels=16,
        mlp_dim=48,
        window_size=3,
        global_attn_indexes=[1],
        num_pos_feats=8,
    ),
    _image(
        "depth_anything",
        "DepthAnythingForDepthEstimation",
        {
            "backbone_config": {
                "model_type": "dinov2",
                **DINOV2,
                "num_hidden_layers": 4,
                "out_indices": [1, 2, 3, 4],
                "reshape_hidden_states": False,
            }
        },
        patch_size=8,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 16, 24, 32],
        fusion_hidden_size=16,
        head_hidden_size=8,
    ),
    _image("mobilevit", "MobileViTForImageClassification", MOBILEVIT, **CLASSES),
    _image("mobilevit SemanticSegmentation", "MobileViTForSemanticSegmentation", MOBILEVIT, **CLASSES),
)
