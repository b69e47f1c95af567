//! The provenance of a report: program, date and command line.

use serde::{Deserialize, Serialize};
use std::{ffi::OsString, path::Path, time::SystemTime};

/// The program, date and command line that made a document. The measurements do not depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The program and its version.
    pub program: String,
    /// The date and time in UTC: `2026-11-28T07:40:12Z` (RFC 3339).
    pub date: String,
    /// The command line, quoted for a shell.
    pub call: String,
}

impl Provenance {
    /// The provenance of a document made now by the command line `arguments`, the program's name or
    /// path first.
    pub fn now(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let mut arguments = arguments.into_iter();
        // The program's folder is different on other machines.
        let program = arguments.next().unwrap_or_default();
        let program =
            Path::new(&program).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let quoted = arguments.map(|argument| quoted(&argument.to_string_lossy()));
        let call =
            std::iter::once(quoted_name(program)).chain(quoted).collect::<Vec<_>>().join(" ");
        Self {
            program: format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
            date: utc(SystemTime::now()),
            call,
        }
    }
}

fn quoted_name(program: String) -> String {
    if program.is_empty() { env!("CARGO_PKG_NAME").to_owned() } else { quoted(&program) }
}

/// Quotes an argument for a POSIX shell.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./,=:+@%^".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', "'\\''"))
}

/// A time in UTC, by RFC 3339, to the second.
fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a day counted from 1970-01-01 in the Gregorian calendar. Years are
/// counted from March, so that a leap day is the last of its year (Hinnant, "chrono-compatible
/// low-level date algorithms", `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (400 * era + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_call_can_be_pasted_into_a_shell() {
        let call = |arguments: &[&str]| {
            Provenance::now(arguments.iter().map(|a| OsString::from(*a)).collect::<Vec<_>>()).call
        };
        assert_eq!(
            call(&[
                "/usr/bin/miyasawa",
                "trust",
                "a b.safetensors",
                "--eps",
                "8/255,0.5",
                "--out",
                "it's",
                ""
            ]),
            "miyasawa trust 'a b.safetensors' --eps 8/255,0.5 --out 'it'\\''s' ''"
        );
        assert_eq!(call(&["miyasawa.exe", "$(rm)", "*", "~x"]), "miyasawa '$(rm)' '*' '~x'");
        assert_eq!(call(&[]), "miyasawa");
        let now = Provenance::now([]);
        assert_eq!(now.program, format!("miyasawa {}", env!("CARGO_PKG_VERSION")));
        assert!(
            now.date.starts_with("20") && now.date.ends_with('Z') && now.date.len() == 20,
            "{}",
            now.date
        );
    }

    /// Expected values of `date -u -d @SECONDS +%FT%TZ`.
    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (68_169_599, "1972-02-28T23:59:59Z"),
            (68_169_600, "1972-02-29T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_795_851_612, "2026-11-28T07:40:12Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
