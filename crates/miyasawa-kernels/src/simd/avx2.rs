//! AVX2 with fused MAC.

use std::arch::x86_64::*;

use super::{Kernel, Simd, no_pairs};

/// Eight lanes.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

/// # Safety
/// The processor has the features below.
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
pub(crate) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the features are this function's precondition.
    unsafe { kernel.run::<Avx2>() }
}

/// A window of it starting at `8 - n` selects the first `n` lanes.
static MASK: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

#[inline(always)]
unsafe fn mask(n: usize) -> __m256i {
    debug_assert!(n <= 8);
    // SAFETY: `n <= 8`, so that the eight values read lie inside the table.
    unsafe { _mm256_loadu_si256(MASK.as_ptr().add(8 - n).cast()) }
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    const ROWS: usize = 6;
    const COLUMNS: usize = 6;
    type V = __m256;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m256 {
        // SAFETY: the trait's contract.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m256) {
        // SAFETY: the trait's contract.
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> __m256 {
        // SAFETY: the trait's contract; masked lanes are not touched.
        unsafe { if n == 8 { _mm256_loadu_ps(p) } else { _mm256_maskload_ps(p, mask(n)) } }
    }
    // A masked store is many micro-operations on AMD's processors: full vectors, and pieces of 4, 2
    // and 1 values for any other number, are faster.
    #[inline(always)]
    unsafe fn store_part(mut p: *mut f32, v: __m256, n: usize) {
        // SAFETY: the trait's contract; the pieces written add up to `n` values.
        unsafe {
            if n == 8 {
                return _mm256_storeu_ps(p, v);
            }
            let mut low = _mm256_castps256_ps128(v);
            if n & 4 != 0 {
                _mm_storeu_ps(p, low);
                (p, low) = (p.add(4), _mm256_extractf128_ps::<1>(v));
            }
            if n & 2 != 0 {
                _mm_storel_pd(p.cast(), _mm_castps_pd(low));
                (p, low) = (p.add(2), _mm_movehl_ps(low, low));
            }
            if n & 1 != 0 {
                _mm_store_ss(p, low);
            }
        }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        // SAFETY: the trait's contract.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the trait's contract.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the trait's contract.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the trait's contract.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the trait's contract.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn fnma(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the trait's contract.
        unsafe { _mm256_fnmadd_ps(a, b, c) }
    }

    no_pairs!();

    #[inline(always)]
    unsafe fn round_bf16(v: __m256) -> __m256 {
        // SAFETY: the trait's contract.
        unsafe {
            let bits = _mm256_castps_si256(v);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
            let rounded = _mm256_castsi256_ps(_mm256_and_si256(up, _mm256_set1_epi32(-0x1_0000)));
            _mm256_blendv_ps(rounded, v, _mm256_cmp_ps::<_CMP_UNORD_Q>(v, v))
        }
    }
    #[inline(always)]
    unsafe fn sum(v: __m256) -> f32 {
        // SAFETY: the trait's contract.
        unsafe {
            let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps::<1>(v, v)))
        }
    }

    #[inline(always)]
    unsafe fn prefetch(p: *const f32) {
        // SAFETY: a hint, which cannot fault.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    #[inline(always)]
    unsafe fn call<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: the trait's contract.
        unsafe { run(kernel) }
    }

    #[inline(always)]
    unsafe fn transpose(src: *const f32, stride: usize, dst: *mut f32) {
        // SAFETY: the trait's contract.
        unsafe {
            for j in 0..2 {
                let at = |i: usize| {
                    let low = _mm_loadu_ps(src.add(i * stride + 4 * j));
                    let high = _mm_loadu_ps(src.add((i + 4) * stride + 4 * j));
                    _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high)
                };
                // A 4x4 transpose within each 128-bit lane.
                let (a, b, c, d) = (at(0), at(1), at(2), at(3));
                let (ab0, ab1) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                let (cd0, cd1) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
                let out = [
                    _mm256_shuffle_ps::<0b01_00_01_00>(ab0, cd0),
                    _mm256_shuffle_ps::<0b11_10_11_10>(ab0, cd0),
                    _mm256_shuffle_ps::<0b01_00_01_00>(ab1, cd1),
                    _mm256_shuffle_ps::<0b11_10_11_10>(ab1, cd1),
                ];
                for (i, v) in out.into_iter().enumerate() {
                    _mm256_storeu_ps(dst.add((4 * j + i) * 8), v);
                }
            }
        }
    }
}
