//! Devices by the names of the command line.

use burn::tensor::Device;
use miyasawa_kernels::isa::Isa;
use std::{
    fmt,
    str::FromStr,
    sync::{Mutex, PoisonError},
};

/// A kind of device and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceSpec {
    /// The processor, through `miyasawa-kernels`.
    Cpu,
    /// Any Vulkan device (feature `vulkan`).
    Vulkan,
    /// Apple's GPUs (feature `metal`).
    Metal,
    /// NVIDIA's GPUs (feature `cuda`).
    Cuda(usize),
    /// AMD's GPUs (feature `rocm`).
    Rocm(usize),
}

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DeviceError {
    /// No such name.
    #[error("device '{0}' is not known; expected cpu, vulkan, metal, cuda[:N] or rocm[:N]")]
    Unknown(String),
    /// This program was built without it.
    #[error("device '{0}' is not in this build; build with `--features {1}`")]
    NotBuilt(String, &'static str),
    /// The driver or the device is missing.
    #[error("device '{0}' cannot be used: {1}")]
    Unavailable(String, String),
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::Vulkan => write!(f, "vulkan"),
            Self::Metal => write!(f, "metal"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
            Self::Rocm(n) => write!(f, "rocm:{n}"),
        }
    }
}

impl FromStr for DeviceSpec {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown(text.to_owned());
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, Some(number.parse::<usize>().map_err(|_| unknown())?)),
            None => (text, None),
        };
        match (name, number) {
            ("cpu", None) => Ok(Self::Cpu),
            ("vulkan", None) => Ok(Self::Vulkan),
            ("metal", None) => Ok(Self::Metal),
            ("cuda", n) => Ok(Self::Cuda(n.unwrap_or(0))),
            ("rocm", n) => Ok(Self::Rocm(n.unwrap_or(0))),
            _ => Err(unknown()),
        }
    }
}

impl DeviceSpec {
    /// Opens the device and runs a first operation on it, so that a missing driver is told here and in
    /// one line.
    ///
    /// # Errors
    /// If the device is not part of this build, its driver does not answer, or `MIYASAWA_ISA` asks for instructions that the
    /// processor does not have.
    pub fn open(self) -> Result<Device, DeviceError> {
        if self == Self::Cpu {
            // The first operation would panic.
            Isa::from_env().map_err(|e| DeviceError::Unavailable(self.to_string(), e.to_string()))?;
            return Ok(Device::flex());
        }
        // Drivers panic where they are missing: the panic is caught and told as an error. One thread at a time, or one would
        // put back the other's silent hook.
        static HOOK: Mutex<()> = Mutex::new(());
        let _alone = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let result = std::panic::catch_unwind(|| {
            self.handle().inspect(|device| {
                burn::tensor::Tensor::<1>::ones([1], device).into_data();
            })
        });
        std::panic::set_hook(hook);
        match result {
            Ok(device) => device.ok_or_else(|| DeviceError::NotBuilt(self.to_string(), self.feature())),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text =
                    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
                let line = text.lines().next().unwrap_or_default().to_owned();
                Err(DeviceError::Unavailable(self.to_string(), line))
            }
        }
    }

    /// The device's handle, if this build has it.
    fn handle(self) -> Option<Device> {
        match self {
            Self::Cpu => Some(Device::flex()),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Some(vulkan()),
            #[cfg(feature = "metal")]
            Self::Metal => Some(Device::metal(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "cuda")]
            Self::Cuda(n) => Some(Device::cuda(n)),
            #[cfg(feature = "rocm")]
            Self::Rocm(n) => Some(Device::rocm(n)),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    }

    fn feature(self) -> &'static str {
        match self {
            Self::Cpu => "default",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Cuda(_) => "cuda",
            Self::Rocm(_) => "rocm",
        }
    }
}

/// The Vulkan device that `MIYASAWA_VULKAN` names (`discrete`, `integrated` or `software`), else the driver's
/// own choice. Opened once: a second registration is an error in Burn.
///
/// # Panics
/// If there is no such device.
#[cfg(feature = "vulkan")]
fn vulkan() -> Device {
    use burn::tensor::{DeviceKind, wgpu::WgpuBackend};
    static OPENED: std::sync::OnceLock<Device> = std::sync::OnceLock::new();
    let open = || {
        // Burn's default looks for hardware only; a software driver (SwiftShader, llvmpipe) must be asked for.
        let kind = match std::env::var("MIYASAWA_VULKAN").as_deref() {
            Ok("software") => DeviceKind::Cpu,
            Ok("integrated") => DeviceKind::IntegratedGpu(0),
            Ok("discrete") => DeviceKind::DiscreteGpu(0),
            _ => DeviceKind::DefaultDevice,
        };
        let options = Device::wgpu_options().device_kind(kind).graphics_api(WgpuBackend::Vulkan);
        options.init().unwrap_or_else(|error| panic!("{error}"))
    };
    OPENED.get_or_init(open).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_back() {
        for (text, spec) in [
            ("cpu", DeviceSpec::Cpu),
            ("vulkan", DeviceSpec::Vulkan),
            ("cuda:1", DeviceSpec::Cuda(1)),
            ("rocm:0", DeviceSpec::Rocm(0)),
        ] {
            assert_eq!(text.parse(), Ok(spec));
            assert_eq!(spec.to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(DeviceSpec::Cuda(0)));
        for text in ["", "gpu", "cuda:x", "cpu:1"] {
            assert_eq!(text.parse::<DeviceSpec>(), Err(DeviceError::Unknown(text.to_owned())));
        }
    }
}
