//! Checkpoints in bfloat16.

use burn::tensor::{Device, TensorData};
use miyasawa::{
    checkpoint::{Checkpoint, ModelInfo, Precision},
    model::{Architecture, GradResNetConfig, params},
};
use proptest::prelude::*;
use std::path::Path;

fn checkpoint(seed: u64) -> Checkpoint {
    let network = GradResNetConfig { width: 4, blocks: vec![1], ..GradResNetConfig::new(1, 2) };
    let params = params::collect(&network.init(&Device::flex(), seed));
    let info = ModelInfo::new(Architecture::GradResNet(network), [4, 4]);
    Checkpoint { info, params }
}

fn read(bytes: &[u8]) -> Checkpoint {
    Checkpoint::from_bytes(bytes, Path::new("x")).unwrap()
}

/// Any finite float32 that bfloat16 can hold.
fn value() -> impl Strategy<Value = f32> {
    prop_oneof![any::<f32>(), -2.0f32..2.0, Just(0.0), Just(-0.0)]
        .prop_filter("in range", |v| v.is_finite() && v.abs() < 3.38e38)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn numbers_keep_their_first_eight_bits(
        seed in 0u64..100, values in proptest::collection::vec(value(), 36),
    ) {
        let mut original = checkpoint(seed);
        original.params.insert("stem.weight".to_owned(), TensorData::new(values, [4, 1, 3, 3]));
        let bytes = original.to_bytes_in(Precision::Bf16).unwrap();
        let found = read(&bytes);
        prop_assert_eq!(&found.info, &original.info);
        prop_assert_eq!(found.params.len(), original.params.len());
        for (name, data) in &original.params {
            let found = &found.params[name];
            prop_assert_eq!(found.shape(), data.shape());
            let (a, b) = (found.try_to_vec::<f32>().unwrap(), data.try_to_vec::<f32>().unwrap());
            for (a, b) in a.iter().zip(&b) {
                // Half a unit in the last of 8 bits; below the normal range a step has a fixed
                // size.
                let step = (b.abs() / 256.0).max(f32::from_bits(1 << 15));
                prop_assert!((a - b).abs() <= step, "{} {}", a, b);
                prop_assert_eq!(a.to_bits() & 0xffff, 0);
            }
        }
        // A value that was rounded once is exact in both types.
        prop_assert_eq!(&found.to_bytes_in(Precision::Bf16).unwrap(), &bytes);
        prop_assert_eq!(read(&found.to_bytes().unwrap()), found);
    }

    #[test]
    fn a_changed_byte_is_detected(at in 0usize..10_000, bit in 0u8..8) {
        let good = checkpoint(1).to_bytes_in(Precision::Bf16).unwrap();
        let mut bytes = good.clone();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        // Spaces that pad the header may change; numbers may not.
        if let Ok(found) = Checkpoint::from_bytes(&bytes, Path::new("x")) {
            prop_assert_eq!(found, read(&good));
        }
    }
}

#[test]
fn bfloat16_halves_the_size_and_values_that_overflow_are_errors() {
    let mut original = checkpoint(0);
    let (large, small) =
        (original.to_bytes().unwrap(), original.to_bytes_in(Precision::Bf16).unwrap());
    assert!(small.len() < large.len() * 2 / 3, "{} {}", small.len(), large.len());
    let values = vec![f32::MAX; 36];
    original.params.insert("stem.weight".to_owned(), TensorData::new(values, [4, 1, 3, 3]));
    let error = original.to_bytes_in(Precision::Bf16).unwrap_err();
    assert!(error.contains("stem.weight"), "{error}");
    assert_eq!(read(&original.to_bytes().unwrap()), original);
}
