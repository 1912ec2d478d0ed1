#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gnbd::fuzzing::control_request(input));
