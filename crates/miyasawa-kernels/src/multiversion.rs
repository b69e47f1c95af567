//! One definition of a loop, compiled for several instruction sets.
//!
//! The memory-bound operations are plain loops over slices that the compiler vectorises. The
//! instructions it may use are fixed when a function is compiled, so [`multiversion!`] compiles the
//! same body once for every instruction set and picks one when the function is called. A body must
//! inline all that it calls (`#[inline(always)]`): a function that does not inline is compiled for
//! the base set of the target.

/// Whether the target multiplies and adds in one instruction without any run-time choice; otherwise
/// `f32::mul_add` is a call of the mathematics library.
pub(crate) const PORTABLE_FMA: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

/// `a*b + c`, rounded once where the instruction set can.
#[inline(always)]
pub(crate) fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Defines a function with a leading parameter `isa: Isa`. In its body the constant `FMA` says
/// whether the instruction set has fused MAC; pass it on to [`fma`].
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$generic:ident: $bound:path>)?
     ($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name $(<$generic: $bound>)? (isa: $crate::isa::Isa, $($arg: $ty),*) {
            #[inline(always)]
            fn body<$($generic: $bound,)? const FMA: bool>($($arg: $ty),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn avx512 $(<$generic: $bound>)? ($($arg: $ty),*) {
                body::<$($generic,)? true>($($arg),*);
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2 $(<$generic: $bound>)? ($($arg: $ty),*) {
                body::<$($generic,)? true>($($arg),*);
            }

            // Detection is a cached atomic load, so that checking here keeps the function safe at
            // no cost.
            assert!(isa.is_available(), "this processor does not have the instruction set `{isa}`");
            match isa {
                // SAFETY: the features were detected just above.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Isa::Avx512 => unsafe { avx512 $(::<$generic>)? ($($arg),*) },
                // SAFETY: the features were detected just above.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Isa::Avx2 => unsafe { avx2 $(::<$generic>)? ($($arg),*) },
                _ => body::<$($generic,)? { $crate::multiversion::PORTABLE_FMA }>($($arg),*),
            }
        }
    };
}

pub(crate) use multiversion;
