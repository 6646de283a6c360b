use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use attribution::detect::{Detector, Severity};
use proto::v1::record::Body as Parts;

use super::{
    super::{
        deliver::{BATCH, Form},
        samples,
        webhook::Body,
    },
    *,
};

/// Reads one request and gives its body.
fn request(stream: &mut TcpStream) -> Vec<u8> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 65536]);
    loop {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let length: usize =
                text.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
            if bytes.len() >= head + 4 + length {
                return bytes[head + 4..].to_vec();
            }
        }
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0);
        bytes.extend_from_slice(&buffer[..read]);
    }
}

/// A receiver that answers each request with the next of `statuses`; gives the bodies it took.
fn receiver(statuses: &'static [&'static str]) -> (String, std::thread::JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut taken = Vec::new();
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            let body = request(&mut stream);
            let head = format!(
                "HTTP/1.1 {status}\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            if status.starts_with('2') {
                taken.push(body);
            }
        }
        taken
    });
    (url, thread)
}

fn exporter(url: String) -> Exporter {
    let address = Address {
        form: Form::Webhook,
        url,
        headers: Vec::new(),
        semconv: Default::default(),
        body: Default::default(),
    };
    Exporter::start("hook", &address, Filter::default(), None).unwrap()
}

fn counted(counts: &Counts) -> (u64, u64) {
    (counts.offered.load(Ordering::Relaxed), counts.delivered.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_busy_receiver_gets_everything_once() {
    let (url, thread) = receiver(&["503 Busy", "429 Slow", "200 OK"]);
    let mut exporter = exporter(url);
    let records = samples::all();
    records.iter().for_each(|record| exporter.write(record).unwrap());
    let counts = exporter.counts.clone();
    exporter.finish().await;
    assert_eq!(counted(&counts), (records.len() as u64, records.len() as u64));
    let bodies = thread.join().unwrap();
    let body: serde_json::Value = serde_json::from_slice(&bodies[0]).unwrap();
    assert_eq!((bodies.len(), body["records"].as_array().unwrap().len()), (1, records.len()));
}

#[tokio::test]
async fn what_is_refused_or_does_not_fit_is_counted() {
    let (url, thread) = receiver(&["400 Bad", "200 OK"]);
    let mut exporter = exporter(url);
    let record = &samples::all()[0];
    let offered = QUEUE as u64 + 10;
    // The task has not run yet: nothing leaves the queue.
    (0..offered).for_each(|_| exporter.write(record).unwrap());
    let full = vec![Loss { kind: "export.hook".into(), cause: "queue_full".into(), count: 10 }];
    assert_eq!(exporter.dropped(), full);
    let counts = exporter.counts.clone();
    // The receiver answers two requests and is gone.
    exporter.finish().await;
    thread.join().unwrap();
    let refused = counts.refused.load(Ordering::Relaxed);
    assert_eq!((refused, counted(&counts)), (BATCH as u64, (offered, BATCH as u64)));
}

/// What a detector tells while one key is used by `users` workloads, one after the other.
fn told_of_sharing(users: usize) -> Vec<Record> {
    let mut detector = Detector::new(Arc::default());
    let mut told = Vec::new();
    for user in 0..users {
        let mut record = samples::all().swap_remove(0);
        let Some(Parts::ModelCall(call)) = &mut record.body else { panic!("no call") };
        call.workload.as_mut().unwrap().id = format!("k8s://prod/team-{user}/deployment/web");
        call.process.as_mut().unwrap().pid += user as u32;
        record.sensor.as_mut().unwrap().seq += user as u64;
        record.time += user as u64;
        let findings = detector.record(&record);
        let sensor = record.sensor.clone();
        told.extend(findings.into_iter().map(|finding| Record {
            sensor: sensor.clone(),
            ..Record::new(record.time, Parts::Finding(finding))
        }));
    }
    told
}

const LIMITS: NotifyLimits =
    NotifyLimits { least: Severity::Low, between_ns: 300_000_000, most: 10, window_ns: 60_000_000_000 };

#[tokio::test]
async fn one_key_of_many_users_is_one_notification_and_one_update() {
    for (body, paths) in [
        (Body::Falco, ["/output_fields/keywitness.state", "/output", "/rule"]),
        (Body::Ocsf, ["/activity_name", "/message", "/finding_info/analytic/name"]),
    ] {
        let (url, thread) = receiver(&["200 OK", "200 OK"]);
        let address =
            Address { form: Form::Webhook, url, headers: Vec::new(), semconv: Default::default(), body };
        let mut exporter = Exporter::start("hook", &address, Filter::default(), Some(LIMITS)).unwrap();
        let told = told_of_sharing(12);
        assert!(told.len() > 10, "{}", told.len());
        told.iter().for_each(|record| exporter.write(record).unwrap());
        // The second comes when its time has come, not because the run ends.
        let bodies = tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
        let counts = exporter.counts.clone();
        exporter.finish().await;
        let bodies: Vec<serde_json::Value> =
            bodies.iter().map(|body| serde_json::from_slice(body).unwrap()).collect();
        let parts = |body: &serde_json::Value| {
            paths.map(|path| body.pointer(path).unwrap().as_str().unwrap().to_lowercase())
        };
        let [opened, updated] = [parts(&bodies[0]), parts(&bodies[1])];
        assert_eq!((&*opened[2], &*updated[2]), ("shared-credential", "shared-credential"));
        assert!(["open", "create"].contains(&&*opened[0]), "{opened:?}");
        assert!(["updated", "update"].contains(&&*updated[0]), "{updated:?}");
        assert!(opened[1].contains("team-0") && opened[1].contains("team-1"), "{opened:?}");
        assert!(updated[1].contains("and 10 more"), "{updated:?}");
        let grouped = counts.grouped.load(Ordering::Relaxed);
        assert_eq!((counted(&counts), grouped), ((told.len() as u64, 2), told.len() as u64 - 2));
    }
}

#[tokio::test]
async fn syslog_gets_what_waits_at_the_end_and_other_records_at_once() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = Address {
        form: Form::Syslog,
        url: format!("udp://{}", socket.local_addr().unwrap()),
        headers: Vec::new(),
        semconv: Default::default(),
        body: Body::Records,
    };
    let mut exporter = Exporter::start("log", &address, Filter::default(), Some(LIMITS)).unwrap();
    exporter.write(&samples::all()[0]).unwrap();
    told_of_sharing(12).iter().for_each(|record| exporter.write(record).unwrap());
    exporter.finish().await;
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 65_536];
    let messages: Vec<String> = std::iter::from_fn(|| {
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    })
    .collect();
    assert_eq!(messages.len(), 3);
    assert!(messages[0].contains("\"model_call\"") && messages[1].contains("\"state\":\"open\""));
    assert!(messages[2].contains("\"state\":\"updated\""), "{}", messages[2]);
}
