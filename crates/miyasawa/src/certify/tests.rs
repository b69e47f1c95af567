use super::*;
use crate::classifier::LogitGrad;
use crate::data::Geometry;

/// Class 1 above a plane, class 0 below: smoothing does not move the boundary, and the radius
/// is the distance to it.
struct HalfSpace;

const THRESHOLD: f32 = 0.5;

impl Classifier for HalfSpace {
    fn shape(&self) -> [usize; 3] {
        [1, 1, 3]
    }

    fn classes(&self) -> usize {
        2
    }

    fn logits(&self, images: &[f32]) -> Vec<f32> {
        images.chunks(3).flat_map(|x| [THRESHOLD - x[0], x[0] - THRESHOLD]).collect()
    }

    fn gradient(&self, _: &[f32], _: &LogitGrad<'_>) -> (Vec<f32>, Vec<f32>) {
        unreachable!("certificates need no gradient")
    }
}

fn options() -> CertifyOptions {
    CertifyOptions {
        sigma: 0.5,
        n0: 100,
        n: 4000,
        alpha: 0.001,
        radii: vec![0.1, 0.25],
        fixed: true,
        batch: 64,
        seed: 0,
    }
}

fn data(values: &[u8]) -> Dataset {
    let pixels = values.iter().flat_map(|v| [*v, 9, 200]).collect();
    let labels = values.iter().map(|v| u32::from(f32::from(*v) / 255.0 > THRESHOLD)).collect();
    Dataset::new("x", Geometry::new(1, 1, 3), vec!["a".into(), "b".into()], pixels, labels).unwrap()
}

#[test]
fn the_radius_approaches_the_distance_to_the_plane_and_never_exceeds_it() {
    let data = data(&[0, 64, 120, 128, 160, 200, 240]);
    let found = certify(&HalfSpace, &data, &options(), &mut ());
    for c in &found {
        let distance = (f64::from(data.image(c.image)[0]) / 255.0 - f64::from(THRESHOLD)).abs();
        match c.class {
            Some(class) => {
                assert_eq!(class, c.label);
                // Noise of the level 0.5 has the standard deviation 0.25 on [0, 1].
                assert!(
                    c.radius <= distance + 1e-9 && c.radius > 0.85 * distance - 0.02,
                    "{c:?} {distance}"
                );
            }
            None => assert!(distance < 0.02, "{c:?} {distance}"),
        }
        assert_eq!(c.draws, 4000);
    }
    assert_eq!(found[3].class, None, "two thousandths from the plane");
    let rows = certified_accuracy(&found, &[0.0, 0.25, 0.6]);
    let shares: Vec<f64> = rows.iter().map(|r| r.certified_accuracy).collect();
    assert!(shares[0] > shares[1] && shares[1] >= 2.0 / 7.0 && shares[2] == 0.0, "{shares:?}");
}

#[test]
fn draws_grow_only_where_they_are_needed() {
    let data = data(&[0, 64, 128, 200, 255]);
    let grown = certify(&HalfSpace, &data, &CertifyOptions { fixed: false, ..options() }, &mut ());
    let fixed = certify(&HalfSpace, &data, &options(), &mut ());
    for radius in [0.1, 0.25] {
        assert_eq!(certified_accuracy(&grown, &[radius]), certified_accuracy(&fixed, &[radius]));
    }
    assert!(grown[0].draws < 1001 && grown[4].draws < 1001 && grown[2].draws == 4000, "{grown:?}");
    // The draws are the same whatever the batch.
    let again = CertifyOptions { fixed: false, batch: 7, ..options() };
    assert_eq!(certify(&HalfSpace, &data, &again, &mut ()), grown);
    // A radius that no image can reach at this noise does not delay the end of drawing.
    let beyond = CertifyOptions { fixed: false, radii: vec![0.1, 0.25, 9.0], ..options() };
    assert_eq!(certify(&HalfSpace, &data, &beyond, &mut ()), grown);
    let far = CertifyOptions { fixed: false, radii: vec![0.1, 0.5], ..options() };
    let far = certify(&HalfSpace, &data, &far, &mut ());
    assert!(far[1].draws < 4000 && far[1].radius >= 0.1 && fixed[1].radius < 0.5, "{far:?}");
    // The draws depend on the image, not on the subset that contains it.
    let few = data.subset(2).unwrap();
    let of_few = certify(&HalfSpace, &few, &options(), &mut ());
    assert_eq!(of_few, [fixed[0].clone(), fixed[2].clone()]);
    let other = CertifyOptions { seed: 1, ..options() };
    assert_ne!(certify(&HalfSpace, &data, &other, &mut ()), fixed);
}

#[test]
fn predictions_abstain_where_classes_cannot_be_distinguished() {
    let at = |v: u8| unit_values(&data(&[v]), &[0]);
    assert_eq!(predict(&HalfSpace, &at(10), &options(), 0), Some(0));
    assert_eq!(predict(&HalfSpace, &at(250), &options(), 0), Some(1));
    assert_eq!(predict(&HalfSpace, &at(128), &options(), 0), None);
}
