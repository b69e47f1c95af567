use super::{
    DenoiserNet, DnCnnConfig, GradResNetConfig, JointModel, Model, PlainClassifier, PlainDenoiser,
    ResNetConfig, UNetConfig,
    gradresnet::{Norm, stage_activations},
    params::{self, ParamError, ParamMap},
};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// The name of an [`Architecture`], as in `network.kind`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// [`GradResNet`](super::GradResNet): the joint model.
    #[default]
    GradResNet,
    /// [`ResNet`](super::ResNet): a classifier alone.
    ResNet18,
    /// [`DnCnn`](super::DnCnn): a denoiser alone.
    DnCnn,
    /// [`UNet`](super::UNet): a denoiser alone.
    UNet,
    /// A joint model on the caller's own [`EnergyNetwork`](super::EnergyNetwork).
    Custom,
}

impl Kind {
    /// Whether it has logits.
    pub fn classifies(self) -> bool {
        matches!(self, Self::GradResNet | Self::ResNet18 | Self::Custom)
    }

    /// Whether one network classifies and denoises.
    pub fn is_joint(self) -> bool {
        matches!(self, Self::GradResNet | Self::Custom)
    }

    /// Whether it has a denoiser.
    pub fn denoises(self) -> bool {
        self != Self::ResNet18
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::GradResNet => "gradresnet",
            Self::ResNet18 => "resnet18",
            Self::DnCnn => "dncnn",
            Self::UNet => "unet",
            Self::Custom => "custom",
        })
    }
}

/// The network of a model, with every number that determines its parameters' names and shapes.
/// Written as one object whose `kind` names the architecture; without it, it is a GradResNet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Value", into = "Tagged")]
pub enum Architecture {
    /// The joint model's network.
    GradResNet(GradResNetConfig),
    /// The reference classifier.
    ResNet18(ResNetConfig),
    /// The reference denoiser of one scale.
    DnCnn(DnCnnConfig),
    /// The reference denoiser of several scales.
    UNet(UNetConfig),
    /// A joint model on the caller's own network.
    Custom(CustomNetwork),
}

/// What is known of a network that the library does not make itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomNetwork {
    /// What it is called: its type's name.
    pub name: String,
    /// Channels of an image.
    pub channels: usize,
    /// Number of classes.
    pub classes: usize,
    /// Whether it works without knowing the noise level.
    pub blind: bool,
}

/// How an [`Architecture`] is written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Tagged {
    GradResNet(GradResNetConfig),
    ResNet18(ResNetConfig),
    DnCnn(DnCnnConfig),
    UNet(UNetConfig),
    Custom(CustomNetwork),
}

impl From<Architecture> for Tagged {
    fn from(architecture: Architecture) -> Self {
        match architecture {
            Architecture::GradResNet(config) => Self::GradResNet(config),
            Architecture::ResNet18(config) => Self::ResNet18(config),
            Architecture::DnCnn(config) => Self::DnCnn(config),
            Architecture::UNet(config) => Self::UNet(config),
            Architecture::Custom(config) => Self::Custom(config),
        }
    }
}

impl TryFrom<serde_json::Value> for Architecture {
    type Error = serde_json::Error;

    fn try_from(mut value: serde_json::Value) -> Result<Self, Self::Error> {
        if let Some(object) = value.as_object_mut() {
            object.entry("kind").or_insert_with(|| Kind::default().to_string().into());
        }
        Ok(match serde_json::from_value(value)? {
            Tagged::GradResNet(config) => Self::GradResNet(config),
            Tagged::ResNet18(config) => Self::ResNet18(config),
            Tagged::DnCnn(config) => Self::DnCnn(config),
            Tagged::UNet(config) => Self::UNet(config),
            Tagged::Custom(config) => Self::Custom(config),
        })
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Self::Custom(network) = self {
            write!(f, "custom, {}", network.name)?;
        } else {
            write!(f, "{}, width {}", self.kind(), self.width())?;
        }
        match self {
            Self::Custom(_) => {}
            Self::GradResNet(GradResNetConfig { blocks, .. })
            | Self::ResNet18(ResNetConfig { blocks, .. })
            | Self::UNet(UNetConfig { blocks, .. }) => write!(f, ", blocks {blocks:?}")?,
            Self::DnCnn(DnCnnConfig { depth, .. }) => write!(f, ", depth {depth}")?,
        }
        if matches!(
            self,
            Self::DnCnn(DnCnnConfig { bias_free: true, .. })
                | Self::UNet(UNetConfig { bias_free: true, .. })
        ) {
            f.write_str(", bias-free")?;
        }
        f.write_str(if self.is_blind() { ", blind" } else { ", conditioned on noise" })
    }
}

impl CustomNetwork {
    fn not_ours(&self) -> String {
        let name = &self.name;
        format!(
            "{name} is a network of its author's own: load it with the program that defines it \
             (model::params::assign)"
        )
    }
}

impl Architecture {
    /// The names of the parameters that make logits of features begin so; none of a denoiser alone
    /// or where they are not known.
    pub fn class_head(&self) -> Option<&'static str> {
        match self {
            Self::GradResNet(_) => Some("class_head."),
            Self::ResNet18(_) => Some("head."),
            _ => None,
        }
    }

    /// Its name.
    pub fn kind(&self) -> Kind {
        match self {
            Self::GradResNet(_) => Kind::GradResNet,
            Self::ResNet18(_) => Kind::ResNet18,
            Self::DnCnn(_) => Kind::DnCnn,
            Self::UNet(_) => Kind::UNet,
            Self::Custom(_) => Kind::Custom,
        }
    }

    /// Channels of an image.
    pub fn channels(&self) -> usize {
        match self {
            Self::GradResNet(config) => config.channels,
            Self::ResNet18(config) => config.channels,
            Self::DnCnn(config) => config.channels,
            Self::UNet(config) => config.channels,
            Self::Custom(network) => network.channels,
        }
    }

    /// Channels of the first layers; 0 where they are not known.
    pub fn width(&self) -> usize {
        match self {
            Self::GradResNet(config) => config.width,
            Self::ResNet18(config) => config.width,
            Self::DnCnn(config) => config.width,
            Self::UNet(config) => config.width,
            Self::Custom(_) => 0,
        }
    }

    /// Number of classes; none for a denoiser alone.
    pub fn classes(&self) -> Option<usize> {
        match self {
            Self::GradResNet(config) => Some(config.classes),
            Self::ResNet18(config) => Some(config.classes),
            Self::DnCnn(_) | Self::UNet(_) => None,
            Self::Custom(network) => Some(network.classes),
        }
    }

    /// Whether it works without knowing the noise level.
    pub fn is_blind(&self) -> bool {
        match self {
            Self::GradResNet(config) => config.blind,
            Self::ResNet18(_) => true,
            Self::DnCnn(config) => !config.conditioned,
            Self::UNet(config) => !config.conditioned,
            Self::Custom(network) => network.blind,
        }
    }

    /// Whether a layer mixes the images of a batch.
    pub fn has_batch_norm(&self) -> bool {
        match self {
            Self::ResNet18(_) | Self::DnCnn(_) => true,
            Self::GradResNet(config) => config.norm == Norm::Batch,
            Self::UNet(_) | Self::Custom(_) => false,
        }
    }

    /// Checks the numbers, which may come from a file or a user.
    ///
    /// # Errors
    /// The first number that is out of range, in words.
    pub fn validate(&self) -> Result<(), String> {
        match self {
            Self::GradResNet(config) => config.validate(),
            Self::ResNet18(config) => {
                check_widths(config.channels, config.width, config.blocks.len())?;
                check_blocks(&config.blocks)?;
                check_classes(config.classes)
            }
            Self::DnCnn(config) => {
                check_widths(config.channels, config.width, 1)?;
                match config.depth {
                    2..=1000 => Ok(()),
                    depth => Err(format!("depth is {depth}, expected 2 to 1000")),
                }
            }
            Self::UNet(config) => {
                check_widths(config.channels, config.width, config.blocks.len())?;
                check_blocks(&config.blocks)
            }
            Self::Custom(network) => {
                check_widths(network.channels, 1, 1)?;
                check_classes(network.classes)
            }
        }
    }

    /// MACs of the convolutions in one forward pass over one image; 0 where they are not
    /// known.
    pub fn macs(&self, size: [usize; 2]) -> usize {
        match self {
            Self::GradResNet(config) => config.macs(size),
            Self::ResNet18(config) => config.macs(size),
            Self::DnCnn(config) => config.macs(size),
            Self::UNet(config) => config.macs(size),
            Self::Custom(_) => 0,
        }
    }

    /// Values of an activation of one image: after the first convolution, then of every unit (block
    /// or layer).
    pub fn activations(&self, [height, width]: [usize; 2]) -> Vec<usize> {
        match self {
            Self::GradResNet(config) => config.activations([height, width]),
            Self::ResNet18(ResNetConfig { width: channels, blocks, .. }) => {
                stage_activations(*channels, blocks, [height, width])
            }
            Self::DnCnn(config) => vec![height * width * config.width; config.depth],
            Self::UNet(config) => config.activations([height, width]),
            Self::Custom(_) => vec![0],
        }
    }

    /// Activations that training keeps of a unit: the inputs of convolutions, norms and
    /// non-linearities.
    pub fn kept_per_unit(&self) -> usize {
        match self {
            // The input of batch statistics, less its mean, and its square.
            Self::GradResNet(config) => 4 + 2 * usize::from(config.norm == Norm::Batch),
            Self::ResNet18(_) => 7,
            Self::DnCnn(_) | Self::UNet(_) | Self::Custom(_) => 3,
        }
    }

    /// Passes through the convolutions to denoise an image: the joint model's denoiser is a
    /// gradient.
    pub fn denoise_passes(&self) -> usize {
        if self.kind().is_joint() { 2 } else { 1 }
    }

    /// The type of the convolutions' products: they change how the network is computed, not its
    /// parameters.
    pub fn set_operands(&mut self, operands: crate::ops::Operands) {
        match self {
            Self::GradResNet(config) => config.operands = operands,
            Self::ResNet18(config) => config.operands = operands,
            Self::DnCnn(config) => config.operands = operands,
            Self::UNet(config) => config.operands = operands,
            // Its author's program decides.
            Self::Custom(_) => {}
        }
    }

    /// A model with random parameters for data with the standard deviation `sigma_data`; the seed
    /// fixes the parameters on every device.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) finds an error, or for [`Custom`](Self::Custom).
    pub fn init(&self, device: &Device, seed: u64, sigma_data: f64) -> Model {
        if let Err(error) = self.validate() {
            panic!("{}: {error}", self.kind());
        }
        let denoiser = |net| Model::Denoiser(PlainDenoiser::new(net, sigma_data, !self.is_blind()));
        match self {
            Self::GradResNet(config) => {
                Model::Joint(JointModel::new(config.init(device, seed), sigma_data))
            }
            Self::ResNet18(config) => {
                Model::Classifier(PlainClassifier { net: config.init(device, seed) })
            }
            Self::DnCnn(config) => denoiser(DenoiserNet::DnCnn(config.init(device, seed))),
            Self::UNet(config) => denoiser(DenoiserNet::UNet(config.init(device, seed))),
            Self::Custom(network) => panic!("{}", network.not_ours()),
        }
    }

    /// The model with these parameters. The configuration is compared with them before
    /// anything is allocated: both may come from an untrusted file.
    ///
    /// # Errors
    /// If [`validate`](Self::validate) finds an error, a parameter is missing, unknown, or has
    /// another shape, or for [`Custom`](Self::Custom), which only its author can make.
    pub fn with_params(
        &self,
        values: ParamMap,
        device: &Device,
        sigma_data: f64,
    ) -> Result<Model, ParamError> {
        self.validate().map_err(ParamError::Config)?;
        let expected = match self {
            Self::GradResNet(config) => {
                let net = config.with_params(values, device)?;
                return Ok(Model::Joint(JointModel::new(net, sigma_data)));
            }
            Self::ResNet18(config) => config.values(),
            Self::DnCnn(config) => config.values(),
            Self::UNet(config) => config.values(),
            Self::Custom(network) => return Err(ParamError::Config(network.not_ours())),
        };
        params::check_count(&values, expected)?;
        params::assign(self.init(device, 0, sigma_data), values)
    }
}

/// The largest number that a file may hold: products of a few of them stay in range.
const LARGEST: usize = 1 << 16;
/// The most channels: a 3x3 convolution from as many to as many has 2.4 GB of weights.
const WIDEST: usize = 1 << 13;

/// Checks the channels of an image and the width of the first stage; each of the `stages` is twice
/// as wide as the one before.
pub(super) fn check_widths(channels: usize, width: usize, stages: usize) -> Result<(), String> {
    let named = [("channels", channels), ("width", width)];
    if let Some((name, value)) = named.into_iter().find(|(_, value)| !(1..=WIDEST).contains(value))
    {
        return Err(format!("{name} is {value}, expected 1 to {WIDEST}"));
    }
    let widest = width << (stages.clamp(1, 8) - 1);
    if widest > WIDEST {
        return Err(format!(
            "width is {width}, {widest} channels in the widest stage, expected at most {WIDEST}"
        ));
    }
    Ok(())
}

/// Checks the number of stages and of the blocks of each.
pub(super) fn check_blocks(blocks: &[usize]) -> Result<(), String> {
    if !(1..=8).contains(&blocks.len()) || blocks.iter().any(|n| !(1..=LARGEST).contains(n)) {
        return Err(format!("blocks are {blocks:?}, expected 1 to 8 numbers from 1 to {LARGEST}"));
    }
    Ok(())
}

/// Checks the number of classes.
pub(super) fn check_classes(classes: usize) -> Result<(), String> {
    if classes == 0 {
        return Err("classes is 0, expected at least 1".to_owned());
    }
    Ok(())
}

mod receptive_field;
#[cfg(test)]
mod tests;
