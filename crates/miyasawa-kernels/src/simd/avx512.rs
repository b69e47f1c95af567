//! AVX-512.

use std::arch::x86_64::*;

use super::{Kernel, Simd};

/// Sixteen lanes.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

/// # Safety
/// The processor has the features below.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
#[inline(never)]
pub(crate) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the features are this function's precondition.
    unsafe { kernel.run::<Avx512>() }
}

#[inline(always)]
fn mask(n: usize) -> __mmask16 {
    debug_assert!(n <= 16);
    ((1u32 << n) - 1) as __mmask16
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    const ROWS: usize = 8;
    const COLUMNS: usize = 12;
    type V = __m512;

    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512) {
        // SAFETY: the trait's contract.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> __m512 {
        // SAFETY: the trait's contract; masked lanes are not touched.
        unsafe { _mm512_maskz_loadu_ps(mask(n), p) }
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, v: __m512, n: usize) {
        // SAFETY: the trait's contract; masked lanes are not touched.
        unsafe { _mm512_mask_storeu_ps(p, mask(n), v) }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn fnma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }

    const PAIRS: bool = true;
    #[inline(always)]
    unsafe fn load_pair(a: *const f32, b: *const f32, n: usize) -> __m512 {
        // SAFETY: the trait's contract; masked lanes are not touched.
        unsafe {
            let index = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let (a, b) =
                (_mm256_maskz_loadu_ps(mask(n) as u8, a), _mm256_maskz_loadu_ps(mask(n) as u8, b));
            _mm512_permutex2var_ps(_mm512_castps256_ps512(a), index, _mm512_castps256_ps512(b))
        }
    }
    #[inline(always)]
    unsafe fn store_pair(a: *mut f32, b: *mut f32, v: __m512, n: usize) {
        // SAFETY: the trait's contract; masked lanes are not touched.
        unsafe {
            let index = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
            let v = _mm512_permutexvar_ps(index, v);
            if !a.is_null() {
                _mm256_mask_storeu_ps(a, mask(n) as u8, _mm512_castps512_ps256(v));
            }
            if !b.is_null() {
                _mm256_mask_storeu_ps(b, mask(n) as u8, _mm512_extractf32x8_ps::<1>(v));
            }
        }
    }
    #[inline(always)]
    unsafe fn splat_pair(p: *const f32) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_castpd_ps(_mm512_set1_pd(p.cast::<f64>().read_unaligned())) }
    }

    #[inline(always)]
    unsafe fn round_bf16(v: __m512) -> __m512 {
        // SAFETY: the trait's contract.
        unsafe {
            let bits = _mm512_castps_si512(v);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
            let rounded = _mm512_castsi512_ps(_mm512_and_si512(up, _mm512_set1_epi32(-0x1_0000)));
            _mm512_mask_mov_ps(rounded, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v), v)
        }
    }
    #[inline(always)]
    unsafe fn sum(v: __m512) -> f32 {
        // SAFETY: the trait's contract.
        unsafe { _mm512_reduce_add_ps(v) }
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
            // Vector 4*j + i of `t` holds, for lane group j of 4 columns, rows i, i+4, i+8 and
            // i+12.
            let mut t = [_mm512_setzero_ps(); 16];
            for j in 0..4 {
                for i in 0..4 {
                    let at = |k: usize| _mm_loadu_ps(src.add((i + 4 * k) * stride + 4 * j));
                    let v = _mm512_castps128_ps512(at(0));
                    let v = _mm512_insertf32x4::<1>(v, at(1));
                    let v = _mm512_insertf32x4::<2>(v, at(2));
                    t[4 * j + i] = _mm512_insertf32x4::<3>(v, at(3));
                }
                // A 4x4 transpose within each 128-bit lane.
                let (a, b, c, d) = (t[4 * j], t[4 * j + 1], t[4 * j + 2], t[4 * j + 3]);
                let (ab0, ab1) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                let (cd0, cd1) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
                let (ab0, ab1) = (_mm512_castps_pd(ab0), _mm512_castps_pd(ab1));
                let (cd0, cd1) = (_mm512_castps_pd(cd0), _mm512_castps_pd(cd1));
                let out = [
                    _mm512_unpacklo_pd(ab0, cd0),
                    _mm512_unpackhi_pd(ab0, cd0),
                    _mm512_unpacklo_pd(ab1, cd1),
                    _mm512_unpackhi_pd(ab1, cd1),
                ];
                for (i, v) in out.into_iter().enumerate() {
                    _mm512_storeu_ps(dst.add((4 * j + i) * 16), _mm512_castpd_ps(v));
                }
            }
        }
    }
}
