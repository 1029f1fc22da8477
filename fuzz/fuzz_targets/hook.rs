#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| backroom_server::fuzz::hook(bytes));
