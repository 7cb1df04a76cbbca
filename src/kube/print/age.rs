//! Times the way people read them. Rules: `k8s.io/apimachinery/pkg/util/duration`.

use crate::model::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// The time since an RFC 3339 time; `<unknown>` where there is none, `<invalid>` where it lies ahead.
pub fn age(since: Option<&str>, now: Timestamp) -> String {
    match since.and_then(Timestamp::parse) {
        // Truncated towards zero, so that a clock that is a moment behind shows 0s.
        Some(since) => human_duration((now.0 - since.0) / 1_000_000),
        None => "<unknown>".to_owned(),
    }
}

/// A duration in seconds with the two units that matter: `90s`, `5m30s`, `3h`, `2d4h`, `400d`, `3y45d`.
pub fn human_duration(seconds: i64) -> String {
    let two = |large: i64, unit: &str, small: i64, lesser: &str| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{lesser}") }
    };
    let (minutes, hours, days, years) = (seconds / MINUTE, seconds / HOUR, seconds / DAY, seconds / YEAR);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        _ if seconds < 2 * MINUTE => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % MINUTE, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if days < 8 => two(days, "d", hours % 24, "h"),
        _ if days < 2 * 365 => format!("{days}d"),
        _ if years < 8 => two(years, "y", days % 365, "d"),
        _ => format!("{years}y"),
    }
}
