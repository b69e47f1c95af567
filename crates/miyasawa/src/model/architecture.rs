use super::{
    DenoiserNet, DnCnnConfig, GradResNetConfig, JointModel, Model, PlainClassifier, PlainDenoiser,
    ResNetConfig, UNetConfig,
    gradresnet::stage_activations,
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
}

impl Kind {
    /// Whether it has logits.
    pub fn classifies(self) -> bool {
        matches!(self, Self::GradResNet | Self::ResNet18)
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
}

/// How an [`Architecture`] is written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Tagged {
    GradResNet(GradResNetConfig),
    ResNet18(ResNetConfig),
    DnCnn(DnCnnConfig),
    UNet(UNetConfig),
}

impl From<Architecture> for Tagged {
    fn from(architecture: Architecture) -> Self {
        match architecture {
            Architecture::GradResNet(config) => Self::GradResNet(config),
            Architecture::ResNet18(config) => Self::ResNet18(config),
            Architecture::DnCnn(config) => Self::DnCnn(config),
            Architecture::UNet(config) => Self::UNet(config),
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
        })
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, width {}", self.kind(), self.width())?;
        match self {
            Self::GradResNet(GradResNetConfig { blocks, .. })
            | Self::ResNet18(ResNetConfig { blocks, .. })
            | Self::UNet(UNetConfig { blocks, .. }) => write!(f, ", blocks {blocks:?}")?,
            Self::DnCnn(DnCnnConfig { depth, .. }) => write!(f, ", depth {depth}")?,
        }
        if matches!(
            self,
            Self::DnCnn(DnCnnConfig { bias_free: true, .. }) | Self::UNet(UNetConfig { bias_free: true, .. })
        ) {
            f.write_str(", bias-free")?;
        }
        f.write_str(if self.is_blind() { ", blind" } else { ", conditioned on noise" })
    }
}

impl Architecture {
    /// Its name.
    pub fn kind(&self) -> Kind {
        match self {
            Self::GradResNet(_) => Kind::GradResNet,
            Self::ResNet18(_) => Kind::ResNet18,
            Self::DnCnn(_) => Kind::DnCnn,
            Self::UNet(_) => Kind::UNet,
        }
    }

    /// Channels of an image.
    pub fn channels(&self) -> usize {
        match self {
            Self::GradResNet(config) => config.channels,
            Self::ResNet18(config) => config.channels,
            Self::DnCnn(config) => config.channels,
            Self::UNet(config) => config.channels,
        }
    }

    /// Channels of the first layers.
    pub fn width(&self) -> usize {
        match self {
            Self::GradResNet(config) => config.width,
            Self::ResNet18(config) => config.width,
            Self::DnCnn(config) => config.width,
            Self::UNet(config) => config.width,
        }
    }

    /// Number of classes; none for a denoiser alone.
    pub fn classes(&self) -> Option<usize> {
        match self {
            Self::GradResNet(config) => Some(config.classes),
            Self::ResNet18(config) => Some(config.classes),
            Self::DnCnn(_) | Self::UNet(_) => None,
        }
    }

    /// Whether it works without knowing the noise level.
    pub fn is_blind(&self) -> bool {
        match self {
            Self::GradResNet(config) => config.blind,
            Self::ResNet18(_) => true,
            Self::DnCnn(config) => !config.conditioned,
            Self::UNet(config) => !config.conditioned,
        }
    }

    /// Whether a layer mixes the images of a batch.
    pub fn has_batch_norm(&self) -> bool {
        matches!(self, Self::ResNet18(_) | Self::DnCnn(_))
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
        }
    }

    /// MACs of the convolutions in one forward pass over one image.
    pub fn macs(&self, size: [usize; 2]) -> usize {
        match self {
            Self::GradResNet(config) => config.macs(size),
            Self::ResNet18(config) => config.macs(size),
            Self::DnCnn(config) => config.macs(size),
            Self::UNet(config) => config.macs(size),
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
        }
    }

    /// Activations that training keeps of a unit: the inputs of convolutions, norms and
    /// non-linearities.
    pub fn kept_per_unit(&self) -> usize {
        match self {
            Self::GradResNet(_) => 4,
            Self::ResNet18(_) => 7,
            Self::DnCnn(_) | Self::UNet(_) => 3,
        }
    }

    /// Passes through the convolutions to denoise an image: the joint model's denoiser is a
    /// gradient.
    pub fn denoise_passes(&self) -> usize {
        if self.kind() == Kind::GradResNet { 2 } else { 1 }
    }

    /// The type of the convolutions' products: they change how the network is computed, not its
    /// parameters.
    pub fn set_operands(&mut self, operands: crate::ops::Operands) {
        *match self {
            Self::GradResNet(config) => &mut config.operands,
            Self::ResNet18(config) => &mut config.operands,
            Self::DnCnn(config) => &mut config.operands,
            Self::UNet(config) => &mut config.operands,
        } = operands;
    }

    /// A model with random parameters for data with the standard deviation `sigma_data`; the seed
    /// fixes the parameters on every device.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) finds an error.
    pub fn init(&self, device: &Device, seed: u64, sigma_data: f64) -> Model {
        if let Err(error) = self.validate() {
            panic!("{}: {error}", self.kind());
        }
        let denoiser = |net| Model::Denoiser(PlainDenoiser::new(net, sigma_data, !self.is_blind()));
        match self {
            Self::GradResNet(config) => Model::Joint(JointModel::new(config.init(device, seed), sigma_data)),
            Self::ResNet18(config) => Model::Classifier(PlainClassifier { net: config.init(device, seed) }),
            Self::DnCnn(config) => denoiser(DenoiserNet::DnCnn(config.init(device, seed))),
            Self::UNet(config) => denoiser(DenoiserNet::UNet(config.init(device, seed))),
        }
    }

    /// The model with these parameters. The configuration is compared with them before
    /// anything is allocated: both may come from an untrusted file.
    ///
    /// # Errors
    /// If [`validate`](Self::validate) finds an error, or a parameter is missing, unknown, or has
    /// another shape.
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
    if let Some((name, value)) = named.into_iter().find(|(_, value)| !(1..=WIDEST).contains(value)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;
    use burn::tensor::TensorData;

    fn all_kinds() -> Vec<Architecture> {
        let operands = crate::ops::Operands::F32;
        let dncnn = |bias_free, conditioned| {
            Architecture::DnCnn(DnCnnConfig {
                channels: 3,
                width: 8,
                depth: 5,
                bias_free,
                conditioned,
                operands,
            })
        };
        let unet = |bias_free, conditioned| {
            let blocks = vec![1, 2, 1];
            Architecture::UNet(UNetConfig { channels: 1, width: 4, blocks, bias_free, conditioned, operands })
        };
        vec![
            Architecture::GradResNet(GradResNetConfig { width: 8, ..GradResNetConfig::new(3, 10) }),
            Architecture::ResNet18(ResNetConfig {
                channels: 3,
                classes: 7,
                width: 8,
                blocks: vec![1, 2, 1],
                operands,
            }),
            dncnn(false, false),
            dncnn(true, true),
            unet(true, true),
            unet(false, false),
        ]
    }

    #[test]
    fn what_is_written_reads_back_and_an_old_description_is_a_gradresnet() {
        for architecture in all_kinds() {
            let text = serde_json::to_string(&architecture).unwrap();
            assert!(text.starts_with(&format!("{{\"kind\":\"{}\"", architecture.kind())), "{text}");
            assert_eq!(serde_json::from_str::<Architecture>(&text).unwrap(), architecture);
        }
        let old =
            r#"{"channels":1,"classes":10,"width":8,"blocks":[1],"blind":true,"zero_energy_head":true}"#;
        assert_eq!(serde_json::from_str::<Architecture>(old).unwrap().kind(), Kind::GradResNet);
        for wrong in [r#"{"kind":"vit"}"#, r#"{"kind":"dncnn","channels":1}"#, "{}", "[]"] {
            assert!(serde_json::from_str::<Architecture>(wrong).is_err(), "{wrong}");
        }
        let more = old.replace("}", ",\"depth\":3}");
        assert!(serde_json::from_str::<Architecture>(&more).unwrap_err().to_string().contains("depth"));
    }

    #[test]
    fn the_number_of_values_is_counted_without_allocating() {
        let device = Device::flex();
        for architecture in all_kinds() {
            let model = architecture.init(&device, 1, 0.5);
            let values = params::collect(&model);
            let same = architecture.with_params(values.clone(), &device, 0.5).unwrap();
            assert_eq!(params::collect(&same), values, "{architecture:?}");
            assert!(model.num_params() > 100);
            let mut fewer = values.clone();
            fewer.pop_first();
            let error = architecture.with_params(fewer, &device, 0.5).unwrap_err();
            assert!(matches!(error, ParamError::Count { .. }), "{error}");
        }
    }

    /// A network that would take terabytes, claimed by a file of a few kilobytes.
    #[test]
    fn nothing_is_allocated_for_missing_parameters() {
        let text = r#"{"channels":1,"classes":1,"width":1024,"blocks":[65536],"blind":true,"zero_energy_head":true}"#;
        let hostile: Architecture = serde_json::from_str(text).unwrap();
        assert_eq!(hostile.validate(), Ok(()));
        let value = |shape: Vec<usize>| TensorData::zeros::<f32, _>(shape);
        let values = [
            ("stem.weight".to_owned(), value(vec![1024, 1, 3, 3])),
            ("stages.0.0.conv1.weight".to_owned(), value(vec![1024, 1024, 3, 3])),
            ("stages.0.65535.conv1.weight".to_owned(), value(vec![1024, 1024, 3, 3])),
            ("class_head.weight".to_owned(), value(vec![1, 1024])),
        ];
        let error = hostile.with_params(values.into_iter().collect(), &Device::flex(), 0.5).unwrap_err();
        assert!(error.to_string().contains("stages.0.1.conv1.weight"), "{error}");
        let Architecture::GradResNet(config) = hostile else { panic!("another kind") };
        assert!(config.values() > 1 << 40);
    }

    #[test]
    fn hostile_numbers_are_refused() {
        for (text, word) in [
            (r#"{"kind":"resnet18","channels":3,"classes":0,"width":8,"blocks":[1]}"#, "classes"),
            (r#"{"kind":"resnet18","channels":3,"classes":2,"width":8,"blocks":[]}"#, "blocks"),
            // 11 channels are one group, 22 are two, 44 would be five; 7 channels make 28 in the
            // third stage, three groups.
            (
                r#"{"channels":1,"classes":10,"width":11,"blocks":[1,1,1],"blind":true,"zero_energy_head":true}"#,
                "44 channels",
            ),
            (
                r#"{"channels":1,"classes":10,"width":7,"blocks":[1,1,1],"blind":true,"zero_energy_head":true}"#,
                "28 channels",
            ),
            (
                r#"{"kind":"unet","channels":3,"width":99999999,"blocks":[1],"bias_free":true,"conditioned":true}"#,
                "width",
            ),
            (
                r#"{"kind":"dncnn","channels":3,"width":8,"depth":1,"bias_free":true,"conditioned":true}"#,
                "depth",
            ),
        ] {
            let found = serde_json::from_str::<Architecture>(text).unwrap().validate().unwrap_err();
            assert!(found.contains(word), "{found}");
        }
    }
}
