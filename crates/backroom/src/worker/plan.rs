//! What a worker is to be, before it starts.

use std::{collections::HashMap, sync::Arc};

use super::{
    kind_breakers::KindBreakers, neighbours::Neighbours, queue_order::QueueOrder, settings::Settings,
};
use crate::{
    Backroom, Middleware, ends::Hook, handler::Handler, handler_state::States, schedule_news::ScheduleHook,
};

/// Everything that [`Worker`](super::Worker) was given.
pub(super) struct Plan {
    pub(super) backroom: Backroom,
    pub(super) name: Option<String>,
    pub(super) pools: Vec<(QueueOrder, u32)>,
    pub(super) handlers: HashMap<String, Arc<Handler>>,
    pub(super) middleware: Vec<Arc<dyn Middleware>>,
    pub(super) hooks: Vec<Hook>,
    pub(super) schedule_hooks: Vec<ScheduleHook>,
    pub(super) state: States,
    pub(super) breakers: KindBreakers,
    /// The requests of its endpoints.
    #[cfg(feature = "callbacks")]
    pub(super) host_turns: crate::http_out::Turns,
    pub(super) settings: Settings,
    pub(super) neighbours: Arc<Neighbours>,
    /// It serves no queue.
    pub(super) only_upkeep: bool,
}

impl Plan {
    pub(super) fn new(backroom: &Backroom) -> Self {
        Self {
            backroom: backroom.clone(),
            name: None,
            pools: Vec::new(),
            handlers: HashMap::new(),
            middleware: Vec::new(),
            hooks: Vec::new(),
            schedule_hooks: Vec::new(),
            state: States::default(),
            breakers: KindBreakers::default(),
            #[cfg(feature = "callbacks")]
            host_turns: Default::default(),
            settings: Settings::default(),
            neighbours: Neighbours::here(),
            only_upkeep: false,
        }
    }
}
