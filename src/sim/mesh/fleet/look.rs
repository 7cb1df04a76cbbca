//! What is written down of what the machines see: every change of every view, and how all stands at the end.

use std::collections::BTreeMap;

use super::{Fleet, Process};
use crate::mesh::member::{Life as Liveness, Member, View};
use crate::model::NodeId;
use crate::sim::mesh::history::{Seen, Sight};

impl Fleet {
    /// Writes down what has changed in what each node sees.
    pub fn look(&mut self) {
        let at = self.hand.at();
        self.note_connections();
        for site in &mut self.sites {
            let by = site.who();
            let Some(process) = site.process.as_mut().filter(|process| process.view.has_changed().unwrap_or(false))
            else {
                continue;
            };
            let now = members(&process.view.borrow_and_update());
            let gone = process.last.keys().filter(|name| !now.contains_key(*name)).cloned().map(|name| (name, None));
            let changed = now.iter().filter(|(name, seen)| process.last.get(*name) != Some(*seen));
            let changed = changed.map(|(name, seen)| (name.clone(), Some(*seen)));
            let sights: Vec<Sight> =
                gone.chain(changed).map(|(member, seen)| Sight { at, by: by.clone(), member, seen }).collect();
            for sight in &sights {
                self.shared.trace.note(format!("{} sees {} as {:?}", by.node, sight.member, sight.seen));
            }
            self.shared.history.lock().sights.extend(sights);
            process.last = now;
        }
    }

    /// Writes down how all stands at the end.
    pub fn look_for_the_last_time(&mut self) {
        self.look();
        let mut history = self.shared.history.lock();
        history.end.at = self.hand.at();
        for site in &self.sites {
            let Some(Process { view, .. }) = &site.process else { continue };
            let view = view.borrow();
            let version = view.members.get(&site.name).map_or(0, |me| me.meta.version);
            history.end.up.insert(site.name.clone(), (site.generation, version));
            let living = members(&view).into_iter().filter(|(_, seen)| is_living(seen.life)).collect();
            history.end.views.insert(site.name.clone(), living);
        }
    }

    /// Takes over the connections that the network has made.
    pub(super) fn note_connections(&mut self) {
        let opened = self.net.with(|net| std::mem::take(&mut net.opened));
        for one in &opened {
            let [dialler, accepter] = &one.shown;
            self.shared.trace.note(format!("{} is connected to {}", dialler.node, accepter.node));
        }
        self.shared.history.lock().opened.extend(opened);
    }
}

fn is_living(life: Liveness) -> bool {
    matches!(life, Liveness::Alive | Liveness::Suspect)
}

fn members(view: &View) -> BTreeMap<NodeId, Seen> {
    view.members.values().map(|member| (member.node.clone(), seen(member))).collect()
}

fn seen(member: &Member) -> Seen {
    Seen {
        generation: member.generation,
        incarnation: member.incarnation,
        life: member.life,
        version: member.meta.version,
    }
}
