#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attribution_fuzz::bodies::grpc(data));
