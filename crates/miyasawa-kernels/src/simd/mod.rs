//! The few vector operations that the convolutions are written in, and their instruction sets.
//!
//! An algorithm is written once, as a [`Kernel`] generic over [`Simd`], everything in it
//! `#[inline(always)]`; `Isa::run` enters it through a function that enables the processor's
//! features, and inlining carries them down to every intrinsic.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;

/// A vector of `f32`.
///
/// # Safety
/// Every method needs a processor with the instruction set; loads and stores need a pointer that is
/// valid for the values that they name (all of the vector, or the first `n`).
pub(crate) trait Simd: Copy {
    /// Values in a vector.
    const LANES: usize;
    /// Rows of two vectors that `A*B` keeps in registers.
    const ROWS: usize;
    /// Rows of two vectors that `A^T*B` keeps in registers.
    const COLUMNS: usize;
    /// The vector.
    type V: Copy;

    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    /// The first `n <= LANES` values, zeros after them.
    unsafe fn load_part(p: *const f32, n: usize) -> Self::V;
    unsafe fn store_part(p: *mut f32, v: Self::V, n: usize);
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `a*b + c`
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c - a*b`
    unsafe fn fnma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;

    /// Every value rounded to the nearest bfloat16, ties to even; NaN stays NaN.
    unsafe fn round_bf16(v: Self::V) -> Self::V;

    /// The sum of a vector's values.
    unsafe fn sum(v: Self::V) -> f32;

    /// Two half vectors interleaved, `a0 b0 a1 b1 ..`, from the first `n <= LANES/2` values of
    /// each.
    unsafe fn load_pair(a: *const f32, b: *const f32, n: usize) -> Self::V;
    /// The reverse of `load_pair`; a null pointer drops its half.
    unsafe fn store_pair(a: *mut f32, b: *mut f32, v: Self::V, n: usize);
    /// `p[0] p[1] p[0] p[1] ..`
    unsafe fn splat_pair(p: *const f32) -> Self::V;
    /// Whether the three pair operations exist.
    const PAIRS: bool;

    /// Prefetches a cache line; any address is allowed.
    unsafe fn prefetch(p: *const f32);

    /// Runs a kernel without inlining it, so that one copy of a large one serves all its users.
    unsafe fn call<K: Kernel>(kernel: K) -> K::Output;

    /// `dst[j*LANES + i] = src[i*stride + j]` for `i, j < LANES`.
    unsafe fn transpose(src: *const f32, stride: usize, dst: *mut f32);
}

/// An algorithm to be compiled for every instruction set.
pub(crate) trait Kernel {
    /// The type of the result.
    type Output;

    /// # Safety
    /// The processor has the instruction set of `S`. Implementations must be `#[inline(always)]`.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

/// Placeholders for the pair operations of an instruction set without them.
macro_rules! no_pairs {
    () => {
        const PAIRS: bool = false;
        unsafe fn load_pair(_: *const f32, _: *const f32, _: usize) -> Self::V {
            unreachable!("PAIRS is false")
        }
        unsafe fn store_pair(_: *mut f32, _: *mut f32, _: Self::V, _: usize) {
            unreachable!("PAIRS is false")
        }
        unsafe fn splat_pair(_: *const f32) -> Self::V {
            unreachable!("PAIRS is false")
        }
    };
}
pub(crate) use no_pairs;

/// `Simd::transpose`, one value at a time.
///
/// # Safety
/// `src` is valid for `lanes` reads at each of `lanes` rows, `dst` for `lanes*lanes` writes.
#[inline(always)]
pub(crate) unsafe fn transpose_scalar(src: *const f32, stride: usize, dst: *mut f32, lanes: usize) {
    for i in 0..lanes {
        for j in 0..lanes {
            // SAFETY: in bounds by the caller's promise.
            unsafe { *dst.add(j * lanes + i) = *src.add(i * stride + j) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    struct Everything;

    impl Kernel for Everything {
        type Output = ();

        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            let l = S::LANES;
            let a: Vec<f32> = (0..l * 20).map(|i| i as f32 + 1.0).collect();
            let b: Vec<f32> = (0..l).map(|i| 0.5 - i as f32).collect();
            let (mut out, mut exact) = (vec![0.0f32; l], vec![0.0f32; l]);
            // SAFETY: `Isa::run` vouches for the processor; all pointers are into slices long
            // enough.
            unsafe {
                let (va, vb, vc) = (S::load(a.as_ptr()), S::load(b.as_ptr()), S::splat(3.0));
                let mut check = |v: S::V, f: &dyn Fn(usize) -> f32| {
                    S::store(out.as_mut_ptr(), v);
                    (0..l).for_each(|i| assert_eq!(out[i], f(i), "lane {i} of {l}"));
                };
                check(S::add(va, vb), &|i| a[i] + b[i]);
                check(S::sub(va, vb), &|i| a[i] - b[i]);
                check(S::mul(va, vb), &|i| a[i] * b[i]);
                check(S::fma(va, vb, vc), &|i| a[i] * b[i] + 3.0);
                check(S::fnma(va, vb, vc), &|i| 3.0 - a[i] * b[i]);
                let fine = S::fma(va, S::splat(1.003_906_3), S::splat(f32::MIN_POSITIVE));
                S::store(exact.as_mut_ptr(), fine);
                check(S::round_bf16(fine), &|i| crate::bf16::nearest_bf16(exact[i]));
                check(S::round_bf16(S::splat(f32::INFINITY)), &|_| f32::INFINITY);
                S::store(exact.as_mut_ptr(), S::round_bf16(S::splat(f32::from_bits(0x7FFF_FFFF))));
                assert!(exact.iter().all(|value| value.is_nan()));
                assert_eq!(S::sum(va), (1..=l).sum::<usize>() as f32);
                for n in 0..=l {
                    check(S::load_part(a.as_ptr(), n), &|i| if i < n { a[i] } else { 0.0 });
                    let mut part = vec![-1.0f32; l];
                    S::store_part(part.as_mut_ptr(), va, n);
                    (0..l).for_each(|i| assert_eq!(part[i], if i < n { a[i] } else { -1.0 }));
                }
                let mut t = vec![0.0f32; l * l];
                S::transpose(a.as_ptr(), l + 3, t.as_mut_ptr());
                for i in 0..l {
                    (0..l).for_each(|j| assert_eq!(t[j * l + i], a[i * (l + 3) + j]));
                }
                if S::PAIRS {
                    check(S::splat_pair(a.as_ptr()), &|i| a[i % 2]);
                    for n in 0..=l / 2 {
                        let v = S::load_pair(a.as_ptr(), b.as_ptr(), n);
                        let half = |i: usize| if i.is_multiple_of(2) { a[i / 2] } else { b[i / 2] };
                        check(v, &|i| if i / 2 < n { half(i) } else { 0.0 });
                        let (mut x, mut y) = (vec![-1.0f32; l], vec![-1.0f32; l]);
                        S::store_pair(x.as_mut_ptr(), y.as_mut_ptr(), v, n);
                        (0..l).for_each(|i| assert_eq!(x[i], if i < n { a[i] } else { -1.0 }));
                        (0..l).for_each(|i| assert_eq!(y[i], if i < n { b[i] } else { -1.0 }));
                        S::store_pair(std::ptr::null_mut(), std::ptr::null_mut(), v, n);
                    }
                }
            }
        }
    }

    #[test]
    fn every_operation_of_every_instruction_set() {
        for isa in Isa::available() {
            isa.run(Everything);
        }
    }
}
