//! How a store is opened.

use std::sync::Arc;

use backroom_core::bounds;

use crate::{
    Backroom, Durability, Error, ErrorKind,
    clock::{Clock, SystemClock},
    engine::Engine,
    ids::Ids,
    store::{MemoryStore, Observed, Store},
};

/// Everything that can be chosen when a store is opened. [`Backroom::open`] takes the defaults.
#[derive(Debug, Clone)]
pub struct Options {
    durability: Durability,
    json_bytes_max: usize,
    clock: Arc<dyn Clock>,
    seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Full,
            json_bytes_max: bounds::JSON_BYTES_MAX,
            clock: Arc::new(SystemClock::default()),
            seed: None,
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How safe an acknowledged enqueue is. Default [`Durability::Full`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Bound on args and output, each, in bytes of JSON text. Default 1 MiB.
    #[must_use]
    pub fn json_bytes_max(mut self, bytes: usize) -> Self {
        self.json_bytes_max = bytes;
        self
    }

    /// Where time comes from. Default [`SystemClock`]; tests pass a clock that they advance.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes ids and jitter repeatable. For tests and simulations only: two programs with one seed would make the
    /// same ids.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Opens the store at `url` and brings its schema up to date:
    ///
    /// - `sqlite:backroom.db`, `sqlite:/var/lib/app/jobs.db`: a SQLite file, made if it does not exist;
    /// - `memory:`: nothing is kept; for tests.
    pub async fn open(self, url: &str) -> Result<Backroom, Error> {
        let (scheme, place) = url.split_once(':').ok_or_else(|| unknown_url(url))?;
        match scheme {
            "memory" => Ok(self.over(Arc::new(MemoryStore::default()))),
            #[cfg(feature = "sqlite")]
            "sqlite" => {
                use crate::store::sqlite::{SqliteOptions, SqliteStore};
                let path = place.strip_prefix("//").unwrap_or(place);
                let options = SqliteOptions { durability: self.durability, ..SqliteOptions::default() };
                let store = SqliteStore::open(path, options).await?;
                Ok(self.over(Arc::new(store)))
            }
            _ => {
                let _ = place;
                Err(unknown_url(url))
            }
        }
    }

    /// A client over a store that is open already, for stores of your own.
    pub fn over(self, store: Arc<dyn Store>) -> Backroom {
        let ids = Arc::new(self.seed.map_or_else(Ids::from_entropy, Ids::seeded));
        let store = Arc::new(Observed::new(store, Arc::clone(&self.clock)));
        Backroom::from_engine(Engine { store, clock: self.clock, ids, json_bytes_max: self.json_bytes_max })
    }
}

fn unknown_url(url: &str) -> Error {
    let message = format!("open store {url:?}: write sqlite:PATH for a file, or memory: for tests");
    Error::new(ErrorKind::Invalid, message)
}
