//! Bytes, rates and times, for people. A kilobyte is 1,000 bytes, as networks count.

use std::time::Duration;

const STEPS: [(u64, &str, char); 4] =
    [(1_000_000_000_000, "TB", 'T'), (1_000_000_000, "GB", 'G'), (1_000_000, "MB", 'M'), (1_000, "kB", 'k')];

/// What [`bytes`] shows of an amount, as a number.
pub fn shown(amount: u64) -> u64 {
    parse(&bytes(amount).replace([' ', 'B'], "")).unwrap_or(amount)
}

/// An amount of bytes, with three digits: `1.23 GB`.
pub fn bytes(bytes: u64) -> String {
    // What would be shown as 1000 kB is 1.00 MB.
    let step = STEPS.into_iter().find(|(one, ..)| bytes as f64 >= *one as f64 * 0.9995);
    let Some((one, name, _)) = step else { return format!("{bytes} B") };
    let amount = bytes as f64 / one as f64;
    let digits = if amount < 9.995 { 2 } else { usize::from(amount < 99.95) };
    format!("{amount:.digits$} {name}")
}

/// Reads an amount: digits, perhaps with a fraction, perhaps with a letter from `k` to `T`.
pub fn parse(text: &str) -> Option<u64> {
    let last = text.chars().last()?;
    let step = STEPS.iter().find(|(.., letter)| letter.eq_ignore_ascii_case(&last));
    let (number, one) = step.map_or((text, 1), |(one, ..)| (&text[..text.len() - 1], *one));
    let plain = number.chars().all(|c| c.is_ascii_digit() || c == '.');
    // Rates and sizes of today are far below what a double holds exactly.
    let amount = number.parse::<f64>().ok().filter(|_| plain)? * one as f64;
    (amount < 1e18).then_some(amount.round() as u64)
}

/// Bytes a second.
pub fn rate(per_second: u64) -> String {
    format!("{}/s", bytes(per_second))
}

/// A time to wait, in whole seconds.
pub fn left(seconds: u64) -> String {
    if seconds < 10 { format!("{seconds} s") } else { time(Duration::from_secs(seconds)) }
}

/// A time, as two units at most: `3 s`, `2 min 5 s`, `1 h 4 min`.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => format!("{:.1} s", time.as_secs_f64()),
        (0, 0, seconds) if seconds < 10 => format!("{:.1} s", time.as_secs_f64()),
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) if hours < 100 => format!("{hours} h {minutes} min"),
        (hours, ..) => format!("{} days", hours / 24),
    }
}

/// So many of something: `1 file`, `2 files`.
pub fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_of_each_unit() {
        let shown =
            [0, 999, 1000, 999_499, 999_999, 12_345_678, 123_456_789, 2_000_000_000_000_000].map(bytes);
        let expected = ["0 B", "999 B", "1.00 kB", "999 kB", "1.00 MB", "12.3 MB", "123 MB", "2000 TB"];
        assert_eq!(shown, expected);
        let shown = [0.04, 9.96, 12.0, 125.0, 3840.0, 1e6].map(|s| time(Duration::from_secs_f64(s)));
        assert_eq!(shown, ["0.0 s", "10.0 s", "12 s", "2 min 5 s", "1 h 4 min", "11 days"]);
    }
}
