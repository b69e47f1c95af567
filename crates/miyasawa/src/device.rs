//! Devices by the names of the command line.
//!
//! ```
//! use miyasawa::device::{DeviceError, DeviceSpec};
//!
//! let device = "cpu".parse::<DeviceSpec>()?.open()?;
//! assert_eq!("cuda:1".parse(), Ok(DeviceSpec::Cuda(1)));
//! assert!(matches!("gpu".parse::<DeviceSpec>(), Err(DeviceError::Unknown(_))));
//! # let _ = device;
//! # Ok::<(), DeviceError>(())
//! ```

use burn::tensor::Device;
use miyasawa_kernels::isa::Isa;
use std::{
    fmt,
    str::FromStr,
    sync::{Mutex, PoisonError},
};

/// Whether a device, with autodiff or without, is the CPU.
pub(crate) fn is_cpu(device: &Device) -> bool {
    device.clone().inner() == Device::flex()
}

/// A kind of device and its number.
///
/// ```
/// use miyasawa::prelude::*;
/// assert_eq!("cuda".parse(), Ok(DeviceSpec::Cuda(0)));
/// assert_eq!(DeviceSpec::Cpu.to_string(), "cpu");
/// ```
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

impl DeviceError {
    /// Whether the call was invalid, as opposed to valid work that failed.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NotBuilt(..) | Self::Unknown(_))
    }
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
    /// Opens the device and runs a first operation on it, so that a missing driver is reported here
    /// and in one line.
    ///
    /// ```
    /// use miyasawa::prelude::*;
    /// let device = DeviceSpec::Cpu.open()?;
    /// assert_eq!(device, miyasawa::Device::flex());
    /// # Ok::<(), miyasawa::device::DeviceError>(())
    /// ```
    ///
    /// # Errors
    /// If the device is not part of this build, its driver does not respond, or `MIYASAWA_ISA`
    /// names instructions that the processor does not have.
    pub fn open(self) -> Result<Device, DeviceError> {
        if self == Self::Cpu {
            // The first operation would panic.
            Isa::from_env()
                .map_err(|e| DeviceError::Unavailable(self.to_string(), e.to_string()))?;
            return Ok(Device::flex());
        }
        let opened = without_panic(|| {
            self.handle().inspect(|device| {
                burn::tensor::Tensor::<1>::ones([1], device).into_data();
            })
        });
        match opened {
            Ok(device) => {
                device.ok_or_else(|| DeviceError::NotBuilt(self.to_string(), self.feature()))
            }
            Err(reason) => {
                Err(DeviceError::Unavailable(self.to_string(), self.explain_panic(&reason)))
            }
        }
    }

    /// The message for a driver's panic: its reason where there is one, and a hint for the user.
    fn explain_panic(self, reason: &str) -> String {
        let hint = match self {
            Self::Cpu => "is the processor one that this build is for?",
            Self::Vulkan => "is a Vulkan driver installed (does `vulkaninfo` list a device)?",
            Self::Metal => "is this a Mac with a GPU that speaks Metal?",
            Self::Cuda(_) => "is an NVIDIA driver installed (does `nvidia-smi` list the device)?",
            Self::Rocm(_) => {
                "is an AMD driver with ROCm installed (does `rocminfo` list the device)?"
            }
        };
        // Internal names of the program are of no use to a user.
        let inside = ["called `", "RecvError", "PoisonError", "assertion ", "index out of bounds"];
        if reason.is_empty() || inside.iter().any(|part| reason.contains(part)) {
            format!("no driver answers; {hint}")
        } else {
            format!("{}; {hint}", reason.trim_end_matches(['.', ';', ':']))
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

/// The result of work that may panic, or the first line of the first panic's message. Drivers panic
/// where they are missing, often on another thread, and the error that arrives here says only that
/// the thread has ended.
fn without_panic<T>(work: impl FnOnce() -> T + std::panic::UnwindSafe) -> Result<T, String> {
    // One thread at a time, or one would put back the other's hook.
    static HOOK: Mutex<()> = Mutex::new(());
    static FIRST: Mutex<Option<String>> = Mutex::new(None);
    let _alone = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let first = || FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    *first() = None;
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| line.to_owned());
    }));
    let result = std::panic::catch_unwind(work);
    std::panic::set_hook(hook);
    result.map_err(|_| first().take().unwrap_or_default())
}

/// The Vulkan device that `MIYASAWA_VULKAN` names (`discrete`, `integrated` or `software`), else
/// the driver's choice. Opened once: a second registration is an error in Burn.
///
/// # Panics
/// If there is no such device.
#[cfg(feature = "vulkan")]
fn vulkan() -> Device {
    use burn::tensor::{DeviceKind, wgpu::WgpuBackend};
    static OPENED: std::sync::OnceLock<Device> = std::sync::OnceLock::new();
    let open = || {
        // Burn's default considers hardware only; a software driver (SwiftShader, llvmpipe) must be
        // asked for.
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

    #[test]
    fn a_missing_driver_is_reported_without_internal_names() {
        let cuda = DeviceSpec::Cuda(0);
        let inside = "called `Result::unwrap()` on an `Err` value: RecvError";
        let text =
            DeviceError::Unavailable(cuda.to_string(), cuda.explain_panic(inside)).to_string();
        assert!(text.contains("no driver answers") && text.contains("nvidia-smi"), "{text}");
        assert!(!text.contains("unwrap") && !text.contains("RecvError"), "{text}");
        assert!(
            cuda.explain_panic("libcuda.so cannot be loaded.")
                .starts_with("libcuda.so cannot be loaded; is an")
        );
        // The first panic has the reason, though it is on another thread.
        let found = without_panic(|| {
            let (sender, receiver) = std::sync::mpsc::channel::<()>();
            let server = std::thread::spawn(move || {
                let _sender = sender;
                panic!("\nlibcuda.so cannot be loaded\nmore");
            });
            let _ = server.join();
            receiver.recv().unwrap();
        });
        assert_eq!(found, Err("libcuda.so cannot be loaded".to_owned()));
        assert_eq!(without_panic(|| 3), Ok(3));
    }
}
