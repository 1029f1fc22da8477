//! Triggers that make no jobs although they should, and deliveries that became none.

use backroom::{Backroom, HealthCheck, Timestamp};
use backroom_triggers::admin;

use super::check::check;
use crate::{terminal::words, views::trigger::TriggerView};

/// Whether every trigger that is not paused is read and does not fail; none where there is no trigger.
pub(super) async fn triggers(backroom: &Backroom, now: Timestamp) -> Option<HealthCheck> {
    let rows = match admin::list(backroom, None).await {
        Ok(rows) if rows.is_empty() => return None,
        rows => rows,
    };
    let found = check("triggers", async {
        let views: Vec<_> = rows?.into_iter().map(|row| TriggerView::new(row, now)).collect();
        let mut said = Vec::new();
        for view in &views {
            match view.activity.as_str() {
                "failing" | "blocked" => {
                    let why = view.error().unwrap_or("it does not say why");
                    said.push(format!("{} is {}: {why}", view.name, view.activity));
                }
                "unread" => said.push(format!("no process reads {}; start the server that has it, or forget it by DELETE /v1/triggers/{0}", view.name)),
                _ => {}
            }
        }
        let is_well = said.is_empty();
        let letters: u64 = views.iter().map(|view| view.dead_letters).sum();
        if letters > 0 {
            let count = words::count(letters, "dead letter");
            said.push(format!("{count}; `backroom triggers dead-letters` lists them"));
        }
        if said.is_empty() {
            said.push(format!("{}, none fails", words::count(views.len() as u64, "trigger")));
        }
        Ok((is_well, said.join("; ")))
    });
    Some(found.await)
}
