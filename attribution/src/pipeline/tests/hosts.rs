//! Where a flow goes, and by what evidence.

use super::script::*;
use crate::event::{Protocol, Shape};
use crate::pipeline::Output;

const WWW: &str = "www.keywitness.test";
/// As long as the captured host.
const LOOKALIKE: &str = "api.openai.com.evil";

fn agent() -> (Script, Client) {
    let mut script = Script::new();
    script.exec(9, 1, "/usr/bin/agent");
    (script, Client::new(9, 3))
}

#[test]
fn a_server_name_of_another_host_ends_all_interest() {
    for host in [WWW, LOOKALIKE] {
        let (mut script, client) = agent();
        // What was copied before the kernel knew names a model host in its head: the hello knows better.
        script.hello(&client, Some(host)).call(&client, KEY, (1, 1)).call(&client, KEY, (1, 1));
        let told = script.run();
        assert_eq!(told.verdicts(), [false]);
        told.assert_nothing();
        script.close(&client).run().assert_nothing();
    }
}

#[test]
fn lookalike_hosts_give_nothing() {
    for host in
        ["api.openai.com.evil.tld", "xapi.openai.com", "api.openai.com@evil.tld", "api.openai.com\u{2024}"]
    {
        let (mut script, client) = agent();
        script.hello(&client, None).write(&client, request_to(host, "/v1/chat/completions", KEY, "m"));
        let told = script.read(&client, answer((1, 1))).run();
        assert_eq!(told.verdicts(), [false], "{host}");
        told.assert_nothing();
    }
}

#[test]
fn a_cover_name_of_encrypted_client_hello_decides_nothing() {
    let (mut script, client) = agent();
    let mut hello = client.hello(Some(WWW));
    // `extended_master_secret`, which is empty, becomes `encrypted_client_hello`.
    let at = hello.windows(4).position(|four| four == [0, 0x17, 0, 0]).unwrap();
    hello[at..at + 2].copy_from_slice(&[0xfe, 0x0d]);
    let told = script.payload(&client, Shape::Tls, &hello).run();
    assert!(told.verdicts().is_empty());
    let told = script.call(&client, KEY, (1, 1)).close(&client).run();
    let endpoint = told.one_call().endpoint.unwrap();
    assert_eq!((endpoint.host.as_str(), endpoint.host_evidence.as_str()), (HOST, "http_host"));
}

#[test]
fn without_a_server_name_the_host_header_decides() {
    let (mut script, client) = agent();
    let told = script.hello(&client, None).run();
    assert!(told.verdicts().is_empty());
    assert_eq!(told.counts().flows, 1);
    let told = script.call(&client, KEY, (1, 1)).close(&client).run();
    assert_eq!(told.verdicts(), [true]);
    let endpoint = told.one_call().endpoint.unwrap();
    assert_eq!((endpoint.host.as_str(), endpoint.host_evidence.as_str()), (HOST, "http_host"));
    assert_eq!(told.flows()[0].endpoint.as_ref().unwrap().host_evidence, "http_host");
    assert!(told.outputs.iter().any(|output| matches!(output, Output::Learned(_))));

    let (mut script, client) = agent();
    script.hello(&client, None).write(&client, request_to(WWW, "/v1/chat/completions", KEY, "m"));
    let told = script.run();
    assert_eq!(told.verdicts(), [false]);
    told.assert_nothing();
}

#[test]
fn the_server_name_goes_before_the_host_header() {
    let (mut script, client) = agent();
    script.hello(&client, Some(HOST)).write(&client, request_to(WWW, "/v1/chat/completions", KEY, "m"));
    let endpoint = script.read(&client, answer((1, 1))).run().one_call().endpoint.unwrap();
    assert_eq!((endpoint.host.as_str(), endpoint.host_evidence.as_str()), (HOST, "sni"));
}

#[test]
fn a_dns_answer_counts_for_its_cgroup_only() {
    for (asked_by, flows) in [(9, 1), (8, 0)] {
        let (mut script, client) = agent();
        let time = script.time();
        script.push(dns(asked_by, time, HOST, [192, 0, 2, 7])).hello(&client, None).close(&client);
        let told = script.run();
        assert_eq!(told.flows().len(), flows, "{asked_by}");
        if let Some(flow) = told.flows().first() {
            let endpoint = flow.endpoint.as_ref().unwrap();
            assert_eq!((endpoint.host.as_str(), endpoint.host_evidence.as_str()), (HOST, "dns"));
            let tls = flow.tls.as_ref().unwrap();
            assert_eq!((tls.coverage.as_str(), tls.coverage_reason.is_empty()), ("none", false));
        }
        assert!(told.outputs.contains(&Output::ModelAddress([192, 0, 2, 7].into())));
    }
}

#[test]
fn an_address_with_two_names_proves_none() {
    let (mut script, client) = agent();
    let time = script.time();
    script.push(dns(9, time, HOST, [192, 0, 2, 7])).push(dns(9, time, WWW, [192, 0, 2, 7]));
    assert_eq!(script.hello(&client, None).close(&client).run().flows(), []);
}

#[test]
fn a_dns_answer_of_another_name_leaves_the_word_to_the_request() {
    let (mut script, client) = agent();
    let time = script.time();
    script.push(dns(9, time, WWW, [192, 0, 2, 7])).hello(&client, None).call(&client, KEY, (1, 1));
    assert_eq!(script.run().one_call().endpoint.unwrap().host_evidence, "http_host");
}

#[test]
fn a_configured_address_is_its_provider() {
    let (mut script, client) = agent();
    let client = client.to(CONFIGURED);
    script.hello(&client, None).write(&client, request_to("llm.local", "/v1/chat/completions", KEY, "m"));
    let told = script.read(&client, answer((2, 3))).close(&client).run();
    let endpoint = told.one_call().endpoint.unwrap();
    assert_eq!((endpoint.provider.as_str(), endpoint.host_evidence.as_str()), ("in_house", "configured"));
    assert_eq!((endpoint.host.as_str(), endpoint.address.as_str()), ("llm.local", "10.9.8.7"));
    assert_eq!(told.flows()[0].endpoint.as_ref().unwrap().host, "llm.local");
    // Another port of the same address is nobody's.
    let (mut script, client) = agent();
    let client = client.to("10.9.8.7:8001");
    script.payload(&client, Shape::Http, &request_to("llm.local", "/v1/chat/completions", KEY, "m"));
    script.close(&client).run().assert_nothing();
}

#[test]
fn a_shared_host_is_judged_by_each_request() {
    let (mut script, client) = agent();
    script.hello(&client, None);
    script.write(&client, "GET /me HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n");
    script.read(&client, response("", b"me"));
    script.write(&client, request_to("chatgpt.com", "/backend-api/codex/responses", KEY, "m"));
    let told = script.read(&client, answer((1, 1))).run();
    assert_eq!(told.one_call().endpoint.unwrap().host, "chatgpt.com");

    let (mut script, client) = agent();
    script.hello(&client, None);
    for _ in 0..40 {
        script.write(&client, "GET /me HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n");
        script.read(&client, response("", b"me"));
    }
    let told = script.run();
    assert_eq!(told.verdicts(), [false]);
    told.assert_nothing();
}

#[test]
fn a_tunnel_is_no_call_and_what_is_inside_is() {
    let (mut script, client) = agent();
    let client = client.to(CONFIGURED);
    let connect =
        format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\nProxy-Authorization: Basic eDp5\r\n\r\n");
    script.payload(&client, Shape::Http, connect.as_bytes());
    assert_eq!(script.run().counts().connections, 0);
    let told = script.hello(&client, Some(HOST)).call(&client, KEY, (1, 1)).close(&client).run();
    let call = told.one_call();
    assert_eq!((call.binding.as_str(), call.flow_id.as_str()), ("client_random", "3"));
    assert_eq!(call.endpoint.unwrap().provider, "openai");
    assert_eq!(told.flows()[0].tls.as_ref().unwrap().coverage, "plaintext");

    // The proxy's own address tells nothing of a hello without a name.
    let (mut script, client) = agent();
    let client = client.to(CONFIGURED);
    script.payload(&client, Shape::Http, connect.as_bytes()).hello(&client, None).close(&client);
    assert_eq!(script.run().flows(), []);
}

#[test]
fn a_quic_flow_is_told_with_its_gap_and_not_kept() {
    let (mut script, client) = agent();
    let client = Client { protocol: Protocol::Udp, ..client };
    let time = script.time();
    script.push(dns(9, time, HOST, [192, 0, 2, 7])).payload(&client, Shape::Quic, &[0xc3, 0, 0, 0, 1]);
    // The rest of its hello is waited for, but not for ever.
    assert_eq!(script.run().flows(), []);
    let told = script.tick(20 * S).run();
    let flow = told.flows().remove(0);
    let tls = flow.tls.unwrap();
    assert_eq!((flow.protocol.as_str(), tls.coverage.as_str()), ("udp", "none"));
    assert!(tls.coverage_reason.contains("quic"), "{}", tls.coverage_reason);
    assert_eq!(told.counts().flows, 0);

    let (mut script, client) = agent();
    let client = Client { protocol: Protocol::Udp, ..client };
    script.payload(&client, Shape::Quic, &[0xc3, 0, 0, 0, 1]).tick(20 * S).run().assert_nothing();
}

#[test]
fn the_server_name_of_a_quic_hello_is_read_across_datagrams() {
    let (mut script, client) = agent();
    let client = Client { protocol: Protocol::Udp, ..client };
    let [first, second] = crate::decode::quic::tests::datagrams();
    script.payload(&client, Shape::Quic, &first);
    script.payload(&client, Shape::Quic, &second);
    if let Some(crate::event::Event::Payload { offset, .. }) = script.events.last_mut() {
        *offset = first.len() as u32;
    }
    let told = script.run();
    let flow = told.flows().remove(0);
    let endpoint = flow.endpoint.unwrap();
    assert_eq!((endpoint.host.as_str(), endpoint.host_evidence.as_str()), (HOST, "sni"));
    let tls = flow.tls.unwrap();
    assert!(tls.ja4.starts_with("q13d") && tls.alpn.contains("http/1.1"), "{} {}", tls.ja4, tls.alpn);
    assert_eq!((tls.coverage.as_str(), told.verdicts().len()), ("none", 0));
    assert_eq!(told.counts().flows, 0);
}

#[test]
fn the_rest_of_a_cleartext_request_elsewhere_is_no_gap() {
    let (mut script, client) = agent();
    let request = request_to(WWW, "/", KEY, "m");
    script.payload(&client, Shape::Http, &request);
    let mut rest = script.events.last().unwrap().clone();
    if let crate::event::Event::Payload { offset, .. } = &mut rest {
        *offset = request.len() as u32;
    }
    let told = script.push(rest).run();
    told.assert_nothing();
    assert_eq!(told.counts().out_of_order, 0);
}

/// What the records of a call and its flow say of other names, after DNS answers to the caller.
fn other_names(answers: &[(&str, [u8; 4])], asks: &str) -> [String; 3] {
    let (mut script, client) = agent();
    for (name, address) in answers {
        let time = script.time();
        script.push(dns(9, time, name, *address));
    }
    script.hello(&client, Some(HOST)).write(&client, request_to(asks, "/v1/chat/completions", KEY, "m"));
    let told = script.read(&client, answer((1, 1))).close(&client).run();
    let (call, flow) = (told.one_call().endpoint.unwrap(), told.flows()[0].endpoint.clone().unwrap());
    assert_eq!((call.host.as_str(), flow.host.as_str()), (HOST, HOST));
    [call.request_host, call.dns_host, flow.dns_host]
}

#[test]
fn a_request_for_another_host_than_the_server_name_says_so() {
    assert_eq!(other_names(&[], WWW), [WWW, "", ""]);
    assert_eq!(other_names(&[], &format!("{HOST}:443")), ["", "", ""]);
}

#[test]
fn an_address_of_another_name_is_told_only_when_the_own_name_has_others() {
    let (here, there) = ([192, 0, 2, 7], [192, 0, 2, 8]);
    assert_eq!(other_names(&[(WWW, here), (HOST, there)], HOST), ["", WWW, WWW]);
    for silent in [
        // As of a CDN: both names have the address.
        &[(WWW, here), (HOST, here)][..],
        &[(WWW, here), (HOST, there), (HOST, here)],
        // The answer for the own name came another way.
        &[(WWW, here)],
        &[(HOST, there)],
        &[],
    ] {
        assert_eq!(other_names(silent, HOST), ["", "", ""], "{silent:?}");
    }
}
