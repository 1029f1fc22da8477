//! Exit codes and signals by name.

/// The process was started in a way that it does not know.
pub(super) const CODE_USAGE: i32 = 2;
/// The command gives its job up for good (`EX_DATAERR` of `sysexits.h`).
pub(super) const CODE_DISCARD: i32 = 65;
/// The command postpones its job (`EX_UNAVAILABLE`).
pub(super) const CODE_SNOOZE: i32 = 69;
/// The command asks to be tried again (`EX_TEMPFAIL`).
pub(super) const CODE_RETRY: i32 = 75;

pub(super) const SIGKILL: i32 = 9;
pub(super) const SIGXCPU: i32 = 24;

/// A signal as people know it.
pub(super) fn name(signal: i32) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        SIGKILL => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        SIGXCPU => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => "no common name",
    }
}
