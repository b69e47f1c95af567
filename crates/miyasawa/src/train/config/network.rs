//! What is trained, and in which type its products are.

use super::ConfigError;
use crate::model::{
    Architecture, CustomNetwork, DnCnnConfig, GradResNetConfig, Kind, Norm, ResNetConfig,
    UNetConfig,
};
use crate::ops::Operands;
use burn::tensor::{Device, FloatDType};
use serde::{Deserialize, Serialize};

/// The type of the convolutions' products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// float32.
    #[default]
    F32,
    /// TF32, to which tensor cores round both sides of every product; on NVIDIA's GPUs.
    Tf32,
    /// bfloat16, to which both sides of every product are rounded.
    Bf16,
}

impl Dtype {
    /// As the operations take it.
    pub fn operands(self) -> Operands {
        match self {
            Self::F32 => Operands::F32,
            Self::Tf32 => Operands::Tf32,
            Self::Bf16 => Operands::Bf16,
        }
    }

    /// Says whether the device has this type.
    ///
    /// # Errors
    /// If it does not.
    pub fn check(self, device: &Device) -> Result<(), ConfigError> {
        let expected = match self {
            Self::Tf32 if !has_tf32(device) => {
                "f32 or bf16: TF32 needs an NVIDIA GPU of compute capability 8.0"
            }
            Self::Bf16 if !device.supports_dtype(FloatDType::BF16) => {
                "f32: this device has no bfloat16"
            }
            _ => return Ok(()),
        };
        Err(ConfigError::Value { key: "dtype", found: self.to_string(), expected })
    }
}

/// Whether a device has tensor cores that take TF32: NVIDIA's from compute capability 8.0.
#[cfg(feature = "gpu")]
fn has_tf32(device: &Device) -> bool {
    let identity = device.clone().inner().identity();
    let capability = identity.and_then(|id| id.fingerprint.strip_prefix("ptx_sm")?.parse().ok());
    capability.is_some_and(|capability: u32| capability >= 80)
}

#[cfg(not(feature = "gpu"))]
fn has_tf32(_: &Device) -> bool {
    false
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        })
    }
}

/// The network; channels and classes come from the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// `gradresnet`, the joint model; or a reference model: `resnet18`, `dncnn`, `unet`. `custom`
    /// is what [`TrainerBuilder::network`](crate::train::TrainerBuilder::network) writes.
    pub kind: Kind,
    /// Channels of the first stage.
    pub width: usize,
    /// Blocks of every stage.
    pub blocks: Vec<usize>,
    /// Whether a `gradresnet` works without knowing the noise level.
    pub blind: bool,
    /// Whether the energy head of a `gradresnet` starts at zero.
    pub zero_energy_head: bool,
    /// By what the activations of a `gradresnet` are normalised: `group`, `batch`, or `none`.
    pub norm: Norm,
    /// Added to the variances of group normalisation in a `gradresnet`.
    pub norm_epsilon: f32,
    /// Convolutions of a `dncnn`.
    pub depth: usize,
    /// Whether a `dncnn` (left out: no) or `unet` (left out: yes) has no constants.
    pub bias_free: Option<bool>,
    /// Whether a `dncnn` (left out: no) or `unet` (left out: yes) is conditioned on the noise
    /// level.
    pub conditioned: Option<bool>,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            kind: Kind::GradResNet,
            width: 16,
            blocks: vec![2, 2, 2, 2],
            blind: false,
            zero_energy_head: true,
            norm: Norm::Group,
            norm_epsilon: 1e-5,
            depth: 17,
            bias_free: None,
            conditioned: None,
        }
    }
}

impl NetworkConfig {
    /// The network for images of `channels` and a number of classes.
    pub fn architecture(
        &self,
        channels: usize,
        classes: usize,
        operands: Operands,
    ) -> Architecture {
        let (width, blocks) = (self.width, self.blocks.clone());
        let unet = self.kind == Kind::UNet;
        let (bias_free, conditioned) =
            (self.bias_free.unwrap_or(unet), self.conditioned.unwrap_or(unet));
        match self.kind {
            Kind::GradResNet => Architecture::GradResNet(GradResNetConfig {
                channels,
                classes,
                width,
                blocks,
                blind: self.blind,
                zero_energy_head: self.zero_energy_head,
                norm: self.norm,
                norm_epsilon: self.norm_epsilon,
                operands,
            }),
            Kind::ResNet18 => {
                Architecture::ResNet18(ResNetConfig { channels, classes, width, blocks, operands })
            }
            Kind::DnCnn => {
                let depth = self.depth;
                Architecture::DnCnn(DnCnnConfig {
                    channels,
                    width,
                    depth,
                    bias_free,
                    conditioned,
                    operands,
                })
            }
            Kind::UNet => Architecture::UNet(UNetConfig {
                channels,
                width,
                blocks,
                bias_free,
                conditioned,
                operands,
            }),
            Kind::Custom => {
                let (name, blind) = ("network".to_owned(), self.blind);
                Architecture::Custom(CustomNetwork { name, channels, classes, blind })
            }
        }
    }

    /// Whether the network works without knowing the noise level.
    pub fn is_blind(&self) -> bool {
        self.architecture(1, 1, Operands::F32).is_blind()
    }
}
