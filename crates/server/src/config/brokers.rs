//! The brokers of the settings, as the library of triggers takes them.

use backroom::core::message::forward::BrokerAddress;

use super::{Loaded, ServerSettings, Wrong};

/// The sort of tables.
const BROKERS: &str = "brokers";

/// The brokers that replies go to. Fails with the table and the key that is wrong, and why; a password is not repeated.
#[cfg(any(feature = "amqp", feature = "nats", feature = "redis"))]
pub(crate) fn replies(
    settings: &ServerSettings,
) -> Result<backroom_triggers::ReplyBrokers, (String, &'static str, String)> {
    let mut brokers = backroom_triggers::ReplyBrokers::new();
    for (name, broker) in &settings.brokers {
        let wrong = |why: String| (name.clone(), "url", why);
        if name.contains('/') {
            return Err(wrong(
                "belongs to a broker with `/` in its name, where the address begins; rename it".into(),
            ));
        }
        let Some(url) = &broker.url else {
            return Err(wrong("is missing; name the broker, such as amqp://USER:PASSWORD@HOST:PORT".into()));
        };
        brokers = brokers
            .add(name, url, broker.ca_file.clone(), broker.addresses.iter().cloned())
            .map_err(|invalid| wrong(invalid.why))?;
    }
    Ok(brokers)
}

/// Why these settings have no use for replies to `reply_to`; none for a reply queue, and for an address at a broker that may get replies.
pub(crate) fn refuses(settings: &ServerSettings, reply_to: &str) -> Result<(), String> {
    let Some(to) = BrokerAddress::read(reply_to).map_err(|invalid| invalid.to_string())? else {
        return Ok(());
    };
    let Some(broker) = settings.brokers.get(to.broker) else {
        return Err(format!(
            "the settings of this server have no broker {:?}, so the reply would not be sent; add [brokers.{}] to them, or name another broker",
            to.broker, to.broker
        ));
    };
    #[cfg(any(feature = "amqp", feature = "nats", feature = "redis"))]
    if backroom_triggers::permits_reply(&broker.addresses, to.address) {
        return Ok(());
    }
    _ = broker;
    Err(format!(
        "brokers.{}.addresses in the settings of this server does not permit replies to {:?}",
        to.broker, to.address
    ))
}

/// What must hold for the brokers.
pub(super) fn check(loaded: &Loaded, wrong: &mut Vec<Wrong>) {
    #[cfg(any(feature = "amqp", feature = "nats", feature = "redis"))]
    if let Err((name, key, why)) = replies(&loaded.settings) {
        wrong.push(loaded.wrong(BROKERS, &name, key, why));
    }
    #[cfg(not(any(feature = "amqp", feature = "nats", feature = "redis")))]
    for name in loaded.settings.brokers.keys() {
        let why = "needs a program that was built with the feature `amqp`, `nats` or `redis`";
        wrong.push(loaded.wrong(BROKERS, name, "url", why));
    }
}
