//! The instruction set that the kernels use, chosen once at run time.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::simd::{self, Kernel};

/// Name of the environment variable that forces an instruction set.
pub const ISA_VARIABLE: &str = "MIYASAWA_ISA";

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// AVX-512 F, BW, DQ and VL (x86-64).
    Avx512,
    /// AVX2 with fused MAC (x86-64).
    Avx2,
    /// NEON (AArch64).
    Neon,
    /// Plain Rust, on every processor.
    Portable,
}

/// Why an instruction set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IsaError {
    /// The name is none of `avx512`, `avx2`, `neon`, `portable`.
    Unknown(String),
    /// This processor (or this build of the program) does not have it.
    Unavailable(Isa),
}

impl fmt::Display for IsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                write!(
                    f,
                    "unknown instruction set `{name}`: expected avx512, avx2, neon or portable"
                )
            }
            Self::Unavailable(isa) => {
                write!(f, "this processor does not have the instruction set `{isa}`")
            }
        }
    }
}

impl std::error::Error for IsaError {}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Portable => "portable",
        })
    }
}

impl FromStr for Isa {
    type Err = IsaError;

    fn from_str(name: &str) -> Result<Self, IsaError> {
        Self::ALL
            .into_iter()
            .find(|isa| isa.to_string() == name)
            .ok_or(IsaError::Unknown(name.to_owned()))
    }
}

impl Isa {
    /// Every instruction set, widest first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Avx2, Self::Neon, Self::Portable];

    /// The instruction sets that this processor has, widest first; the last one is always
    /// `Portable`.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// Whether this processor has the instruction set.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && Self::Avx2.is_available()
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Self::Portable => true,
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// The instruction set that the environment variable `MIYASAWA_ISA` names, or the widest
    /// available without it.
    ///
    /// # Errors
    /// If the variable names an unknown instruction set or one that this processor does not have.
    pub fn from_env() -> Result<Self, IsaError> {
        match std::env::var_os(ISA_VARIABLE).filter(|name| !name.is_empty()) {
            None => Ok(Self::available()[0]),
            Some(name) => {
                let isa: Self = name.to_string_lossy().parse()?;
                if isa.is_available() { Ok(isa) } else { Err(IsaError::Unavailable(isa)) }
            }
        }
    }

    /// The instruction set of this process: [`Isa::from_env`] at the first call, unchanged
    /// afterwards.
    ///
    /// # Panics
    /// If `MIYASAWA_ISA` cannot be satisfied; call [`Isa::from_env`] first to report that as an
    /// error.
    pub fn current() -> Self {
        static CURRENT: OnceLock<Isa> = OnceLock::new();
        *CURRENT.get_or_init(|| Self::from_env().unwrap_or_else(|e| panic!("{ISA_VARIABLE}: {e}")))
    }

    /// `f32` values in a vector.
    pub fn lanes(self) -> usize {
        match self {
            Self::Avx512 => 16,
            Self::Avx2 | Self::Portable => 8,
            Self::Neon => 4,
        }
    }

    /// Runs a kernel compiled for this instruction set.
    ///
    /// # Panics
    /// If the processor does not have it.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // Detection is a cached atomic load, so that checking here keeps `run` safe at no cost.
        assert!(self.is_available(), "{}", IsaError::Unavailable(self));
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the features were detected just above.
            Self::Avx512 => unsafe { simd::avx512::run(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the features were detected just above.
            Self::Avx2 => unsafe { simd::avx2::run(kernel) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: the feature was detected just above.
            Self::Neon => unsafe { simd::neon::run(kernel) },
            _ => simd::portable::run(kernel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for isa in Isa::ALL {
            assert_eq!(isa.to_string().parse(), Ok(isa));
        }
        let error = "sse9".parse::<Isa>().unwrap_err();
        assert_eq!(error, IsaError::Unknown("sse9".into()));
        assert!(error.to_string().contains("sse9"));
    }

    #[test]
    fn portable_is_last_and_current_is_available() {
        assert_eq!(Isa::available().last(), Some(&Isa::Portable));
        assert!(Isa::current().is_available());
    }

    #[test]
    fn a_missing_instruction_set_is_refused() {
        struct Nothing;
        impl Kernel for Nothing {
            type Output = ();
            unsafe fn run<S: simd::Simd>(self) {}
        }
        for isa in Isa::ALL.into_iter().filter(|isa| !isa.is_available()) {
            assert!(std::panic::catch_unwind(|| isa.run(Nothing)).is_err(), "{isa}");
        }
    }
}
