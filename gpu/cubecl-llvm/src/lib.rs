//! Takes the place of CubeCL's LLVM backend, whose build script downloads an LLVM.
//!
//! `cubecl-cuda` compiles kernels either through LLVM or, with its feature `cpp`, as CUDA C++
//! through NVRTC. It names the types of both. These are those of the first: with them it builds,
//! and a kernel that is sent here is refused with a reason.
#![deny(unsafe_code)]

use cubecl_core::{ir::nvidia::SmArch, prelude::KernelDefinition};
use cubecl_environment::backtrace::BackTrace;
use cubecl_runtime::{compiler::CompilationError, kernel::BufferIOAttr};
use nvptx::ptx_version::PtxVersion;

/// What is compiled for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LlvmTarget {
    /// The processor.
    #[default]
    Cpu,
    /// NVIDIA's GPUs.
    Nvptx,
}

/// The compiler; it refuses every kernel.
#[derive(Clone, Debug, Default)]
pub struct PlironCompiler {
    /// What is compiled for.
    pub target: LlvmTarget,
}

/// The options of the compiler.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    /// The architecture of other devices.
    pub arch: Option<()>,
    /// NVIDIA's architecture.
    pub sm_arch: Option<SmArch>,
    /// The newest PTX that the driver reads.
    pub ptx_version: Option<PtxVersion>,
    /// Whether parameters are passed as constants of the grid.
    pub grid_constants: bool,
    /// Makes `..Default::default()` mean something.
    pub other: (),
}

/// A compiled module. None is ever made.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    /// PTX, ending in 0.
    pub ptx: Vec<core::ffi::c_char>,
    /// The name of the kernel.
    pub entrypoint: String,
    /// Its text.
    pub ir: String,
    /// Bytes of shared memory.
    pub shared_memory_size: usize,
    /// What it does with its buffers.
    pub io: Vec<BufferIOAttr>,
}

/// What the compiler returns.
#[derive(Clone)]
pub enum PlironArtifact {
    /// Nothing.
    None,
    /// A module for NVIDIA's GPUs.
    NvptxCode(NvptxModule),
}

impl PlironCompiler {
    /// Refuses the kernel. The name and the arguments are those of a trait's method in the crate
    /// whose place this takes; an inherent method is found before it.
    ///
    /// # Errors
    /// Always.
    pub fn compile(
        &mut self,
        _: KernelDefinition,
        _: &PlironOptions,
    ) -> Result<PlironArtifact, CompilationError> {
        let reason = "built without LLVM: the feature `cuda-cpp` of cubecl is needed".to_owned();
        Err(CompilationError::Generic { reason, backtrace: BackTrace::capture() })
    }

    /// The language of a compiled kernel's text.
    pub fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}

/// What belongs to NVIDIA's GPUs.
pub mod nvptx {
    /// Versions of PTX.
    pub mod ptx_version {
        use std::fmt;

        /// The version that belongs to a driver.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct PtxVersion(i32);

        impl PtxVersion {
            /// That of a driver, by the number that the driver gives of itself.
            pub fn for_driver(driver: i32) -> Option<Self> {
                Some(Self(driver))
            }
        }

        impl fmt::Display for PtxVersion {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "driver{}", self.0)
            }
        }
    }
}

/// What backends share.
pub mod shared {
    /// Features that LLVM's lowering lacks.
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        /// GPUs by their maker.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GpuTarget {
            /// NVIDIA's.
            Nvptx,
        }

        /// Takes nothing away: no kernel comes here.
        pub fn restrict_features(_: &mut DeviceProperties, _: GpuTarget) {}
    }
}
