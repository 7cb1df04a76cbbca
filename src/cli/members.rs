//! `shoal members`: who is in the cluster, as the node that is asked sees it.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::arguments::cluster::MembersFlags;
use super::client::resources::{items, text};
use super::client::{self, JSON, Session};
use super::failure::Failure;
use super::get::table::Table;
use crate::kube::print::age;
use crate::model::Timestamp;
use crate::world::clock::{Clock, SystemClock};

const PATH: &str = "/shoal/v1/members";
/// Columns, and how many of them show without `-o wide`.
const COLUMNS: [&str; 11] = [
    "name",
    "state",
    "incarnation",
    "round trip",
    "version",
    "role",
    "address",
    "age",
    "zone",
    "pod cidr",
    "generation",
];
const NARROW: usize = 8;

/// Runs the command.
pub fn run(flags: &MembersFlags) -> Result<ExitCode, Failure> {
    client::run(async {
        let session = Session::open(&flags.client).await?;
        let members = session.get(PATH, JSON).await?;
        match flags.output.as_deref() {
            Some("json") => println!("{}", serde_json::to_string_pretty(&members)?),
            form => print!("{}", table(&members, form == Some("wide"), SystemClock.now()).render(flags.no_headers)),
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// A line of counts by state, such as `2 alive, 1 suspect`; `None` where the node tells no members.
pub async fn summary(session: &Session) -> Option<String> {
    let members = session.find(PATH).await.ok().flatten()?;
    let count = |state| items(&members, "items").iter().filter(|member| text(member, "/state") == state).count();
    let counts = ["alive", "suspect", "dead", "left"].map(|state| (count(state), state));
    let told: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, state)| format!("{count} {state}")).collect();
    Some(told.join(", "))
}

fn table(members: &Value, wide: bool, now: Timestamp) -> Table {
    let shown = if wide { COLUMNS.len() } else { NARROW };
    let rows = items(members, "items").iter().map(|member| {
        let mut cells = cells(member, wide, now);
        cells.truncate(shown);
        cells
    });
    Table::plain(COLUMNS.get(..shown).unwrap_or_default(), rows.collect())
}

fn cells(member: &Value, wide: bool, now: Timestamp) -> Vec<String> {
    let addresses: Vec<&str> = items(member, "addresses").iter().filter_map(Value::as_str).collect();
    let number = |key| member.get(key).and_then(Value::as_u64).map_or_else(|| "-".to_owned(), |n| n.to_string());
    let told = |pointer| Some(text(member, pointer)).filter(|told| !told.is_empty()).unwrap_or_else(|| "-".into());
    let since = text(member, "/since");
    let round_trip = member.get("roundTripMicros").and_then(Value::as_u64);
    vec![
        told("/name"),
        told("/state"),
        number("incarnation"),
        round_trip.map_or_else(|| "-".into(), |micros| short(Duration::from_micros(micros))),
        told("/version"),
        told("/role"),
        if wide && !addresses.is_empty() {
            addresses.join(",")
        } else {
            addresses.first().copied().unwrap_or("-").into()
        },
        age(Some(since.as_str()).filter(|since| !since.is_empty()), now),
        told("/zone"),
        told("/podCIDR"),
        number("generation"),
    ]
}

/// A round trip with three digits: `85µs`, `1.25ms`, `120ms`, `2.5s`.
fn short(time: Duration) -> String {
    let micros = time.as_micros();
    let scaled = |unit: u128, name: &str| {
        let hundredths = micros * 100 / unit;
        let (whole, rest) = (hundredths / 100, hundredths % 100);
        if whole >= 100 || rest == 0 { format!("{whole}{name}") } else { format!("{whole}.{rest:02}{name}") }
    };
    match micros {
        0..1_000 => format!("{micros}µs"),
        1_000..1_000_000 => scaled(1_000, "ms"),
        _ => scaled(1_000_000, "s"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_show_what_is_known_of_them() {
        let now = Timestamp::parse("2026-11-20T08:00:00Z").unwrap();
        let members = json!({ "me": "a", "localHealth": 0, "items": [
            { "name": "a", "state": "alive", "incarnation": 0, "generation": 3, "roundTripMicros": null,
              "version": "0.1.0", "role": "voter", "addresses": ["10.0.0.1:6443", "192.0.2.1:6443"], "zone": "",
              "podCIDR": "10.244.0.0/24", "since": "2026-11-20T07:58:30Z" },
            { "name": "node-b", "state": "suspect", "incarnation": 2, "generation": 1, "roundTripMicros": 1250,
              "version": "0.1.0", "role": "learner", "addresses": [], "zone": "z1", "podCIDR": "", "since": "" },
        ] });
        let narrow = "\
NAME     STATE     INCARNATION   ROUND TRIP   VERSION   ROLE      ADDRESS         AGE
a        alive     0             -            0.1.0     voter     10.0.0.1:6443   90s
node-b   suspect   2             1.25ms       0.1.0     learner   -               <unknown>
";
        assert_eq!(table(&members, false, now).render(false), narrow);
        let wide = table(&members, true, now).render(true);
        assert!(wide.contains("10.0.0.1:6443,192.0.2.1:6443   90s         -    10.244.0.0/24   3"), "{wide}");
    }

    #[test]
    fn round_trips_have_the_unit_that_fits() {
        for (micros, expect) in
            [(0, "0µs"), (85, "85µs"), (1_000, "1ms"), (1_250, "1.25ms"), (120_900, "120ms"), (2_500_000, "2.50s")]
        {
            assert_eq!(short(Duration::from_micros(micros)), expect);
        }
    }
}
