//! NEON.

use std::arch::aarch64::*;

use super::{Kernel, Simd, no_pairs, transpose_scalar};

/// Four lanes.
#[derive(Clone, Copy)]
pub(crate) struct Neon;

/// # Safety
/// The processor has the feature below.
#[target_feature(enable = "neon")]
#[inline(never)]
pub(crate) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the feature is this function's precondition.
    unsafe { kernel.run::<Neon>() }
}

impl Simd for Neon {
    const LANES: usize = 4;
    const ROWS: usize = 8;
    const COLUMNS: usize = 12;
    type V = float32x4_t;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> float32x4_t {
        // SAFETY: the trait's contract.
        unsafe { vld1q_f32(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: float32x4_t) {
        // SAFETY: the trait's contract.
        unsafe { vst1q_f32(p, v) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> float32x4_t {
        let mut full = [0.0f32; 4];
        for (i, x) in full.iter_mut().enumerate().take(n) {
            // SAFETY: the trait's contract: `n` values can be read.
            *x = unsafe { *p.add(i) };
        }
        // SAFETY: `full` has four values.
        unsafe { vld1q_f32(full.as_ptr()) }
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, v: float32x4_t, n: usize) {
        let mut full = [0.0f32; 4];
        // SAFETY: `full` has four values.
        unsafe { vst1q_f32(full.as_mut_ptr(), v) };
        for (i, x) in full.iter().enumerate().take(n) {
            // SAFETY: the trait's contract: `n` values can be written.
            unsafe { *p.add(i) = *x };
        }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> float32x4_t {
        // SAFETY: the trait's contract.
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the trait's contract.
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the trait's contract.
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the trait's contract.
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: the trait's contract.
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    unsafe fn fnma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: the trait's contract.
        unsafe { vfmsq_f32(c, a, b) }
    }

    no_pairs!();

    #[inline(always)]
    unsafe fn round_bf16(v: float32x4_t) -> float32x4_t {
        // SAFETY: the trait's contract.
        unsafe {
            let bits = vreinterpretq_u32_f32(v);
            let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
            let up = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7FFF)));
            let rounded = vreinterpretq_f32_u32(vandq_u32(up, vdupq_n_u32(0xFFFF_0000)));
            vbslq_f32(vceqq_f32(v, v), rounded, v)
        }
    }
    #[inline(always)]
    unsafe fn sum(v: float32x4_t) -> f32 {
        // SAFETY: the trait's contract.
        unsafe { vaddvq_f32(v) }
    }

    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}

    #[inline(always)]
    unsafe fn call<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: the trait's contract.
        unsafe { run(kernel) }
    }

    #[inline(always)]
    unsafe fn transpose(src: *const f32, stride: usize, dst: *mut f32) {
        // SAFETY: the trait's contract.
        unsafe { transpose_scalar(src, stride, dst, 4) }
    }
}
