//! Ranges, ticks and their labels.

/// One axis: the values it spans and how they map to the unit interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    log: bool,
}

impl Axis {
    /// An axis over `values` with a small margin at both ends. Values that it cannot show are
    /// ignored.
    pub fn over(values: impl Iterator<Item = f64>, log: bool) -> Self {
        let shown = values.filter(|&v| shows(v, log));
        let (low, high) =
            shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if low > high {
            let (low, high) = if log { (0.1, 1.0) } else { (0.0, 1.0) };
            return Self { low, high, log };
        }
        let (low, high) = widen(low, high, log);
        if log {
            let room = (0.04 * (high.ln() - low.ln())).exp();
            Self { low: low / room, high: (high * room).min(f64::MAX), log }
        } else {
            let room = (high / 25.0 - low / 25.0).abs();
            Self { low: (low - room).max(f64::MIN), high: (high + room).min(f64::MAX), log }
        }
    }

    /// An axis that spans exactly these values, if it can.
    pub fn between(low: f64, high: f64, log: bool) -> Option<Self> {
        let (low, high) = (low.min(high), low.max(high));
        if !shows(low, log) || !shows(high, log) {
            return None;
        }
        let (low, high) = widen(low, high, log);
        Some(Self { low, high, log })
    }

    /// The position of a value: 0 at the low end, 1 at the high end; `None` if the axis cannot show
    /// it.
    pub fn position(&self, value: f64) -> Option<f64> {
        if !shows(value, self.log) {
            return None;
        }
        let position = if self.log {
            (value.ln() - self.low.ln()) / (self.high.ln() - self.low.ln())
        } else {
            // Halved, so that a range as wide as the type does not overflow.
            (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0)
        };
        // Far outside is far enough: the frame's arithmetic stays finite.
        Some(position.clamp(-1e6, 1e6))
    }

    /// Round values with their labels, about `count` of them.
    pub fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        let count = count.clamp(2, 20);
        let values = if self.log { self.log_values(count) } else { self.linear_values(count) };
        label(&values)
    }

    /// Labels for given values, without those outside the axis.
    pub fn ticks_at(&self, values: &[f64]) -> Vec<(f64, String)> {
        let inside = |v: &f64| self.position(*v).is_some_and(|p| (-1e-9..=1.0 + 1e-9).contains(&p));
        let mut values: Vec<f64> = values.iter().copied().filter(inside).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        values.into_iter().map(|v| (v, shortest(v))).collect()
    }

    fn linear_values(&self, count: usize) -> Vec<f64> {
        let raw = self.high / count as f64 - self.low / count as f64;
        let unit = 10f64.powf(raw.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].into_iter().find(|m| m * unit >= raw * 0.999).unwrap_or(10.0)
                * unit;
        let (first, last) = ((self.low / step - 1e-9).ceil(), (self.high / step + 1e-9).floor());
        // More than asked for only when rounding has eaten the step: there are no round values to
        // show.
        if !step.is_normal() || last - first > 4.0 * count as f64 {
            return vec![self.low, self.high];
        }
        (0..=(last - first) as usize).map(|i| (first + i as f64) * step).collect()
    }

    fn log_values(&self, count: usize) -> Vec<f64> {
        let inside = |v: &f64| *v >= self.low * (1.0 - 1e-9) && *v <= self.high * (1.0 + 1e-9);
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let decades = |digits: &'static [i32]| {
            (first..=last)
                // Parsed, because 10^-3 computed is not the number nearest to 0.001.
                .flat_map(move |d| {
                    digits.iter().filter_map(move |m| format!("{m}e{d}").parse::<f64>().ok())
                })
                .filter(inside)
                .collect::<Vec<f64>>()
        };
        let tens = decades(&[1]);
        if tens.len() > count {
            let every = tens.len().div_ceil(count);
            return tens.into_iter().step_by(every).collect();
        }
        for digits in [&[1, 2, 5][..], &[1, 3]] {
            let values = decades(digits);
            if (3..=count.max(3) + 1).contains(&values.len()) {
                return values;
            }
        }
        if tens.len() >= 2 {
            return tens;
        }
        self.linear_values(count).into_iter().filter(|&v| v > 0.0).collect()
    }
}

/// Whether an axis can show a value. Below 1e-250 a logarithmic one would run out of exponents.
pub(super) fn shows(value: f64, log: bool) -> bool {
    value.is_finite() && (!log || value >= 1e-250)
}

/// A range of no width gets one.
fn widen(low: f64, high: f64, log: bool) -> (f64, f64) {
    let least = 1e-9 * low.abs().max(high.abs());
    if high - low > least {
        (low, high)
    } else if log {
        (low / 2.0, (high * 2.0).min(f64::MAX))
    } else if low.abs() < 1e-290 {
        (-1.0, 1.0)
    } else {
        let room = 0.1 * low.abs().max(high.abs());
        ((low - room).max(f64::MIN), (high + room).min(f64::MAX))
    }
}

/// Labels of neighbouring ticks, all with the number of digits that their distance needs.
fn label(values: &[f64]) -> Vec<(f64, String)> {
    let largest = values.iter().fold(0f64, |m, v| m.max(v.abs()));
    let steps: Vec<f64> = values.windows(2).map(|w| w[1] - w[0]).collect();
    let even = steps.windows(2).all(|w| (w[0] - w[1]).abs() <= 1e-6 * w[0].abs());
    let step = steps.first().copied().unwrap_or(0.0);
    if !even || step <= 0.0 || !(1e-3..1e7).contains(&largest) {
        return values.iter().map(|&v| (v, shortest(v))).collect();
    }
    let (unit, suffix) = if largest >= 1e6 {
        (1e6, "M")
    } else if largest >= 1e4 {
        (1e3, "k")
    } else {
        (1.0, "")
    };
    let decimals =
        (0..=7).find(|&d| (step / unit * 10f64.powi(d) + 1e-6).fract() < 1e-5).unwrap_or(7);
    let text = |v: f64| match v {
        0.0 => "0".to_owned(),
        v => format!("{}{suffix}", minus(format!("{:.*}", decimals as usize, v / unit))),
    };
    values.iter().map(|&v| (v, text(if v.abs() < step * 1e-6 { 0.0 } else { v }))).collect()
}

/// The shortest text of a number to six digits.
pub(super) fn shortest(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let scientific = format!("{value:.5e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = exponent.parse().unwrap_or(0);
    minus(match power {
        -3..=4 => trim(&format!("{value:.*}", (5 - power).max(0) as usize)),
        _ => format!("{}e{exponent}", trim(digits)),
    })
}

/// The typographic minus sign is as wide as the digits.
fn minus(text: String) -> String {
    text.replace('-', "\u{2212}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64, log: bool, count: usize) -> Vec<String> {
        Axis::between(low, high, log).unwrap().ticks(count).into_iter().map(|t| t.1).collect()
    }

    #[test]
    fn ticks_are_round_and_equally_written() {
        assert_eq!(labels(0.0, 1.0, false, 5), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(0.0, 50_000.0, false, 5), ["0", "10k", "20k", "30k", "40k", "50k"]);
        assert_eq!(labels(0.0, 0.002, false, 4), ["0", "0.0005", "0.0010", "0.0015", "0.0020"]);
        assert_eq!(labels(-1.0, 1.0, false, 4), ["\u{2212}1.0", "\u{2212}0.5", "0", "0.5", "1.0"]);
        assert_eq!(labels(0.0, 2e-5, false, 2), ["0", "1e\u{2212}5", "2e\u{2212}5"]);
        assert_eq!(labels(0.0, 1.5e6, false, 3), ["0", "0.5M", "1.0M", "1.5M"]);
    }

    #[test]
    fn logarithmic_ticks_thin_out_with_the_span() {
        assert_eq!(labels(0.01, 1.0, true, 8), ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"]);
        assert_eq!(labels(1e-3, 1e3, true, 7), ["0.001", "0.01", "0.1", "1", "10", "100", "1000"]);
        assert!(labels(1e-30, 1e30, true, 6).len() <= 7);
        assert_eq!(labels(0.61, 0.79, true, 4), ["0.65", "0.70", "0.75"]);
    }

    #[test]
    fn given_ticks_are_sorted_and_kept_inside() {
        let axis = Axis::between(0.02, 1.0, true).unwrap();
        let texts: Vec<_> =
            axis.ticks_at(&[1.0, 0.4, 0.02, 0.4, 7.0, -1.0]).into_iter().map(|t| t.1).collect();
        assert_eq!(texts, ["0.02", "0.4", "1"]);
    }

    #[test]
    fn no_range_is_without_width() {
        for log in [false, true] {
            for values in [
                vec![],
                vec![0.0],
                vec![3.0, 3.0],
                vec![f64::MIN, f64::MAX],
                vec![1e-308],
                vec![f64::NAN],
            ] {
                let axis = Axis::over(values.iter().copied(), log);
                assert!(axis.high > axis.low, "{values:?} {axis:?}");
                for value in values {
                    assert!(
                        axis.position(value).is_none_or(|p| (0.0..=1.0).contains(&p)),
                        "{value} {axis:?}"
                    );
                }
                assert!(axis.ticks(6).len() < 30);
            }
        }
    }

    #[test]
    fn numbers_are_written_short() {
        let cases = [
            (0.1, "0.1"),
            (12.5, "12.5"),
            (1e-7, "1e\u{2212}7"),
            (1234567.0, "1.23457e6"),
            (-2.0, "\u{2212}2"),
        ];
        for (value, text) in cases {
            assert_eq!(shortest(value), text);
        }
    }
}
