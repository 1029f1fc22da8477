//! Names for messages of MQTT, which have none of their own.
//!
//! A packet id names a message only until it is acknowledged, then the broker uses it again. So each message is named when it comes first,
//! and found by its packet id and a hash of its content when it comes again. Pure; the source stores it.

use std::collections::BTreeMap;

/// The names of messages that the broker may deliver again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ledger {
    /// What the names begin with: another text for each session.
    session: String,
    next: u64,
    /// By packet id: the hash of the content, and the number in the name.
    known: BTreeMap<u16, (u64, u64)>,
}

impl Ledger {
    /// For a new session.
    pub(super) fn new(session: String) -> Self {
        Self { session, next: 1, known: BTreeMap::new() }
    }

    /// The number of a message. `is_again` is the mark of the broker that it has sent the message before.
    pub(super) fn number(&mut self, packet: u16, is_again: bool, hash: u64) -> u64 {
        if let Some((known, number)) = self.known.get(&packet)
            && is_again
            && *known == hash
        {
            return *number;
        }
        let number = self.next;
        self.next += 1;
        // Without quality of service there is no packet id, and no second delivery.
        if packet != 0 {
            self.known.insert(packet, (hash, number));
        }
        number
    }

    /// The name of a message.
    pub(super) fn name(&self, number: u64) -> String {
        format!("{}/{number}", self.session)
    }

    /// The broker has the acknowledgement of this message, and may use its packet id for another one by now.
    pub(super) fn forget(&mut self, packet: u16, number: u64) {
        if self.known.get(&packet).is_some_and(|(_, known)| *known == number) {
            self.known.remove(&packet);
        }
    }

    /// For the state of the trigger.
    pub(super) fn stored(&self) -> String {
        let mut text = format!("{} {}", self.session, self.next);
        for (packet, (hash, number)) in &self.known {
            text.push_str(&format!(" {packet}:{hash:x}:{number}"));
        }
        text
    }

    /// From the state of the trigger. None if it is not what [`stored`](Self::stored) writes.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let (session, next) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
        let known = parts.map(|part| {
            let mut fields = part.split(':');
            let packet = fields.next()?.parse().ok()?;
            let hash = u64::from_str_radix(fields.next()?, 16).ok()?;
            Some((packet, (hash, fields.next()?.parse().ok()?)))
        });
        Some(Self { session, next, known: known.collect::<Option<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_comes_again_has_its_name_also_in_another_process() {
        let mut ledger = Ledger::new("s".into());
        let (first, second) = (ledger.number(1, false, 0xa), ledger.number(2, false, 0xb));
        assert_ne!(first, second);
        let mut ledger = Ledger::read(&ledger.stored()).unwrap();
        assert_eq!(ledger.number(2, true, 0xb), second);
        assert_eq!(ledger.number(1, true, 0xa), first);
        assert_eq!(ledger.name(first), "s/1");
    }

    #[test]
    fn another_message_with_the_packet_id_has_another_name() {
        let mut ledger = Ledger::new("s".into());
        let first = ledger.number(1, false, 0xa);
        // Acknowledged, and the packet id is used again for the same content.
        let second = ledger.number(1, false, 0xa);
        assert_ne!(first, second);
        // The confirmation of the first comes late.
        ledger.forget(1, first);
        assert_eq!(ledger.number(1, true, 0xa), second);
        // Other content that was sent before, but did not arrive.
        assert_ne!(ledger.number(1, true, 0xc), second);
    }

    #[test]
    fn once_the_broker_has_the_acknowledgement_the_packet_id_is_free() {
        let mut ledger = Ledger::new("s".into());
        let first = ledger.number(1, false, 0xa);
        ledger.forget(1, first);
        // Its first delivery was lost with the connection.
        assert_ne!(ledger.number(1, true, 0xa), first);
    }

    #[test]
    fn messages_without_quality_of_service_are_not_remembered() {
        let mut ledger = Ledger::new("s".into());
        assert_ne!(ledger.number(0, false, 0xa), ledger.number(0, false, 0xa));
        assert_eq!(ledger.stored(), "s 3");
        assert_eq!(Ledger::read("s"), None);
        assert_eq!(Ledger::read("s 3 1:x:1"), None);
    }
}
