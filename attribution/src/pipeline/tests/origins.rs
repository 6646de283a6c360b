//! Where credentials come from.

use super::script::*;
use crate::credential::{AtRest, Extractor, FleetKey, Format, Hint};
use crate::endpoint::Catalogue;
use crate::event::{Event, FileId, OpenedFile, Opener};

fn found(text: &str) -> Vec<crate::credential::Found> {
    let catalogue = std::sync::Arc::new(Catalogue::built_in().unwrap());
    let key = std::sync::Arc::new(FleetKey::new(&mut [7; 32]));
    AtRest::new(Extractor::new(key, &catalogue, Hint::Full), catalogue).in_file(
        Format::Lines,
        &[],
        text.as_bytes(),
    )
}

impl Script {
    fn opens(&mut self, pid: u32, path: &str, secret: &str) -> &mut Self {
        let after_ns = self.now;
        let time_ns = self.time();
        let file = OpenedFile {
            id: FileId { device: 1, inode: path.len() as u64 },
            path: path.into(),
            found: found(&format!("OPENAI_API_KEY={secret}\n")),
            ..OpenedFile::default()
        };
        let opener = Opener::Pid { pid, after_ns, started: None };
        self.push(Event::CredentialFile { time_ns, opener, access: None, file })
    }

    fn watched(&mut self) -> &mut Self {
        self.push(Event::Watching)
    }
}

#[test]
fn a_call_has_the_file_its_process_opened_before() {
    let mut script = Script::new();
    let client = Client::new(9, 3);
    script.watched().exec(9, 1, "/usr/bin/agent").opens(9, "/srv/.env", KEY);
    let call = script.hello(&client, Some(HOST)).call(&client, KEY, (1, 1)).run().one_call();
    let origin = call.credential.unwrap().origin.unwrap();
    assert_eq!((origin.r#type.as_str(), origin.path.as_str()), ("file", "/srv/.env"));
    assert_eq!(origin.process, None);
}

#[test]
fn a_call_waits_a_moment_for_evidence_and_is_told_all_the_same() {
    let mut script = Script::new();
    let client = Client::new(9, 3);
    script.watched().exec(9, 1, "/usr/bin/agent");
    script.hello(&client, Some(HOST)).call(&client, KEY, (1, 1));
    assert!(script.run().calls().is_empty());
    let told = script.tick(S).run();
    let origin = told.one_call().credential.unwrap().origin.unwrap();
    assert_eq!(origin.r#type, "unknown");
    assert_ne!(origin.reason, "");
}

#[test]
fn evidence_that_comes_late_counts_if_it_is_of_before() {
    let mut script = Script::new();
    let client = Client::new(9, 3);
    script.watched().exec(9, 1, "/usr/bin/agent");
    let started = script.now;
    script.hello(&client, Some(HOST)).call(&client, KEY, (1, 1));
    let found = found(&format!("OPENAI_API_KEY={KEY}\n"));
    script.push(Event::Environment { time_ns: started, process: key(9), found, unread: String::new() });
    let origin = script.tick(S).run().one_call().credential.unwrap().origin.unwrap();
    assert_eq!((origin.r#type.as_str(), origin.variable.as_str()), ("environment", "OPENAI_API_KEY"));
}

#[test]
fn a_flow_that_cannot_be_read_has_the_only_key_there_is() {
    for (others, expected) in [(false, true), (true, false)] {
        let mut script = Script::new();
        let client = Client::new(9, 3);
        script.watched().exec(9, 1, "/usr/bin/agent").opens(9, "/srv/.env", KEY);
        if others {
            script.opens(9, "/srv/other/.env", OTHER_KEY);
        }
        let mut flow = client.flow();
        flow.opened_ns = script.now;
        let time_ns = script.time();
        let bytes = crate::event::Plaintext::copy(&client.hello(Some(HOST)));
        let shape = crate::event::Shape::Tls;
        script.push(Event::Payload { time_ns, flow: flow.clone(), shape, offset: 0, bytes });
        let told = script.push(Event::Close { time_ns, flow, connection: None, sent: 1, received: 1 }).run();
        let credential = told.flows().remove(0).credential;
        assert_eq!(credential.is_some(), expected);
        if let Some(credential) = credential {
            assert_eq!(
                (credential.evidence.as_str(), credential.fingerprint),
                ("inferred", fingerprint(KEY))
            );
            assert_eq!(credential.origin.unwrap().path, "/srv/.env");
        }
    }
}

#[test]
fn repeated_opens_are_told_with_their_count() {
    let mut script = Script::new();
    script.watched().exec(9, 1, "/usr/bin/agent");
    for _ in 0..5 {
        script.opens(9, "/srv/.env", KEY);
    }
    let told = script.tick(60 * S).run();
    let counts: Vec<u64> =
        told.records().iter().filter_map(|record| Some(record.credential_access()?.count)).collect();
    assert_eq!(counts, [1, 4]);
}
