//! What is counted, what is given up, and that nothing stays for ever.

use super::script::*;
use crate::event::{Event, Shape, TlsLibrary};
use crate::flow::MAX_FLOWS;
use crate::pipeline::MAX_CONNECTIONS;
use crate::pipeline::limits::{IDLE_NS, MAX_LIBRARIES, SWEEP_NS};

#[test]
fn full_tables_are_counted() {
    let mut script = Script::new();
    script.exec(9, 1, "/usr/bin/agent");
    for cookie in 1..=MAX_FLOWS as u64 + 3 {
        script.payload(&Client::new(9, cookie), Shape::Tls, &CURL[..20]);
    }
    for cookie in 1..=MAX_CONNECTIONS as u64 + 2 {
        script.write(&Client::new(9, cookie).unbound(true), "POST");
    }
    let counts = script.run().counts();
    assert_eq!((counts.flows, counts.flows_refused), (MAX_FLOWS as u64, 3));
    assert_eq!((counts.connections, counts.connections_refused), (MAX_CONNECTIONS as u64, 2));
}

#[test]
fn missing_parts_of_a_hello_are_counted() {
    let mut script = Script::new();
    let client = Client::new(9, 3);
    script.payload(&client, Shape::Tls, &CURL[..20]).payload(&client, Shape::Tls, &CURL[30..]);
    if let Some(Event::Payload { offset, .. }) = script.events.last_mut() {
        *offset = 30;
    }
    let told = script.close(&client).run();
    assert_eq!(told.counts().out_of_order, 1);
    told.assert_nothing();
}

#[test]
fn unreadable_hellos_and_answers_are_counted() {
    let mut script = Script::new();
    let client = Client::new(9, 3);
    let mut hello = client.hello(Some(HOST));
    hello[43] = 0xff; // length of the session id
    script.payload(&client, Shape::Tls, &hello);
    script.push(Event::Dns { time_ns: 1, cgroup_id: 1, process: None, message: vec![0; 5] });
    assert_eq!(script.run().counts().malformed, 2);
}

#[test]
fn a_name_that_does_not_exist_is_no_unreadable_answer() {
    let mut script = Script::new();
    let mut event = dns(9, 1, HOST, [192, 0, 2, 7]);
    if let Event::Dns { message, .. } = &mut event {
        message[3] = 0x83; // NXDOMAIN
    }
    let counts = script.push(event).run().counts();
    assert_eq!((counts.malformed, counts.names), (0, 0));
}

#[test]
fn connections_elsewhere_leave_nothing_behind() {
    let mut script = Script::new();
    script.exec(9, 1, "/usr/bin/agent");
    for cookie in 1..200 {
        let client = Client::new(9, cookie).unbound(true);
        script.write(&client, request_to("www.keywitness.test", "/", KEY, "m"));
    }
    let told = script.run();
    told.assert_nothing();
    assert_eq!(told.attribution.connections.unbound(key(9)), []);
}

#[test]
fn an_idle_connection_is_given_up_and_goes_on_with_its_flow() {
    let mut script = Script::new();
    let client = Client::new(9, 3);
    script.exec(9, 1, "/usr/bin/agent").hello(&client, Some(HOST)).write(&client, request(KEY, "m"));
    script.tick(SWEEP_NS).tick(IDLE_NS + SWEEP_NS);
    let told = script.run();
    assert_ne!(told.one_call().incomplete_reason, "");
    assert_eq!((told.counts().connections, told.counts().flows), (0, 1));
    let calls = script.call(&client, OTHER_KEY, (1, 1)).run().calls();
    assert_eq!((calls[1].flow_id.as_str(), calls[1].binding.as_str()), ("3", "client_random"));
}

#[test]
fn a_flow_whose_end_is_lost_goes_after_its_process() {
    let mut script = Script::new();
    let client = Client::new(9, 3);
    script.exec(9, 1, "/usr/bin/agent").hello(&client, Some(HOST)).exit(9).tick(SWEEP_NS);
    assert_eq!(script.run().counts().flows, 1);
    let told = script.tick(IDLE_NS).run();
    assert_eq!((told.counts().flows, told.flows().len()), (0, 1));
    assert_eq!(told.flows()[0].bytes_sent, None);
}

#[test]
fn a_socket_that_connects_again_is_another_flow() {
    let mut script = Script::new();
    let client = Client::new(9, 3);
    script.exec(9, 1, "/usr/bin/agent").hello(&client, Some(HOST));
    let again = Client { remote: "192.0.2.99:443".parse().unwrap(), handle: [0x77; 16], ..client };
    script.hello(&again, Some(HOST));
    if let Some(Event::Payload { flow, .. }) = script.events.last_mut() {
        flow.opened_ns += 1;
    }
    let told = script.call(&again, KEY, (1, 1)).run();
    assert_eq!(told.one_call().endpoint.unwrap().address, "192.0.2.99");
    assert_eq!(told.flows()[0].endpoint.as_ref().unwrap().address, "192.0.2.7");
}

#[test]
fn libraries_of_processes_that_are_long_gone_make_room() {
    let mut script = Script::new();
    for pid in 0..MAX_LIBRARIES as u32 + 1 {
        script.push(Event::Library { process: key(pid), library: TlsLibrary::default() });
    }
    let libraries = script.run().attribution.libraries;
    assert_eq!(libraries.get(&key(0)), None);
    assert!(libraries.get(&key(MAX_LIBRARIES as u32)).is_some());
}

#[test]
fn the_end_of_a_run_tells_what_is_open() {
    let mut script = Script::new();
    let client = Client::new(9, 3);
    script.exec(9, 1, "/usr/bin/agent").hello(&client, Some(HOST)).write(&client, request(KEY, "m"));
    let mut told = script.run();
    told.attribution.finish();
    told.outputs.extend(told.attribution.outputs());
    assert_ne!(told.one_call().incomplete_reason, "");
    assert_eq!(told.flows().len(), 1);
    assert_eq!((told.counts().flows, told.counts().connections), (0, 0));
}
