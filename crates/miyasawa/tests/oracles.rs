//! Recomputes every quantity of every oracle file on the CPU. `scripts/oracles.sh` makes the files.

use miyasawa::{Device, verify};

/// The largest relative error of each quantity.
const TOLERANCE: f64 = 1e-4;

#[test]
fn every_quantity_of_every_oracle_agrees_with_pytorch() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracles");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for found in verify::verify(&bytes, &Device::flex()).unwrap() {
            // Written so that a NaN fails.
            let holds = found.relative_error <= TOLERANCE;
            assert!(
                holds,
                "{}: {} is off by {:.1e}",
                path.display(),
                found.quantity,
                found.relative_error
            );
        }
        count += 1;
    }
    assert!(count >= 11, "{count} oracles in {folder}");
}

#[test]
fn damaged_and_wrong_oracles_are_detected() {
    let verify = |bytes: &[u8]| verify::verify(bytes, &Device::flex());
    for cut in [0, 7, 100, verify::EMBEDDED.len() / 2, verify::EMBEDDED.len() - 1] {
        assert!(verify(&verify::EMBEDDED[..cut]).is_err(), "cut at {cut}");
    }
    // The last bytes belong to a tensor's values: with its exponent changed some quantity is far
    // off.
    let mut changed = verify::EMBEDDED.to_vec();
    let last = changed.len() - 1;
    changed[last] ^= 0x04;
    let worst = verify(&changed).unwrap().iter().map(|d| d.relative_error).fold(0.0, f64::max);
    assert!(worst.is_nan() || worst > TOLERANCE, "{worst}");
}
