//! Tells the other nodes how loaded this one is.

use std::time::Duration;

use ractor::ActorProcessingErr;

use crate::actors::service::Service as Task;
use crate::actors::supervisor::Child;
use crate::mesh::handle::Mesh;
use crate::runtime::machine;

/// How often is looked; gossip itself tells only what has changed enough.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A change of load by less than this share of what was told is not worth a word.
const WORTH: f64 = 0.1;

/// The child `load` of a supervisor.
pub fn child(mesh: Mesh) -> Child {
    Task::child("load", move || {
        let mesh = mesh.clone();
        async move { tell(&mesh).await }
    })
}

async fn tell(mesh: &Mesh) -> Result<(), ActorProcessingErr> {
    let mut told = 0;
    loop {
        if let Some(load) = machine::load_millicores().filter(|load| is_worth(told, *load)) {
            mesh.tell(|meta| meta.load_millicores = load);
            told = load;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[allow(clippy::cast_precision_loss, reason = "loads are small")]
fn is_worth(told: u64, load: u64) -> bool {
    load.abs_diff(told) as f64 > told.max(100) as f64 * WORTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_changes_are_not_told() {
        assert!(is_worth(0, 50) && is_worth(1000, 1200) && is_worth(1000, 700));
        assert!(!is_worth(0, 10) && !is_worth(1000, 1050) && !is_worth(1000, 1000));
    }
}
