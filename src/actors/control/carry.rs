//! Carries out the commands of one plan: in order, but side by side where order does not matter.

use futures::StreamExt;

use super::Control;
use crate::kube::resource::id;
use crate::kube::status::Status;
use crate::model::Revision;
use crate::plan::queue::Due;
use crate::plan::{Command, Plan};

/// Commands of one plan that are under way at once.
pub const COMMANDS_AT_ONCE: usize = 64;

/// How a plan ended.
pub(super) struct Carried {
    pub due: Due,
    /// The newest revision that its commands made.
    pub revision: Revision,
    pub verdict: Verdict,
    /// The first command, by its name.
    pub said: &'static str,
}

pub(super) enum Verdict {
    /// Every command was carried out.
    Done,
    /// It was made from an old version of something: plan again.
    Stale,
    /// The API said no.
    Refused(Status),
}

/// Commands that must follow each other; the first decides whether the rest is tried.
type Unit = Vec<Command>;

pub(super) async fn carry(control: &Control, due: Due, plan: Plan) -> Carried {
    let mut revision = Revision(0);
    let said = plan.commands.first().map_or("nothing", Command::name);
    for wave in waves(plan.commands) {
        let cause = due.cause;
        let runs = wave.into_iter().map(|unit| run(control, cause, unit));
        let ends: Vec<(Revision, Option<(Command, Status)>)> =
            futures::stream::iter(runs).buffer_unordered(COMMANDS_AT_ONCE).collect().await;
        revision = ends.iter().map(|(reached, _)| *reached).fold(revision, Revision::max);
        if let Some((command, status)) = ends.into_iter().find_map(|(_, failure)| failure) {
            if status.code == 409 {
                return Carried { due, revision, verdict: Verdict::Stale, said };
            }
            let noted = note_refusal(control, &due, &command, &status, revision).await;
            return Carried { due, revision: revision.max(noted), verdict: Verdict::Refused(status), said };
        }
    }
    Carried { due, revision, verdict: Verdict::Done, said }
}

async fn run(control: &Control, cause: u64, unit: Unit) -> (Revision, Option<(Command, Status)>) {
    let mut reached = Revision(0);
    for command in unit {
        tracing::debug!(controller = %control.identity, cause = format!("{cause:016x}"), command = command.name(), "carried out");
        match control.executor.execute(&control.identity, cause, command.clone()).await {
            Ok(revision) => reached = reached.max(revision.unwrap_or_default()),
            // An event that is not recorded is no reason to stop.
            Err(status) if matches!(command, Command::Event { .. }) => {
                tracing::debug!(controller = %control.identity, message = %status.message, "an event was not recorded");
            }
            Err(status) => return (reached, Some((command, status))),
        }
    }
    (reached, None)
}

/// Lets the controller say that a command was refused, with what was written before in sight.
async fn note_refusal(control: &Control, due: &Due, command: &Command, status: &Status, written: Revision) -> Revision {
    let caught_up = control.mirror.reached(written);
    if tokio::time::timeout(super::MIRROR_PATIENCE, caught_up).await.is_err() {
        return written;
    }
    let now = control.world.clock.now();
    let said = {
        let snapshot = control.mirror.snapshot().read();
        control.controller.refused(&due.key, command, &status.message, &snapshot, now)
    };
    match said {
        Ok(commands) => run(control, due.cause, commands).await.0,
        Err(error) => {
            tracing::error!(controller = %control.identity, key = %due.key, %error, "cannot say what was refused");
            written
        }
    }
}

/// Splits commands into waves: the units of one wave are independent of each other, and each wave begins when the one
/// before it has ended well. Pods are independent; anything else is a wave of its own. Events stay with what they
/// follow.
fn waves(commands: Vec<Command>) -> Vec<Vec<Unit>> {
    let mut waves: Vec<Vec<Unit>> = Vec::new();
    let mut open = false;
    for command in commands {
        let is_event = matches!(command, Command::Event { .. });
        let independent = is_independent(&command);
        match waves.last_mut() {
            Some(wave) if is_event => match wave.last_mut() {
                Some(unit) => unit.push(command),
                None => wave.push(vec![command]),
            },
            Some(wave) if independent && open => wave.push(vec![command]),
            _ => waves.push(vec![vec![command]]),
        }
        if !is_event {
            open = independent;
        }
    }
    waves
}

fn is_independent(command: &Command) -> bool {
    match command {
        Command::Create { resource, .. } => *resource == id::PODS,
        Command::Delete { .. } | Command::Bind { .. } => true,
        Command::Update { .. } | Command::Patch { .. } | Command::Event { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::ObjectKey;
    use crate::plan::command::Regarding;

    fn command(letter: char) -> Command {
        let key = ObjectKey::new(id::PODS, "default", "a");
        match letter {
            'c' => Command::Create { resource: id::PODS, namespace: "default".into(), body: json!({}) },
            'd' => Command::Delete { key, uid: None, propagation: None, grace_seconds: None },
            'b' => Command::Bind { key, uid: String::new(), node: String::new() },
            'u' => Command::Patch { key, subresource: None, body: json!({}) },
            _ => Command::Event {
                regarding: Box::new(Regarding {
                    key,
                    api_version: String::new(),
                    kind: String::new(),
                    uid: String::new(),
                    field_path: String::new(),
                }),
                warning: false,
                reason: "Said",
                message: String::new(),
            },
        }
    }

    fn check(commands: &str, expect: &[&[usize]]) {
        let waves = waves(commands.chars().map(command).collect());
        let sizes: Vec<Vec<usize>> = waves.iter().map(|wave| wave.iter().map(Vec::len).collect()).collect();
        assert_eq!(sizes, expect, "{commands}");
    }

    #[test]
    fn pods_go_side_by_side_with_their_events_and_updates_alone() {
        check("cececu", &[&[2, 2, 1], &[1]]);
        check("uuee", &[&[1], &[3]]);
        check("edbe", &[&[1], &[1, 2]]);
        check("ucdu", &[&[1], &[1, 1], &[1]]);
    }
}
