#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    miyasawa_fuzz::run(bytes, miyasawa::fuzzing::checkpoint)
});
