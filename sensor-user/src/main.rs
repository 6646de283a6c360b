//! `keywitness`.

fn main() {
    let mut loaded = match sensor_user::bpf::Loaded::load(1 << 22, false) {
        Ok(l) => l,
        Err(e) => { eprintln!("{e}"); std::process::exit(2) }
    };
    for s in &loaded.states { eprintln!("{} {:?}", s.hook.program, s.failure); }
    let mut r = sensor_user::bpf::Reader::take(&mut loaded.ebpf).unwrap();
    for _ in 0..50 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        r.drain(10000, |b| eprintln!("event {} len {}", b[0], b.len()));
    }
    let t = sensor_user::bpf::Tables::take(&mut loaded.ebpf).unwrap();
    eprintln!("{:?}", t.losses());
}
