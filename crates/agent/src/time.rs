//! Formatting and parsing of dates and times.

use jiff::tz::TimeZone;
use thoughtwire_proto::Timestamp;

/// The time in a zone, or in the server's.
pub(crate) fn current_time(now: Timestamp, zone: Option<&str>) -> Result<String, String> {
    let zone = match zone.map(str::trim).filter(|zone| !zone.is_empty()) {
        Some(name) => TimeZone::get(name).map_err(|_| {
            format!(
                "There is no time zone `{}`. Name one as in `Europe/Berlin`, or `UTC`.",
                name.escape_debug()
            )
        })?,
        None => TimeZone::system(),
    };
    Ok(write(now, &zone))
}

/// Formats a time for people, such as `Tuesday, 2026-01-06 14:05:09 (Europe/Berlin, UTC+01:00)`.
pub(crate) fn write(at: Timestamp, zone: &TimeZone) -> String {
    let Ok(at) = jiff::Timestamp::from_millisecond(at.as_millis()) else { return at.to_string() };
    let at = at.to_zoned(zone.clone());
    let offset = at.strftime("UTC%:z").to_string();
    let place = match zone.iana_name() {
        Some("UTC") | None => offset,
        Some(name) => format!("{name}, {offset}"),
    };
    format!("{} ({place})", at.strftime("%A, %Y-%m-%d %H:%M:%S"))
}

/// Formats a time to the minute, for lists.
pub(crate) fn short(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.as_millis()) {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => at.to_string(),
    }
}

/// Parses a day from `2026-01-06` or a longer text that begins like it.
pub(crate) fn day(text: &str) -> Option<jiff::civil::Date> {
    text.trim().get(..10)?.parse().ok()
}

/// The time at which a day begins (UTC).
pub(crate) fn begin(day: jiff::civil::Date) -> Option<Timestamp> {
    Some(Timestamp::from_millis(day.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond()))
}
