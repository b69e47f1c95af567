//! Formatting of numbers and lists in reports.

use crate::metrics::Estimate;

/// A share in percent: `88.0%`.
pub fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

/// A share in percent with its interval, where that is known: `88.0% (80.2\u{2013}93.0)`.
pub fn percent_within(share: Estimate) -> String {
    let range = |[low, high]: [f64; 2]| format!(" ({:.1}\u{2013}{:.1})", 100.0 * low, 100.0 * high);
    percent(share.value) + &share.interval().map(range).unwrap_or_default()
}

/// A value and its standard error, where that is known: `33.13 \u{b1} 0.35 dB`.
pub fn with_error(value: f64, error: Option<f64>, digits: usize, unit: &str) -> String {
    let error = error.map(|e| format!(" \u{b1} {e:.digits$}")).unwrap_or_default();
    format!("{value:.digits$}{error}{unit}")
}

/// A list in words: `a, b and c`.
pub fn listed(things: &[String]) -> String {
    match things {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_intervals_where_they_are_known() {
        assert_eq!(percent_within(Estimate::share(0.88, 100)), "88.0% (80.2\u{2013}93.0)");
        assert_eq!(percent_within(Estimate::within(0.88, None)), "88.0%");
        assert_eq!(with_error(33.126, Some(0.351), 2, " dB"), "33.13 \u{b1} 0.35 dB");
        assert_eq!(with_error(33.126, None, 2, ""), "33.13");
        assert_eq!(listed(&["a", "b", "c"].map(str::to_owned)), "a, b and c");
        assert_eq!((listed(&[]), listed(&["a".to_owned()])), (String::new(), "a".to_owned()));
    }
}
