//! Catches the panics of handlers, with the place and the backtrace that only the panic hook sees.
//!
//! The hook that was set before is still called. Ours only records panics on threads that run a handler at that moment. If the
//! program sets another hook later that does not call ours, panics are still caught, without their place and backtrace.

use std::{
    any::Any,
    backtrace::Backtrace,
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt::Write as _,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, Once, PoisonError},
    task::Poll,
};

use backroom_core::bounds::{ERROR_BYTES_MAX, clip};

use crate::{Failure, ends::BACKTRACE, failure::Outcome};

/// Longest message of a panic that is recorded, in bytes.
const SAID_BYTES_MAX: usize = ERROR_BYTES_MAX / 4;
/// Most frames of a backtrace that are recorded.
const FRAMES_MAX: usize = 64;
/// Backtraces that are resolved for one place. Resolving takes milliseconds of computing, and a kind that always panics does so
/// at one place. Further panics there get the last backtrace.
const RESOLVED_PER_PLACE: u32 = 16;
/// Most places whose backtraces are remembered.
const PLACES_MAX: usize = 128;

thread_local! {
    /// How many handlers run on this thread, one inside the other.
    static WATCHING: Cell<u32> = const { Cell::new(0) };
    /// What the hook saw last.
    static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// Backtraces so far, by place.
type Resolved = HashMap<String, (u32, Arc<str>)>;

static RESOLVED: Mutex<Option<Resolved>> = Mutex::new(None);

/// Parts of the names of functions that call a handler.
const CALLERS: [&str; 3] =
    ["backroom::worker::register::", "backroom::worker::on_thread::", "backroom::worker::panics::caught"];
/// Parts of the names of functions that raise a panic.
const RAISERS: [&str; 4] = [
    "core::panicking::",
    "rust_begin_unwind",
    "std::panicking::begin_panic",
    "std::panicking::panic_with_hook",
];

/// What the hook saw of one panic.
struct Seen {
    /// `file:line:column`.
    place: String,
    backtrace: Option<Arc<str>>,
}

/// A panic that was caught.
pub(crate) struct Panic {
    said: String,
    seen: Option<Seen>,
}

/// Sets the hook, the first time it is called in this process.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    // While a thread panics the hook cannot be changed. A worker that is started from a destructor then has no hook.
    if std::thread::panicking() {
        return;
    }
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if WATCHING.try_with(Cell::get).unwrap_or(0) > 0 {
                let seen = see(panic);
                // Fails only while the thread ends, when no handler runs on it.
                let _ = SEEN.try_with(|last| last.replace(Some(seen)));
            }
            before(panic);
        }));
    });
}

/// Runs a piece of a handler and catches its panic.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, Panic> {
    WATCHING.set(WATCHING.get() + 1);
    // An earlier handler may have caught a panic by itself.
    SEEN.take();
    let result = catch_unwind(AssertUnwindSafe(run));
    WATCHING.set(WATCHING.get() - 1);
    let seen = SEEN.take();
    result.map_err(|panic| Panic { said: said(&*panic), seen })
}

/// Runs an async handler and catches its panic. The caller pins it, because a future that is passed by value is copied at each
/// call that it goes through.
pub(crate) async fn caught_in<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, Panic> {
    std::future::poll_fn(|context| match caught(|| future.as_mut().poll(context)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

impl Panic {
    /// As the answer of the handler.
    pub(crate) fn into_failure(self) -> Failure {
        let said = clip(&self.said, SAID_BYTES_MAX);
        let message = match self.seen {
            None => format!("the handler panicked: {said}"),
            Some(Seen { place, backtrace: None }) => format!("the handler panicked at {place}: {said}"),
            Some(Seen { place, backtrace: Some(backtrace) }) => {
                format!("the handler panicked at {place}: {said}{BACKTRACE}{backtrace}")
            }
        };
        Failure::new(Outcome::Panicked, message)
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a value that is not text".into())
}

fn see(panic: &PanicHookInfo<'_>) -> Seen {
    let place = panic.location().map_or_else(|| "an unknown place".into(), ToString::to_string);
    let backtrace = is_wanted().then(|| backtrace_at(&place));
    Seen { place, backtrace }
}

/// Backtraces are recorded unless the environment forbids them: after a panic of last night it is too late to switch them
/// on.
fn is_wanted() -> bool {
    let is_off = |name| std::env::var_os(name).map(|value| value == "0");
    !is_off("RUST_LIB_BACKTRACE").or_else(|| is_off("RUST_BACKTRACE")).unwrap_or(false)
}

fn backtrace_at(place: &str) -> Arc<str> {
    let resolved = || RESOLVED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = resolved().get_or_insert_default().get(place).cloned();
    let times = match known {
        Some((times, backtrace)) if times >= RESOLVED_PER_PLACE => return backtrace,
        Some((times, _)) => times,
        None => 0,
    };
    // Resolved without the lock: it takes milliseconds, and other handlers may panic in that time.
    let backtrace: Arc<str> = frames_of_user(&Backtrace::force_capture().to_string()).into();
    let mut known = resolved();
    let known = known.get_or_insert_default();
    if known.len() < PLACES_MAX || known.contains_key(place) {
        known.insert(place.into(), (times + 1, Arc::clone(&backtrace)));
    }
    backtrace
}

/// The frames between the panic's own machinery and ours, as the standard library writes them, numbered from 0.
fn frames_of_user(backtrace: &str) -> String {
    let mut frames: Vec<(&str, Option<&str>)> = Vec::new();
    for line in backtrace.lines() {
        let line = line.trim_start();
        if let Some(at) = line.strip_prefix("at ") {
            if let Some((_, place)) = frames.last_mut() {
                *place = Some(at);
            }
        } else if let Some((_, name)) = line.split_once(": ") {
            frames.push((name, None));
        }
    }
    let is_any_of =
        |(name, _): &(&str, Option<&str>), parts: &[&str]| parts.iter().any(|part| name.contains(part));
    // A handler's own frames end where a worker called it, and begin behind those that raised the panic. Frames of
    // `catch_unwind` may stand anywhere in between.
    let end = frames.iter().position(|frame| is_any_of(frame, &CALLERS)).unwrap_or(frames.len());
    let begin = frames[..end].iter().rposition(|frame| is_any_of(frame, &RAISERS)).map_or(0, |last| last + 1);
    let mut text = String::new();
    for (number, (name, place)) in frames[begin..end].iter().take(FRAMES_MAX).enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{number:>4}: {name}");
        if let Some(place) = place {
            let _ = writeln!(text, "      at {place}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_with_its_place_and_its_frames() {
        watch();
        let Err(panic) = caught(|| -> u32 { panic!("out of cheese") }) else { panic!("it panics") };
        let failure = panic.into_failure();
        let (first, rest) = failure.message().split_once('\n').expect("a backtrace");
        assert!(
            first.starts_with("the handler panicked at ") && first.ends_with(": out of cheese"),
            "{first}"
        );
        assert!(first.contains(concat!(file!(), ":")), "{first}");
        // A build with line tables names files, one without names functions in full.
        assert!(rest.contains("panics.rs:") || rest.contains("panics::tests::a_panic"), "{rest}");
        assert!(!rest.contains("core::panicking") && !rest.contains("panics::caught"), "{rest}");
    }

    #[test]
    fn a_panic_that_the_handler_caught_is_not_reported_for_a_later_one() {
        watch();
        let Err(panic) = caught(|| -> u32 {
            let payload = catch_unwind(|| panic!("inner")).expect_err("it panics");
            std::panic::resume_unwind(payload)
        }) else {
            panic!("it panics")
        };
        assert!(panic.into_failure().message().contains("inner"));
        assert_eq!(caught(|| 1).ok(), Some(1));
        assert!(SEEN.take().is_none() && WATCHING.get() == 0);
    }

    #[test]
    fn panics_at_one_place_are_resolved_a_bounded_number_of_times() {
        watch();
        for _ in 0..RESOLVED_PER_PLACE + 5 {
            let Err(panic) = caught(|| -> u32 { panic!("again") }) else { panic!("it panics") };
            assert!(panic.seen.and_then(|seen| seen.backtrace).is_some());
        }
        let known = RESOLVED.lock().expect("the map");
        let most = known.iter().flat_map(HashMap::values).map(|(times, _)| *times).max();
        assert_eq!(most, Some(RESOLVED_PER_PLACE));
    }
}
